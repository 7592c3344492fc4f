// The server: documents and slices, with its faults in its own words.

export class Fault extends Error {
  constructor(message, hint, status, about) {
    super(hint ? `${message} (${hint})` : message);
    this.status = status;
    this.about = about;
  }
}

async function answer(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  if (response.status === 401 || response.status === 403) {
    throw new Fault("This page is not signed in any more", "open the address that sep ui says", response.status, {});
  }
  const about = (await response.json().catch(() => ({}))).error ?? {};
  throw new Fault(about.message ?? response.statusText, about.hint, response.status, about);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Fault("sep has stopped", "start it again: sep ui", 0, {});
  }
  return answer(response);
}

export const get = (path) => ask(path, {});
const writing = { "x-sep": "1" };
export const post = (path, about = {}) =>
  ask(path, { method: "POST", headers: { ...writing, "content-type": "application/json" }, body: JSON.stringify(about) });
export const remove = (path) => ask(path, { method: "DELETE", headers: writing });
export const put = (path, body) => ask(path, { method: "PUT", headers: writing, body });
