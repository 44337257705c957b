// @ts-check
/** Copy: messages as Markdown and as HTML, code as it is; by older means on plain http, by hand where those fail too. */
import { announce } from "bough/announce";
import { sourceOf } from "bough/composer";
import { openDialog } from "bough/dialogs";
import { BOUGH, on } from "bough/events";
import { find } from "bough/page";
import { say } from "bough/words";

const SAID_FOR = 2000;

/**
 * Put text on the clipboard.
 * @param {string} text
 * @param {string} [html]
 * @returns {Promise<boolean>}
 */
async function write(text, html) {
  try {
    if (html && window.ClipboardItem) {
      const blob = (/** @type {string} */ type, /** @type {string} */ content) => new Blob([content], { type });
      const item = { "text/plain": blob("text/plain", text), "text/html": blob("text/html", html) };
      await navigator.clipboard.write([new ClipboardItem(item)]);
    } else await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeByCommand(text);
  }
}

/** The way that works on plain http. @param {string} text */
function writeByCommand(text) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "sr-only";
  field.setAttribute("aria-hidden", "true");
  (focused?.closest("dialog") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return done;
}

/** @param {string} text */
function copyByHand(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.rows = 10;
  openDialog({ id: "copy-by-hand", text: say("copy_by_hand"), content: field, buttons: [{ text: say("close") }] });
  field.select();
}

/**
 * Copy and say so on the button.
 * @param {HTMLElement} button
 * @param {string} text
 * @param {string} [html]
 */
async function copy(button, text, html) {
  if (!(await write(text, html))) return copyByHand(text);
  announce(say("copied"));
  const place = find("[data-label]", button) ?? button;
  button.dataset.before ??= place.textContent ?? "";
  place.textContent = say("copied");
  button.setAttribute("data-copied", "");
  window.setTimeout(() => {
    place.textContent = button.dataset.before ?? say("copy");
    delete button.dataset.before;
    button.removeAttribute("data-copied");
  }, SAID_FOR);
}

function pressed(event) {
  const button = event.target.closest?.("[data-action=copy], [data-action=copy-code]");
  if (!button) return;
  event.preventDefault();
  const code = button.closest(".code");
  if (button.dataset.action === "copy-code") return void copy(button, find("pre", code ?? button)?.textContent ?? "");
  const message = /** @type {HTMLElement | null} */ (button.closest("article.message"));
  if (message) void copyMessage(button, message);
}

/** @param {HTMLElement} button @param {HTMLElement} message */
function copyMessage(button, message) {
  const texts = Array.from(message.querySelectorAll(".part[data-kind=text] .md"), withoutAdded);
  return copy(button, sourceOf(message), texts.join("\n") || undefined);
}

/** @param {Element} body */
function withoutAdded(body) {
  const clone = /** @type {Element} */ (body.cloneNode(true));
  for (const added of clone.querySelectorAll("[data-added], .code-head")) added.remove();
  return clone.innerHTML;
}

/** Give code blocks their button. @param {ParentNode} root */
function equip(root) {
  for (const head of root.querySelectorAll(".md > .code > .code-head:not(:has([data-action=copy-code]))")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "code-copy";
    button.dataset.action = "copy-code";
    button.dataset.added = "";
    button.textContent = say("copy");
    button.setAttribute("aria-label", say("copy_code"));
    head.append(button);
  }
}

function painted({ detail }) {
  equip(detail.element);
}

function everywhere() {
  equip(document);
}

export function mount() {
  on("click", pressed);
  on(BOUGH.painted, painted);
  on(BOUGH.changed, everywhere);
  on(BOUGH.swapped, everywhere);
  everywhere();
}
