// The keyboard: letters for who plays, none of them where somebody writes.
import { dialog, el, keep, kept } from "./dom.js";
import { player } from "./tracks.js";

const KEY = "letters";
const KEYS = [
  ["Space", "play, pause"], ["Home", "to the beginning"], ["← →", "5 s back, on; with Shift 1 s"],
  ["↑ ↓", "the lane before, after"], ["M", "mute the lane"], ["S", "solo the lane; with Shift it alone"],
  ["1 to 9", "solo this lane"], ["L", "loop"], ["I, O", "the loop begins, ends here"],
  ["B", "hold it: all together"], ["+ −", "zoom"], ["?", "this list"],
];

const PRESSED = "button, a, summary, input[type=checkbox]"; // what Space presses
let clicked = null; // what has the focus by the mouse
let held = false; // whether B is what makes all be heard

const letters = () => kept(KEY) !== "off";

function release() {
  if (held) player?.setWhole(false);
  held = false;
}

export function help() {
  dialog("Keys",
    el("dl", {}, KEYS.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("p", { class: "checks" }, el("label", {},
      el("input", { type: "checkbox", ".checked": letters(), onchange: (event) => keep(KEY, event.target.checked ? "on" : "off") }),
      "letters and digits are keys of the player")));
}

const writes = (target) => target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]");

/** Say which lane the keyboard is at. */
function lane() {
  return player?.lanes.find((each) => each.root.contains(document.activeElement)) ?? player?.lanes[0];
}

function step(by) {
  const lanes = player?.lanes ?? [];
  const here = lanes.findIndex((each) => each.root.contains(document.activeElement));
  lanes[Math.max(0, Math.min(lanes.length - 1, here < 0 ? 0 : here + by))]?.root.focus();
}

/** Say whether the arrows are the player's, and do not scroll a list or the page. */
const steps = (target) => target !== document.body && !target.closest?.(".songs");

function act(event) {
  const { key, shiftKey, target } = event;
  const slider = target.matches?.("input[type=range]") && target !== player?.seeker;
  if (key === "?" && letters()) return help();
  if (!player) return false;
  if (key === " ") {
    // Who pressed a button with the mouse wants to play; who is at it by Tab wants the button.
    const pressed = target.closest?.(PRESSED);
    if (pressed && pressed !== clicked) return false;
    return player.toggle();
  }
  if (slider && (key.startsWith("Arrow") || key === "Home" || key === "End")) return false;
  if (key === "Home") return player.engine.seek(0);
  if (key === "ArrowLeft") return player.skip(shiftKey ? -1 : -5);
  if (key === "ArrowRight") return player.skip(shiftKey ? 1 : 5);
  if (key === "ArrowUp" || key === "ArrowDown") {
    return steps(target) ? step(key === "ArrowUp" ? -1 : 1) : false;
  }
  if (!letters()) return false;
  if (/^[1-9]$/.test(key) && player.lanes[key - 1]) return player.solo(player.lanes[key - 1], shiftKey);
  switch (key.toLowerCase()) {
    case "m": return player.mute(lane());
    case "s": return player.solo(lane(), shiftKey);
    case "l": return player.toggleLoop();
    case "i": return player.edge("in");
    case "o": return player.edge("out");
    case "b":
      if (!event.repeat) held = !player.whole;
      return player.setWhole(true);
    case "+": case "=": return player.zoom(0.5);
    case "-": return player.zoom(2);
    default: return false;
  }
}

export function listen() {
  addEventListener("pointerdown", (event) => { clicked = event.target.closest?.(PRESSED) ?? null; });
  // Drawn anew it is another element with the same key, and still what the mouse has pressed.
  addEventListener("focusin", ({ target }) => {
    if (target === clicked) return;
    const same = clicked && target.dataset?.key && target.dataset.key === clicked.dataset.key;
    clicked = same ? target : null;
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || writes(event.target) || document.querySelector("dialog[open]")) return;
    if (act(event) !== false) event.preventDefault();
  });
  addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "b") release();
  });
  addEventListener("blur", release);
}
