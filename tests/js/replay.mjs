/** Apply recorded frames with the page's own module: JSON lines in, one line out for each tab that shows something else. */
import { createInterface } from "node:readline";
import { Answers } from "../../static/js/frames.js";

/** @param {Answers} answers @param {string} message @param {Map<number, string>} whole */
function html(answers, message, whole) {
  const parts = [...(answers.answers.get(message)?.parts ?? [])].sort(([one], [other]) => one - other);
  return parts.map(([i, part]) => whole.get(i) ?? part.settled.join("") + part.tail).join("");
}

function differs({ message, sockets, shown }) {
  const answers = new Answers();
  const whole = new Map();
  for (const [number, frames] of sockets.entries()) {
    answers.renumber();
    for (const frame of frames) {
      if (frame.type === "answer" && answers.apply(frame) === "missing") return "a frame counts on what is missing";
      if (frame.type === "ended") for (const part of frame.html ?? []) whole.set(part.i, part.html);
    }
    if (html(answers, message, whole) !== shown[number]) return `it shows something else after socket ${number + 1}`;
  }
  return null;
}

for await (const line of createInterface({ input: process.stdin })) {
  const tab = JSON.parse(line);
  const why = differs(tab);
  if (why) console.log(`${tab.name}: ${why}`);
}
