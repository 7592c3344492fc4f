// The page begins: everything hears the one stream.
import { follow } from "./stream.js";
import { listen as listenToFiles } from "./add.js";
import { $, notice } from "./dom.js";
import { help, listen as listenToKeys } from "./keys.js";
import { look } from "./machine.js";
import { open, player } from "./tracks.js";
import { begin, state, take } from "./store.js";
import { draw } from "./options.js";
import "./queue.js";

let stopped = false;

draw();
listenToFiles();
listenToKeys();
$("help").addEventListener("click", help);
follow(
  (snapshot) => {
    begin(snapshot);
    if (!state.machine) look();
    const last = [...state.tracks.keys()].pop();
    if (last && !player) open(last);
  },
  take,
  (fault) => {
    if (fault) {
      stopped = true;
      notice(fault.message);
    } else if (stopped) {
      stopped = false;
      notice();
    }
  },
);
