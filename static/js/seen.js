// @ts-check
/** What is looked at is read: the answer that ended here, and what was unread when it was opened. */
import { BOUGH, on } from "bough/events";
import { ask } from "bough/http";
import { address, conversationId } from "bough/page";

const row = () => document.getElementById(`row-${conversationId()}`);

/** Tell the server that the owner has looked. */
async function seen() {
  const id = conversationId();
  if (!id || document.hidden) return;
  const reply = await ask(address.seen(id), { method: "POST" });
  const now = row();
  if (reply.ok && now?.dataset.state === "unread") now.dataset.state = "idle";
}

/** Back at this tab: only if something came meanwhile. */
function returned() {
  if (row()?.dataset.state === "unread") void seen();
}

/** Only of what is shown here. */
function ended({ detail }) {
  if (document.getElementById(`m-${detail.message}`)) void seen();
}

export function mount() {
  on(BOUGH.ended, ended);
  on(BOUGH.opened, seen);
  on("visibilitychange", returned);
  void seen();
}
