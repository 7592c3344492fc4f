// The options that people use, as `sep run` has them.
import { $, el, fill } from "./dom.js";
import { on, state } from "./store.js";

const KEY = "options";
let kept = {};
try {
  kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
} catch {
  kept = {};
}

const FORMATS = {
  wav: "WAV", "wav 16": "WAV, 16 bit", "wav 24": "WAV, 24 bit", "wav float": "WAV, 32 bit float",
  flac: "FLAC", mp3: "MP3", ogg: "Ogg Vorbis",
};

/** Return what the form says, as a job has it. */
export function chosen() {
  const [format, depth] = (kept.format ?? "wav").split(" ");
  const model = models().find((each) => each.name === kept.model);
  const all = stems(model);
  const off = new Set(kept.off ?? []);
  const some = all.filter((stem) => !off.has(stem));
  return {
    model: model ? model.name : null,
    from_mix: kept.song ? "auto" : null,
    stems: some.length && some.length < all.length ? some : null,
    format,
    bit_depth: depth ?? null,
    residual: Boolean(kept.rest),
    device: kept.device ?? "auto",
    out: kept.out ?? "",
  };
}

const models = () => state.machine?.models ?? [];
const preferred = () => models().find((each) => each.default);
const stems = (model) => (model ?? preferred() ?? { stems: [] }).stems ?? [];

function keep(change) {
  Object.assign(kept, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // it is kept while the page is open
  }
  draw();
}

function choice(label, key, options, value) {
  return el("label", {}, label,
    el("select", { "data-key": key, onchange: (event) => keep({ [key]: event.target.value }) },
      Object.entries(options).map(([name, text]) => el("option", { value: name, ".selected": name === value }, text))));
}

function check(text, key, on_) {
  return el("label", {}, el("input", { type: "checkbox", "data-key": key, ".checked": on_, onchange: (event) => keep({ [key]: event.target.checked }) }), text);
}

export function draw() {
  const here = models().filter((each) => each.installed);
  const names = { "": `the best that is here${preferred() ? `: ${preferred().name}` : ""}` };
  for (const each of here) names[each.name] = `${each.name} (for ${each.expects})`;
  const model = models().find((each) => each.name === kept.model);
  const off = new Set(kept.off ?? []);
  fill(
    $("option-form"),
    el("fieldset", {}, el("legend", {}, "What the files are"),
      el("div", { class: "checks" }, check("whole songs: take out their drums first", "song", Boolean(kept.song)))),
    choice("Model", "model", names, kept.model ?? ""),
    el("fieldset", {}, el("legend", {}, "Stems"),
      el("div", { class: "checks" },
        stems(model).map((stem) => el("label", {},
          el("input", { type: "checkbox", "data-key": `stem ${stem}`, ".checked": !off.has(stem), onchange: (event) => {
            if (event.target.checked) off.delete(stem); else off.add(stem);
            keep({ off: [...off] });
          } }), stem)),
        check("what is left", "rest", Boolean(kept.rest)))),
    choice("Files", "format", FORMATS, kept.format ?? "wav"),
    choice("Computed on", "device", { auto: "the fastest that is here", cpu: "the processor", cuda: "the NVIDIA GPU", mps: "the Apple GPU" }, kept.device ?? "auto"),
    el("label", {}, "Folder for the stems",
      el("input", { type: "text", "data-key": "out", spellcheck: "false", placeholder: "beside the songs", ".value": kept.out ?? "", onchange: (event) => keep({ out: event.target.value.trim() }) })),
  );
}

on("machine", draw);
