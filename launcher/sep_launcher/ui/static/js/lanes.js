// One stem of the player: its name, mute, solo, volume, shape and level.
import { el } from "./dom.js";
import { decibels } from "./words.js";

const HOLD = 1500; // milliseconds that a peak stays
const MOST_GAIN = 2; // 6 dB

export class Lane {
  constructor(stem, index, mixer) {
    this.stem = stem;
    this.index = index;
    this.muted = false;
    this.solo = false;
    this.gain = 1;
    this.#mixer = mixer;
    this.mute = el("button", { type: "button", "aria-pressed": "false", "aria-label": `Mute ${stem}`, title: "Mute (M)", onclick: () => mixer.mute(this) }, "M");
    this.alone = el("button", { type: "button", "aria-pressed": "false", "aria-label": `Solo ${stem}`, title: "Solo (S); with Shift this one only", onclick: (event) => mixer.solo(this, event.shiftKey) }, "S");
    this.fader = el("input", { type: "range", min: "0", max: String(MOST_GAIN), step: "0.02", ".value": "1", "aria-label": `Volume of ${stem}`, oninput: () => this.setGain(Number(this.fader.value)), ondblclick: () => this.setGain(1) });
    this.shown = el("span", { class: "gain", "aria-hidden": "true" });
    this.canvas = el("canvas", { role: "img", "aria-label": `Waveform of ${stem}` });
    this.wave = el("div", { class: "wave" }, this.canvas);
    this.level = el("i", {});
    this.meter = el("div", { class: "meter", "aria-hidden": "true" }, this.level);
    this.root = el("div", { class: "lane", role: "group", "aria-label": stem, tabindex: "-1" },
      el("div", { class: "head" },
        el("strong", {}, stem), this.mute, this.alone,
        el("a", { class: "button", href: mixer.file(stem), download: "", "aria-label": `Save ${stem}`, title: "Save this stem" }, "↓"),
        this.fader, this.shown),
      this.wave, this.meter);
    this.#held = 0;
    this.setGain(1);
  }

  #mixer;
  #held;
  #since = 0;

  setGain(gain) {
    this.gain = gain;
    this.fader.value = String(gain);
    const told = decibels(gain);
    this.fader.setAttribute("aria-valuetext", told);
    this.shown.textContent = told;
    this.#mixer.apply();
  }

  /** Show whether it is heard. */
  show(heard) {
    this.mute.setAttribute("aria-pressed", String(this.muted));
    this.alone.setAttribute("aria-pressed", String(this.solo));
    this.root.classList.toggle("silent", !heard);
  }

  /** Show a level, the peak of the last moment; return whether there is nothing more to show. */
  tell(level) {
    const now = performance.now();
    if (level >= this.#held || now - this.#since > HOLD) {
      this.#held = level;
      this.#since = now;
    }
    const part = this.#held > 0 ? Math.max(0, 1 + (20 * Math.log10(this.#held)) / 60) : 0;
    this.level.style.transform = `scaleX(${Math.min(1, part).toFixed(3)})`;
    this.meter.classList.toggle("clips", this.#held > 1);
    this.root.classList.toggle("plays", this.#held > 0);
    return this.#held === 0;
  }
}
