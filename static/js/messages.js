// @ts-check
/** Articles on screen kept true: ended answers get their last state, what other tabs wrote is fetched. */
import { BOUGH, emit, on } from "bough/events";
import { ask } from "bough/http";
import { address, article, articles, conversationId, enliven, find, fragment, turns } from "bough/page";

/** `messages` frames wait while a send of our own is under way: its answer brings the same articles. */
let holding = 0;
/** @type {any[]} */
let held = [];

/**
 * Fetch one message as the server would show it now.
 * @param {string} message
 * @returns {Promise<HTMLElement | null>}
 */
async function fetchArticle(message) {
  const conversation = conversationId();
  if (!conversation) return null;
  const reply = await ask(address.message(conversation, message));
  if (!reply.ok || conversation !== conversationId()) return null;
  return find(`#m-${message}`, fragment(reply.text));
}

/** Show the present state and actions of a message; its text only where it differs. @param {string} message */
export async function refresh(message) {
  const fresh = await fetchArticle(message);
  const shown = article(message);
  if (!fresh || !shown) return;
  for (const name of ["data-status", "data-live", "data-parent"]) copyAttribute(fresh, shown, name);
  for (const selector of [".message-head", ".message-state", ".message-actions"]) swapPiece(shown, fresh, selector);
  replaceText(message, fresh);
  emit(BOUGH.changed, { ids: [message] });
}

/** @param {Element} from @param {Element} to @param {string} name */
function copyAttribute(from, to, name) {
  const value = from.getAttribute(name);
  if (value === null) to.removeAttribute(name);
  else to.setAttribute(name, value);
}

/** @param {HTMLElement} shown @param {HTMLElement} fresh @param {string} selector */
function swapPiece(shown, fresh, selector) {
  const before = find(selector, shown);
  const after = find(selector, fresh);
  if (!before || !after || before.outerHTML === after.outerHTML) return;
  before.replaceWith(after);
  enliven(after);
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
    else if (textOf(there) !== textOf(part)) there.replaceWith(part);
  });
  while (old.children.length > parts.length) old.lastElementChild?.remove();
  emit(BOUGH.painted, { message, element: shown });
}

/** Words and structure of a part, without what is added here. @param {Element} part */
function textOf(part) {
  const copy = /** @type {Element} */ (part.cloneNode(true));
  for (const added of copy.querySelectorAll("[data-added]")) added.remove();
  for (const tail of copy.querySelectorAll(".tail")) tail.replaceWith(...tail.childNodes);
  return (find(".md", copy) ?? copy).innerHTML.replace(/\s+/g, " ").trim();
}

/** @param {CustomEvent} event */
async function ended({ detail }) {
  const shown = article(detail.message);
  if (!shown) return;
  for (const { i, html } of detail.html ?? []) {
    const body = find(`.part[data-part="${i}"] .md`, shown);
    if (body) body.innerHTML = html;
  }
  for (const tail of shown.querySelectorAll(".md > .tail:empty")) tail.remove();
  await refresh(detail.message);
}

/** @param {CustomEvent} event */
function heard({ detail: frame }) {
  if (frame.type !== "messages" || frame.conversation !== conversationId()) return;
  if (holding) held.push(frame);
  else void arrived(frame.ids);
}

/** Show messages made elsewhere, oldest first, where they go on from what is shown. @param {string[]} ids */
async function arrived(ids) {
  for (const id of ids.filter((one) => !article(one))) {
    const fresh = await fetchArticle(id);
    if (!fresh || article(id)) continue;
    const parent = fresh.dataset.parent ?? "";
    const last = articles().at(-1)?.dataset.message ?? "";
    if (parent === last) append(fresh);
    else await siblingArrived(parent);
  }
}

/** Another version exists now: the one shown learns its number. @param {string} parent */
async function siblingArrived(parent) {
  const shown = articles().find((node) => (node.dataset.parent ?? "") === parent);
  if (shown?.dataset.message) await refresh(shown.dataset.message);
}

/** Put an article at the end of the path. @param {HTMLElement} fresh */
function append(fresh) {
  const opensTurn = fresh.dataset.role === "user";
  let turn = opensTurn ? null : find("#turns > .turn:last-of-type");
  if (!turn) {
    turn = document.createElement("section");
    turn.className = "turn";
    turns()?.append(turn);
  }
  turn.append(fresh);
  enliven(fresh);
  emit(BOUGH.changed, { ids: [fresh.dataset.message] });
}

/** Keep `messages` frames back while a send is under way. */
export function hold() {
  holding += 1;
}

/** Let them go on. */
export function release() {
  holding -= 1;
  if (holding) return;
  const frames = held;
  held = [];
  for (const frame of frames) void arrived(frame.ids);
}

export function mount() {
  on(BOUGH.ended, ended);
  on(BOUGH.frame, heard);
}
