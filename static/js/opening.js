// @ts-check
/** The page of a new conversation becomes that conversation's page around the box, which keeps its text and focus. */
import { BOUGH, on } from "bough/events";
import { ask } from "bough/http";
import { address, composer, conversationId, enliven, find, fragment } from "bough/page";

/**
 * Point the forms at the conversation the first send made.
 * @param {string} id
 */
export function adopt(id) {
  const form = composer();
  if (!form) return;
  form.dataset.conversation = id;
  form.action = address.send(id);
  find("#stop")?.setAttribute("action", address.stop(id));
}

/** Fetch what only the server knows how to draw: title, menus, the choice of model. */
async function sent({ detail }) {
  if (!detail.created) return;
  const reply = await ask(address.conversation(detail.conversation));
  if (!reply.ok || conversationId() !== detail.conversation) return;
  const page = fragment(reply.text);
  for (const selector of [".topbar", ".model-choice"]) {
    const before = find(`#main ${selector}`);
    const after = find(selector, page);
    if (!before || !after) continue;
    before.replaceWith(after);
    enliven(after);
  }
  for (const start of document.querySelectorAll("#conversation > .start")) start.remove();
  find("#conversation")?.classList.remove("conversation--empty", "is-started");
  document.title = find("title", page)?.textContent ?? document.title;
}

export function mount() {
  on(BOUGH.sent, sent);
}
