// @ts-check
/** Where the socket can't tell, the page asks: each second while sockets are blocked, now and then for an answer no frame speaks of. */
import { BOUGH, emit, on } from "bough/events";
import { ask } from "bough/http";
import { replaceText } from "bough/messages";
import { address, conversationId, find, fragment, liveArticles } from "bough/page";

const EVERY = 1000;
const SLOWEST = 8000;
const AFTER_FAILURES = 2;
/** The first frame about an answer follows a watch at once; one that ended before the watch has none. */
const SPOKEN_OF_WITHIN = 1500;
/** The server may not have been able to say; so it is asked again. */
const AGAIN = 5000;
let timer = 0;
let doubt = 0;
/** Rounds in a row in which the server gave no answer. */
let unanswered = 0;
/** Answers that frames spoke of since the last watch. @type {Set<string>} */
const known = new Set();

function socketChanged({ detail }) {
  clearTimeout(doubt);
  doubt = 0;
  if (detail.state === "open" || detail.state === "sign-in") return stop();
  const blocked = detail.failures >= AFTER_FAILURES || detail.state !== "closed";
  if (blocked && !timer) timer = window.setTimeout(round, 0);
}

function stop() {
  clearTimeout(timer);
  timer = unanswered = 0;
}

async function round() {
  const mine = timer;
  if (!document.hidden) await askFor(liveArticles());
  // The socket may have opened while we asked.
  if (timer === mine) timer = window.setTimeout(round, pause());
}

/** Each second; a server that gives no answer is asked ever less, and not by all pages at once. */
function pause() {
  return unanswered ? Math.min(SLOWEST, EVERY * 2 ** unanswered) * (0.5 + Math.random()) : EVERY;
}

/** @param {HTMLElement[]} articles */
async function askFor(articles) {
  const conversation = conversationId();
  if (conversation) await Promise.all(articles.map((node) => poll(conversation, node.dataset.message ?? "")));
}

/** @param {string} conversation @param {string} message */
async function poll(conversation, message) {
  const reply = await ask(address.live(conversation, message), { timeout: 10_000 });
  unanswered = reply.status === 0 || reply.status >= 500 ? unanswered + 1 : 0;
  emit(BOUGH.polled, { status: reply.status });
  if (conversation !== conversationId() || !reply.ok) return;
  const fresh = fragment(reply.text);
  if (reply.status !== 286) return replaceText(message, fresh);
  emit(BOUGH.ended, { message, status: find("article", fresh)?.dataset.status ?? "", html: null });
}

function watched() {
  known.clear();
  doubtAfter(SPOKEN_OF_WITHIN);
}

/** @param {number} wait */
function doubtAfter(wait) {
  clearTimeout(doubt);
  doubt = window.setTimeout(askForUnspoken, wait);
}

async function askForUnspoken() {
  const mine = doubt;
  const unspoken = liveArticles().filter((node) => !known.has(node.dataset.message ?? ""));
  await askFor(unspoken);
  if (unspoken.length && doubt === mine) doubtAfter(AGAIN);
}

function heard({ detail: frame }) {
  if (frame.m) known.add(frame.m);
}

export function mount() {
  on(BOUGH.socket, socketChanged);
  on(BOUGH.watched, watched);
  on(BOUGH.frame, heard);
}
