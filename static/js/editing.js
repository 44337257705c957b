// @ts-check
/** Editing and deleting in place: keys, where the caret and the focus go. The forms come and go by htmx. */
import { BOUGH, HTMX, on } from "bough/events";
import { composing } from "bough/keys";
import { box, find } from "bough/page";

/** The message whose form is open, to give its button the focus when it closes. */
let editing = "";
/** The button whose press replaces a message, and itself with it. */
let acted = "";

function asked({ detail }) {
  const { target, elt } = detail;
  if (!target?.matches?.("article.message")) return;
  // The form that a button opened closes to that button.
  const action = elt.closest?.(".ask-form") ? "ask" : elt.closest?.("[role=alertdialog]") ? "delete" : elt.dataset?.action;
  acted = action ? `#${target.id} [data-action=${action}]` : "";
}

function settled({ detail }) {
  const form = find("[data-editing] .edit-form");
  if (form) {
    const field = find("textarea", form);
    editing = form.closest("[data-message]")?.id ?? "";
    if (field && document.activeElement !== field) field.focus();
    return field?.setSelectionRange(field.value.length, field.value.length);
  }
  if (editing) focusAfter(`#${editing} [data-action=edit]`);
  else if (detail.targets.includes("turns")) focusAfter("");
  else if (detail.targets.some((id) => acted.startsWith(`#${id} `))) focusAfter(acted);
  else return;
  editing = acted = "";
}

/** Never leave the focus on nothing. @param {string} selector */
function focusAfter(selector) {
  const lost = document.activeElement === document.body || document.activeElement === null;
  if (!lost) return;
  const wanted = selector ? find(selector) : null;
  if (wanted?.checkVisibility?.() ?? wanted) wanted?.focus({ preventScroll: true });
  else box()?.focus({ preventScroll: true });
}

function pressed(event) {
  if (composing(event)) return;
  const target = event.target;
  const form = target.closest?.(".edit-form, .ask-form, [role=alertdialog]");
  if (!form) return;
  if (event.key === "Escape" && unchanged(form)) {
    event.preventDefault();
    event.stopPropagation();
    find("[data-action=cancel-edit], [data-action=cancel]", form)?.click();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) {
    event.preventDefault();
    find("button[value=branch]", form)?.click();
  }
}

/** Text that was changed is not thrown away by one key. @param {Element} form */
function unchanged(form) {
  const field = find("textarea", form);
  return !field || field.value === field.defaultValue;
}

export function mount() {
  on("keydown", pressed, { capture: true });
  on(HTMX.beforeRequest, asked);
  on(BOUGH.swapped, settled);
}
