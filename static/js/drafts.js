// @ts-check
/** Typed text kept in this browser until the server has it, one draft per user and conversation. */
import { draftKey, draftKeys, joined, readDraft, writeDraft } from "bough/draft_book";
import { BOUGH, HTMX, on } from "bough/events";
import { box, composer, conversationId, find, userId } from "bough/page";
import { say } from "bough/words";

const DEBOUNCE = 500;
let timer = 0;
/** Text on its way to the server: still the reader's, until the server says so. */
let underway = "";
/** The draft as this tab last read or wrote it. */
let known = "";

const key = () => draftKey(userId(), conversationId());

/** Write what is in the box, unless another tab wrote something newer and this box is empty. */
export function save() {
  clearTimeout(timer);
  timer = 0;
  const field = box();
  if (!field) return;
  const text = underway ? joined(underway, field.value) : field.value;
  const stored = readDraft(localStorage, key())?.text ?? "";
  if (!text.trim() && stored !== known) return;
  writeDraft(localStorage, key(), text, Date.now());
  known = text;
}

/** Keep a text as a draft while it is being sent. @param {string} text */
export function keepUnderway(text) {
  underway = text;
  save();
}

/**
 * The server has it, or it is back in the box.
 * @param {string} [before] the conversation it was written in, where that was none yet
 */
export function settle(before = conversationId()) {
  underway = "";
  if (before !== conversationId()) writeDraft(localStorage, draftKey(userId(), before), "", Date.now());
  save();
}

function typed(event) {
  if (event.target !== box()) return;
  find("#draft-note")?.remove();
  clearTimeout(timer);
  timer = window.setTimeout(save, DEBOUNCE);
}

/** Put the draft back into an empty box. */
export function restore() {
  const field = box();
  if (!field || field.dataset.draft === key()) return;
  field.dataset.draft = key();
  const draft = readDraft(localStorage, key());
  known = draft?.text ?? "";
  if (!draft || field.value.trim() || underway) return;
  field.value = draft.text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  note(field);
}

/** @param {HTMLTextAreaElement} field */
function note(field) {
  find("#draft-note")?.remove();
  const line = document.createElement("p");
  line.id = "draft-note";
  line.className = "draft-note";
  const discard = document.createElement("button");
  discard.type = "button";
  discard.className = "text-button";
  discard.textContent = say("discard");
  discard.addEventListener("click", () => {
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    line.remove();
    save();
    field.focus();
  });
  line.append(say("draft_restored"), discard);
  composer()?.prepend(line);
}

function flush() {
  if (timer || underway) save();
}

/** Drafts leave this browser with their writer. */
function signedOut(event) {
  const form = event.target;
  if (!form.action?.includes("/logout/")) return;
  for (const one of draftKeys(localStorage)) localStorage.removeItem(one);
}

function hidden() {
  if (document.hidden) flush();
}

export function mount() {
  on("input", typed);
  on("visibilitychange", hidden);
  on("submit", signedOut);
  on(HTMX.beforeSwap, flush);
  on(BOUGH.swapped, restore);
  on(BOUGH.opened, restore);
  window.addEventListener("pagehide", flush);
  restore();
}
