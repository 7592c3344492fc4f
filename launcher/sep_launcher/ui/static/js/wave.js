// Shapes of stems on canvas, from pairs of a least and a greatest sample, a hundred a second.
import { get } from "./api.js";
import { el } from "./dom.js";

export const PER_SECOND = 100;
const POWER = 0.6;

export function unpack(text) {
  const raw = atob(text);
  const made = new Int8Array(raw.length);
  for (let index = 0; index < raw.length; index += 1) made[index] = raw.charCodeAt(index);
  return made;
}

/** Return the greatest size of a sample in pairs, at least a little. */
export const most = (pairs) => pairs.reduce((found, each) => Math.max(found, Math.abs(each)), 8);

/** Return the pairs of samples [channel], as the server tells them of WAV files. */
export function shapeOf(channels, rate) {
  const count = Math.ceil((channels[0].length / rate) * PER_SECOND);
  const made = new Int8Array(2 * count);
  for (let pair = 0; pair < count; pair += 1) {
    const begin = Math.floor((pair * rate) / PER_SECOND);
    const parts = channels.map((each) => each.subarray(begin, Math.floor(((pair + 1) * rate) / PER_SECOND)));
    const low = Math.min(...parts.map((part) => part.reduce((least, each) => Math.min(least, each), 1)));
    const high = Math.max(...parts.map((part) => part.reduce((greatest, each) => Math.max(greatest, each), -1)));
    made[2 * pair] = Math.max(-127, Math.floor(low * 127));
    made[2 * pair + 1] = Math.min(127, Math.ceil(high * 127));
  }
  return made;
}

/**
 * Draw pairs from `begin` to `end` (pairs, may be fractions) over the whole canvas; `full` fills it.
 * Quiet parts are drawn larger than they are: heights go by a power, as loudness does.
 */
export function draw(canvas, pairs, begin, end, color, full = 127) {
  const ratio = devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const brush = canvas.getContext("2d");
  brush.clearRect(0, 0, width, height);
  brush.fillStyle = color;
  const step = (end - begin) / width;
  const middle = height / 2;
  const tall = (value) => (Math.abs(value) > 1 ? Math.sign(value) * Math.min(1, Math.abs(value) / full) ** POWER * middle : 0);
  for (let x = 0; x < width; x += 1) {
    const first = Math.floor(begin + x * step);
    const last = Math.max(first + 1, Math.floor(begin + (x + 1) * step));
    let low = 127;
    let high = -127;
    for (let pair = first; pair < last && 2 * pair + 1 < pairs.length; pair += 1) {
      low = Math.min(low, pairs[2 * pair]);
      high = Math.max(high, pairs[2 * pair + 1]);
    }
    if (high < low) continue;
    const top = middle - tall(high);
    brush.fillRect(x, top, 1, Math.max(ratio, tall(high) - tall(low)));
  }
}

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The shapes of songs in the making: they grow on the page while the runtime works. */
export class Shapes {
  #songs = new Map(); // song -> Map(stem -> Int8Array)
  #canvases = new Map(); // stem -> canvas, of the song that is shown
  #shown = null;
  #due = false;

  take(event) {
    const pairs = unpack(event.pairs);
    const stems = this.#songs.get(event.song) ?? new Map();
    this.#songs.set(event.song, stems);
    const was = stems.get(event.stem) ?? { data: new Int8Array(4096), size: 0 };
    const size = 2 * event.first + pairs.length;
    if (size > was.data.length) {
      const more = new Int8Array(Math.max(size, 2 * was.data.length));
      more.set(was.data.subarray(0, was.size));
      was.data = more;
    }
    was.data.set(pairs, 2 * event.first);
    was.size = size;
    stems.set(event.stem, was);
    if (event.song === this.#shown?.id) this.#later();
  }

  /** Forget all: what was missed meanwhile is asked for. */
  forget() {
    this.#songs.clear();
    if (this.#shown) this.#fetch(this.#shown);
  }

  /** Return the lanes of a song that is being made. */
  lanes(song) {
    if (this.#shown?.id !== song.id) {
      for (const id of [...this.#songs.keys()]) if (id !== song.id) this.#songs.delete(id);
      this.#canvases.clear();
      this.#root = el("div", { class: "growing", "aria-hidden": "true" });
      this.#fetch(song);
    }
    this.#shown = song;
    this.#later();
    return this.#root;
  }

  #root = null;

  async #fetch(song) {
    try {
      const found = await get(`/api/tracks/${song.id}/peaks`);
      const stems = this.#songs.get(song.id) ?? new Map();
      for (const [stem, text] of Object.entries(found)) {
        const data = unpack(text);
        if (data.length > (stems.get(stem)?.size ?? 0)) stems.set(stem, { data, size: data.length });
      }
      this.#songs.set(song.id, stems);
      this.#later();
    } catch {
      // they come as events
    }
  }

  #later() {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => {
      this.#due = false;
      this.#draw();
    }, 120);
  }

  #draw() {
    const song = this.#shown;
    const stems = this.#songs.get(song?.id);
    if (!song || !stems || !this.#root?.isConnected) return;
    for (const [stem, { data, size }] of stems) {
      const pairs = data.subarray(0, size);
      let canvas = this.#canvases.get(stem);
      if (!canvas) {
        canvas = el("canvas", {});
        this.#canvases.set(stem, canvas);
        this.#root.append(el("span", {}, stem), canvas);
      }
      const whole = song.rate ? (song.total / song.rate) * PER_SECOND : pairs.length / 2;
      draw(canvas, pairs, 0, Math.max(whole, pairs.length / 2, 1), color("--wave"));
    }
  }
}
