// @ts-check
/** When the path changes at a message, that message stays where it stood in the window, and the focus on its arrow. */
import { BOUGH, HTMX, on } from "bough/events";
import { articles, find, scroller } from "bough/page";
import { drift } from "bough/position";

/**
 * What changes the path: the message's parent (all its versions have the same), where it stood, which control was pressed,
 * how far answers side by side were scrolled.
 * @typedef {{parent: string, top: number, control: string, anchored: boolean, across: number}} Switch
 */
/** What takes the focus after a control that may not be there any more. @type {Record<string, string>} */
const INSTEAD = { next: "previous", previous: "next", compare: "close", close: "compare" };
const MARGIN = 72;
/** @type {Switch | null} */
let switching = null;

function asked({ detail }) {
  const control = /** @type {HTMLElement | null} */ (detail.elt);
  const place = control?.closest?.("article.message, .column, .beside");
  const message = place?.matches("article") ? place : find("article.message", place ?? undefined);
  if (!control || !place || !message || detail.target?.id !== "turns") return;
  switching = {
    parent: message.getAttribute("data-parent") ?? "",
    // A new answer begins at the top, however far down one read the old one.
    top: control.closest(".ask-form") ? topOf(scroller()) : message.getBoundingClientRect().top,
    control: control.dataset.version ?? "",
    across: find(".columns", message.closest(".beside") ?? document.createElement("i"))?.scrollLeft ?? 0,
    anchored: Boolean(document.querySelector("#turns > .turn[data-live]:last-of-type")),
  };
}

/** @param {Element | null} area */
const topOf = (area) => (area?.getBoundingClientRect().top ?? 0) + MARGIN;

function settled({ detail }) {
  if (!switching || !detail.targets.includes("turns")) return;
  const { parent, top, control, anchored, across } = switching;
  switching = null;
  const message = articles().find((node) => (node.dataset.parent ?? "") === parent);
  const turn = message?.closest(".turn:last-of-type");
  if (!message) return;
  const columns = message.closest(".columns");
  if (columns) columns.scrollLeft = across;
  layOut();
  if (anchored) document.querySelector("#turns > .turn:last-of-type")?.setAttribute("data-live", "");
  const left = place(message, top);
  // Too little text below to reach that place: let the turn fill the window, if that comes nearer.
  if (left > 1 && turn && !anchored) {
    turn.setAttribute("data-live", "");
    if (place(message, top) >= left) turn.removeAttribute("data-live");
  }
  if (control) focusControl(message.closest(".beside") ?? message, control);
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

/** @param {Element} place @param {string} control */
function focusControl(place, control) {
  const shown = [control, INSTEAD[control]].map((one) => find(`[data-version="${one}"]:not(:disabled)`, place));
  const found = shown.find((one) => one?.checkVisibility()) ?? find(".column[data-current] > .choose", place);
  found?.focus({ preventScroll: true });
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
