// The list of tracks, and which of them is in the player.
import { get } from "./api.js";
import { $, el, fill, notice } from "./dom.js";
import { Mixer } from "./mixer.js";
import { on, state } from "./store.js";
import { clock, count } from "./words.js";

const SOON = 50; // milliseconds in which many songs may be done at once

export let player = null;
let opening = 0;

/** Show a track, and hear it when somebody presses Play. */
export async function open(id, { scroll = false } = {}) {
  const mine = (opening += 1);
  try {
    const track = await get(`/api/tracks/${id}`);
    if (mine !== opening) return;
    player?.close();
    player = new Mixer(track);
    list();
    if (scroll) $("player").scrollIntoView({ block: "nearest" });
  } catch (fault) {
    if (mine === opening) notice(fault.message);
  }
}

function list() {
  const every = [...state.tracks.values()].reverse();
  $("tracks-section").hidden = !every.length;
  document.body.classList.toggle("has-work", every.length + state.tasks.size > 0);
  fill($("tracks"), every.map((track) => el("li", {},
    el("button", { type: "button", "data-key": `track ${track.id}`, "aria-current": String(player?.track.id === track.id), onclick: () => open(track.id, { scroll: true }) },
      el("span", {}, track.title),
      el("small", {}, `${clock(track.frames / track.rate)}, ${count(track.stems.length, "stem")}`)))));
  if (player && !state.tracks.has(player.track.id)) {
    player.close();
    player = null;
  }
}

let due = false;
let newest = null;

on("tracks", (track) => {
  newest = track?.id ?? newest;
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    list();
    if (newest && state.tracks.has(newest) && !player?.engine.playing) open(newest);
    newest = null;
  }, SOON);
});
