// The player of one track: lanes by one clock, loop, all together, files.
import { get, post, remove } from "./api.js";
import { $, announce, el, fill, notice } from "./dom.js";
import { Engine } from "./engine.js";
import { Lane } from "./lanes.js";
import { pointing } from "./pointing.js";
import { state } from "./store.js";
import { PER_SECOND, color, draw, most, shapeOf, unpack } from "./wave.js";
import { clock, count } from "./words.js";

export class Mixer {
  constructor(track) {
    this.track = track;
    this.engine = new Engine(track);
    this.lanes = track.stems.map((stem, index) => new Lane(stem, index, this));
    this.peaks = {};
    this.whole = false; // whether all is heard as it was, whatever the lanes say
    this.view = { begin: 0, end: track.frames };
    this.#draw();
    this.engine.onchange = () => this.#changed();
    this.engine.onfault = (fault) => notice(`It cannot be played: ${fault.message ?? fault}`);
    this.apply();
    this.#shapes();
    this.#place();
    this.resized = new ResizeObserver(() => this.waves());
    this.resized.observe($("player"));
    this.schemes = matchMedia("(prefers-color-scheme: light)");
    this.recolor = () => this.waves();
    this.schemes.addEventListener("change", this.recolor);
  }

  file(stem) {
    return `/api/tracks/${this.track.id}/files/${encodeURIComponent(stem)}`;
  }

  #draw() {
    const { track } = this;
    const stems = this.lanes.map((lane) => lane.stem);
    this.button = el("button", { type: "button", class: "main play", "aria-label": "Play", title: "Play (Space)", onclick: () => this.toggle() }, "▶");
    this.seeker = el("input", {
      type: "range", min: "0", max: String(track.frames), step: "1", ".value": "0", "aria-label": "Position",
      oninput: () => { this.dragging = true; this.#tell(Number(this.seeker.value)); },
      onchange: () => { this.dragging = false; this.engine.seek(Number(this.seeker.value)); },
    });
    this.time = el("span", { class: "time" });
    this.looper = el("button", { type: "button", "aria-pressed": "false", title: "Loop (L); drag with Shift over a waveform to choose", onclick: () => this.toggleLoop() }, "Loop");
    this.mix = el("button", { type: "button", "aria-pressed": "false", title: "Hold B to hear it for a moment", onclick: () => this.setWhole(!this.whole) }, "All together");
    this.heard = el("p", { class: "muted" });
    fill($("player"),
      el("div", { class: "top" },
        el("h2", { id: "player-title" }, track.title),
        el("span", { class: "muted" }, `${clock(track.frames / track.rate)}, ${track.rate / 1000} kHz${track.model ? `, ${track.model}` : ""}`)),
      el("div", { class: "transport" }, this.button, this.seeker, this.time),
      el("p", { class: "row" }, this.looper, this.mix, this.#zoom("In", 0.5), this.#zoom("Out", 2)),
      this.heard,
      el("div", { class: "lanes" }, this.lanes.map((lane) => lane.root)),
      el("p", { class: "row" },
        el("a", { class: "button", href: `/api/tracks/${track.id}/zip`, download: "" }, `Save ${count(stems.length, "stem")} as zip`),
        this.some = el("a", { class: "button", download: "" }, "Save what is heard as zip"),
        state.reveals ? el("button", { type: "button", onclick: () => post(`/api/tracks/${track.id}/reveal`).catch((fault) => notice(fault.message)) }, "Show in folder") : null,
        el("button", { type: "button", class: "quiet", onclick: () => remove(`/api/tracks/${track.id}`).catch((fault) => notice(fault.message)) }, "Remove from the list")),
      el("p", { class: "muted" }, "The files are in ", el("code", {}, track.out)));
    $("player").hidden = false;
    for (const lane of this.lanes) {
      pointing(lane.wave, {
        frame: (share) => Math.round(this.view.begin + share * (this.view.end - this.view.begin)),
        seek: (frame) => this.engine.seek(frame),
        mark: (one, other) => this.#mark(one, other),
        choose: (one, other) => this.#chosen(one, other),
        leave: () => this.#place(),
      });
    }
    this.marks = this.lanes.map((lane) => {
      const mark = { part: el("div", { class: "loop-part", hidden: true }), head: el("div", { class: "head-line" }) };
      lane.wave.append(mark.part, mark.head);
      return mark;
    });
  }

  #zoom(text, factor) {
    return el("button", { type: "button", "aria-label": `Zoom ${text.toLowerCase()}`, onclick: () => this.zoom(factor) }, factor < 1 ? "+" : "−");
  }

  #chosen(one, other) {
    const loop = { begin: Math.min(one, other), end: Math.max(one, other) };
    if (loop.end - loop.begin >= this.track.rate / 20) this.setLoop(loop);
    else this.#place();
  }

  /** Show a part of the track as the loop. */
  #mark(one, other) {
    const { begin, end } = this.view;
    const at = (frame) => Math.min(1, Math.max(0, (frame - begin) / (end - begin)));
    for (const { part } of this.marks) {
      part.hidden = false;
      part.style.left = `${at(Math.min(one, other)) * 100}%`;
      part.style.width = `${Math.abs(at(other) - at(one)) * 100}%`;
    }
  }

  async #shapes() {
    try {
      const found = await get(`/api/tracks/${this.track.id}/peaks`);
      for (const [stem, text] of Object.entries(found)) this.peaks[stem] = unpack(text);
      this.waves();
    } catch (fault) {
      notice(fault.message);
    }
  }

  waves() {
    const scale = PER_SECOND / this.track.rate;
    const full = Math.max(8, ...Object.values(this.peaks).map(most));
    for (const lane of this.lanes) {
      const pairs = this.peaks[lane.stem];
      if (pairs) draw(lane.canvas, pairs, this.view.begin * scale, this.view.end * scale, color("--wave"), full);
    }
    this.#place();
  }

  toggle() {
    if (this.engine.playing) this.engine.pause();
    else this.engine.play();
  }

  skip(seconds) {
    this.engine.seek(this.engine.now() + seconds * this.track.rate);
  }

  mute(lane) {
    lane.muted = !lane.muted;
    this.apply();
  }

  solo(lane, only) {
    const was = lane.solo;
    if (only) for (const each of this.lanes) each.solo = false;
    lane.solo = only ? true : !was;
    this.apply();
  }

  setWhole(whole) {
    this.whole = whole;
    this.apply();
  }

  /** Let be heard what the lanes say. */
  apply() {
    if (!this.lanes || !this.heard) return;
    const solo = this.lanes.some((lane) => lane.solo);
    const names = [];
    for (const lane of this.lanes) {
      const heard = this.whole || (!lane.muted && (!solo || lane.solo));
      if (heard) names.push(lane.stem);
      this.engine.setGain(lane.index, this.whole ? 1 : heard ? lane.gain : 0);
      lane.show(heard);
    }
    this.mix.setAttribute("aria-pressed", String(this.whole));
    this.some.href = `/api/tracks/${this.track.id}/zip?${names.map((stem) => `stem=${encodeURIComponent(stem)}`).join("&")}`;
    this.some.hidden = !names.length || names.length === this.lanes.length;
    const rest = this.lanes.some((lane) => lane.stem === "residual") ? "the song as it was" : "all stems together";
    this.heard.textContent = this.whole ? `You hear ${rest}.` : `You hear ${names.join(", ") || "nothing"}.`;
  }

  setLoop(loop) {
    this.engine.setLoop(loop);
    this.looper.setAttribute("aria-pressed", String(Boolean(loop)));
    this.#place();
  }

  toggleLoop() {
    if (this.engine.loop) this.setLoop(null);
    else this.setLoop({ begin: this.view.begin, end: Math.max(this.view.begin + 1, this.view.end) });
    announce(this.engine.loop ? "Loop on" : "Loop off");
  }

  /** Put the beginning or the end of the loop where it plays. */
  edge(which) {
    const now = this.engine.now();
    const { begin, end } = this.engine.loop ?? { begin: 0, end: this.track.frames };
    if (which === "in") this.#chosen(now, end > now ? end : this.track.frames);
    else this.#chosen(begin < now ? begin : 0, now);
  }

  zoom(factor) {
    const { frames } = this.track;
    const now = this.engine.now();
    const size = Math.round(Math.min(frames, Math.max(this.track.rate / 4, (this.view.end - this.view.begin) * factor)));
    const begin = Math.min(frames - size, Math.max(0, Math.round(now - size / 2)));
    this.view = { begin, end: begin + size };
    this.waves();
  }

  #changed() {
    const { playing } = this.engine;
    this.button.textContent = playing ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.#place();
    if (playing && !this.ticking) this.#tick();
    const { whole } = this.engine.windows;
    if (whole && !Object.keys(this.peaks).length) { // no WAV files: now their shapes are known
      this.lanes.forEach((lane) => { this.peaks[lane.stem] = shapeOf(whole[lane.index], this.track.rate); });
      this.waves();
    }
  }

  #place() {
    const now = this.engine.now();
    const { begin, end } = this.view;
    const at = (frame) => (frame - begin) / (end - begin);
    const share = at(now);
    const { loop } = this.engine;
    for (const { head, part } of this.marks) {
      head.style.left = `${(share * 100).toFixed(3)}%`;
      head.hidden = share < 0 || share > 1;
      part.hidden = !loop;
    }
    if (loop) this.#mark(loop.begin, loop.end);
    if (this.dragging) return;
    this.seeker.value = String(now);
    this.#tell(now);
  }

  #tell(now) {
    const told = `${clock(now / this.track.rate)} of ${clock(this.track.frames / this.track.rate)}`;
    if (this.time.textContent === told) return;
    this.seeker.setAttribute("aria-valuetext", told);
    this.time.textContent = told;
  }

  #tick() {
    if (this.closed) return;
    if (this.engine.playing) this.#place();
    const still = this.lanes.map((lane) => lane.tell(this.engine.level(lane.index)));
    this.ticking = this.engine.playing || still.includes(false);
    if (this.ticking) requestAnimationFrame(() => this.#tick());
  }

  close() {
    this.closed = true;
    this.resized.disconnect();
    this.schemes.removeEventListener("change", this.recolor);
    this.engine.close();
    $("player").hidden = true;
    fill($("player"));
  }
}
