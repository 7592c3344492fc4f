// Songs in: dropped, chosen or typed; what is handed over comes in slices and can go on.
import { Fault, get, post, put, remove } from "./api.js";
import { $, dialog, el, notice } from "./dom.js";
import { look } from "./machine.js";
import { chosen } from "./options.js";
import { state } from "./store.js";
import { bytes, count, percent } from "./words.js";

const SLICE = 16 << 20;
const sending = new Map(); // batch on its way -> {ids, stopped}

const above = (path) => path.slice(0, path.lastIndexOf("/"));

/** Remember what is being copied, for the page that comes after a reload. */
function cut(path) {
  try {
    if (path) sessionStorage.setItem("sep.copying", path);
    else sessionStorage.removeItem("sep.copying");
  } catch {
    // nobody is told then
  }
}

/** Return what an earlier page of this tab was copying, once. */
function wasCut() {
  try {
    const found = sessionStorage.getItem("sep.copying");
    cut(null);
    return found;
  } catch {
    return null;
  }
}

/** Return what the server knows: stems, models, which files are audio; null where it does not answer. */
async function known() {
  if (!state.machine) await look();
  return state.machine;
}

/** Return the options; which stems and models there are must be known for that. */
async function wished() {
  await known();
  return chosen();
}

/** Add what lies on this computer, without a copy. */
export async function addPaths(paths) {
  notice();
  try {
    await post("/api/jobs", { paths, ...(await wished()) });
    return true;
  } catch (fault) {
    notice(fault.message);
    return false;
  }
}

/** Hand files over, [{file, path}], and have them split; `lost` could not be read. */
async function send(found, lost = 0) {
  notice();
  const machine = await known();
  if (!machine) {
    notice($("place").textContent);
    return;
  }
  const { audio, films } = machine;
  const ends = (path, among) => among.some((ending) => path.toLowerCase().endsWith(ending));
  const seen = found.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  const made = new Set(seen.filter(({ path }) => path.endsWith("/sep.json")).map(({ path }) => above(path)));
  const heard = seen.filter(({ path }) => ends(path, audio) || (found.length === 1 && ends(path, films)));
  const songs = unlike(heard.filter(({ path }) => !made.has(above(path))));
  const left = [];
  if (heard.length > songs.length) left.push(`${count(heard.length - songs.length, "stem")} that sep made`);
  const others = seen.length - heard.length - made.size;
  if (others) left.push(count(others, "file that is no audio", "files that are no audio"));
  if (lost) left.push(`${count(lost, "file")} that could not be read`);
  if (left.length) notice(`Left out: ${left.join(", ")}.`);
  if (!songs.length) {
    notice(`There is no song in it.${left.length ? ` ${$("notice").textContent}` : ""}`);
    return;
  }
  const batch = await name(songs);
  if (sending.has(batch)) return;
  const mine = { ids: [], stopped: false };
  const text = el("span", {});
  const line = el("p", { class: "row muted" }, text,
    el("button", { type: "button", class: "quiet", "aria-label": `Cancel copying ${songs[0].path}`, onclick: () => { mine.stopped = true; } }, "Cancel"));
  $("uploading").append(line);
  sending.set(batch, mine);
  cut(songs[0].path);
  const total = songs.reduce((sum, { file }) => sum + file.size, 0);
  let sent = 0;
  try {
    for (const song of songs) {
      await hand(batch, song, mine, (here) => {
        text.textContent = `${count(songs.length, "song")}: copying ${percent((sent + here) / Math.max(1, total))} of ${bytes(total)}`;
      });
      sent += song.file.size;
    }
    if (!mine.stopped) await post("/api/jobs", { batch, ...(await wished()) });
  } catch (fault) {
    notice(fault.message);
  }
  if (mine.stopped) await Promise.allSettled(mine.ids.map((id) => remove(`/api/uploads/${id}`)));
  sending.delete(batch);
  line.remove();
  if (!sending.size) cut(null);
}

/** Hand one file over, from where it ended the last time, until it is there or nobody wants it. */
async function hand(batch, { file, path }, mine, tell) {
  if (mine.stopped) return;
  const begun = await post("/api/uploads", { batch, path, size: file.size });
  mine.ids.push(begun.id);
  let here = begun.here;
  while (here < file.size && !mine.stopped) {
    tell(here);
    let slice;
    try {
      slice = await file.slice(here, here + SLICE).arrayBuffer();
    } catch {
      throw new Error(`${path} has changed or is gone`);
    }
    try {
      here = (await put(`/api/uploads/${begun.id}?offset=${here}`, slice)).here;
    } catch (fault) {
      if (!(fault instanceof Fault) || fault.status !== 409) throw fault;
      here = fault.about.size;
      await new Promise((done) => setTimeout(done, 300));
    }
  }
}

/** Return the files with paths that no two share: a search shows files of many folders as one. */
function unlike(songs) {
  const seen = new Map();
  return songs.map(({ file, path }) => {
    const times = (seen.get(path) ?? 0) + 1;
    seen.set(path, times);
    return { file, path: times > 1 ? path.replace(/(\.[^.]*)?$/, ` (${times})$1`) : path };
  });
}

/** The same files get the same name: what is here stays here, and its stems are known again. */
async function name(songs) {
  const text = songs.map(({ file, path }) => `${path}\n${file.size}\n${file.lastModified}`).sort().join("\n");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest, 0, 16)].map((each) => each.toString(16).padStart(2, "0")).join("");
}

/** Return all files of what was dropped, folders with what is in them, and how many were lost. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return { found: [...transfer.files].map((file) => ({ file, path: file.name })), lost: 0 };
  const found = [];
  let lost = 0;
  async function walk(entry, above) {
    try {
      if (entry.isFile) {
        const file = await new Promise((done, fail) => entry.file(done, fail));
        found.push({ file, path: above + file.name });
        return;
      }
      const reader = entry.createReader();
      for (;;) { // it gives a hundred at a time
        const part = await new Promise((done, fail) => reader.readEntries(done, fail));
        if (!part.length) return;
        for (const each of part) await walk(each, `${above}${entry.name}/`);
      }
    } catch {
      lost += 1;
    }
  }
  for (const each of entries) await walk(each, "");
  return { found, lost };
}

/** Show a folder of this computer. */
async function browse(path = "") {
  let found;
  try {
    found = await get(`/api/browse?path=${encodeURIComponent(path)}`);
  } catch (fault) {
    notice(fault.message);
    return;
  }
  const below = (each) => `${found.path.replace(/[\\/]$/, "")}/${each}`;
  const box = dialog(
    "Open without a copy",
    el("p", {}, el("code", {}, found.path)),
    el("p", { class: "row" },
      el("button", { type: "button", onclick: () => browse(found.parent), disabled: found.parent === found.path }, "One up"),
      el("button", { type: "button", class: found.files.length ? "main" : "", disabled: !found.files.length && !found.folders.length,
        onclick: async () => (await addPaths([found.path])) && box.close() }, found.folders.length ? `Split all in here (${count(found.files.length, "song")}) and below` : `Split ${count(found.files.length, "song")}`)),
    el("ul", { class: "list" },
      found.folders.map((each) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => browse(below(each)) }, `${each}/`))),
      found.files.map((each) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: async () => (await addPaths([below(each)])) && box.close() }, each)))),
    found.folders.length + found.files.length ? null : el("p", { class: "muted" }, "There is no audio here."),
  );
}

/** Take what is dropped anywhere, and what is chosen. */
export function listen() {
  const begun = wasCut();
  if (begun) notice(`The copy of ${begun} was cut off: drop or choose the same again, and it goes on where it was.`);
  let over = 0;
  const files = (event) => event.dataTransfer?.types.includes("Files"); // text may go into the field
  const drag = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragenter", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    over += 1;
    drag(true);
  });
  addEventListener("dragleave", () => {
    over = Math.max(0, over - 1);
    if (!over) drag(false);
  });
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", async (event) => {
    if (!files(event)) return;
    event.preventDefault(); // or the browser would show the file instead of this page
    over = 0;
    drag(false);
    const { found, lost } = await dropped(event.dataTransfer);
    send(found, lost);
  });
  $("pick").addEventListener("click", () => $("files").click());
  $("pick-folder").addEventListener("click", () => $("folder").click());
  $("browse").addEventListener("click", () => browse());
  for (const id of ["files", "folder"]) {
    $(id).addEventListener("change", () => {
      const found = [...$(id).files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      $(id).value = "";
      if (found.length) send(found);
    });
  }
  $("path-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const path = $("path").value.trim().replace(/^(["'])(.*)\1$/, "$2"); // as systems copy it
    if (path && (await addPaths([path]))) $("path").value = "";
  });
  addEventListener("beforeunload", (event) => { if (sending.size) event.preventDefault(); });
}
