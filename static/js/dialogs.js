// @ts-check
/** Dialogs: to sign in again without losing the page, to confirm what cannot be undone, to copy by hand. */
import { HTMX, on } from "bough/events";
import { find } from "bough/page";
import { say } from "bough/words";

/**
 * Open a dialog made of text and buttons; closing gives the focus back to what had it.
 * @param {{id: string, text: string, content?: Node, buttons: {text: string, run?: () => void, first?: boolean, danger?: boolean}[]}} options
 * @returns {HTMLDialogElement}
 */
export function openDialog({ id, text, content, buttons }) {
  document.getElementById(id)?.remove();
  const dialog = document.createElement("dialog");
  dialog.id = id;
  dialog.className = "dialog";
  const words = document.createElement("h2");
  words.id = `${id}-text`;
  words.textContent = text;
  dialog.setAttribute("aria-labelledby", words.id);
  const row = document.createElement("div");
  row.className = "buttons";
  row.append(...buttons.map((one) => dialogButton(dialog, one)));
  const body = document.createElement("div");
  body.className = "confirm-body";
  body.append(words, ...(content ? [content] : []), row);
  dialog.append(body);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  find("[autofocus]", dialog)?.focus();
  return dialog;
}

/** @param {HTMLDialogElement} dialog @param {{text: string, run?: () => void, first?: boolean, danger?: boolean}} options */
function dialogButton(dialog, { text, run, first, danger }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = danger ? "button button--danger" : "button";
  button.textContent = text;
  button.autofocus = Boolean(first);
  button.addEventListener("click", () => {
    dialog.close();
    run?.();
  });
  return button;
}

/** Ask to sign in again, in another tab: this page and its text stay. */
export function signInNotice() {
  if (document.getElementById("sign-in-notice")) return;
  const login = document.body.dataset.login || "/accounts/login/";
  openDialog({
    id: "sign-in-notice",
    text: say("sign_in_again"),
    buttons: [
      { text: say("sign_in"), first: true, run: () => openSignIn(login) },
      { text: say("close") },
    ],
  });
}

/** @param {string} login */
function openSignIn(login) {
  window.open(login, "_blank", "noopener");
  openDialog({
    id: "sign-in-notice",
    text: say("sign_in_again"),
    // A new session has a new token: the page is loaded again, its text waits in the draft.
    buttons: [{ text: say("signed_in"), first: true, run: () => location.reload() }],
  });
}

/** Ask before what htmx was told to confirm; the focus is on Cancel. */
function confirming(event) {
  const { question, elt, issueRequest } = event.detail;
  if (!question) return;
  event.preventDefault();
  openDialog({
    id: "confirm",
    text: question,
    buttons: [
      { text: say("cancel"), first: true },
      { text: elt.dataset.confirmText || elt.textContent.trim(), danger: true, run: () => issueRequest(true) },
    ],
  });
}

export function mount() {
  on(HTMX.confirm, confirming);
}
