// @ts-check
/** When the path changes at a message, that message stays where it stood in the window, and the focus on its arrow. */
import { BOUGH, HTMX, on } from "bough/events";
import { articles, find, scroller } from "bough/page";
import { drift } from "bough/position";

/**
 * What changes the path: the message's parent (all its versions have the same), where it stood, which arrow was pressed.
 * @typedef {{parent: string, top: number, direction: string, anchored: boolean}} Switch
 */
/** @type {Switch | null} */
let switching = null;

function asked({ detail }) {
  const control = /** @type {HTMLElement | null} */ (detail.elt);
  const message = control?.closest?.("article.message");
  if (!control || !message || detail.target?.id !== "turns") return;
  switching = {
    parent: message.getAttribute("data-parent") ?? "",
    top: message.getBoundingClientRect().top,
    direction: control.dataset.version ?? "",
    anchored: Boolean(document.querySelector("#turns > .turn[data-live]:last-of-type")),
  };
}

function settled({ detail }) {
  if (!switching || !detail.targets.includes("turns")) return;
  const { parent, top, direction, anchored } = switching;
  switching = null;
  const message = articles().find((node) => (node.dataset.parent ?? "") === parent);
  const turn = message?.closest(".turn:last-of-type");
  if (!message) return;
  layOut();
  if (anchored) document.querySelector("#turns > .turn:last-of-type")?.setAttribute("data-live", "");
  const left = place(message, top);
  // Too little text below to reach that place: let the turn fill the window, if that comes nearer.
  if (left > 1 && turn && !anchored) {
    turn.setAttribute("data-live", "");
    if (place(message, top) >= left) turn.removeAttribute("data-live");
  }
  if (direction) focusArrow(message, direction);
}

/** New articles have a guessed height until they are on screen: let them have their own, for good. */
function layOut() {
  const all = articles();
  for (const node of all) node.style.contentVisibility = "visible";
  // Their sizes are remembered once a frame has been drawn.
  requestAnimationFrame(() => {
    requestAnimationFrame(() => {
      for (const node of all) node.style.contentVisibility = "";
    });
  });
}

/**
 * Scroll so that a message stands at a height of the window.
 * @param {HTMLElement} message @param {number} top
 * @returns {number} pixels still missing
 */
function place(message, top) {
  const area = scroller();
  if (!area) return 0;
  area.scrollTop += drift(top, message.getBoundingClientRect().top);
  return Math.abs(drift(top, message.getBoundingClientRect().top));
}

/** @param {HTMLElement} message @param {string} direction */
function focusArrow(message, direction) {
  const arrows = [direction, direction === "next" ? "previous" : "next"];
  const arrow = arrows.map((one) => find(`[data-version=${one}]:not(:disabled)`, message)).find(Boolean);
  arrow?.focus({ preventScroll: true });
}

/** A switch that failed leaves everything where it is. */
function failed() {
  switching = null;
}

export function mount() {
  on(HTMX.beforeRequest, asked);
  on(BOUGH.swapped, settled);
  on(HTMX.responseError, failed);
  on(HTMX.sendError, failed);
}
