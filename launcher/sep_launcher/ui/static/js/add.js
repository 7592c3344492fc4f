// Songs in: dropped, chosen or typed; what is handed over comes in slices and can go on.
import { Fault, get, post, put } from "./api.js";
import { $, dialog, el, notice } from "./dom.js";
import { look } from "./machine.js";
import { chosen } from "./options.js";
import { state } from "./store.js";
import { bytes, count, percent } from "./words.js";

const SLICE = 16 << 20;
// As the command line looks for them in folders.
const ENDINGS = /\.(wav|wave|w64|flac|aiff?|aifc|caf|au|mp3|og[ga]|opus|m4a|aac|wma|mka|mp2|e?ac3|dts|wv|tta|ape|dsf|spx)$/i;
const FILMS = /\.(mp4|m4v|mov|mkv|webm|avi)$/i;

const sending = new Set(); // batches that are on their way

/** Return the options; which stems and models there are must be known for that. */
async function wished() {
  if (!state.machine) await look();
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
  const songs = unlike(found.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")) && (ENDINGS.test(path) || (found.length === 1 && FILMS.test(path)))));
  const others = found.length - songs.length;
  const told = [count(songs.length, "song")];
  if (others) told.push(count(others, "file is no audio", "files are no audio"));
  if (lost) told.push(`${count(lost, "file")} could not be read`);
  if (!songs.length) {
    notice(`There is no audio in what was dropped (${told.slice(1).join(", ") || "nothing"}).`);
    return;
  }
  const total = songs.reduce((sum, { file }) => sum + file.size, 0);
  const batch = await name(songs);
  if (sending.has(batch)) return;
  const show = $("uploading");
  sending.add(batch);
  show.hidden = false;
  let sent = 0;
  try {
    for (const song of songs) {
      await hand(batch, song, (here) => {
        show.textContent = `${told.join(", ")}: copying ${percent((sent + here) / Math.max(1, total))} of ${bytes(total)}`;
      });
      sent += song.file.size;
    }
    await post("/api/jobs", { batch, ...(await wished()) });
  } catch (fault) {
    notice(fault.message);
  } finally {
    sending.delete(batch);
    show.hidden = sending.size === 0;
  }
}

/** Hand one file over, from where it ended the last time. */
async function hand(batch, { file, path }, tell) {
  const begun = await post("/api/uploads", { batch, path, size: file.size });
  let here = begun.here;
  while (here < file.size) {
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
      el("button", { type: "button", class: "main", disabled: !found.files.length && !found.folders.length,
        onclick: async () => (await addPaths([found.path])) && box.close() }, "Split all in this folder")),
    el("ul", { class: "list" },
      found.folders.map((each) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => browse(below(each)) }, `${each}/`))),
      found.files.map((each) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: async () => (await addPaths([below(each)])) && box.close() }, each)))),
    found.folders.length + found.files.length ? null : el("p", { class: "muted" }, "There is no audio here."),
  );
}

/** Take what is dropped anywhere, and what is chosen. */
export function listen() {
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
    const path = $("path").value.trim().replace(/^"(.*)"$/, "$1"); // as Windows copies it
    if (path && (await addPaths([path]))) $("path").value = "";
  });
  addEventListener("beforeunload", (event) => { if (sending.size) event.preventDefault(); });
}
