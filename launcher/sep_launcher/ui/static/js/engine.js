// All stems of a track by one clock: windows of frames are fetched, decoded off the page's thread,
// and started at whole frames of a context that has the track's own rate, so no seam is heard.
import { heard, pieces } from "./timeline.js";
import { Windows } from "./windows.js";

const AHEAD_SECONDS = 6; // of sound that is fetched
const SCHEDULED_SECONDS = 1.5; // of sound that is started ahead
const BEGIN_SECONDS = 0.06; // from the click to the first frame, and from a stall to the next
const SMOOTH_SECONDS = 0.01; // of a change of gain
const RESUME_SECONDS = 3; // that a sound output may take to wake

export class Engine {
  #context = null;
  #nodes = []; // per stem {gain, meter}
  #sources = new Set();
  #scheduled = [];
  #next = null; // {frame, at}: what is started next; null while it begins
  #origin = 0; // frame of the context's clock at which `at` is 0
  #turn = 0; // of play, seek and pause: what an older one awaited counts no more
  #filling = 0; // the turn that fills
  #level = new Float32Array(2048);

  constructor(track) {
    this.track = track;
    this.rate = track.rate;
    this.windows = new Windows(track, () => this.#fill());
    this.gains = track.stems.map(() => 1);
    this.loop = null;
    this.playing = false;
    this.at = 0; // the frame at which it rests, or begins
    this.onchange = () => {};
    this.onfault = () => {};
  }

  get frames() {
    return this.windows.frames;
  }

  get size() {
    return this.windows.size;
  }

  /** Make what sounds; called by a click, because browsers are silent before one. */
  async #ready() {
    if (!this.#context) {
      this.#context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
      const master = this.#context.createGain();
      master.connect(this.#context.destination);
      this.#nodes = this.track.stems.map((_, index) => {
        const gain = this.#context.createGain();
        gain.gain.value = this.gains[index];
        const meter = this.#context.createAnalyser();
        meter.fftSize = this.#level.length;
        gain.connect(meter);
        gain.connect(master);
        return { gain, meter };
      });
    }
    if (this.#context.state === "running") return;
    const late = new Promise((_, fail) => {
      setTimeout(() => fail(new Error("no sound output answers")), RESUME_SECONDS * 1000);
    });
    await Promise.race([this.#context.resume(), late]);
  }

  /** Start at a frame; by default where it rests. */
  async play(frame = this.at) {
    const turn = (this.#turn += 1);
    this.#silence();
    this.at = frame >= this.frames ? 0 : Math.max(0, Math.round(frame));
    this.playing = true;
    this.onchange();
    try {
      await this.#ready();
      await this.windows.decode(this.#context);
      if (turn !== this.#turn) return;
      this.windows.begin();
      await this.windows.get(Math.floor(this.at / this.size));
    } catch (fault) {
      if (turn !== this.#turn) return;
      this.playing = false;
      this.onchange();
      this.onfault(fault);
      return;
    }
    if (turn !== this.#turn) return;
    this.#origin = Math.ceil((this.#context.currentTime + BEGIN_SECONDS) * this.rate);
    this.#next = { frame: this.at, at: 0 };
    this.#fill();
    this.onchange();
  }

  pause() {
    this.at = this.now();
    this.#turn += 1;
    this.playing = false;
    this.#silence();
    this.onchange();
  }

  /** Go to a frame, and play on if it played. */
  seek(frame) {
    const to = Math.max(0, Math.min(this.frames - 1, Math.round(frame)));
    if (this.playing) {
      this.play(to);
      return;
    }
    this.at = to;
    this.onchange();
  }

  setLoop(loop) {
    this.loop = loop;
    if (this.playing) this.play(this.now());
    else this.onchange();
  }

  setGain(index, gain) {
    this.gains[index] = gain;
    const node = this.#nodes[index];
    if (node) node.gain.gain.setTargetAtTime(gain, this.#context.currentTime, SMOOTH_SECONDS);
  }

  /** Return the frame that is heard now. */
  now() {
    if (!this.playing || !this.#scheduled.length) return this.at;
    const time = this.#context.currentTime * this.rate - this.#origin;
    return Math.max(0, Math.floor(heard(this.#scheduled, time)));
  }

  /** Return the peak of a stem now, 1 is full scale. */
  level(index) {
    const node = this.#nodes[index];
    if (!node || !this.playing) return 0;
    node.meter.getFloatTimeDomainData(this.#level);
    return this.#level.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  }

  #silence() {
    for (const each of this.#sources) {
      each.onended = null;
      each.stop();
      each.disconnect();
    }
    this.#sources.clear();
    this.#scheduled = [];
    this.#next = null;
  }

  /** Start what is due, and fetch what comes after it. */
  async #fill() {
    if (!this.#next || this.#filling === this.#turn) return;
    const turn = (this.#filling = this.#turn);
    try {
      const time = Math.max(0, this.#context.currentTime * this.rate - this.#origin);
      const about = { frames: this.frames, size: this.size, loop: this.loop };
      const due = pieces({ ...this.#next, until: time + SCHEDULED_SECONDS * this.rate, ...about });
      for (const piece of due.found) {
        const samples = await this.windows.get(Math.floor(piece.frame / this.size));
        if (turn !== this.#turn) return;
        this.#start(piece, samples);
        this.#next = { frame: piece.frame + piece.count, at: piece.at + piece.count };
      }
      const ahead = pieces({ ...this.#next, until: time + AHEAD_SECONDS * this.rate, ...about });
      for (const piece of ahead.found.slice(0, 3)) this.windows.get(Math.floor(piece.frame / this.size)).catch?.(() => {});
      this.#scheduled = this.#scheduled.filter((each) => each.at + each.count > time - this.rate);
      if (due.over && time >= this.#next.at) this.#end();
    } catch (fault) {
      if (turn === this.#turn) {
        this.pause();
        this.onfault(fault);
      }
    } finally {
      if (this.#filling === turn) this.#filling = 0;
    }
  }

  #end() {
    this.#turn += 1;
    this.#silence();
    this.playing = false;
    this.at = 0;
    this.onchange();
  }

  #start(piece, samples) {
    const offset = piece.frame % this.size;
    const sources = samples.map((channels, index) => {
      const buffer = this.#context.createBuffer(channels.length, piece.count, this.rate);
      channels.forEach((each, number) => buffer.copyToChannel(each.subarray(offset, offset + piece.count), number));
      const source = this.#context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.#nodes[index].gain);
      source.onended = () => {
        this.#sources.delete(source);
        source.disconnect();
      };
      return source;
    });
    const soon = Math.ceil(this.#context.currentTime * this.rate) + 128;
    if (this.#origin + piece.at < soon) { // what should come is late: all stems wait together
      this.#origin = soon + Math.ceil(BEGIN_SECONDS * this.rate) - piece.at;
    }
    for (const source of sources) {
      source.start((this.#origin + piece.at) / this.rate);
      this.#sources.add(source);
    }
    this.#scheduled.push(piece);
  }

  close() {
    this.playing = false;
    this.#turn += 1;
    this.#silence();
    this.windows.close();
    this.#context?.close();
  }
}
