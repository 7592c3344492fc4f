// The samples of a track: windows of all stems at once, fetched when they are wanted, few of them kept.
import { WINDOW_SECONDS } from "./timeline.js";

const KEPT = 8; // windows
const MOST_DECODED = 150 << 20; // bytes of sound of a track that the browser has to decode whole

export class Windows {
  #worker = null;
  #windows = new Map(); // index -> samples [stem][channel], or a promise of them
  #waiting = new Map(); // id of a request -> {done, fail}
  #asked = 0;
  #decoding = null;
  #closed = false;

  /** `beat` is called ten times a second, in hidden tabs, too, from the first fetch on. */
  constructor(track, beat) {
    this.track = track;
    this.frames = track.frames;
    this.size = Math.round(track.rate * WINDOW_SECONDS);
    this.beat = beat;
    this.whole = null; // samples [stem][channel] that the browser decoded
  }

  /** Return a window, or a promise of it. */
  get(index) {
    const known = this.#windows.get(index);
    if (known) return known;
    const start = index * this.size;
    const count = Math.min(this.size, this.frames - start);
    const coming = this.whole
      ? Promise.resolve(this.whole.map((channels) => channels.map((each) => each.subarray(start, start + count))))
      : this.#ask(start, count);
    this.#windows.set(index, coming);
    coming.then(
      (found) => this.#windows.has(index) && this.#windows.set(index, found),
      () => this.#windows.delete(index),
    );
    for (const old of [...this.#windows.keys()].slice(0, -KEPT)) this.#windows.delete(old);
    return coming;
  }

  #ask(start, count) {
    const id = (this.#asked += 1);
    const url = `/api/tracks/${this.track.id}/pcm?start=${start}&frames=${count}`;
    const stems = this.track.stems.map((stem) => this.track.samples[stem]);
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail });
      this.begin()?.postMessage({ id, url, stems, start, count });
    });
  }

  /** Begin the beat. */
  begin() {
    if (this.#worker || this.#closed) return this.#worker;
    const worker = new Worker(new URL("./pcm-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      if (data.beat) {
        this.beat();
        return;
      }
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.fault) waiting?.fail(new Error(data.fault));
      else waiting?.done(data.found);
    };
    worker.onerror = () => {
      worker.terminate();
      this.#worker = null;
      for (const { fail } of this.#waiting.values()) fail(new Error("sep has stopped"));
      this.#waiting.clear();
    };
    this.#worker = worker;
    return worker;
  }

  /** Have the browser decode stems that are no WAV files, where they are not too long. */
  async decode(context) {
    if (this.track.samples || this.whole) return;
    if (this.frames * 8 * this.track.stems.length > MOST_DECODED) {
      throw new Error("these files are too long for the browser; as WAV files they play at any length");
    }
    this.#decoding ??= Promise.all(this.track.stems.map(async (stem) => {
      const response = await fetch(`/api/tracks/${this.track.id}/files/${encodeURIComponent(stem)}`);
      if (!response.ok) throw new Error("a stem is gone");
      return context.decodeAudioData(await response.arrayBuffer());
    }));
    try {
      const every = await this.#decoding;
      this.frames = Math.min(this.frames, ...every.map((buffer) => buffer.length));
      this.whole = every.map((buffer) => Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n)));
    } finally {
      this.#decoding = null;
    }
  }

  close() {
    this.#closed = true;
    this.#worker?.terminate();
    this.#windows.clear();
  }
}
