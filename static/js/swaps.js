// @ts-check
/** One event for each swap of htmx, which itself tells every new element apart, and none where nothing is left. */
import { BOUGH, HTMX, emit, on } from "bough/events";
import { enliven } from "bough/page";

/** Targets of the swaps in this task. @type {Set<string>} */
const targets = new Set();

function swapped({ detail }) {
  // Before the next paint, and after htmx is done with all elements of the answer.
  if (!targets.size) queueMicrotask(tell);
  targets.add(detail.target?.id ?? "");
}

function tell() {
  const now = [...targets];
  targets.clear();
  // htmx itself waits 20 ms: a key pressed sooner would send the form behind a button and load a whole page.
  for (const id of now) {
    const element = id && document.getElementById(id);
    if (element) enliven(element);
  }
  emit(BOUGH.swapped, { targets: now });
}

export function mount() {
  on(HTMX.afterSwap, swapped);
  on(HTMX.afterRequest, swapped);
}
