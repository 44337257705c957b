// @ts-check
/** Live text: frames are kept as plain data and painted once per animation frame. Settled blocks are never touched again. */
import { BOUGH, emit, on } from "bough/events";
import { Answers } from "bough/frames";
import { article } from "bough/page";
import { keepParts, paintPart } from "bough/painting";

const answers = new Answers();
/** Messages to paint → the parts that changed. @type {Map<string, Set<number>>} */
const dirty = new Map();
/** Messages that may show parts of an attempt that was given up. @type {Set<string>} */
const begun = new Set();
/** Answers being stopped: their text stands still. @type {Set<string>} */
const frozen = new Set();
let frame = 0;

function schedule() {
  frame ||= requestAnimationFrame(paint);
}

/** Paint everything that changed, now. */
export function paint() {
  cancelAnimationFrame(frame);
  frame = 0;
  for (const [message, indexes] of dirty) {
    if (frozen.has(message)) continue;
    const element = article(message);
    const answer = answers.answers.get(message);
    dirty.delete(message);
    if (!element || !answer) continue;
    if (begun.delete(message)) keepParts(element, answer.parts);
    for (const i of indexes) {
      const part = answer.parts.get(i);
      if (part) paintPart(element, i, part);
    }
    emit(BOUGH.painted, { message, element });
  }
}

function heard({ detail }) {
  if (detail.type === "answer") answered(detail);
  else if (detail.type === "status") status(detail);
  else if (detail.type === "ended") ended(detail);
}

/** @param {import("./frames.js").AnswerFrame} answer */
function answered(answer) {
  const outcome = answers.apply(answer);
  if (outcome === "missing") return emit(BOUGH.missing);
  if (!outcome) return;
  if (outcome.anew) begun.add(outcome.message);
  const indexes = dirty.get(outcome.message) ?? new Set();
  for (const i of outcome.parts) indexes.add(i);
  dirty.set(outcome.message, indexes);
  schedule();
}

/** @param {{a: number, m?: string, word: string, text?: string, seconds?: number}} frame_ */
function status(frame_) {
  const message = answers.messageOf(frame_);
  if (message) emit(BOUGH.status, { message, word: frame_.word, text: frame_.text ?? "", seconds: frame_.seconds });
}

/** @param {{a: number, m?: string, status: string, html?: string | null}} end */
function ended(end) {
  const message = answers.end(end);
  if (!message) return;
  frozen.delete(message);
  paint();
  emit(BOUGH.ended, { message, status: end.status, html: end.html ?? null });
}

/** However it was learnt: what frames said of an ended answer must not be painted over the stored one. */
function forget({ detail }) {
  answers.forget(detail.message);
  frozen.delete(detail.message);
  dirty.delete(detail.message);
}

/** Put what is known into articles that came later. */
function changed({ detail }) {
  for (const message of detail.ids ?? []) {
    const answer = answers.answers.get(message);
    if (answer) dirty.set(message, new Set(answer.parts.keys()));
  }
  if (dirty.size) schedule();
}

function stopping({ detail }) {
  for (const message of detail.messages) {
    if (detail.failed) frozen.delete(message);
    else frozen.add(message);
  }
  if (detail.failed) schedule();
}

function renumber({ detail }) {
  if (detail.state === "open") answers.renumber();
}

export function mount() {
  on(BOUGH.frame, heard);
  on(BOUGH.ended, forget);
  on(BOUGH.changed, changed);
  on(BOUGH.stopping, stopping);
  on(BOUGH.socket, renumber);
}
