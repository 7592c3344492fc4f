// Songs in: dropped, chosen or typed; what is handed over comes in slices and can go on.
import { Fault, get, post, put } from "./api.js";
import { $, dialog, el, notice } from "./dom.js";
import { chosen } from "./options.js";
import { bytes, count, percent } from "./words.js";

const SLICE = 16 << 20;
// As the command line looks for them in folders.
const ENDINGS = /\.(wav|wave|w64|flac|aiff?|aifc|caf|au|mp3|og[ga]|opus|m4a|aac|wma|mka|mp2|e?ac3|dts|wv|tta|ape|dsf|spx)$/i;
const FILMS = /\.(mp4|m4v|mov|mkv|webm|avi)$/i;

let sending = 0;

/** Add what lies on this computer, without a copy. */
export async function addPaths(paths) {
  notice();
  try {
    await post("/api/jobs", { paths, ...chosen() });
    return true;
  } catch (fault) {
    notice(fault.message);
    return false;
  }
}

/** Hand files over, [{file, path}], and have them split. */
async function send(found) {
  notice();
  const songs = found.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")) && (ENDINGS.test(path) || (found.length === 1 && FILMS.test(path))));
  const others = found.length - songs.length;
  if (!songs.length) {
    notice(found.length ? "There is no audio in what was dropped." : "Nothing was dropped.");
    return;
  }
  const total = songs.reduce((sum, { file }) => sum + file.size, 0);
  const told = count(songs.length, "song") + (others ? `, ${count(others, "file is no audio", "files are no audio")}` : "");
  const batch = await name(songs);
  const show = $("uploading");
  sending += 1;
  show.hidden = false;
  let sent = 0;
  try {
    for (const { file, path } of songs) {
      const begun = await post("/api/uploads", { batch, path, size: file.size });
      let here = begun.here;
      while (here < file.size) {
        show.textContent = `${told}: copying ${percent((sent + here) / Math.max(1, total))} of ${bytes(total)}`;
        try {
          here = (await put(`/api/uploads/${begun.id}?offset=${here}`, file.slice(here, here + SLICE))).here;
        } catch (fault) {
          if (!(fault instanceof Fault) || fault.status !== 409) throw fault;
          here = fault.about.size;
        }
      }
      sent += file.size;
    }
    await post("/api/jobs", { batch, ...chosen() });
  } catch (fault) {
    notice(fault.message);
  } finally {
    sending -= 1;
    show.hidden = sending > 0 ? show.hidden : true;
  }
}

/** The same files dropped again get the same name, so that what is here already stays here. */
async function name(songs) {
  const text = songs.map(({ file, path }) => `${path}\n${file.size}\n${file.lastModified}`).sort().join("\n");
  const kept = sessionStorage.getItem(`batch ${text}`);
  if (kept) return kept;
  const made = crypto.randomUUID();
  try {
    sessionStorage.setItem(`batch ${text}`, made);
  } catch {
    // it only could not go on
  }
  return made;
}

/** Return all files of what was dropped, folders with what is in them. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  async function walk(entry, above) {
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
  }
  for (const each of entries) await walk(each, "");
  return found;
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
  const drag = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragenter", (event) => { event.preventDefault(); over += 1; drag(true); });
  addEventListener("dragleave", () => { over = Math.max(0, over - 1); if (!over) drag(false); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault(); // or the browser would show the file instead of this page
    over = 0;
    drag(false);
    send(await dropped(event.dataTransfer));
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
    const path = $("path").value.trim();
    if (path && (await addPaths([path]))) $("path").value = "";
  });
  addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
}
