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
  const within = parent.contains(document.activeElement) && document.activeElement !== document.body;
  parent.replaceChildren(...children.flat().filter(Boolean));
  const again = inside && parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (again) again.focus({ preventScroll: true });
  else if (within) {
    const near = parent.querySelector("h2, h3") ?? parent;
    near.tabIndex = -1; // what had the focus is gone
    near.focus({ preventScroll: true });
  }
}

/** Remember something for the next time, where the browser allows it. */
export function keep(key, value) {
  try {
    localStorage.setItem(`sep.${key}`, value);
  } catch {
    // it is kept while the page is open, or not at all
  }
}

export function kept(key) {
  try {
    return localStorage.getItem(`sep.${key}`);
  } catch {
    return null;
  }
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

$("dialog").addEventListener("close", () => {
  $("main").prepend($("notice"));
  last?.focus?.();
});

/** Tell what went wrong, where everybody sees it; nothing takes it away. */
export function notice(text = "") {
  const box = $("notice");
  if (box.textContent === text) return;
  box.textContent = text;
  box.hidden = !text;
  const open = document.querySelector("dialog[open]"); // behind it nothing is seen or said
  (open ?? $("main")).prepend(box);
}
