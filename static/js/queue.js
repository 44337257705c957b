// @ts-check
/** Enter while an answer is being written: the text waits in the box and is sent when the answer has ended. */
import { announce } from "bough/announce";
import { BOUGH, on } from "bough/events";
import { box, composer, find, liveArticles, path } from "bough/page";
import { say } from "bough/words";

let waiting = false;

/** Send what is in the box once no answer is being written. */
export function sendLater() {
  if (waiting) return;
  waiting = true;
  const line = document.createElement("p");
  line.id = "queue-note";
  line.className = "draft-note";
  const out = document.createElement("button");
  out.type = "button";
  out.className = "text-button";
  out.textContent = say("cancel");
  out.addEventListener("click", () => {
    forget();
    box()?.focus();
  });
  line.append(say("queued"), out);
  composer()?.prepend(line);
  announce(say("queued"));
}

function forget() {
  waiting = false;
  find("#queue-note")?.remove();
}

/** The stored state of the answer is on screen: the next message goes below it. */
function changed() {
  if (!waiting || liveArticles().length) return;
  forget();
  if (box()?.value.trim()) composer()?.requestSubmit();
}

/** After a failure on the path the reader decides what comes next. */
function ended({ detail }) {
  const onPath = path().some((node) => node.dataset.message === detail.message);
  if (!onPath) return;
  if (detail.status === "failed" || detail.status === "interrupted") forget();
}

/** A text that was taken back is not sent. */
function typed(event) {
  if (waiting && event.target === box() && !event.target.value.trim()) forget();
}

export function mount() {
  on(BOUGH.ended, ended);
  on(BOUGH.changed, changed);
  on(BOUGH.opened, forget);
  on("input", typed);
}
