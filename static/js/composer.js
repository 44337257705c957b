// @ts-check
/** The box: Enter sends, it grows with its text, an empty one recalls earlier prompts; Send becomes Stop while an answer runs. */
import { BOUGH, on } from "bough/events";
import { composing } from "bough/keys";
import { articles, box, composer, find, liveArticles, path } from "bough/page";
import { say } from "bough/words";

const LINES = 8;
const grows = typeof CSS !== "undefined" && CSS.supports("field-sizing", "content");
/** How far back ArrowUp has gone, and what it put into the box. */
let recalled = { back: 0, text: "" };

/** On a screen keyboard Enter is a new line: there is no Shift to hold. */
const touchOnly = () => matchMedia("(hover: none) and (pointer: coarse)").matches;

function pressed(event) {
  const field = box();
  if (!field || event.target !== field || composing(event)) return;
  if (event.key === "ArrowUp") return recall(field, event);
  if (event.key !== "Enter" || event.shiftKey || event.altKey || touchOnly()) return;
  event.preventDefault();
  if (!event.repeat) composer()?.requestSubmit();
}

/** @param {HTMLTextAreaElement} field */
function recall(field, event) {
  if (event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
  const fresh = !field.value;
  if (!fresh && field.value !== recalled.text) return;
  const prompts = earlierPrompts();
  const back = fresh ? 1 : recalled.back + 1;
  const text = prompts.at(-back);
  if (text === undefined || back > prompts.length) return;
  event.preventDefault();
  recalled = { back, text };
  fill(field, text);
}

/** @returns {string[]} oldest first, none twice in a row */
function earlierPrompts() {
  return articles()
    .filter((node) => node.dataset.role === "user")
    .map((node) => sourceOf(node))
    .filter((text, index, all) => text && text !== all[index - 1]);
}

/**
 * Give a message's text as it was written.
 * @param {HTMLElement} node the article
 */
export function sourceOf(node) {
  const source = find("template.source", node);
  // While it is being written, only the page has the text.
  if (source && !node.hasAttribute("data-live")) return source.content.textContent ?? "";
  return find(".part[data-kind=text]", node)?.innerText.trim() ?? "";
}

/** @param {HTMLTextAreaElement} field @param {string} text */
export function fill(field, text) {
  field.value = text;
  field.setSelectionRange(text.length, text.length);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Engines without field-sizing get the height of the text. @param {HTMLTextAreaElement} field */
export function grow(field) {
  if (grows) return;
  const line = Number.parseFloat(getComputedStyle(field).lineHeight) || 24;
  field.style.blockSize = "auto";
  field.style.blockSize = `${Math.min(field.scrollHeight, line * LINES)}px`;
}

function typed(event) {
  const field = box();
  if (field && event.target === field) grow(field);
}

/** Show Stop in the place of Send while an answer on screen runs, and name the leaf the next message goes below. */
export function refreshComposer() {
  const form = composer();
  if (!form) return;
  const live = liveArticles().length;
  const running = live > 0;
  form.toggleAttribute("data-running", running);
  form.toggleAttribute("data-busy", running);
  const stop = find("[data-action=stop]", form);
  const send = find("[data-action=send]", form);
  if (stop) {
    stop.hidden = !running;
    find(".label", stop).textContent = say(live > 1 ? "stop_all" : "stop");
  }
  if (send) send.hidden = running;
  const parent = find("input[name=parent_id]", form);
  const last = path().at(-1)?.dataset.message;
  if (parent && last) parent.value = last;
}

/** A starter fills the box and does not send. */
function starter(event) {
  const chosen = event.target.closest?.("[data-starter]");
  const field = box();
  if (!chosen || !field) return;
  event.preventDefault();
  fill(field, chosen.dataset.starter || chosen.innerText.trim());
  field.focus();
}

/** Readers with a mouse write at once; on a phone the keyboard would cover the page. */
function focusFirst() {
  if (matchMedia("(hover: hover) and (pointer: fine)").matches) box()?.focus({ preventScroll: true });
}

export function mount() {
  on("keydown", pressed);
  on("input", typed);
  on("click", starter);
  on(BOUGH.changed, refreshComposer);
  on(BOUGH.ended, refreshComposer);
  on(BOUGH.swapped, refreshComposer);
  on(BOUGH.opened, focusFirst);
  refreshComposer();
  if (document.activeElement === document.body) focusFirst();
}
