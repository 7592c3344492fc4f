// The list of tracks, and which of them is in the player.
import { get } from "./api.js";
import { $, announce, el, fill, notice } from "./dom.js";
import { Mixer } from "./mixer.js";
import { on, state } from "./store.js";
import { clock, count } from "./words.js";

const SOON = 50; // milliseconds in which many songs may be done at once

export let player = null;
let opening = 0;
let wanted = false; // whether a person has chosen what is in the player, or pressed something there

$("player").addEventListener("pointerdown", () => { wanted = true; });
$("player").addEventListener("keydown", () => { wanted = true; });

/** Show a track, and hear it when somebody presses Play; `chosen` by a person. */
export async function open(id, { chosen = false } = {}) {
  const mine = (opening += 1);
  wanted ||= chosen;
  if (player?.track.id === id) {
    if (chosen) $("player").scrollIntoView({ block: "nearest" });
    return;
  }
  try {
    const track = await get(`/api/tracks/${id}`);
    if (mine !== opening) return;
    player?.close();
    player = new Mixer(track);
    list();
    if (chosen) $("player").scrollIntoView({ block: "nearest" });
  } catch (fault) {
    if (mine === opening) notice(fault.message);
  }
}

/** Return the folder above a track's own: tracks of one name are told apart by it. */
const folder = (out) => out.split(/[\\/]/).filter(Boolean).slice(-2)[0] ?? out;

function list() {
  const every = [...state.tracks.values()].reverse();
  $("tracks-section").hidden = !every.length;
  document.body.classList.toggle("has-work", every.length + state.tasks.size > 0);
  fill($("tracks"), every.map((track) => el("li", {},
    el("button", { type: "button", "data-key": `track ${track.id}`, "aria-current": String(player?.track.id === track.id), onclick: () => open(track.id, { chosen: true }) },
      el("span", {}, track.title),
      el("small", {}, `${clock(track.frames / track.rate)}, ${count(track.stems.length, "stem")}, in ${folder(track.out)}`)))));
  if (player && !state.tracks.has(player.track.id)) {
    player.close();
    player = null;
    wanted = false;
    announce("It is no longer in the list; its files stay");
    $("tracks-title").focus();
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
    if (newest && state.tracks.has(newest) && !wanted) open(newest);
    newest = null;
  }, SOON);
});
