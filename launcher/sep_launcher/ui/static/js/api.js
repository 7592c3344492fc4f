// The server: documents, slices, and one stream of numbered events while the page is seen.

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
    throw new Fault("This page is not signed in any more", "type sep ui again", response.status, {});
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

const LATER = 1500; // milliseconds before the next try

/**
 * Hear the events from a snapshot on. `begin(snapshot)` gets everything, `take(event)` one event.
 * A hidden tab holds no stream: browsers give a server six of them.
 */
export function follow(begin, take, lost) {
  let source = null;
  let number = -1;
  let again = 0;
  let busy = false;

  async function open() {
    clearTimeout(again);
    if (source || busy || document.hidden) return;
    busy = true;
    try {
      if (number < 0) {
        const found = await get("/api/state");
        number = found.number;
        begin(found);
      }
    } catch (fault) {
      lost(fault);
      again = setTimeout(open, LATER);
      return;
    } finally {
      busy = false;
    }
    if (source || document.hidden) return;
    source = new EventSource(`/api/events?after=${number}`);
    source.onopen = () => lost(null);
    source.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.kind === "again") {
        renew();
        return;
      }
      const here = Number(message.lastEventId);
      if (here !== number + 1) {
        renew();
        return;
      }
      number = here;
      if (event.kind === "bye") {
        close();
        number = -1;
        lost(new Fault("sep has stopped", "start it again: sep ui", 0, {}));
        again = setTimeout(open, LATER);
        return;
      }
      take(event);
    };
    source.onerror = () => {
      close();
      number = -1; // a new server counts from the beginning
      lost(new Fault("sep has stopped", "start it again: sep ui", 0, {}));
      again = setTimeout(open, LATER);
    };
  }

  function renew() {
    close();
    number = -1;
    open();
  }

  function close() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}
