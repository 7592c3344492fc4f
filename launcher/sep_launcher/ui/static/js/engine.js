// All stems of a track by one clock: windows of frames are fetched, decoded off the page's thread,
// and started at whole frames of a context that has the track's own rate, so no seam is heard.
import { get } from "./api.js";
import { WINDOW_SECONDS, heard, pieces } from "./timeline.js";

const AHEAD_SECONDS = 6; // of sound that is fetched
const SCHEDULED_SECONDS = 1.5; // of sound that is started ahead
const BEGIN_SECONDS = 0.06; // from the click to the first frame
const SMOOTH_SECONDS = 0.01; // of a change of gain
const KEPT_WINDOWS = 8;
const MOST_DECODED = 150 << 20; // bytes of sound of a track that the browser has to decode whole

export class Engine {
  #context = null;
  #worker = null;
  #windows = new Map(); // index -> samples or a promise of them
  #waiting = new Map(); // id of a request -> {done, fail}
  #asked = 0;
  #nodes = []; // per stem {gain, meter}
  #sources = new Set();
  #scheduled = [];
  #next = null; // {frame, at}
  #origin = 0; // frame of the context's clock at which `at` is 0
  #turn = 0;
  #whole = null; // samples of stems that the browser decoded
  #filling = false;

  constructor(track) {
    this.track = track;
    this.rate = track.rate;
    this.frames = track.frames;
    this.size = Math.round(this.rate * WINDOW_SECONDS);
    this.gains = track.stems.map(() => 1);
    this.loop = null;
    this.playing = false;
    this.at = 0; // the frame at which it rests
    this.onchange = () => {};
    this.onfault = () => {};
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
        meter.fftSize = 2048;
        gain.connect(meter);
        gain.connect(master);
        return { gain, meter };
      });
    }
    if (this.#context.state !== "running") await this.#context.resume();
  }

  #work() {
    if (this.#worker) return this.#worker;
    this.#worker = new Worker(new URL("./pcm-worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.beat) {
        this.#fill();
        return;
      }
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.fault) waiting?.fail(new Error(data.fault));
      else waiting?.done(data.found);
    };
    return this.#worker;
  }

  /** Fetch a window of all stems, if it is not here. */
  #window(index) {
    const known = this.#windows.get(index);
    if (known) return known;
    const start = index * this.size;
    const count = Math.min(this.size, this.frames - start);
    const coming = this.#whole
      ? Promise.resolve(this.#whole.map((channels) => channels.map((each) => each.subarray(start, start + count))))
      : this.#ask(start, count);
    this.#windows.set(index, coming);
    coming.then(
      (found) => this.#windows.has(index) && this.#windows.set(index, found),
      () => this.#windows.delete(index),
    );
    for (const old of [...this.#windows.keys()].slice(0, -KEPT_WINDOWS)) this.#windows.delete(old);
    return coming;
  }

  #ask(start, count) {
    const id = (this.#asked += 1);
    const url = `/api/tracks/${this.track.id}/pcm?start=${start}&frames=${count}`;
    const stems = this.track.stems.map((stem) => this.track.samples[stem]);
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail });
      this.#work().postMessage({ id, url, stems, start, count });
    });
  }

  /** Have the browser decode stems that are no WAV files, where they are not too long. */
  async #decode() {
    if (this.track.samples || this.#whole) return;
    const size = this.frames * 8 * this.track.stems.length;
    if (size > MOST_DECODED) throw new Error("these files are too long for the browser; as WAV files they play at any length");
    const every = await Promise.all(this.track.stems.map(async (stem) => {
      const response = await fetch(`/api/tracks/${this.track.id}/files/${encodeURIComponent(stem)}`);
      if (!response.ok) throw new Error("a stem is gone");
      return this.#context.decodeAudioData(await response.arrayBuffer());
    }));
    this.#whole = every.map((buffer) => Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n)));
    this.frames = Math.min(this.frames, ...every.map((buffer) => buffer.length));
  }

  /** Start at a frame; by default where it rests. */
  async play(frame = this.at) {
    const turn = (this.#turn += 1);
    this.#silence();
    this.at = frame >= this.frames ? 0 : frame;
    try {
      await this.#ready();
      await this.#decode();
      this.#work();
      await this.#window(Math.floor(this.at / this.size));
    } catch (fault) {
      this.onfault(fault);
      return;
    }
    if (turn !== this.#turn) return;
    this.#origin = Math.ceil((this.#context.currentTime + BEGIN_SECONDS) * this.rate);
    this.#next = { frame: this.at, at: 0 };
    this.#scheduled = [];
    this.playing = true;
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
    if (this.playing) this.play(to);
    else {
      this.at = to;
      this.onchange();
    }
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
    if (!this.playing || !this.#context) return this.at;
    const time = this.#context.currentTime * this.rate - this.#origin;
    return Math.max(0, Math.floor(heard(this.#scheduled, time)));
  }

  /** Return the peak of a stem now, 1 is full scale. */
  level(index) {
    const node = this.#nodes[index];
    if (!node || !this.playing) return 0;
    const samples = new Float32Array(node.meter.fftSize);
    node.meter.getFloatTimeDomainData(samples);
    return samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  }

  #silence() {
    for (const each of this.#sources) {
      each.onended = null;
      each.stop();
      each.disconnect();
    }
    this.#sources.clear();
  }

  /** Start what is due, and fetch what comes after it. */
  async #fill() {
    if (!this.playing || this.#filling) return;
    this.#filling = true;
    const turn = this.#turn;
    try {
      const time = Math.max(0, this.#context.currentTime * this.rate - this.#origin);
      const about = { frames: this.frames, size: this.size, loop: this.loop };
      const due = pieces({ ...this.#next, until: time + SCHEDULED_SECONDS * this.rate, ...about });
      for (const piece of due.found) {
        const samples = await this.#window(Math.floor(piece.frame / this.size));
        if (turn !== this.#turn) return;
        this.#start(piece, samples);
        this.#next = { frame: piece.frame + piece.count, at: piece.at + piece.count };
      }
      const ahead = pieces({ ...this.#next, until: time + AHEAD_SECONDS * this.rate, ...about });
      for (const piece of ahead.found.slice(0, 3)) this.#window(Math.floor(piece.frame / this.size));
      this.#scheduled = this.#scheduled.filter((each) => each.at + each.count > time - this.rate);
      if (due.over && time >= this.#next.at) this.#end();
    } catch (fault) {
      if (turn === this.#turn) {
        this.pause();
        this.onfault(fault);
      }
    } finally {
      this.#filling = false;
    }
  }

  #end() {
    this.#turn += 1;
    this.playing = false;
    this.at = 0;
    this.onchange();
  }

  #start(piece, samples) {
    let when = this.#origin + piece.at;
    const late = Math.ceil(this.#context.currentTime * this.rate) + 128 - when;
    if (late > 0 && this.#scheduled.length) { // the network was too slow: all stems wait together
      this.#origin += late;
      when += late;
    }
    const offset = piece.frame % this.size;
    samples.forEach((channels, index) => {
      const buffer = this.#context.createBuffer(channels.length, piece.count, this.rate);
      channels.forEach((each, number) => buffer.copyToChannel(each.subarray(offset, offset + piece.count), number));
      const source = this.#context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.#nodes[index].gain);
      source.onended = () => {
        this.#sources.delete(source);
        source.disconnect();
      };
      source.start(when / this.rate);
      this.#sources.add(source);
    });
    this.#scheduled.push(piece);
  }

  close() {
    this.playing = false;
    this.#turn += 1;
    this.#silence();
    this.#worker?.terminate();
    this.#context?.close();
  }
}

/** Return a track with what is known of its samples. */
export const load = (id) => get(`/api/tracks/${id}`);
