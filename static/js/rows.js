// @ts-check
/** Rows of the sidebar kept true by frames; the list never moves under a pointer or a focus. */
import { BOUGH, HTMX, on } from "bough/events";
import { ask } from "bough/http";
import { address, conversationId, enliven, find, fragment } from "bough/page";
import { toast } from "bough/toasts";
import { say } from "bough/words";

/** Changes that wait until the pointer and the focus have left. @type {Map<string, any>} */
const waiting = new Map();

const busy = () => Boolean(document.querySelector("#sidebar:hover, #sidebar:focus-within"));
/** @param {string} id @returns {HTMLElement | null} */
const row = (id) => document.getElementById(`row-${id}`);

/** @param {CustomEvent} event */
function heard({ detail: frame }) {
  if (frame.type === "gone") return gone(frame.conversation);
  if (frame.type !== "conversation") return;
  if (frame.what === "deleted" && row(frame.conversation)) return gone(frame.conversation);
  void refresh(frame.conversation, frame);
}

/** @param {string} id */
function gone(id) {
  waiting.delete(id);
  row(id)?.remove();
}

/** Fetch a row and put it in its place, or at the top when its conversation moved up. @param {string} id @param {any} [frame] */
export async function refresh(id, frame) {
  const reply = await ask(address.row(id));
  if (reply.status === 404 || (reply.ok && !reply.text.trim())) return gone(id);
  const fresh = find(`#row-${id}`, fragment(reply.text));
  if (!fresh) return;
  if (id === conversationId()) showTitle(fresh);
  tell(id, row(id), fresh);
  place(id, fresh, frame?.what);
}

/** @param {string} id @param {HTMLElement} fresh @param {string} [what] */
function place(id, fresh, what) {
  const old = row(id);
  const moves = !old || (fresh.dataset.updated ?? "") > (old.dataset.updated ?? "");
  if (moves && busy()) {
    waiting.set(id, { fresh: old ? fresh.cloneNode(true) : fresh, what });
    if (!old) return;
  }
  if (old && (!moves || busy())) replace(old, fresh);
  else raise(old, fresh);
}

/** Change what a row says and leave the node with its focus. @param {HTMLElement} old @param {HTMLElement} fresh */
function replace(old, fresh) {
  if (old.querySelector("form.rename, input:focus")) return;
  old.dataset.state = fresh.dataset.state;
  for (const selector of [".row-title", ".row-link", ".row-mark"]) {
    const now = find(selector, old);
    const next = find(selector, fresh);
    if (now && next && selector === ".row-title") now.textContent = next.textContent;
  }
}

/** Put a row at the top of the newest group. @param {HTMLElement | null} old @param {HTMLElement} fresh */
function raise(old, fresh) {
  const list = find("#conversation-list [data-newest]") ?? find("#conversation-list ul, #conversation-list ol") ?? find("#conversation-list");
  if (!list) return;
  const pinned = old?.closest("[data-pinned]");
  old?.remove();
  (pinned ?? list).prepend(fresh);
  enliven(fresh);
  mark();
}

/** @param {HTMLElement} fresh */
function showTitle(fresh) {
  const title = find(".row-title", fresh)?.textContent?.trim();
  if (!title) return;
  const place = find("h1 [data-title], h1[data-title]");
  if (place) place.textContent = title;
  document.title = document.title.replace(/^[^·]*/, `${title} `);
}

/** An answer that ended elsewhere is worth a note. @param {string} id @param {HTMLElement | null} old @param {HTMLElement} fresh */
function tell(id, old, fresh) {
  if (id === conversationId() || old?.dataset.state !== "running" || fresh.dataset.state !== "unread") return;
  toast({ text: say("response_ready", { title: find(".row-title", fresh)?.textContent?.trim() ?? "" }) });
}

function apply() {
  if (busy()) return;
  for (const [id, { fresh }] of waiting) raise(row(id), fresh);
  waiting.clear();
}

/** The row of the conversation on screen says so. */
function mark() {
  const now = conversationId();
  for (const link of document.querySelectorAll("#conversation-list .row-link")) {
    const here = link.closest("[data-conversation]")?.getAttribute("data-conversation") === now;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {CustomEvent} event */
function sent({ detail }) {
  void refresh(detail.conversation);
}

export function mount() {
  on(BOUGH.frame, heard);
  on(BOUGH.sent, sent);
  on(BOUGH.opened, mark);
  on(HTMX.afterSettle, mark);
  on("pointerout", apply);
  on("focusout", () => requestAnimationFrame(apply));
}
