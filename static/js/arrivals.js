// @ts-check
/** What other tabs and devices wrote in the conversation on screen is fetched and shown where it goes on from here. */
import { closeColumns } from "bough/columns";
import { BOUGH, HTMX, emit, on } from "bough/events";
import { ask } from "bough/http";
import { fetchArticle, refresh } from "bough/messages";
import { address, article, articles, conversationId, enliven, find, fragment, path, turns } from "bough/page";

const MINE_FOR = 5000;
/** Sends of our own under way: their answers bring the same articles as the frames. */
let holding = 0;
/** @type {string[][]} */
let held = [];
/** @type {string[]} */
let shownBefore = [];
/** Messages this tab has just got by itself → when. @type {Map<string, number>} */
const mine = new Map();

/** Keep `messages` frames back while a send is under way. */
export function hold() {
  holding += 1;
}

/** Let them go on, without what the send itself brought. @param {string[]} ids */
export function release(ids) {
  holding -= 1;
  for (const id of ids) mine.set(id, Date.now());
  if (holding) return;
  const frames = held;
  held = [];
  for (const frame of frames) void arrived(frame);
}

function heard({ detail: frame }) {
  if (frame.type !== "messages" || frame.conversation !== conversationId()) return;
  if (holding) held.push(frame.ids);
  else void arrived(frame.ids);
}

/** Actions of this tab bring their articles with them. */
function asked({ detail }) {
  if (!changesTurns(detail)) return;
  shownBefore = ids();
  hold();
}

function answered({ detail }) {
  if (changesTurns(detail)) release(ids().filter((id) => !shownBefore.includes(id)));
}

const changesTurns = (detail) => detail.target?.id === "turns" && detail.requestConfig.verb !== "get";
const ids = () => articles().map((node) => node.dataset.message ?? "");

/** @param {string} id */
function isMine(id) {
  const since = mine.get(id);
  mine.delete(id);
  return since !== undefined && Date.now() - since < MINE_FOR;
}

/** Show messages made elsewhere, oldest first. @param {string[]} ids */
async function arrived(ids) {
  // A question and several answers.
  if (ids.length > 2 && !ids.some((id) => article(id) || mine.has(id))) return showTurn(ids);
  for (const id of ids) {
    if (isMine(id)) continue;
    if (article(id)) await refresh(id);
    else await show(id);
  }
}

/** What came while there was no socket: the page as it is now says which messages it has. */
async function returned() {
  const conversation = conversationId();
  const reply = conversation && (await ask(address.conversation(conversation)));
  if (!reply || !reply.ok || conversation !== conversationId()) return;
  const now = fragment(reply.text).querySelectorAll("#turns article.message[data-message]");
  const missed = Array.from(now, (node) => node.getAttribute("data-message") ?? "").filter((id) => !article(id));
  if (holding) held.push(missed);
  else if (missed.length) void arrived(missed);
}

/** @param {string} id */
async function show(id) {
  const fresh = await fetchArticle(id);
  if (!fresh || fresh === "gone" || article(id)) return;
  const parent = fresh.dataset.parent ?? "";
  if (parent === (path().at(-1)?.dataset.message ?? "")) return append(fresh);
  // Another version exists now: the one shown learns its number.
  const sibling = articles().find((node) => (node.dataset.parent ?? "") === parent);
  if (sibling?.dataset.message) await refresh(sibling.dataset.message);
}

/** A turn that several models answer is drawn by the server. @param {string[]} ids */
async function showTurn(ids) {
  const conversation = conversationId();
  const reply = await ask(address.conversation(conversation));
  if (!reply.ok || conversation !== conversationId() || article(ids[0])) return;
  const question = find(`#m-${ids[0]}`, fragment(reply.text));
  const parent = question?.dataset.parent ?? "";
  if (question?.dataset.role !== "user" || parent !== (path().at(-1)?.dataset.message ?? "")) return show(ids[0]);
  const turn = question.closest(".turn");
  closeColumns();
  turns()?.append(turn);
  enliven(turn);
  emit(BOUGH.changed, { ids });
}

/** Put an article at the end of the path. @param {HTMLElement} fresh */
function append(fresh) {
  const opensTurn = fresh.dataset.role === "user";
  if (opensTurn) closeColumns();
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

/** Articles that htmx brought are as new as those we fetch. */
function settled() {
  emit(BOUGH.changed, { ids: ids() });
}

export function mount() {
  on(HTMX.beforeRequest, asked);
  on(HTMX.afterRequest, answered);
  on(BOUGH.swapped, settled);
  on(BOUGH.frame, heard);
  on(BOUGH.returned, returned);
}
