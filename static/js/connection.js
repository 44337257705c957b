// @ts-check
/** The connection pill, the sign-in notice, and what the server tells every page: notices and reloads. */
import { BOUGH, on } from "bough/events";
import { find } from "bough/page";
import { signInNotice } from "bough/dialogs";
import { toast } from "bough/toasts";
import { say } from "bough/words";

const PATIENCE = 2000;
let timer = 0;
let connected = true;
let updated = false;
let polling = false;

function words() {
  if (!navigator.onLine) return say("pill_offline");
  if (!connected) return say(polling ? "pill_polling" : "pill_reconnecting");
  return updated ? say("pill_updated") : "";
}

function show() {
  const pill = find("#pill");
  if (!pill) return;
  const text = words();
  pill.hidden = !text;
  if (pill.textContent === text) return;
  pill.textContent = text;
  if (text && updated && connected) pill.replaceChildren(reloadButton());
}

function reloadButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = say("pill_updated");
  button.addEventListener("click", () => location.reload());
  return button;
}

function socketChanged({ detail }) {
  clearTimeout(timer);
  if (detail.state === "open") {
    connected = true;
    polling = false;
    return show();
  }
  if (detail.state === "sign-in") return signInNotice();
  polling = detail.failures >= 2;
  timer = window.setTimeout(() => {
    connected = false;
    show();
  }, connected ? PATIENCE : 0);
}

function heard({ detail: frame }) {
  if (frame.type === "notice") toast({ text: frame.text });
  if (frame.type === "reload") {
    updated = true;
    show();
  }
}

export function mount() {
  on(BOUGH.socket, socketChanged);
  on(BOUGH.frame, heard);
  on(BOUGH.expired, signInNotice);
  window.addEventListener("online", show);
  window.addEventListener("offline", show);
  show();
}
