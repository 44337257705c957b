// @ts-check
/** Frames of the socket applied to plain data: what each answer on screen says. Pure; painting is stream.js. */

/** @typedef {{kind: string, settled: string[], tail: string, sent: string, version: number}} Part `sent` is the tail as last sent; `version` grows when settled text changed */
/** @typedef {{attempt: number, parts: Map<number, Part>, ended: boolean}} Answer */
/** @typedef {{i: number, kind?: string, from: number, settled?: string[], tail?: string | {keep: number, add: string}}} PartFrame */
/** @typedef {{a: number, m?: string, attempt?: number, parts: PartFrame[], n?: number}} AnswerFrame */
/** @typedef {{message: string, parts: number[], anew: boolean}} Applied `anew`: these parts are all there are */

export class Answers {
  constructor() {
    /** @type {Map<number, string>} numbers given by this socket → message ids */
    this.numbers = new Map();
    /** @type {Map<string, Answer>} */
    this.answers = new Map();
  }

  /** Forget the short numbers: a new socket gives new ones. */
  renumber() {
    this.numbers.clear();
  }

  /** Forget one answer and its text. @param {string} message */
  forget(message) {
    this.answers.delete(message);
  }

  /**
   * Find the message a frame speaks of.
   * @param {{a: number, m?: string}} frame
   * @returns {string | undefined}
   */
  messageOf(frame) {
    if (frame.m) this.numbers.set(frame.a, frame.m);
    return this.numbers.get(frame.a);
  }

  /**
   * Apply an `answer` frame: twice is as good as once.
   * @param {AnswerFrame} frame
   * @returns {Applied | "missing" | null} what to paint; "missing": watch again; null: nothing new
   */
  apply(frame) {
    const message = this.messageOf(frame);
    if (!message) return "missing";
    let answer = this.answers.get(message);
    const attempt = frame.attempt ?? answer?.attempt ?? 0;
    if (answer && attempt < answer.attempt) return null;
    const anew = !answer || attempt > answer.attempt;
    if (!answer || anew) {
      answer = { attempt, parts: new Map(), ended: false };
      this.answers.set(message, answer);
    }
    const changed = [];
    for (const partFrame of frame.parts) {
      const outcome = applyPart(answer.parts, partFrame);
      if (outcome === "missing") return "missing";
      if (outcome) changed.push(partFrame.i);
    }
    return { message, parts: changed, anew };
  }

  /**
   * Mark an answer as ended.
   * @param {{a: number, m?: string}} frame
   * @returns {string | undefined} the message's id
   */
  end(frame) {
    const message = this.messageOf(frame);
    const answer = message && this.answers.get(message);
    if (answer) answer.ended = true;
    return message;
  }
}

/**
 * Apply one part of a frame.
 * @param {Map<number, Part>} parts
 * @param {PartFrame} frame
 * @returns {boolean | "missing"} whether anything changed
 */
function applyPart(parts, frame) {
  const part = parts.get(frame.i) ?? { kind: frame.kind ?? "text", settled: [], tail: "", sent: "", version: 0 };
  const settled = frame.settled ?? [];
  if (frame.from > part.settled.length) return "missing";
  const known = part.settled.slice(frame.from);
  const same = known.every((html, index) => index >= settled.length || html === settled[index]);
  const tail = nextTail(part.sent, frame.tail);
  if (tail === null) return "missing";
  part.sent = tail;
  // An older position of the same text: what we have is ahead of it.
  if (same && settled.length < known.length) return false;
  if (!same) {
    part.settled.length = frame.from;
    part.version += 1;
  }
  part.settled.push(...settled.slice(part.settled.length - frame.from));
  part.tail = tail;
  parts.set(frame.i, part);
  return true;
}

/**
 * Work out the new open block.
 * @param {string} before
 * @param {string | {keep: number, add: string} | undefined} tail
 * @returns {string | null} null when it counts on text we do not have
 */
export function nextTail(before, tail) {
  if (tail === undefined) return "";
  if (typeof tail === "string") return tail;
  const kept = keepCodePoints(before, tail.keep);
  return kept === null ? null : kept + tail.add;
}

/**
 * Take the first code points of a text (the server counts in them, JavaScript in UTF-16 units).
 * @param {string} text
 * @param {number} count
 * @returns {string | null} null when the text is shorter
 */
export function keepCodePoints(text, count) {
  let units = 0;
  for (let left = count; left > 0; left -= 1) {
    if (units >= text.length) return null;
    const code = text.charCodeAt(units);
    units += code >= 0xd800 && code <= 0xdbff && units + 1 < text.length ? 2 : 1;
  }
  return text.slice(0, units);
}
