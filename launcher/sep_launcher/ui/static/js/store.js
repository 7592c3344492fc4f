// What the page knows of the server: a snapshot, changed by events in their order.

const listeners = new Map(); // kind -> functions

export const state = { tasks: new Map(), tracks: new Map(), reveals: false, version: "", machine: null };

/** Hear of a change: tasks, song, progress, peaks, tracks, machine. */
export function on(kind, listener) {
  listeners.set(kind, [...(listeners.get(kind) ?? []), listener]);
}

export function tell(kind, about) {
  for (const each of listeners.get(kind) ?? []) each(about);
}

export function begin(found) {
  state.version = found.version;
  state.reveals = found.reveals;
  state.tasks = new Map(found.tasks.map((each) => [each.id, each]));
  state.tracks = new Map(found.tracks.map((each) => [each.id, each]));
  tell("begin");
  tell("tasks");
  tell("tracks");
}

export function take(event) {
  const task = typeof event.task === "string" ? state.tasks.get(event.task) : null;
  switch (event.kind) {
    case "task":
      // Without its songs they are as they were.
      state.tasks.set(event.task.id, { songs: state.tasks.get(event.task.id)?.songs ?? [], ...event.task });
      return tell("tasks", event.task);
    case "gone":
      state.tasks.delete(event.task);
      return tell("tasks");
    case "song":
      if (!task) return undefined;
      task.songs[event.index] = event.song;
      return tell("tasks", task);
    case "progress": {
      const song = task?.songs.find((each) => each.id === event.song);
      if (!song) return undefined;
      Object.assign(song, { done: event.done, total: event.total, rate: event.rate });
      Object.assign(task, { left: event.left, speed: event.speed });
      return tell("progress", { task, song });
    }
    case "meter":
      if (!task) return undefined;
      task.meter = event.meter;
      return tell("progress", { task });
    case "peaks":
      return tell("peaks", event);
    case "track":
      state.tracks.delete(event.track.id);
      state.tracks.set(event.track.id, event.track);
      return tell("tracks", event.track);
    case "forgotten":
      state.tracks.delete(event.track);
      return tell("tracks");
    default:
      return undefined;
  }
}

/** Say how far a task is, from 0 to 1; null where that is not known. */
export function share(task) {
  if (!task.songs.length) return task.meter?.total ? task.meter.done / task.meter.total : null;
  const parts = task.songs.map((song) => (song.total ? Math.min(1, song.done / song.total) : song.state === "failed" ? 1 : 0));
  return parts.reduce((sum, each) => sum + each, 0) / parts.length;
}
