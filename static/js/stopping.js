// @ts-check
/** Stop: words at once, the text stands still, four tries until the server has heard it. */
import { alert, announce } from "bough/announce";
import { STOP_WAITS } from "bough/backoff";
import { BOUGH, emit, on } from "bough/events";
import { ask } from "bough/http";
import { address, box, conversationId, liveArticles } from "bough/page";
import { toast } from "bough/toasts";
import { say } from "bough/words";

/** A double click on Send must not be a Stop. */
const GUARD = 400;
let sentAt = -GUARD;
let stopping = false;

/** Ask the server to stop what is being written on screen. */
export async function stop() {
  const live = liveArticles();
  const conversation = conversationId();
  if (!live.length || stopping || !conversation || performance.now() - sentAt < GUARD) return;
  stopping = true;
  const messages = live.map((node) => node.dataset.message ?? "");
  announce(say("stopping"));
  emit(BOUGH.stopping, { messages, failed: false });
  box()?.focus({ preventScroll: true });
  const heard = await insist(conversation);
  stopping = false;
  if (!heard) failed(messages);
}

/** @param {string} conversation @returns {Promise<boolean>} */
async function insist(conversation) {
  for (const wait of STOP_WAITS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const reply = await ask(address.stop(conversation), { method: "POST", body: new URLSearchParams(), timeout: 5000 });
    if (reply.ok || reply.status === 404) return true;
  }
  return false;
}

/** @param {string[]} messages */
function failed(messages) {
  emit(BOUGH.stopping, { messages, failed: true });
  alert(say("stop_failed"));
  toast({ text: say("stop_failed"), error: true, action: say("retry"), run: () => void stop() });
}

/** Take a press of Stop, or the form behind it. */
function asked(event) {
  const target = event.target;
  const submitter = event.submitter;
  const button = event.type === "submit" ? submitter : target.closest?.("[data-action=stop]");
  if (!button?.closest?.("[data-action=stop]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  void stop();
}

function sent() {
  sentAt = performance.now();
}

/** The guard counts from the press of Send, not from the server's answer. */
function pressed(event) {
  if (event.target.id === "composer") sent();
}

export function mount() {
  on("click", asked, { capture: true });
  on("submit", pressed, { capture: true });
  on("submit", asked, { capture: true });
  on(BOUGH.sent, sent);
}
