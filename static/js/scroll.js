// @ts-check
/** The scroller: a way back to the end, steadiness where the engine has none, older pages without a jump. */
import { BOUGH, HTMX, on } from "bough/events";
import { find, liveArticles, scroller, turns } from "bough/page";
import { compensation, jumpShown, shouldPin } from "bough/position";
import { say } from "bough/words";

const anchors = typeof CSS !== "undefined" && CSS.supports("overflow-anchor", "auto");
let prepending = false;
let height = 0;
/** @type {Element | null} */
let observed = null;
/** @type {ResizeObserver | null} */
let observer = null;

/** @returns {HTMLButtonElement | null} */
function jumpButton() {
  return find("#jump");
}

function refreshJump() {
  const area = scroller();
  const button = jumpButton();
  if (!area || !button) return;
  const shown = jumpShown(!button.hidden, area.scrollTop);
  if (button.hidden === shown) button.hidden = !shown;
  if (shown || !button.hasAttribute("data-new")) return;
  button.removeAttribute("data-new");
  label(button, say("jump"));
}

function scrolled(event) {
  if (event.target === scroller()) refreshJump();
}

/** A reader who came back near the end follows again. */
function rested(event) {
  const area = scroller();
  if (area && event.target === area && shouldPin(area.scrollTop, liveArticles().length > 0)) area.scrollTop = 0;
}

function painted() {
  const button = jumpButton();
  if (!button || button.hidden || button.hasAttribute("data-new")) return;
  button.setAttribute("data-new", "");
  label(button, say("jump_new"));
}

/** @param {HTMLElement} button @param {string} words */
function label(button, words) {
  const place = find("[data-label]", button);
  if (place) place.textContent = words;
  else button.setAttribute("aria-label", words);
}

function pressed(event) {
  const button = event.target.closest?.("#jump");
  if (!button) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  scroller()?.scrollTo({ top: 0, behavior: still ? "auto" : "smooth" });
}

/** WebKit has no scroll anchoring: text that grows below a reader would push what they read. */
function observe() {
  const now = turns();
  if (anchors || now === observed) return;
  observer?.disconnect();
  observed = now;
  if (!now) return;
  height = now.offsetHeight;
  observer = new ResizeObserver(() => {
    const area = scroller();
    const grown = now.offsetHeight - height;
    height = now.offsetHeight;
    if (area) area.scrollTop += compensation(area.scrollTop, grown, prepending);
  });
  observer.observe(now);
}

function swapping({ detail }) {
  if (detail.target?.id === "older" || detail.elt?.id === "older") prepending = true;
}

function settled() {
  requestAnimationFrame(() => (prepending = false));
  observe();
  refreshJump();
}

export function mount() {
  on("scroll", scrolled, { capture: true, passive: true });
  on("scrollend", rested, { capture: true, passive: true });
  on("click", pressed);
  on(BOUGH.painted, painted);
  on(HTMX.beforeSwap, swapping);
  on(BOUGH.swapped, settled);
  settled();
}
