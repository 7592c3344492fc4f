// The numbered events. Browsers give a server six connections, so of all tabs that are seen one holds
// the stream and tells the others; who missed an event asks for everything.
import { Fault, get } from "./api.js";

const NAME = "sep.events"; // of the channel and of the lock
const LATER = 1500; // milliseconds before the next try
const stopped = () => new Fault("sep has stopped", "start it again: sep ui", 0, {});

/** `begin(snapshot)` gets everything, `take(event)` each event after it, `lost(fault)` why none comes. */
export function follow(begin, take, lost) {
  const channel = new BroadcastChannel(NAME);
  let number = -1; // of the last event that is known; -1: none
  let busy = false; // asking for everything
  let early = []; // events that came meanwhile
  let again = 0;
  let source = null;
  let leading = null; // {stop, release}: waits for the lock, or has it

  async function know() {
    clearTimeout(again);
    if (busy || document.hidden) return;
    busy = true;
    early = [];
    try {
      const found = await get("/api/state");
      number = found.number;
      begin(found);
      lost(null);
      for (const each of early) hear(each);
      lead();
    } catch (fault) {
      gone(fault);
    } finally {
      busy = false;
    }
  }

  function hear(told) {
    if (told.gone) {
      gone(stopped());
    } else if (busy && number < 0) {
      early.push(told);
    } else if (told.number > number) {
      if (told.number !== number + 1 || told.event.kind === "again") {
        number = -1;
        know();
        return;
      }
      number = told.number;
      take(told.event);
    }
  }

  function lead() {
    if (leading || document.hidden) return;
    const stop = new AbortController();
    leading = { stop, release: null };
    const mine = leading;
    navigator.locks.request(NAME, { signal: stop.signal }, () => new Promise((release) => {
      mine.release = release;
      open();
    })).catch(() => {}).finally(() => {
      if (leading === mine) leading = null;
    });
  }

  function open() {
    source = new EventSource(`/api/events?after=${number}`);
    source.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.kind === "bye") {
        over();
        return;
      }
      const told = { event, number: event.kind === "again" ? Infinity : Number(message.lastEventId) };
      channel.postMessage(told);
      hear(told);
    };
    source.onerror = over;
  }

  function over() {
    channel.postMessage({ gone: true });
    gone(stopped());
  }

  function gone(fault) {
    leave();
    number = -1; // a new server counts from elsewhere
    lost(fault);
    clearTimeout(again);
    again = setTimeout(know, LATER);
  }

  function leave() {
    source?.close();
    source = null;
    leading?.release?.();
    leading?.stop.abort();
    leading = null;
  }

  channel.onmessage = ({ data }) => hear(data);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else {
      number = -1;
      know();
    }
  });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && know());
  know();
}
