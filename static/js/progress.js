// @ts-check
/** What an answer is doing while it is being written, in words beside a mark: waiting, thinking for so long, or nothing but its text. */
import { BOUGH, on } from "bough/events";
import { article, find, liveArticles } from "bough/page";
import { say } from "bough/words";

const TICK = 1000;
const LONG_WAIT = 8;
/** When a phase of an answer began. @type {Map<string, {phase: string, since: number}>} */
const phases = new Map();
/** What the server says of an answer without new text; `at`: when it said so, or what it counts down to. @type {Map<string, {word: string, text: string, at: number}>} */
const said = new Map();
/** Answers being stopped say so until they have ended. @type {Set<string>} */
const stopping = new Set();
let timer = 0;

/** @param {HTMLElement} element the article */
function phaseOf(element) {
  const last = /** @type {HTMLElement | null} */ (find(".parts", element)?.lastElementChild ?? null);
  if (!last?.textContent?.trim()) return "waiting";
  return last.dataset.kind === "reasoning" ? "thinking" : "writing";
}

/** @param {HTMLElement} element */
function show(element) {
  const message = element.dataset.message ?? "";
  if (stopping.has(message)) return;
  const told = said.get(message);
  if (told) return setState(message, wordsFor(told), told.word);
  const phase = phaseOf(element);
  if (phases.get(message)?.phase !== phase) phases.set(message, { phase, since: performance.now() });
  const seconds = Math.floor((performance.now() - (phases.get(message)?.since ?? 0)) / 1000);
  if (phase === "writing") setState(message, "");
  else if (phase === "thinking") setState(message, seconds ? say("state_thinking", { seconds }) : say("state_begins"), phase);
  else if (seconds >= LONG_WAIT) setState(message, say("state_waiting", { seconds }), phase);
}

/** @param {{word: string, text: string, at: number}} told */
function wordsFor({ word, text, at }) {
  const left = Math.ceil((at - performance.now()) / 1000);
  if (word === "waiting") return say("state_queued");
  if (word === "thinking") return left < 0 ? say("state_thinking", { seconds: -left }) : say("state_begins");
  if (word !== "retrying") return text;
  return `${text} ${left > 0 ? say("state_retrying", { seconds: left }) : say("state_retries")}`;
}

/**
 * Say what an answer is doing.
 * @param {string} message
 * @param {string} words empty for nothing
 * @param {string} [name]
 */
export function setState(message, words, name = "") {
  const place = find(".message-state", article(message) ?? undefined);
  if (!place || place.textContent?.trim() === words) return;
  if (!words) return place.replaceChildren();
  const state = document.createElement("span");
  state.className = "state";
  state.dataset.state = name;
  state.textContent = words;
  place.replaceChildren(state);
}

function painted({ detail }) {
  said.delete(detail.message);
  if (detail.element.hasAttribute("data-live")) show(detail.element);
}

function tick() {
  const live = liveArticles();
  for (const element of live) show(element);
  if (live.length) return;
  clearInterval(timer);
  timer = 0;
  phases.clear();
  said.clear();
}

function watch() {
  if (!timer && liveArticles().length) timer = window.setInterval(tick, TICK);
}

function stop({ detail }) {
  for (const message of detail.messages) {
    if (detail.failed) stopping.delete(message);
    else stopping.add(message);
    if (!detail.failed) setState(message, say("stopping"), "stopping");
  }
}

function ended({ detail }) {
  stopping.delete(detail.message);
  phases.delete(detail.message);
  said.delete(detail.message);
}

/** The server knows more: a queue, a provider that is tried again. An empty word takes back the last one. */
function told({ detail }) {
  const { message, word, text, seconds = 0 } = detail;
  if (word) said.set(message, { word, text, at: performance.now() + seconds * 1000 });
  else if (said.delete(message)) setState(message, "");
  const element = article(message);
  if (element?.hasAttribute("data-live")) show(element);
}

export function mount() {
  on(BOUGH.painted, painted);
  on(BOUGH.changed, watch);
  on(BOUGH.stopping, stop);
  on(BOUGH.ended, ended);
  on(BOUGH.status, told);
  watch();
}
