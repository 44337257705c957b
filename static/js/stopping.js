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
/** What is being stopped: generations, or empty for all. @type {Set<string>} */
const stopping = new Set();

/**
 * Ask the server to stop what is being written on screen.
 * @param {string} [generation] only this one
 */
export async function stop(generation = "") {
  const live = liveArticles().filter((node) => !generation || node.dataset.live === generation);
  const conversation = conversationId();
  const guarded = !generation && performance.now() - sentAt < GUARD;
  if (!live.length || stopping.has(generation) || !conversation || guarded) return;
  stopping.add(generation);
  const messages = live.map((node) => node.dataset.message ?? "");
  announce(say("stopping"));
  emit(BOUGH.stopping, { messages, failed: false });
  box()?.focus({ preventScroll: true });
  const heard = await insist(conversation, generation);
  stopping.delete(generation);
  if (!heard) failed(messages, generation);
}

/** @param {string} conversation @param {string} generation @returns {Promise<boolean>} */
async function insist(conversation, generation) {
  for (const wait of STOP_WAITS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const body = new URLSearchParams(generation ? { generation } : {});
    const reply = await ask(address.stop(conversation), { method: "POST", body, timeout: 5000 });
    if (reply.ok || reply.status === 404) return true;
  }
  return false;
}

/** @param {string[]} messages @param {string} generation */
function failed(messages, generation) {
  emit(BOUGH.stopping, { messages, failed: true });
  alert(say("stop_failed"));
  toast({ text: say("stop_failed"), error: true, action: say("retry"), run: () => void stop(generation) });
}

/** Take a press of Stop, or the form behind it. */
function asked(event) {
  const target = event.target;
  const submitter = event.submitter;
  const button = event.type === "submit" ? submitter : target.closest?.("[data-action=stop]");
  if (!button?.closest?.("[data-action=stop]")) return;
  const { value } = button.closest("[data-action=stop]");
  event.preventDefault();
  event.stopImmediatePropagation();
  void stop(value);
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
