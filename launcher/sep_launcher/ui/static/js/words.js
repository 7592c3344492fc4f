// Numbers and states in words.

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function rough(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

export const percent = (share) => `${Math.floor(share * 100)} %`;
export const bytes = (count) => (count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(count / 1e6))} MB`);
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
export const decibels = (gain) => (gain <= 0 ? "−∞ dB" : `${(20 * Math.log10(gain)).toFixed(1).replace("-", "−")} dB`);

export const STATES = {
  waiting: "waiting",
  running: "working",
  asking: "has a question",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};

// Before that the model's loading weighs more than its speed.
const SETTLED = 0.08; // of the whole
const SETTLED_SECONDS = 30; // of a song

/** Say how a task is, in one line. */
export function status(task, share) {
  const all = task.songs.length;
  const well = task.songs.filter((each) => each.state === "done").length;
  if (["failed", "cancelled"].includes(task.state) && well) return `${STATES[task.state]}: ${well} of ${all} done`;
  if (task.state !== "running") return STATES[task.state];
  if (task.phase === "stopping") return "stopping";
  const told = [];
  if (all > 1) {
    const failed = task.songs.filter((each) => each.state === "failed").length;
    told.push(`${Math.min(well + failed + 1, all)} of ${all}`);
  }
  if (task.phase) told.push(task.phase);
  if (task.meter) told.push(`${task.meter.what}${task.meter.done ? ` ${bytes(task.meter.done)}` : ""}`);
  if (share !== null) told.push(percent(share));
  const settled = share >= SETTLED || task.songs.some((each) => each.done > SETTLED_SECONDS * each.rate);
  if (settled && task.left !== null) told.push(`${rough(task.left)} left`);
  if (settled && task.speed > 0) told.push(`${task.speed.toFixed(1)} × real time`);
  return told.join(", ") || "starting";
}
