// @ts-check
/** Where sockets are blocked: each second the page asks for its live answers, until each has ended. */
import { BOUGH, emit, on } from "bough/events";
import { ask } from "bough/http";
import { replaceText } from "bough/messages";
import { address, conversationId, find, fragment, liveArticles } from "bough/page";

const EVERY = 1000;
const AFTER_FAILURES = 2;
let timer = 0;

/** @param {CustomEvent} event */
function socketChanged({ detail }) {
  if (detail.state === "open") return stop();
  if ((detail.failures >= AFTER_FAILURES || detail.state === "leave") && !timer) timer = window.setTimeout(round, 0);
}

function stop() {
  clearTimeout(timer);
  timer = 0;
}

async function round() {
  const mine = timer;
  const conversation = conversationId();
  if (!document.hidden && conversation) {
    await Promise.all(liveArticles().map((node) => poll(conversation, node.dataset.message ?? "")));
  }
  // The socket may have opened while we asked.
  if (timer === mine) timer = window.setTimeout(round, EVERY);
}

/** @param {string} conversation @param {string} message */
async function poll(conversation, message) {
  const reply = await ask(address.live(conversation, message), { timeout: 10_000 });
  if (reply.status === 286) {
    const status = find("article", fragment(reply.text))?.dataset.status;
    return emit(BOUGH.ended, { message, status, html: null });
  }
  if (reply.ok) replaceText(message, fragment(reply.text));
}

export function mount() {
  on(BOUGH.socket, socketChanged);
}
