// @ts-check
/** Rows of the sidebar kept true by frames; the list never moves under a pointer or a focus. */
import { BOUGH, on } from "bough/events";
import { ask } from "bough/http";
import { address, conversationId, enliven, find, fragment } from "bough/page";
import { toast } from "bough/toasts";
import { say } from "bough/words";

/** Conversations whose rows move up once the pointer and the focus have left. @type {Map<string, HTMLElement>} */
const waiting = new Map();
/** Conversations whose rows are fetched in a moment. @type {Set<string>} */
const due = new Set();
const SOON = 150;

const busy = () => Boolean(document.querySelector("#sidebar:hover, #sidebar:focus-within"));
/** @param {string} id @returns {HTMLElement | null} */
const row = (id) => document.getElementById(`row-${id}`);

function heard({ detail: frame }) {
  if (frame.type === "gone" || frame.what === "deleted") gone(frame.conversation);
  else if (frame.type === "conversation") refreshSoon(frame.conversation);
}

/** One send changes a row several times in a moment: one look is enough. @param {string} id */
function refreshSoon(id) {
  if (due.has(id)) return;
  due.add(id);
  window.setTimeout(() => {
    due.delete(id);
    void refresh(id);
  }, SOON);
}

/** @param {string} id */
function gone(id) {
  waiting.delete(id);
  row(id)?.remove();
  if (id === conversationId()) toast({ text: say("deleted_elsewhere"), error: true });
}

/** Fetch a row; put it in its place, or at the top if something happened in its conversation. @param {string} id */
async function refresh(id) {
  const reply = await ask(address.row(id));
  if (reply.status === 404 || (reply.ok && !reply.text.trim())) return gone(id);
  const fresh = find(`#row-${id}`, fragment(reply.text));
  if (!fresh) return;
  const old = row(id);
  if (id === conversationId()) showTitle(fresh);
  else tell(old, fresh);
  const moves = !old || (fresh.dataset.updated ?? "") > (old.dataset.updated ?? "");
  if (!moves) return replace(/** @type {HTMLElement} */ (old), fresh);
  if (!busy()) return raise(id, fresh);
  waiting.set(id, fresh);
  if (old) replace(old, /** @type {HTMLElement} */ (fresh.cloneNode(true)));
}

/** Show a row's news in its place. @param {HTMLElement} old @param {HTMLElement} fresh */
function replace(old, fresh) {
  if (find("form.rename", old)) return;
  const inUse = old.matches(":hover, :focus-within") || find(":popover-open", old);
  if (!inUse) {
    old.replaceWith(fresh);
    enliven(fresh);
    return mark();
  }
  // Its menu or its link is being used: only the words change.
  old.dataset.state = fresh.dataset.state;
  const title = find(".row-title", old);
  if (title) title.textContent = find(".row-title", fresh)?.textContent ?? "";
}

/** Put a row at the top of its list. @param {string} id @param {HTMLElement} fresh */
function raise(id, fresh) {
  waiting.delete(id);
  const old = row(id);
  if (old && find("form.rename", old)) return;
  const list = old?.closest("[data-pinned]") ?? find("#conversation-list [data-newest]");
  if (!list) return void refetch();
  old?.remove();
  list.prepend(fresh);
  enliven(fresh);
  mark();
}

/** The first row of a new day needs its heading: the server knows how it looks. */
async function refetch() {
  const list = find("#conversation-list");
  const reply = list && (await ask(address.sidebar));
  if (!list || !reply?.ok) return;
  const fresh = fragment(reply.text);
  list.replaceChildren(...(find("#conversation-list", fresh) ?? fresh).childNodes);
  enliven(list);
  mark();
}

/** @param {HTMLElement} fresh */
function showTitle(fresh) {
  const title = find(".row-title", fresh)?.textContent?.trim();
  const place = find("#main [data-title]");
  if (!title || !place || place.textContent?.trim() === title) return;
  place.textContent = title;
  document.title = `${title} · ${document.title.split(" · ").at(-1)}`;
}

/** An answer that ended elsewhere is worth a note. @param {HTMLElement | null} old @param {HTMLElement} fresh */
function tell(old, fresh) {
  if (old?.dataset.state !== "running" || fresh.dataset.state !== "unread") return;
  toast({ text: say("response_ready", { title: find(".row-title", fresh)?.textContent?.trim() ?? "" }) });
}

function apply() {
  if (!waiting.size || busy()) return;
  for (const [id, fresh] of waiting) raise(id, fresh);
}

function applySoon() {
  requestAnimationFrame(apply);
}

/** The row of the conversation on screen says so. */
function mark() {
  const now = conversationId();
  for (const link of document.querySelectorAll("#conversation-list .row-link")) {
    const here = now && link.closest("[data-conversation]")?.getAttribute("data-conversation") === now;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function sent({ detail }) {
  refreshSoon(detail.conversation);
}

/** After a pause without a socket the list may have missed anything. */
function returned() {
  if (!busy()) void refetch();
}

export function mount() {
  on(BOUGH.frame, heard);
  on(BOUGH.opened, mark);
  on(BOUGH.sent, sent);
  on(BOUGH.returned, returned);
  on(BOUGH.swapped, mark);
  on("pointerout", applySoon);
  on("focusout", applySoon);
}
