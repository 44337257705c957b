// @ts-check
/** The one socket of this tab: says which conversation is watched, acknowledges frames, comes back when it breaks. */
import { Acks } from "bough/acks";
import { afterClose, fullJitter, patience } from "bough/backoff";
import { BOUGH, emit, on } from "bough/events";
import { conversationId } from "bough/page";

const PING_EVERY = 25_000;
const ANSWERED_WITHIN = 10_000;
const GREETED_WITHIN = 10_000;
/** A socket that lived so long was none of the failures in a row. */
const STEADY_AFTER = 10_000;
const GAP_AFTER = 100;

/** @type {WebSocket | null} */
let socket = null;
let greeted = false;
let again = false;
let failures = 0;
let leaving = false;
let watched = "";
let heardAt = 0;
let greetedAt = 0;
let notBefore = 0;
let retryTimer = 0;
let pingTimer = 0;
let gapTimer = 0;
let greetTimer = 0;
let answerTimer = 0;

const isOpen = () => socket?.readyState === WebSocket.OPEN;
// Timers of a hidden tab may sleep for a minute.
const acks = new Acks((n) => say({ type: "ack", n }), () => document.hidden);

/** @param {Record<string, unknown>} frame */
function say(frame) {
  if (isOpen()) socket?.send(JSON.stringify(frame));
}

/** Watch the conversation on screen, and get all of its live text. */
function rewatch() {
  const before = watched;
  watched = conversationId();
  if (watched) say({ type: "watch", conversation: watched });
  else if (before) say({ type: "unwatch" });
  emit(BOUGH.watched);
}

/** Several frames in flight may each find the same gap: one new watch closes it. */
function closeGap() {
  gapTimer ||= window.setTimeout(() => {
    gapTimer = 0;
    rewatch();
  }, GAP_AFTER);
}

function watchScreen() {
  const before = watched;
  if (conversationId() === before) return;
  rewatch();
  emit(BOUGH.opened, { conversation: watched, before });
}

function heard(event) {
  heardAt = Date.now();
  if (!greeted) greet();
  const frame = JSON.parse(event.data);
  emit(BOUGH.frame, frame);
  if (typeof frame.n === "number") acks.count(frame.n);
}

/** The first frame says that it works; some proxies open a socket and close it at once. */
function greet() {
  clearTimeout(greetTimer);
  greeted = true;
  greetedAt = Date.now();
  emit(BOUGH.socket, { state: "open", code: 0, failures: 0, again });
  again = true;
  rewatch();
}

function closed(event) {
  clearTimeout(greetTimer);
  clearTimeout(answerTimer);
  clearInterval(pingTimer);
  acks.reset();
  socket = null;
  failures = greeted && Date.now() - greetedAt > STEADY_AFTER ? 1 : failures + 1;
  const next = afterClose(event.code);
  const state = next === "wait" || next === "resync" ? "closed" : next;
  emit(BOUGH.socket, { state, code: event.code, failures, again });
  if (leaving || state === "sign-in" || state === "leave") return;
  const wait = state === "crowded" ? patience() : fullJitter(failures - 1);
  notBefore = state === "crowded" ? Date.now() + wait / 3 : 0;
  retryTimer = window.setTimeout(connect, wait);
}

/** A network may be gone without a word: what is said must be answered. */
function beat() {
  const asked = Date.now();
  say({ type: "ping" });
  clearTimeout(answerTimer);
  answerTimer = window.setTimeout(() => {
    if (heardAt < asked) socket?.close();
  }, ANSWERED_WITHIN);
}

/** Open the socket unless it is there. */
function connect() {
  clearTimeout(retryTimer);
  if (socket || leaving) return;
  greeted = false;
  heardAt = Date.now();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/`);
  socket.onmessage = heard;
  socket.onclose = closed;
  pingTimer = window.setInterval(beat, PING_EVERY);
  greetTimer = window.setTimeout(() => socket?.close(), GREETED_WITHIN);
}

/** Whoever comes back to the page, or to the network, doesn't wait for a timer. */
function hurry() {
  if (document.hidden || !navigator.onLine || Date.now() < notBefore) return;
  if (!socket) connect();
  else if (isOpen()) beat();
}

function leave() {
  leaving = true;
  socket?.close(1000);
}

/** A page taken from the back-forward cache has no socket. */
function returned(event) {
  leaving = false;
  if (event.persisted) connect();
}

export function mount() {
  on(BOUGH.swapped, watchScreen);
  on(BOUGH.missing, closeGap);
  on(BOUGH.changed, watchScreen);
  on("visibilitychange", hurry);
  window.addEventListener("online", hurry);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", returned);
  connect();
}
