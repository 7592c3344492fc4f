// Elements without HTML in strings: whatever a song is called, it is text.

/** Make an element: attributes, properties beginning with a dot, listeners beginning with on. */
export function el(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) made[name.slice(1)] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

export const $ = (id) => document.getElementById(id);

/** Replace what is in an element, and leave the focus where it was if that can be. */
export function fill(parent, ...children) {
  const key = document.activeElement?.dataset?.key;
  const inside = key && parent.contains(document.activeElement);
  parent.replaceChildren(...children.flat().filter(Boolean));
  if (inside) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** Say something to who cannot see it. */
export function announce(text) {
  $("live").textContent = text;
}

let last = null;

/** Open the dialog with a title; it closes by Escape and gives the focus back. */
export function dialog(title, ...children) {
  const box = $("dialog");
  if (!box.open) last = document.activeElement;
  fill(
    box,
    el("div", { class: "top" },
      el("h2", { id: "dialog-title" }, title),
      el("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Close")),
    ...children,
  );
  if (!box.open) box.showModal();
  return box;
}

$("dialog").addEventListener("close", () => last?.focus?.());

/** Tell what went wrong, where everybody sees it; nothing takes it away. */
export function notice(text = "") {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}
