// @ts-check
/** Shortcuts: one registry, used by the handler and by the dialog that lists them. */
import { BOUGH, on } from "bough/events";
import { composing, matches, spelled } from "bough/keys";
import { box, find, liveArticles, path } from "bough/page";
import { stop } from "bough/stopping";
import { openDialog } from "bough/dialogs";
import { say } from "bough/words";

const mac = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);

const SEARCH = "#search, #sidebar [type=search]";

/** @typedef {{keys: string, name: string, run: (event: KeyboardEvent) => boolean | void, needs?: string}} Shortcut `run` gives false when it has nothing to do */

/** @param {string} selector @param {ParentNode} [root] */
const press = (selector, root) => {
  const target = find(selector, root);
  target?.click();
  return Boolean(target);
};

/** The last message of a role that offers an action. @param {string} role @param {string} selector */
function pressOnLast(role, selector) {
  const last = path().filter((node) => node.dataset.role === role).at(-1);
  return last ? press(selector, last) : false;
}

function focusSearch() {
  const field = find(SEARCH);
  field?.focus();
  return Boolean(field);
}

function focusBox() {
  box()?.focus();
  return Boolean(box());
}

function stopHere(event) {
  const target = event.target;
  const inPlace = target === document.body || target.closest?.("#composer, #scroller");
  if (!inPlace || document.querySelector("dialog[open], [popover]:popover-open") || !liveArticles().length) return false;
  void stop();
}

/** @param {any} event @param {string} direction */
function version(event, direction) {
  const message = event.target.closest?.("article.message");
  return message ? press(`[data-version=${direction}]:not(:disabled)`, message) : false;
}

/** @type {Shortcut[]} */
export const SHORTCUTS = [
  { keys: "Mod+Shift+O", name: "shortcut_new", run: () => press("[data-action=new-chat]") },
  { keys: "Mod+K", name: "shortcut_search", run: focusSearch, needs: SEARCH },
  { keys: "Mod+Shift+S", name: "shortcut_sidebar", run: () => press("[data-action=sidebar]") },
  { keys: "Shift+Escape", name: "shortcut_composer", run: focusBox },
  { keys: "Escape", name: "shortcut_stop", run: stopHere },
  { keys: "Alt+R", name: "shortcut_regenerate", run: () => pressOnLast("assistant", "[data-action=regenerate]") },
  { keys: "Alt+Enter", name: "shortcut_continue", run: () => pressOnLast("assistant", "[data-action=continue]") },
  { keys: "Alt+ArrowLeft", name: "shortcut_previous", run: (event) => version(event, "previous") },
  { keys: "Alt+ArrowRight", name: "shortcut_next", run: (event) => version(event, "next") },
  { keys: "Mod+/", name: "shortcut_help", run: () => void showHelp() },
];

function pressed(event) {
  if (composing(event) || event.defaultPrevented) return;
  const shortcut = SHORTCUTS.find((one) => matches(event, one.keys, mac));
  if (!shortcut || event.repeat) return;
  if (shortcut.run(event) !== false) event.preventDefault();
}

/** Show the list. */
export function showHelp() {
  if (document.getElementById("shortcut-help")) return;
  const list = document.createElement("dl");
  list.className = "shortcuts";
  for (const { keys, name, needs } of SHORTCUTS) {
    if (needs && !find(needs)) continue;
    const term = document.createElement("dt");
    term.textContent = say(/** @type {any} */ (name));
    const combination = document.createElement("dd");
    for (const key of spelled(keys, mac)) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      combination.append(cap);
    }
    list.append(term, combination);
  }
  openDialog({ id: "shortcut-help", text: say("shortcuts"), content: list, buttons: [{ text: say("close"), first: true }] });
}

function clicked(event) {
  if (event.target.closest?.("[data-action=shortcuts]")) showHelp();
}

/** Mod reads as Ctrl on most keyboards and ⌘ on a Mac. */
function spellHints() {
  for (const cap of document.querySelectorAll("kbd[data-keys]:empty")) {
    cap.textContent = spelled(/** @type {HTMLElement} */ (cap).dataset.keys ?? "", mac).join(mac ? "" : "+");
  }
}

export function mount() {
  on("keydown", pressed);
  on("click", clicked);
  on(BOUGH.swapped, spellHints);
  spellHints();
}
