// @ts-check
/** The one socket of this tab: says which conversation is watched, acknowledges frames, comes back when it breaks. */
import { afterClose, fullJitter } from "bough/backoff";
import { BOUGH, emit, on } from "bough/events";
import { conversationId } from "bough/page";

const PING_EVERY = 25_000;
const SILENT_FOR = 60_000;
const ACK_EVERY = 5;
const ACK_AFTER = 250;
const GAP_AFTER = 100;

/** @type {WebSocket | null} */
let socket = null;
let failures = 0;
let leaving = false;
let watched = "";
let heardAt = 0;
let highest = 0;
let unacknowledged = 0;
let ackTimer = 0;
let retryTimer = 0;
let pingTimer = 0;
let gapTimer = 0;
let again = false;

const isOpen = () => socket?.readyState === WebSocket.OPEN;

/** @param {Record<string, unknown>} frame */
function say(frame) {
  if (isOpen()) socket?.send(JSON.stringify(frame));
}

/** Watch the conversation on screen again and get all of its live text. */
export function rewatch() {
  const before = watched;
  watched = conversationId();
  if (watched) say({ type: "watch", conversation: watched });
  else if (before) say({ type: "unwatch" });
}

/** Several frames in flight may each find the same gap: one new watch closes it. */
function closeGap() {
  gapTimer ||= window.setTimeout(() => {
    gapTimer = 0;
    rewatch();
  }, GAP_AFTER);
}

function watchScreen() {
  const now = conversationId();
  if (now === watched) return;
  const before = watched;
  rewatch();
  emit(BOUGH.opened, { conversation: now, before });
}

function acknowledge() {
  clearTimeout(ackTimer);
  ackTimer = 0;
  if (!unacknowledged) return;
  unacknowledged = 0;
  say({ type: "ack", n: highest });
}

/** @param {number} n */
function count(n) {
  highest = Math.max(highest, n);
  unacknowledged += 1;
  // Timers of a hidden tab may sleep for a minute.
  if (unacknowledged >= ACK_EVERY || document.hidden) acknowledge();
  else ackTimer ||= window.setTimeout(acknowledge, ACK_AFTER);
}

/** @param {MessageEvent} event */
function heard(event) {
  heardAt = Date.now();
  const frame = JSON.parse(event.data);
  emit(BOUGH.frame, frame);
  if (typeof frame.n === "number") count(frame.n);
}

function opened() {
  failures = 0;
  heardAt = Date.now();
  emit(BOUGH.socket, { state: "open", code: 0, again });
  again = true;
  rewatch();
}

/** @param {CloseEvent} event */
function closed(event) {
  socket = null;
  clearInterval(pingTimer);
  const next = afterClose(event.code);
  failures += 1;
  emit(BOUGH.socket, { state: next === "wait" || next === "resync" ? "closed" : next, code: event.code, failures });
  if (leaving || next === "sign-in" || next === "leave") return;
  retryTimer = window.setTimeout(connect, fullJitter(failures - 1));
}

function beat() {
  if (Date.now() - heardAt > SILENT_FOR) socket?.close();
  else say({ type: "ping" });
}

/** Open the socket unless it is there. */
export function connect() {
  clearTimeout(retryTimer);
  if (socket || leaving) return;
  highest = unacknowledged = 0;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/`);
  socket.onopen = opened;
  socket.onmessage = heard;
  socket.onclose = closed;
  clearInterval(pingTimer);
  pingTimer = window.setInterval(beat, PING_EVERY);
}

function hurry() {
  if (document.hidden || !navigator.onLine) return;
  if (!socket) return connect();
  // A laptop that slept has a dead socket that looks open: nothing heard for a while means a new one.
  if (isOpen() && Date.now() - heardAt > SILENT_FOR) socket.close();
  else say({ type: "ping" });
}

function leave() {
  leaving = true;
  socket?.close(1000);
}

/** A page taken from the back-forward cache has no socket. @param {PageTransitionEvent} event */
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
