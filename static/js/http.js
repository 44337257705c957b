// @ts-check
/** Requests of our own (htmx makes the others): same headers, one shape of answer, never throws for HTTP. */
import { csrfToken, renewToken } from "bough/csrf";
import { BOUGH, emit } from "bough/events";

/** @typedef {{status: number, ok: boolean, text: string, headers: Headers, timedOut: boolean}} Reply `status` 0: not reached */
/** @typedef {{method?: string, body?: URLSearchParams | FormData | null, timeout?: number}} Options */

/**
 * Ask the server and read the whole answer; a POST refused for its old token is sent once more with a fresh one.
 * @param {string} url
 * @param {Options} [options]
 * @returns {Promise<Reply>}
 */
export async function ask(url, options = {}) {
  const reply = await askOnce(url, options);
  if (reply.status === 401) emit(BOUGH.expired);
  if (reply.status !== 403 || (options.method ?? "GET") === "GET" || !(await renewToken())) return reply;
  return askOnce(url, options);
}

/** @param {string} url @param {Options} options @returns {Promise<Reply>} */
async function askOnce(url, { method = "GET", body = null, timeout = 30_000 }) {
  const headers = new Headers({ "HX-Request": "true", Accept: "text/html" });
  if (method !== "GET") {
    headers.set("X-CSRFToken", csrfToken());
    // The field would win over the header.
    body?.delete("csrfmiddlewaretoken");
  }
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeout);
  try {
    const response = await fetch(url, { method, body, headers, signal: limit.signal });
    const text = await response.text();
    return { status: response.status, ok: response.ok, text, headers: response.headers, timedOut: false };
  } catch {
    return { status: 0, ok: false, text: "", headers: new Headers(), timedOut: limit.signal.aborted };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Send a form's fields the way the browser would.
 * @param {HTMLFormElement} form
 * @param {FormData} [fields]
 */
export function post(form, fields = new FormData(form)) {
  const sent = form.enctype === "multipart/form-data" ? fields : new URLSearchParams(/** @type {any} */ (fields));
  return ask(form.getAttribute("action") ?? location.href, { method: "POST", body: sent });
}
