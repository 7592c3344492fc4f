// Off the page's thread: frames to floats, and a beat that hidden tabs do not slow down.

const readers = {
  int16: { bytes: 2, read: (view, at) => view.getInt16(at, true) / 32768 },
  int24: { bytes: 3, read: (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 8388608 },
  float32: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
};

/** Part a window's bytes into [stem][channel] of floats; the stems lie one after the other. */
export function parted(buffer, stems, start, count) {
  const view = new DataView(buffer);
  let at = 0;
  return stems.map(({ kind, channels, frames }) => {
    const { bytes, read } = readers[kind];
    const here = Math.max(0, Math.min(count, frames - start));
    const made = Array.from({ length: channels }, () => new Float32Array(count));
    for (let frame = 0; frame < here; frame += 1) {
      for (let channel = 0; channel < channels; channel += 1) {
        made[channel][frame] = read(view, at);
        at += bytes;
      }
    }
    return made;
  });
}

const BEAT = 100; // milliseconds

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  setInterval(() => postMessage({ beat: true }), BEAT);
  addEventListener("message", async ({ data }) => {
    const { url, stems, start, count, id } = data;
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(String(response.status));
      const found = parted(await response.arrayBuffer(), stems, start, count);
      postMessage({ id, found }, found.flat().map((each) => each.buffer));
    } catch (fault) {
      postMessage({ id, fault: String(fault) });
    }
  });
}
