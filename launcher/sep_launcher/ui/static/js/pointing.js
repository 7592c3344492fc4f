// A waveform under the mouse or a finger: a click seeks, a drag with Shift chooses a part.

/** `frame(share)` says which frame is there; the others are told of what was done. */
export function pointing(wave, { frame, seek, mark, choose, leave }) {
  const at = (event) => {
    const box = wave.getBoundingClientRect();
    return frame(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  let begin = null;
  wave.addEventListener("click", (event) => !event.shiftKey && seek(at(event)));
  wave.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey || event.button || !event.isPrimary) return;
    begin = at(event);
    wave.setPointerCapture(event.pointerId);
  });
  wave.addEventListener("pointermove", (event) => begin !== null && mark(begin, at(event)));
  wave.addEventListener("pointercancel", () => {
    begin = null;
    leave();
  });
  wave.addEventListener("pointerup", (event) => {
    if (begin !== null) choose(begin, at(event));
    begin = null;
  });
}
