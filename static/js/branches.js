// @ts-check
/** Switching versions: the switched message stays where it stood in the window, and the focus on its arrow. */
import { HTMX, on } from "bough/events";
import { articles, find, scroller } from "bough/page";
import { drift } from "bough/position";

/** Where the message stood, by its parent: all versions have the same. @type {{parent: string, top: number, direction: string} | null} */
let switching = null;

/** @param {CustomEvent} event */
function asked({ detail }) {
  const control = /** @type {HTMLElement | null} */ (detail.elt);
  const message = control?.closest?.("article.message");
  if (!control?.matches?.("[data-version]") || !message) return;
  switching = {
    parent: message.getAttribute("data-parent") ?? "",
    top: message.getBoundingClientRect().top,
    direction: control.dataset.version ?? "next",
  };
}

/** Put the new version where the old one stood. */
function settled() {
  if (!switching) return;
  const { parent, top, direction } = switching;
  const message = articles().find((node) => (node.dataset.parent ?? "") === parent);
  const area = scroller();
  switching = null;
  if (!message || !area) return;
  area.scrollTop += drift(top, message.getBoundingClientRect().top);
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
  on(HTMX.afterSettle, settled);
  on(HTMX.responseError, failed);
  on(HTMX.sendError, failed);
}
