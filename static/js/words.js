// @ts-check
/** The sentences the modules say. A page may put its own language's into <script type="application/json" id="words">. */

const ENGLISH = {
  announce_sent: "Message sent",
  announce_answering: "{name} is answering",
  announce_still: "Still answering",
  announce_complete: "Answer complete, {count} words",
  announce_stopped: "Stopped",
  announce_failed: "The answer failed",
  announce_interrupted: "The answer was interrupted; the text so far is kept",
  announce_of: "{name}: {words}",
  blank: "Write a message first.",
  cancel: "Cancel",
  close: "Close",
  copied: "Copied",
  copy: "Copy",
  copy_code: "Copy code",
  copy_by_hand: "Copying is blocked here. The text is selected: press Ctrl+C or ⌘C.",
  draft_restored: "Draft restored",
  discard: "Discard",
  dismiss: "Dismiss",
  error_conflict: "The conversation changed in another tab.",
  error_csrf: "This page was open too long. Reload to go on.",
  deleted_elsewhere: "This conversation was deleted.",
  error_gone: "It doesn't exist or isn't yours.",
  error_limit: "Limit reached. Next in {time}.",
  error_limit_over: "You can send again now.",
  error_network: "Couldn't reach the server. Your text is kept.",
  error_server: "Something broke on our side. Nothing was lost.",
  error_server_ref: "Something broke on our side (ref {ref}). Nothing was lost.",
  error_timeout: "The server took too long. Nothing was lost.",
  error_too_big: "That is too big.",
  error_updating: "Updating the server, back in a moment.",
  jump: "Jump to the end",
  jump_new: "New text below",
  not_sent_yet: "Not sent yet",
  offline: "You're offline. Your text is kept.",
  pill_crowded: "Many tabs are open: this one updates more slowly",
  pill_delayed: "Live text is delayed",
  pill_offline: "Offline: messages will not be sent",
  pill_polling: "Live updates interrupted, reconnecting…",
  pill_reconnecting: "Reconnecting…",
  pill_unreachable: "The server can't be reached, trying again…",
  pill_updated: "Updated: reload",
  pill_updating: "Updating the server, back in a moment",
  queued: "Will be sent when the answer ends",
  reload: "Reload",
  remove_model: "Remove {name}",
  response_ready: "Answer ready: {title}",
  retry: "Retry",
  sending: "Sending…",
  shortcut_composer: "Go to the message box",
  shortcut_continue: "Continue the last answer",
  shortcut_help: "Show this list",
  shortcut_new: "New chat",
  shortcut_next: "Next version of the focused message",
  shortcut_previous: "Previous version of the focused message",
  shortcut_regenerate: "Regenerate the last answer",
  shortcut_search: "Search",
  shortcut_sidebar: "Show or hide the sidebar",
  shortcut_stop: "Stop the answer",
  shortcuts: "Keyboard shortcuts",
  sign_in: "Sign in",
  sign_in_again: "Please sign in again. Your text is kept.",
  signed_in: "I have signed in",
  state_begins: "Thinking",
  state_thinking: "Thinking {seconds} s",
  state_queued: "Waiting for its turn",
  state_retries: "Trying again",
  state_retrying: "Trying again in {seconds} s",
  state_waiting: "Still waiting for the model ({seconds} s)",
  stop: "Stop",
  stop_all: "Stop all",
  stop_failed: "Couldn't reach the server; the answer goes on there.",
  stopping: "Stopping…",
  switch_failed: "Couldn't switch. You are where you were.",
  undo: "Undo",
  word_complete: "done",
  word_failed: "failed",
  word_interrupted: "interrupted",
  word_stopped: "stopped",
  word_writing: "writing",
};

/** @type {Record<string, string> | null} */
let own = null;

/** @returns {Record<string, string>} */
function ownWords() {
  if (own) return own;
  try {
    own = JSON.parse(document.getElementById("words")?.textContent || "{}");
  } catch {
    own = {};
  }
  return /** @type {Record<string, string>} */ (own);
}

/**
 * Say a sentence in the page's language.
 * @param {keyof typeof ENGLISH} name
 * @param {Record<string, string | number>} [values]
 */
export function say(name, values = {}) {
  const sentence = ownWords()[name] ?? ENGLISH[name];
  return sentence.replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
}
