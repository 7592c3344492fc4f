// This computer: where it computes and why, what is wrong with it, models with their licences.
import { get, post } from "./api.js";
import { $, dialog, el, notice } from "./dom.js";
import { finding } from "./queue.js";
import { on, state, tell } from "./store.js";
import { bytes } from "./words.js";

export async function look() {
  try {
    state.machine = await get("/api/machine");
    const { route } = state.machine;
    $("place").textContent = route.fault ?? `${route.place.replace(/^on /, "Computes on ")}${route.ready ? "" : ", once it is set up"}`;
    tell("machine");
  } catch (fault) {
    $("place").textContent = fault.message;
  }
}

const begin = (path) => async () => {
  try {
    await post(path);
    $("dialog").close();
  } catch (fault) {
    notice(fault.message);
  }
};

function computer() {
  const route = state.machine?.route ?? {};
  const found = el("div", {}, el("p", { class: "muted" }, "Looking …"));
  dialog("This computer",
    el("p", {}, $("place").textContent),
    route.reason ? el("p", { class: "muted" }, route.reason) : null,
    route.hint ? el("p", { class: "muted" }, route.hint) : null,
    el("p", { class: "row" }, route.ready ? null : el("button", { type: "button", class: "main", onclick: begin("/api/setup") }, "Set up …")),
    el("h3", {}, "What the doctor says"), found);
  get("/api/doctor").then(
    ({ findings = [] }) => found.replaceChildren(...(findings.length
      ? findings.map(finding)
      : [el("p", { class: "done" }, "All is well.")])),
    (fault) => found.replaceChildren(el("p", { class: "bad" }, fault.message)),
  );
}

function models() {
  const every = [...(state.machine?.models ?? [])].sort((one, other) => Number(other.installed) - Number(one.installed));
  dialog("Models",
    el("ul", {}, every.map((each) => el("li", {},
      el("div", { class: "row top" },
        el("h3", {}, each.name),
        each.installed ? el("span", { class: "done" }, "is here") : !each.fetchable ? el("span", { class: "muted" }, "not to be fetched") : el("button", { type: "button", onclick: begin(`/api/models/${encodeURIComponent(each.name)}`) }, `Get it${each.bytes ? ` (${bytes(each.bytes)})` : ""}`)),
      el("p", {}, each.summary),
      el("p", { class: "muted" }, `for ${each.expects}: ${(each.stems ?? []).join(", ")}. Licence: ${each.licence ?? "not known"}`)))));
}

$("computer").addEventListener("click", computer);
$("models").addEventListener("click", models);
on("tasks", (task) => {
  if (task && task.state === "done" && task.kind !== "run") look();
});
