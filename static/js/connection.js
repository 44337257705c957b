// @ts-check
/** The connection pill, the sign-in notice, and what the server tells every page: notices and reloads. */
import { BOUGH, on } from "bough/events";
import { find } from "bough/page";
import { signInNotice } from "bough/dialogs";
import { toast } from "bough/toasts";
import { say } from "bough/words";

const PATIENCE = 2000;
/** After being told so, the page believes that long that the server is being updated. */
const UPDATE = 60_000;
const RESTARTING = 1012;
const BEING_UPDATED = [502, 503, 504];

let timer = 0;
let delayTimer = 0;
let connected = true;
let delayed = false;
let updated = false;
/** Why there is no socket. @type {"reconnecting" | "polling" | "crowded" | "updating" | "unreachable" | "delayed"} */
let why = "reconnecting";
let updatingUntil = 0;

function words() {
  if (!navigator.onLine) return say("pill_offline");
  if (!connected) return say(`pill_${why}`);
  if (delayed) return say("pill_delayed");
  return updated ? say("pill_updated") : "";
}

/** The pill is a live region that is always there: what is put into it is read out, politely. */
function show() {
  const pill = find("#pill");
  const text = words();
  if (!pill || pill.textContent === text) return;
  if (text && text === say("pill_updated")) pill.replaceChildren(reloadButton());
  else pill.textContent = text;
}

function reloadButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = say("pill_updated");
  button.addEventListener("click", () => location.reload());
  return button;
}

function socketChanged({ detail }) {
  if (detail.state === "sign-in") return signInNotice();
  if (detail.state === "open") {
    clearTimeout(timer);
    timer = updatingUntil = 0;
    connected = true;
    setDelayed(false);
    return show();
  }
  if (detail.code === RESTARTING) updatingUntil = Date.now() + UPDATE;
  if (detail.state === "crowded") why = "crowded";
  else if (detail.state === "leave") why = "delayed";
  else if (Date.now() < updatingUntil) why = "updating";
  else if (why !== "unreachable" || connected) why = detail.failures >= 2 ? "polling" : "reconnecting";
  if (connected) timer ||= window.setTimeout(lost, PATIENCE);
  else show();
}

function lost() {
  connected = false;
  timer = 0;
  show();
}

/** What asking in place of the socket met says more than the socket's end. */
function polled({ detail: { status } }) {
  if (why === "crowded" || why === "delayed") return;
  if (BEING_UPDATED.includes(status)) why = "updating";
  else if (!status) why = Date.now() < updatingUntil ? "updating" : "unreachable";
  else why = "polling";
  if (!connected) show();
}

/** @param {boolean} on */
function setDelayed(on) {
  clearTimeout(delayTimer);
  if (on === delayed) return;
  delayTimer = window.setTimeout(() => {
    delayed = on;
    show();
  }, on ? PATIENCE : 0);
}

function heard({ detail: frame }) {
  if (frame.type === "notice") toast({ text: frame.text });
  if (frame.type === "delayed") setDelayed(frame.on);
  if (frame.type === "reload") {
    updated = true;
    show();
  }
}

export function mount() {
  on(BOUGH.socket, socketChanged);
  on(BOUGH.polled, polled);
  on(BOUGH.frame, heard);
  on(BOUGH.expired, signInNotice);
  window.addEventListener("online", show);
  window.addEventListener("offline", show);
  show();
}
