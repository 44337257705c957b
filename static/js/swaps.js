// @ts-check
/** One event for each swap of htmx, which itself tells every new element apart, and none where nothing is left. */
import { BOUGH, HTMX, emit, on } from "bough/events";

/** Targets of the swaps in this task. @type {Set<string>} */
const targets = new Set();

/** @param {CustomEvent} event */
function swapped({ detail }) {
  // Before the next paint, and after htmx is done with all elements of the answer.
  if (!targets.size) queueMicrotask(tell);
  targets.add(detail.target?.id ?? "");
}

function tell() {
  const now = [...targets];
  targets.clear();
  emit(BOUGH.swapped, { targets: now });
}

export function mount() {
  on(HTMX.afterSwap, swapped);
  on(HTMX.afterRequest, swapped);
}
