// @ts-check
/** One part of an answer put on screen: settled blocks once, before the tail; the tail at each frame. */
import { find } from "bough/page";

/** Which text is in an element. @type {WeakMap<Element, {part: import("./frames.js").Part, version: number, settled: number}>} */
const painted = new WeakMap();

/**
 * Show one part as it stands.
 * @param {HTMLElement} element the article
 * @param {number} i
 * @param {import("./frames.js").Part} part
 */
export function paintPart(element, i, part) {
  const holder = partElement(element, i, part.kind);
  const body = holder && find(".md", holder);
  if (!body) return;
  let state = painted.get(body);
  if (state?.part !== part || state.version !== part.version) {
    body.replaceChildren();
    state = { part, version: part.version, settled: 0 };
    painted.set(body, state);
  }
  const tail = find(":scope > .tail", body) ?? body.appendChild(newTail());
  if (state.settled < part.settled.length) {
    // HTML of our own renderer, sanitised on the server.
    tail.insertAdjacentHTML("beforebegin", part.settled.slice(state.settled).join(""));
    state.settled = part.settled.length;
  }
  tail.innerHTML = part.tail;
}

/**
 * Take away what an attempt that was given up had written.
 * @param {HTMLElement} element the article
 * @param {Map<number, unknown>} parts
 */
export function keepParts(element, parts) {
  for (const part of element.querySelectorAll(".parts > .part")) {
    if (!parts.has(Number(/** @type {HTMLElement} */ (part).dataset.part))) part.remove();
  }
}

function newTail() {
  const tail = document.createElement("div");
  tail.className = "tail";
  return tail;
}

/**
 * Find the element of a part, or make it from the page's template.
 * @param {HTMLElement} element @param {number} i @param {string} kind
 * @returns {HTMLElement | null}
 */
function partElement(element, i, kind) {
  const parts = find(".parts", element);
  if (!parts) return null;
  const there = find(`:scope > .part[data-part="${i}"]`, parts);
  if (there?.dataset.kind === kind) return there;
  const template = find(`template#part-${kind}`);
  const made = /** @type {HTMLElement | null} */ (template?.content.firstElementChild?.cloneNode(true) ?? null);
  if (!made) return there;
  made.dataset.part = String(i);
  made.dataset.kind = kind;
  const after = Array.from(parts.children).find((node) => Number(/** @type {HTMLElement} */ (node).dataset.part) >= i);
  if (there) there.replaceWith(made);
  else parts.insertBefore(made, after ?? null);
  return made;
}
