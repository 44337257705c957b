// @ts-check
/** Short notes at the edge: three at most, errors stay until dismissed, Undo for ten seconds. */
import { BOUGH, on } from "bough/events";
import { find } from "bough/page";
import { say } from "bough/words";

const MOST = 3;
const BRIEF = 6000;
const UNDO = 10_000;
/** Toasts whose time runs. @type {WeakSet<Element>} */
const timed = new WeakSet();

/**
 * Show a note.
 * @param {{text: string, error?: boolean, action?: string, run?: () => void, stay?: number}} note
 * @returns {HTMLElement | null}
 */
export function toast({ text, error = false, action, run, stay = BRIEF }) {
  const place = find("#toasts");
  if (!place) return null;
  for (const same of place.querySelectorAll(".toast")) if (find(".toast-text", same)?.textContent === text) same.remove();
  const node = document.createElement("div");
  node.className = "toast";
  if (error) node.dataset.kind = "error";
  node.setAttribute("role", error ? "alert" : "status");
  const words = document.createElement("p");
  words.className = "toast-text";
  words.textContent = text;
  node.append(words);
  if (action && run) node.append(button(action, () => (node.remove(), run())));
  const out = button("×", () => node.remove());
  out.className = "icon-button toast-dismiss";
  out.setAttribute("aria-label", say("dismiss"));
  node.append(out);
  place.append(node);
  trim(place);
  if (!error) expire(node, stay);
  return node;
}

/** @param {string} text @param {() => void} run */
function button(text, run) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = "text-button";
  node.textContent = text;
  node.addEventListener("click", run);
  return node;
}

/** @param {HTMLElement} place */
function trim(place) {
  const all = place.querySelectorAll(".toast");
  for (let index = 0; index < all.length - MOST; index += 1) all[index].remove();
}

/** Let a toast leave after its time; not while it is pointed at or holds the focus. @param {Element} node @param {number} stay */
function expire(node, stay) {
  if (timed.has(node)) return;
  timed.add(node);
  const leave = () => {
    if (node.matches(":hover, :focus-within")) window.setTimeout(leave, 1000);
    else node.remove();
  };
  window.setTimeout(leave, stay);
}

/** Toasts the server put there get their time, and a way out; its bare sentences become toasts. */
function adopt() {
  const place = find("#toasts");
  if (!place) return;
  for (const bare of place.querySelectorAll(":scope > .error")) {
    bare.remove();
    toast({ text: bare.textContent?.trim() ?? "", error: true });
  }
  for (const node of place.querySelectorAll(".toast:not([data-kind=error])")) {
    expire(node, find("form", node) ? UNDO : BRIEF);
  }
  trim(place);
}

function dismissed(event) {
  const target = event.target;
  target.closest?.(".toast-dismiss")?.closest(".toast")?.remove();
}

export function mount() {
  on(BOUGH.swapped, adopt);
  on("click", dismissed);
  adopt();
}
