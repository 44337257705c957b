// @ts-check
/** The token against forged forms: the page's, or a newer one when the page was open too long. */
import { HTMX, on } from "bough/events";
import { find } from "bough/page";

let renewed = "";

/** Give the token the server wants back with every POST. */
export function csrfToken() {
  if (renewed) return renewed;
  try {
    const headers = JSON.parse(document.body.getAttribute("hx-headers") ?? "{}");
    const name = Object.keys(headers).find((key) => key.toLowerCase() === "x-csrftoken");
    if (name) return String(headers[name]);
  } catch {
    // Not JSON: a form's own field is as good.
  }
  return find("input[name=csrfmiddlewaretoken]")?.value ?? "";
}

/**
 * Ask for a fresh token, for all forms of this page.
 * @returns {Promise<boolean>} whether there is one
 */
export async function renewToken() {
  try {
    const response = await fetch("/csrf/", { headers: { "HX-Request": "true" } });
    if (!response.ok) return false;
    renewed = (await response.json()).token;
  } catch {
    return false;
  }
  for (const field of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) {
    /** @type {HTMLInputElement} */ (field).value = renewed;
  }
  return Boolean(renewed);
}

/** htmx sends what the page said at first: give it the newer one. */
function configuring({ detail }) {
  if (!renewed) return;
  detail.headers["X-CSRFToken"] = renewed;
  if (detail.parameters?.csrfmiddlewaretoken) detail.parameters.csrfmiddlewaretoken = renewed;
}

export function mount() {
  on(HTMX.configRequest, configuring);
}
