// @ts-check
/** Requests of our own (htmx makes the others): same headers, one shape of answer, never throws for HTTP. */
import { BOUGH, emit } from "bough/events";
import { csrfToken } from "bough/page";

/** @typedef {{status: number, ok: boolean, text: string, headers: Headers, timedOut: boolean}} Reply `status` 0: not reached */

/**
 * Ask the server and read the whole answer.
 * @param {string} url
 * @param {{method?: string, body?: BodyInit | null, timeout?: number, keepalive?: boolean}} [options]
 * @returns {Promise<Reply>}
 */
export async function ask(url, { method = "GET", body = null, timeout = 30_000, keepalive = false } = {}) {
  const headers = new Headers({ "HX-Request": "true", Accept: "text/html" });
  if (method !== "GET") headers.set("X-CSRFToken", csrfToken());
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeout);
  try {
    const response = await fetch(url, { method, body, headers, keepalive, signal: limit.signal, redirect: "follow" });
    const text = await response.text();
    if (response.status === 401) emit(BOUGH.expired);
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
  return ask(form.action, { method: "POST", body: sent });
}
