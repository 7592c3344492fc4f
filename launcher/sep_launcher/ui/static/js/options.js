// The options that people use, as `sep run` has them.
import { $, el, fill, keep, kept } from "./dom.js";
import { on, state } from "./store.js";

const KEY = "options";
let wish = {};
try {
  wish = Object(JSON.parse(kept(KEY) ?? "{}"));
} catch {
  wish = {};
}

const FORMATS = {
  wav: "WAV", "wav 16": "WAV, 16 bit", "wav 24": "WAV, 24 bit", "wav float": "WAV, 32 bit float",
  flac: "FLAC", mp3: "MP3", ogg: "Ogg Vorbis",
};

const DEVICES = { auto: "the fastest that is here", cpu: "the processor", cuda: "the NVIDIA GPU", mps: "the Apple GPU" };
const devices = () => Object.fromEntries(Object.entries(DEVICES).filter(([name]) => ["auto", ...(state.machine?.devices ?? [])].includes(name)));

const models = () => state.machine?.models ?? [];
const here = () => models().filter((each) => each.installed);
const preferred = () => models().find((each) => each.default);
const named = () => here().find((each) => each.name === wish.model);
const stems = () => (named() ?? preferred() ?? {}).stems ?? [];
const format = () => (wish.format in FORMATS ? wish.format : "wav");
const device = () => (wish.device in devices() ? wish.device : "auto");

/** Return what the form says, as a job has it; stems that nobody wants are none. */
export function chosen() {
  const [name, depth] = format().split(" ");
  const all = stems();
  const off = new Set(wish.off ?? []);
  const some = all.filter((stem) => !off.has(stem));
  return {
    model: named()?.name ?? null,
    from_mix: wish.song ? "auto" : null,
    stems: some.length && some.length < all.length ? some : null,
    format: name,
    bit_depth: depth ?? null,
    residual: Boolean(wish.rest),
    device: device(),
    out: wish.out ?? "",
  };
}

function set(change) {
  Object.assign(wish, change);
  keep(KEY, JSON.stringify(wish));
}

function change(about) {
  set(about);
  draw();
}

function choice(label, key, options, value) {
  return el("label", {}, label,
    el("select", { "data-key": key, onchange: (event) => change({ [key]: event.target.value }) },
      Object.entries(options).map(([name, text]) => el("option", { value: name, ".selected": name === value }, text))));
}

function check(text, key, on_) {
  return el("label", {}, el("input", { type: "checkbox", "data-key": key, ".checked": on_, onchange: (event) => change({ [key]: event.target.checked }) }), text);
}

function stem(name) {
  const off = new Set(wish.off ?? []);
  const last = stems().filter((each) => !off.has(each)).length === 1;
  return el("label", {},
    el("input", {
      type: "checkbox", "data-key": `stem ${name}`, ".checked": !off.has(name), disabled: last && !off.has(name),
      onchange: (event) => {
        if (event.target.checked) off.delete(name);
        else off.add(name);
        change({ off: [...off] });
      },
    }), name);
}

export function draw() {
  const names = { "": `the best that is here${preferred() ? `: ${preferred().name}` : ""}` };
  for (const each of here()) names[each.name] = `${each.name} (for ${each.expects})`;
  const out = document.querySelector("[data-key=out]") ?? el("input", {
    type: "text", "data-key": "out", spellcheck: "false", placeholder: "beside the songs", ".value": wish.out ?? "",
    oninput: (event) => set({ out: event.target.value.trim() }),
  }); // kept: somebody may be writing in it
  const music = state.machine?.music ?? "your music folder";
  fill(
    $("option-form"),
    el("fieldset", {}, el("legend", {}, "What the files are"),
      el("div", { class: "checks" }, check("whole songs: take out their drums first", "song", Boolean(wish.song)))),
    choice("Model", "model", names, named()?.name ?? ""),
    el("fieldset", {}, el("legend", {}, "Stems"),
      el("div", { class: "checks" }, stems().map(stem), check("what is left (residual)", "rest", Boolean(wish.rest)))),
    choice("Files", "format", FORMATS, format()),
    choice("Computed on", "device", devices(), device()),
    el("div", {}, el("label", {}, "Folder for the stems", out),
      el("small", { class: "muted" }, `Without one: beside songs that are opened, in ${music} for those that are dropped or chosen.`)),
  );
}

$("option-form").addEventListener("submit", (event) => event.preventDefault());
on("machine", draw);
