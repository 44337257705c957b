// @ts-check
/** What an answer is doing while it is being written, in words beside a mark: waiting, thinking for so long, or nothing but its text. */
import { BOUGH, on } from "bough/events";
import { article, find, liveArticles } from "bough/page";
import { say } from "bough/words";

const TICK = 1000;
const LONG_WAIT = 8;
/** When a phase of an answer began. @type {Map<string, {phase: string, since: number}>} */
const phases = new Map();
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
  const phase = phaseOf(element);
  if (phases.get(message)?.phase !== phase) phases.set(message, { phase, since: performance.now() });
  const seconds = Math.floor((performance.now() - (phases.get(message)?.since ?? 0)) / 1000);
  if (phase === "writing") setState(message, "");
  else if (phase === "thinking") setState(message, seconds ? say("state_thinking", { seconds }) : say("state_begins"), phase);
  else if (seconds >= LONG_WAIT) setState(message, say("state_waiting", { seconds }), phase);
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
  if (detail.element.hasAttribute("data-live")) show(detail.element);
}

function tick() {
  const live = liveArticles();
  for (const element of live) show(element);
  if (live.length) return;
  clearInterval(timer);
  timer = 0;
  phases.clear();
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
}

/** The server knows more: a tool that runs, a provider tried again. */
function told({ detail }) {
  if (!stopping.has(detail.message)) setState(detail.message, detail.word, "told");
}

export function mount() {
  on(BOUGH.painted, painted);
  on(BOUGH.changed, watch);
  on(BOUGH.stopping, stop);
  on(BOUGH.ended, ended);
  on(BOUGH.status, told);
  watch();
}
