// The queue: what waits, what is being done and how far, what is asked, what failed and why.
import { post, remove } from "./api.js";
import { $, announce, el, fill, notice } from "./dom.js";
import { on, share, state } from "./store.js";
import { count, percent, status } from "./words.js";
import { Shapes } from "./wave.js";

const cards = new Map(); // task -> {root, bar, text, open, scrolled}
const shapes = new Shapes();
const spoken = new Map(); // task -> quarter that was said
const dirty = new Set(); // tasks to be drawn at the next frame; null: the list itself

const act = (work) => work.catch((fault) => notice(fault.message));
const button = (text, key, onclick, kind = "") => el("button", { type: "button", class: kind, "data-key": key, onclick }, text);

function draw(task) {
  const card = cards.get(task.id) ?? { root: el("li", { class: "card" }) };
  cards.set(task.id, card);
  card.open = card.root.querySelector("details")?.open ?? false;
  card.scrolled = card.root.querySelector(".songs")?.scrollTop ?? 0;
  const done = share(task);
  card.text = el("span", { class: task.state === "done" ? "state done" : task.state === "failed" ? "state bad" : "state" }, status(task, done));
  card.bar = task.state === "running" ? el("progress", { max: "1", "aria-label": `${task.title}: how far` }) : null;
  fill(
    card.root,
    el("div", { class: "top" }, el("h3", {}, task.title), card.text, task.state === "done" ? buttons(task) : null),
    card.bar,
    where(task, card.open),
    songs(task),
    growing(task),
    task.warnings.map((each) => el("p", { class: "muted" }, `Note: ${each}`)),
    asked(task),
    wrong(task),
    task.state === "done" ? null : el("p", { class: "row" }, buttons(task)),
  );
  const list = card.root.querySelector(".songs");
  if (list) list.scrollTop = card.scrolled;
  const working = task.songs.findIndex((each) => each.state === "running");
  if (list && working >= 0 && working !== card.working) {
    const row = list.children[working];
    list.scrollTop = row.offsetTop - list.offsetTop - (list.clientHeight - row.clientHeight) / 2;
    card.working = working;
  }
  move(card, task);
  say(task, done);
  return card.root;
}

const ended = (task) => !["waiting", "running", "asking"].includes(task.state);

function where(task, open) {
  if (!task.place && !task.device) return null;
  const real = task.device ? `${task.device.name} (${task.device.device})` : task.place.replace(/^on /, "");
  const reasons = task.device ? [task.device.reason, ...task.reasons] : task.reasons;
  return el("details", { open },
    el("summary", { "data-key": `where ${task.id}` }, `${real}${task.model ? `, ${task.model}` : ""}`),
    el("ul", {}, reasons.filter(Boolean).map((each) => el("li", { class: "muted" }, each))));
}

function songs(task) {
  if (task.songs.length < 2 && !task.songs.some((each) => each.state === "failed")) return null;
  return el("ul", { class: "songs", tabindex: "0", "aria-label": `Songs of ${task.title}` }, task.songs.map((song) =>
    el("li", { class: "song" },
      el("div", { class: "top row" },
        el("span", {}, song.title),
        el("span", { class: song.state === "failed" ? "bad" : song.state === "done" ? "done" : "muted" },
          song.resumed ? "done before" : song.state === "running" ? "working" : song.state === "waiting" && ended(task) ? "not done" : song.state)),
      song.error ? el("p", { class: "bad" }, song.error.replaceAll("{path}", () => song.mix)) : null,
      song.hint ? el("p", { class: "muted" }, song.hint) : null)));
}

function growing(task) {
  const song = task.songs.find((each) => each.state === "running");
  if (!song || task.state !== "running") return null;
  return shapes.lanes(song);
}

function asked(task) {
  if (!task.question) return null;
  const { kind, lines } = task.question;
  const text = lines.map((each) => el("li", {}, each.replace(/^sep: /, "")));
  if (kind === "exists") {
    return el("div", { role: "group", "aria-label": `${task.title}: a question` },
      el("p", {}, "There are stems of this already:"),
      el("ul", { class: "list" }, text),
      el("p", { class: "muted" }, "Kept are tracks whose files are all there as sep made them; a track with one that is missing or changed is made again as a whole."),
      el("p", { class: "row" },
        button("Keep what is whole", `keep ${task.id}`, () => act(post(`/api/jobs/${task.id}/again`, { existing: "keep" })), "main"),
        button("Make all anew", `replace ${task.id}`, () => act(post(`/api/jobs/${task.id}/again`, { existing: "replace" })))));
  }
  return el("div", { role: "group", "aria-label": `${task.title}: a question` },
    el("ul", { class: "list" }, text),
    el("p", { class: "row" },
      button("Go on", `go ${task.id}`, () => act(post(`/api/jobs/${task.id}/again`, { agreed: true })), "main")));
}

function wrong(task) {
  if (!task.error && !task.findings.length) return null;
  return el("div", {},
    task.error ? el("p", { class: "bad" }, task.error.message) : null,
    task.error?.hint ? el("p", { class: "muted" }, task.error.hint) : null,
    task.findings.map((each) => finding(each)));
}

/** Show what the doctor found: what it is, what it breaks, the line that mends it. */
export function finding(each) {
  return el("div", { class: "fix" },
    el("strong", {}, each.title), el("span", { class: "muted" }, each.breaks),
    each.fix ? el("code", {}, each.fix) : null,
    each.fix ? button("Copy", `copy ${each.id}`, () => navigator.clipboard.writeText(each.fix).then(() => announce("copied"))) : null);
}

function buttons(task) {
  const open = !ended(task);
  const left = task.songs.filter((each) => each.state !== "done").length;
  return [
    open ? button("Cancel", `cancel ${task.id}`, () => act(post(`/api/jobs/${task.id}/cancel`))) : null,
    !open && task.state !== "done" && !task.spent
      ? button(left ? `Try ${count(left, "song")} again` : "Try again", `again ${task.id}`, () => act(post(`/api/jobs/${task.id}/again`, {})))
      : null,
    open ? null : el("button", { type: "button", class: "quiet", "data-key": `remove ${task.id}`, "aria-label": `Remove ${task.title} from the queue`, onclick: () => act(remove(`/api/jobs/${task.id}`)) }, "Remove"),
  ];
}

function move(card, task) {
  const done = share(task);
  card.text.textContent = status(task, done);
  if (card.bar) {
    if (done === null) card.bar.removeAttribute("value");
    else card.bar.value = done;
  }
}

/** Say at the start, at every quarter and at the end how it is. */
function say(task, done) {
  const now = task.state === "running" ? Math.floor((done ?? 0) * 4) : task.state;
  if (spoken.get(task.id) === now) return;
  const first = !spoken.has(task.id);
  spoken.set(task.id, now);
  if (first && task.state !== "running") return;
  announce(task.state === "running" ? `${task.title}: ${now ? percent(now / 4) : "begun"}` : `${task.title}: ${task.state}`);
}

function title() {
  const now = [...state.tasks.values()].find((each) => each.state === "running");
  const done = now ? share(now) : null;
  document.title = now && !document.hidden ? `${done === null ? "" : `${percent(done)} `}${now.title}` : "sep";
}

function later(id) {
  if (!dirty.size) requestAnimationFrame(flush);
  dirty.add(id);
}

function flush() {
  const every = [...state.tasks.values()];
  if (dirty.has(null) || every.some((each) => !cards.has(each.id)) || cards.size > every.length) {
    for (const id of [...cards.keys()]) if (!state.tasks.has(id)) cards.delete(id);
    $("queue-section").hidden = !every.length;
    document.body.classList.toggle("has-work", every.length + state.tracks.size > 0);
    fill($("queue"), every.reverse().map(draw));
  } else {
    for (const id of dirty) if (state.tasks.has(id)) draw(state.tasks.get(id));
  }
  dirty.clear();
  title();
}

on("tasks", (task) => later(task?.id ?? null));
on("begin", () => shapes.forget());
on("progress", ({ task }) => {
  const card = cards.get(task.id);
  if (card) move(card, task);
  say(task, share(task));
  title();
});
on("peaks", (event) => shapes.take(event));
document.addEventListener("visibilitychange", title); // a hidden tab hears nothing
