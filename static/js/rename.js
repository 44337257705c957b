// @ts-check
/** Rename in the list: the form comes by htmx; leaving it saves, Esc gives up, the focus goes back to the row. */
import { BOUGH, on } from "bough/events";
import { composing } from "bough/keys";
import { find } from "bough/page";

/** The row that was renamed last, to give it the focus back. */
let renaming = "";

/** @param {EventTarget | null} target @returns {HTMLFormElement | null} */
const formOf = (target) => /** @type {any} */ (target)?.closest?.("form.rename") ?? null;

function unchanged(form) {
  const field = find("input[name=title]", form);
  return !field || field.value.trim() === field.defaultValue.trim();
}

function pressed(event) {
  const form = formOf(event.target);
  if (!form || event.key !== "Escape" || composing(event)) return;
  event.preventDefault();
  event.stopPropagation();
  find("[data-action=cancel]", form)?.click();
}

function left(event) {
  const form = formOf(event.target);
  if (!form || form.contains(/** @type {Node | null} */ (event.relatedTarget)) || !form.isConnected) return;
  // A window that loses the focus keeps its form.
  if (!document.hasFocus() || form.hasAttribute("data-sent")) return;
  if (unchanged(form)) find("[data-action=cancel]", form)?.click();
  else form.requestSubmit();
}

function settled() {
  const form = find("form.rename");
  if (form) {
    const row = form.closest("[data-conversation]")?.id ?? "";
    if (row === renaming) return;
    renaming = row;
    const field = find("input[name=title]", form);
    field?.focus();
    return field?.select();
  }
  if (!renaming) return;
  const quiet = document.activeElement === document.body || document.activeElement === null;
  if (quiet) find(`#${renaming} .row-link`)?.focus({ preventScroll: true });
  renaming = "";
}

function sent(event) {
  formOf(event.target)?.setAttribute("data-sent", "");
}

export function mount() {
  on("keydown", pressed, { capture: true });
  on("focusout", left);
  on("submit", sent);
  on(BOUGH.swapped, settled);
}
