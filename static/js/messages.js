// @ts-check
/** Articles kept true to the server: state and actions after an end, text only where it differs. */
import { BOUGH, emit, on } from "bough/events";
import { ask } from "bough/http";
import { address, article, articles, conversationId, enliven, find, fragment } from "bough/page";

/** What an article shows besides its text. */
const PIECES = [":scope > .message-head", ".message-state", ".message-foot", "template.source"];
const ATTRIBUTES = ["class", "data-status", "data-live", "data-parent"];

/**
 * Fetch one message as the server would show it now.
 * @param {string} message
 * @returns {Promise<HTMLElement | "gone" | null>} null: not reached, or another conversation is on screen by now
 */
export async function fetchArticle(message) {
  const conversation = conversationId();
  if (!conversation) return null;
  const reply = await ask(address.message(conversation, message));
  if (conversation !== conversationId()) return null;
  if (reply.status === 404) return "gone";
  return reply.ok ? find(`#m-${message}`, fragment(reply.text)) : null;
}

/** Show the present state and actions of a message, and its text where it differs. @param {string} message */
export async function refresh(message) {
  const fresh = await fetchArticle(message);
  const shown = article(message);
  if (!fresh || !shown) return;
  if (fresh === "gone") {
    // A request from inside it, such as its deletion, brings what takes its place; htmx needs its element until then.
    if (!find(".htmx-request", shown)) removeFrom(shown);
    return;
  }
  for (const name of ATTRIBUTES) copyAttribute(fresh, shown, name);
  // While it is being written, frames know more of the text than the stored row.
  if (!fresh.dataset.live) replaceText(message, fresh);
  for (const selector of PIECES) swapPiece(shown, fresh, selector);
  emit(BOUGH.changed, { ids: [message] });
}

/** Which answers stand side by side, and which of them the path goes through, the server knows. @param {Element} place */
function again(place) {
  const htmx = /** @type {any} */ (window).htmx;
  htmx.ajax("GET", location.pathname + location.search, { source: place, target: "#turns", select: "#turns > *", swap: "innerHTML" });
}

/** @param {Element} from @param {Element} to @param {string} name */
function copyAttribute(from, to, name) {
  const value = from.getAttribute(name);
  if (value === null) to.removeAttribute(name);
  else if (value !== to.getAttribute(name)) to.setAttribute(name, value);
}

/** @param {HTMLElement} shown @param {HTMLElement} fresh @param {string} selector */
function swapPiece(shown, fresh, selector) {
  const before = find(selector, shown);
  const after = find(selector, fresh);
  // Not isEqualNode: it does not look into templates.
  if (!before || !after || before.outerHTML === after.outerHTML) return;
  before.replaceWith(after);
  enliven(after);
}

/** A message that is gone takes what stands below it along. @param {HTMLElement} shown */
function removeFrom(shown) {
  const place = shown.closest(".beside");
  if (place) return again(place);
  const all = articles();
  for (const node of all.slice(all.indexOf(shown))) node.remove();
  for (const turn of document.querySelectorAll("#turns > .turn:not(:has(article))")) turn.remove();
  emit(BOUGH.changed, { ids: [] });
}

/**
 * Put a message's text in place part by part; parts that say the same stay, and with them selection and focus.
 * @param {string} message
 * @param {ParentNode} source
 */
export function replaceText(message, source) {
  const shown = article(message);
  const old = shown && find(".parts", shown);
  const fresh = find(".parts", source);
  if (!shown || !old || !fresh) return;
  const parts = Array.from(fresh.children);
  parts.forEach((part, index) => {
    const there = old.children[index];
    if (!there) old.append(part);
    else if (bodyOf(there) !== bodyOf(part)) there.replaceWith(part);
    else swapPiece(/** @type {HTMLElement} */ (there), /** @type {HTMLElement} */ (part), "summary");
  });
  while (old.children.length > parts.length) old.lastElementChild?.remove();
  emit(BOUGH.painted, { message, element: shown });
}

/** The HTML of a part, without what is added here. @param {Element} part */
function bodyOf(part) {
  const copy = /** @type {Element} */ ((find(".md", part) ?? part).cloneNode(true));
  for (const added of copy.querySelectorAll("[data-added]")) added.remove();
  for (const tail of copy.querySelectorAll(".tail")) tail.replaceWith(...tail.childNodes);
  return copy.innerHTML.replace(/\s+/g, " ").trim();
}

async function ended({ detail }) {
  const shown = article(detail.message);
  if (!shown) return;
  for (const { i, html } of detail.html ?? []) {
    const body = find(`.part[data-part="${i}"] .md`, shown);
    // HTML of our own renderer, sanitised on the server.
    if (body) body.innerHTML = html;
  }
  for (const tail of shown.querySelectorAll(".md > .tail:empty")) tail.remove();
  await refresh(detail.message);
}

export function mount() {
  on(BOUGH.ended, ended);
}
