// @ts-check
/** From the box to the server: the message shows at once, its text comes back if anything fails. */
import { announce } from "bough/announce";
import { hold, release } from "bough/arrivals";
import { closeColumns } from "bough/columns";
import { fill, grow, refreshComposer } from "bough/composer";
import { joined } from "bough/draft_book";
import { keepUnderway, settle } from "bough/drafts";
import { explain } from "bough/errors";
import { BOUGH, emit, on } from "bough/events";
import { post } from "bough/http";
import { newId } from "bough/ids";
import { adopt } from "bough/opening";
import { box, composer, enliven, find, fragment, liveArticles, turns } from "bough/page";
import { sendLater } from "bough/queue";
import { say } from "bough/words";

const LATE = 10_000;
let sending = false;

function submitted(event) {
  const form = composer();
  if (!form || event.target !== form || event.submitter?.dataset.action === "stop") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  void send(form);
}

async function send(form) {
  const field = box();
  if (!field || sending) return;
  const text = field.value;
  if (!text.trim()) return hint(say("blank"));
  if (liveArticles().length) return sendLater();
  sending = true;
  hold();
  const fields = new FormData(form);
  const clientId = String(fields.get("client_id") || newId());
  fields.set("client_id", clientId);
  clearError();
  empty(field);
  keepUnderway(text);
  const bubble = showBubble(text);
  const late = window.setTimeout(() => setState(bubble, say("not_sent_yet")), LATE);
  const reply = await post(form, fields);
  clearTimeout(late);
  sending = false;
  if (!reply.ok) refused(form, bubble, text, clientId, reply);
  release(reply.ok ? accepted(form, bubble, reply) : []);
}

/**
 * Put the server's articles in the place of the bubble.
 * @param {HTMLFormElement} form @param {HTMLElement | null} bubble @param {import("./http.js").Reply} reply
 * @returns {string[]} the messages it brought
 */
function accepted(form, bubble, reply) {
  const created = !form.dataset.conversation;
  const conversation = reply.headers.get("X-Bough-Conversation") ?? form.dataset.conversation ?? "";
  if (created && conversation) adopt(conversation);
  settle(created ? "" : conversation);
  setField(form, "client_id", newId());
  const fresh = fragment(reply.text);
  const ids = Array.from(fresh.querySelectorAll("article[data-message]"), (node) => node.getAttribute("data-message") ?? "");
  for (const turn of document.querySelectorAll("#turns > .turn[data-live]")) turn.removeAttribute("data-live");
  closeColumns();
  const added = Array.from(fresh.children);
  if (bubble) bubble.replaceWith(...added);
  else turns()?.append(...added);
  for (const node of added) enliven(node);
  const address = reply.headers.get("HX-Push-Url");
  if (created && address) {
    // htmx answers the way back only for entries that carry its mark.
    history.replaceState({ htmx: true }, "");
    history.pushState({ htmx: true }, "", address);
  }
  announce(say("announce_sent"));
  emit(BOUGH.changed, { ids });
  emit(BOUGH.sent, { conversation, created });
  return ids;
}

/**
 * Give the text back, with what was typed since, and say why.
 * @param {HTMLFormElement} form @param {HTMLElement | null} bubble @param {string} text @param {string} clientId
 * @param {import("./http.js").Reply} reply
 */
function refused(form, bubble, text, clientId, reply) {
  bubble?.remove();
  find("#conversation")?.classList.remove("is-started");
  const field = box();
  if (field) fill(field, joined(text, field.value));
  settle();
  // Nobody knows whether a send arrived that nobody answered, or a proxy (502): with the same id it can't count twice.
  const unknown = reply.status === 0 || reply.status >= 500;
  setField(form, "client_id", unknown && field?.value === text ? clientId : newId());
  explain(reply, find("#composer-error"));
  refreshComposer();
  field?.focus();
}

/** @param {string} text @returns {HTMLElement | null} */
function showBubble(text) {
  const template = find("template#message-sending");
  const bubble = /** @type {HTMLElement | undefined} */ (template?.content.firstElementChild?.cloneNode(true));
  if (!bubble) return null;
  const place = find("[data-text]", bubble);
  if (place) place.textContent = text;
  setState(bubble, say("sending"));
  find("#conversation.conversation--empty")?.classList.add("is-started");
  turns()?.append(bubble);
  scrollToEnd();
  return bubble;
}

function scrollToEnd() {
  find("#scroller")?.scrollTo({ top: 0 });
}

/** @param {HTMLElement | null} bubble @param {string} words */
function setState(bubble, words) {
  const state = bubble && find(".message-state", bubble);
  if (state) state.textContent = words;
}

/** @param {HTMLTextAreaElement} field */
function empty(field) {
  field.value = "";
  grow(field);
}

/** @param {HTMLFormElement} form @param {string} name @param {string} value */
function setField(form, name, value) {
  const field = find(`input[name=${name}]`, form);
  if (field) field.value = value;
}

/** @param {string} words */
function hint(words) {
  announce(words);
  box()?.focus();
}

function clearError() {
  find("#composer-error")?.replaceChildren();
}

export function mount() {
  on("submit", submitted, { capture: true });
}
