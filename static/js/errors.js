// @ts-check
/** What went wrong, in words: one sentence on what happened, what was kept, one button. */
import { alert, announce } from "bough/announce";
import { renewToken } from "bough/csrf";
import { signInNotice } from "bough/dialogs";
import { HTMX, on } from "bough/events";
import { find, fragment } from "bough/page";
import { toast } from "bough/toasts";
import { say } from "bough/words";

/** Elements whose request was made once more. @type {WeakSet<Element>} */
const retried = new WeakSet();

/** @typedef {{status: number, text?: string, headers?: {get(name: string): string | null}, timedOut?: boolean}} Failure */

/**
 * Find the sentence for a failed request.
 * @param {Failure} failure
 * @returns {string}
 */
export function sentence({ status, headers, timedOut }) {
  if (timedOut) return say("error_timeout");
  if (status === 0) return navigator.onLine ? say("error_network") : say("offline");
  if (status === 401) return say("sign_in_again");
  if (status === 403) return say("error_csrf");
  if (status === 404) return say("error_gone");
  if (status === 409) return say("error_conflict");
  if (status === 413) return say("error_too_big");
  if (status === 429) return say("error_limit", { time: clock(Number(headers?.get("Retry-After")) || 60) });
  if (status === 503) return say("error_updating");
  const ref = headers?.get("X-Request-ID")?.slice(0, 8);
  return ref ? say("error_server_ref", { ref }) : say("error_server");
}

/** Write seconds as 3:12. @param {number} seconds */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** The server's own words, where it gave some. @param {Failure} failure @returns {HTMLElement | null} */
const ownWords = ({ text }) => find("[role=alert]", fragment(text ?? ""));

/**
 * Explain a failure in its place; the server's own words where it gave some.
 * @param {Failure} failure
 * @param {HTMLElement | null} place
 */
export function explain(failure, place) {
  if (failure.status === 401) return signInNotice();
  if (!place) return raise(failure);
  const own = ownWords(failure);
  if (own) place.replaceChildren(own);
  else place.replaceChildren(line(sentence(failure)));
  const seconds = Number(failure.headers?.get("Retry-After"));
  if (failure.status === 429 && seconds) countDown(place, seconds);
}

/** @param {string} words */
function line(words) {
  const node = document.createElement("p");
  node.className = "error";
  node.setAttribute("role", "alert");
  node.textContent = words;
  return node;
}

/** Count down to the next send, second by second, and say when it is there. @param {HTMLElement} place @param {number} seconds */
function countDown(place, seconds) {
  const node = /** @type {HTMLElement} */ (place.firstElementChild);
  // The numbers change each second: only their first and last are told aloud.
  node.setAttribute("aria-live", "off");
  const until = Date.now() + seconds * 1000;
  const timer = window.setInterval(() => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (!node.isConnected) return clearInterval(timer);
    if (left > 0) return (node.textContent = say("error_limit", { time: clock(left) }));
    clearInterval(timer);
    node.textContent = say("error_limit_over");
    announce(say("error_limit_over"));
  }, 1000);
}

/** Tell at the edge of the page. @param {Failure} failure */
export function raise(failure) {
  if (failure.status === 401) return signInNotice();
  const words = ownWords(failure)?.textContent?.trim() || sentence(failure);
  const reload = failure.status === 403 ? { action: say("reload"), run: () => location.reload() } : {};
  toast({ text: words, error: true, ...reload });
  alert(words);
}

async function refused({ detail }) {
  if (detail.xhr.status === 403 && (await askAgain(detail.elt))) return;
  const xhr = /** @type {XMLHttpRequest} */ (detail.xhr);
  const headers = { get: (/** @type {string} */ name) => xhr.getResponseHeader(name) };
  const failure = { status: xhr.status, text: xhr.responseText, headers };
  const place = /** @type {Element | undefined} */ (detail.elt)?.closest?.("form, [data-errors]");
  explain(failure, place ? find(".form-error", place) : null);
}

/** A page that was open too long has an old token: with a fresh one the same press is made once more. @param {HTMLElement} element */
async function askAgain(element) {
  if (retried.has(element) || !element.isConnected || !(await renewToken())) return false;
  retried.add(element);
  if (element instanceof HTMLFormElement) element.requestSubmit();
  else element.click();
  return true;
}

function unreached() {
  raise({ status: 0 });
}

function late() {
  raise({ status: 0, timedOut: true });
}

function broken() {
  raise({ status: 500 });
}

export function mount() {
  on(HTMX.responseError, refused);
  on(HTMX.sendError, unreached);
  on(HTMX.timeout, late);
  on(HTMX.swapError, broken);
}
