// What is to be heard when, in whole frames: pieces of windows, round and round in a loop. Pure.

export const WINDOW_SECONDS = 2;

/**
 * Return pieces [{frame, count, at}] from `frame` on until `until` frames of time are full.
 * `at` counts from the beginning; a piece never crosses the end of a window, of the loop, of the song.
 */
export function pieces({ frame, at, until, frames, size, loop }) {
  const found = [];
  const stop = loop && Math.min(loop.end, frames);
  let here = frame;
  let time = at;
  while (time < until) {
    if (loop && here >= stop) here = loop.begin;
    if (here >= frames) return { found, frame: here, at: time, over: true };
    const end = Math.min(frames, (Math.floor(here / size) + 1) * size, loop && here < stop ? stop : frames);
    found.push({ frame: here, count: end - here, at: time });
    time += end - here;
    here = end;
  }
  return { found, frame: here, at: time, over: false };
}

/** Return the frame that is heard at a time, of pieces that were scheduled. */
export function heard(scheduled, time) {
  for (let index = scheduled.length - 1; index >= 0; index -= 1) {
    const { frame, count, at } = scheduled[index];
    if (time >= at) return frame + Math.min(count, time - at);
  }
  return scheduled.length ? scheduled[0].frame : 0;
}
