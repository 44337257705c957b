import assert from "node:assert/strict";
import test from "node:test";
import { Answers, keepCodePoints, nextTail } from "../../static/js/frames.js";

const first = (parts, more = {}) => ({ type: "answer", a: 1, m: "msg", attempt: 1, parts, ...more });
const next = (parts, more = {}) => ({ type: "answer", a: 1, parts, ...more });
const text = (answers) => {
  const part = answers.answers.get("msg").parts.get(0);
  return part.settled.join("") + part.tail;
};

test("the first frame fills an answer", () => {
  const answers = new Answers();
  const outcome = answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>"], tail: "<p>b</p>" }]));
  assert.deepEqual(outcome, { message: "msg", parts: [0], anew: true });
  assert.equal(text(answers), "<p>a</p><p>b</p>");
});

test("a later frame adds settled blocks and replaces the tail", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, tail: "<p>on</p>" }]));
  answers.apply(next([{ i: 0, from: 0, settled: ["<p>one</p>"], tail: "<p>tw</p>" }]));
  answers.apply(next([{ i: 0, from: 1, tail: { keep: 5, add: "o</p>" } }]));
  assert.equal(text(answers), "<p>one</p><p>two</p>");
});

test("a part without a tail has none", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, tail: "<p>one</p>" }]));
  answers.apply(next([{ i: 0, from: 0, settled: ["<p>one</p>"] }]));
  assert.equal(text(answers), "<p>one</p>");
});

test("the same frame twice is as good as once", () => {
  const answers = new Answers();
  const frame = first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>"], tail: "t" }]);
  answers.apply(frame);
  answers.apply(frame);
  assert.equal(text(answers), "<p>a</p>t");
  assert.equal(answers.answers.get("msg").parts.get(0).version, 0);
});

test("a frame that counts on blocks never seen asks to watch again", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>"] }]));
  assert.equal(answers.apply(next([{ i: 0, from: 3, tail: "x" }])), "missing");
});

test("a tail that counts on text never seen asks to watch again", () => {
  const answers = new Answers();
  assert.equal(answers.apply(first([{ i: 0, kind: "text", from: 0, tail: { keep: 40, add: "x" } }])), "missing");
});

test("a number nobody introduced asks to watch again", () => {
  assert.equal(new Answers().apply(next([])), "missing");
});

test("after a new socket the old numbers mean nothing and known blocks stay", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>"], tail: "b" }]));
  const before = answers.answers.get("msg").parts.get(0);
  answers.renumber();
  assert.equal(answers.apply(next([])), "missing");
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>", "<p>b</p>"], tail: "c" }], { a: 7 }));
  assert.equal(answers.answers.get("msg").parts.get(0), before);
  assert.equal(before.version, 0);
  assert.equal(text(answers), "<p>a</p><p>b</p>c");
});

test("an older position of the same text never takes text away, and later patches still fit", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>", "<p>b</p>"], tail: "<p>c</p>" }]));
  answers.renumber();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>"], tail: "<p>b" }], { a: 2 }));
  assert.equal(text(answers), "<p>a</p><p>b</p><p>c</p>");
  answers.apply({ ...next([{ i: 0, from: 1, settled: ["<p>b</p>", "<p>c</p>"], tail: { keep: 3, add: "d" } }]), a: 2 });
  assert.equal(text(answers), "<p>a</p><p>b</p><p>c</p><p>d");
});

test("blocks that differ are replaced, and the painter is told", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>", "<p>b</p>"] }]));
  answers.renumber();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>a</p>", "<p>B</p>"], tail: "c" }]));
  assert.equal(text(answers), "<p>a</p><p>B</p>c");
  assert.equal(answers.answers.get("msg").parts.get(0).version, 1);
});

test("a higher attempt begins anew and a lower one is ignored", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "text", from: 0, settled: ["<p>old</p>"] }]));
  const outcome = answers.apply(next([{ i: 0, kind: "text", from: 0, tail: "new" }], { attempt: 2 }));
  assert.equal(outcome.anew, true);
  assert.equal(text(answers), "new");
  assert.equal(answers.apply(first([{ i: 0, kind: "text", from: 0, tail: "old" }])), null);
  assert.equal(text(answers), "new");
});

test("parts of a part's kind keep it when later frames leave it out", () => {
  const answers = new Answers();
  answers.apply(first([{ i: 0, kind: "reasoning", from: 0, tail: "hm" }]));
  answers.apply(next([{ i: 0, from: 0, tail: "hmm" }, { i: 1, kind: "text", from: 0, tail: "So" }]));
  const parts = answers.answers.get("msg").parts;
  assert.deepEqual([parts.get(0).kind, parts.get(1).kind], ["reasoning", "text"]);
});

test("an end names its message, also on a socket that never introduced it", () => {
  const answers = new Answers();
  assert.equal(answers.end({ a: 3, m: "msg" }), "msg");
  assert.equal(answers.end({ a: 4 }), undefined);
});

test("a kept tail counts code points, not UTF-16 units", () => {
  assert.equal(keepCodePoints("🌳🌳ab", 3), "🌳🌳a");
  assert.equal(keepCodePoints("ab", 3), null);
  assert.equal(nextTail("🌳x", { keep: 1, add: "y" }), "🌳y");
  assert.equal(nextTail("anything", undefined), "");
});

test("random splits of a text into frames all give the text", () => {
  let seed = 7;
  const random = (bound) => (seed = (seed * 48271) % 2147483647) % bound;
  for (let round = 0; round < 200; round += 1) {
    const blocks = Array.from({ length: 12 }, (_, index) => `<p>${index} ${"🌳é".repeat(random(5))}</p>`);
    const answers = new Answers();
    let sent = 0;
    let before = "";
    let frame = { from: 0, kind: "text" };
    while (sent < blocks.length) {
      const end = Math.min(blocks.length, sent + random(4));
      const tail = end < blocks.length ? blocks[end].slice(0, random(blocks[end].length)).toWellFormed?.() ?? "" : "";
      const points = Array.from(tail);
      const common = points.findIndex((point, index) => point !== Array.from(before)[index]);
      const keep = Math.min(common === -1 ? points.length : common, Array.from(before).length);
      const patch = random(2) ? tail : { keep, add: points.slice(keep).join("") };
      const part = { ...frame, i: 0, from: sent, settled: blocks.slice(sent, end), tail: patch };
      const outcome = answers.apply(sent === 0 && !answers.answers.size ? first([part]) : next([part]));
      assert.notEqual(outcome, "missing");
      if (random(3) === 0) answers.apply({ ...next([part]), parts: [{ ...part, tail }] });
      sent = end;
      before = tail;
      frame = {};
      assert.equal(text(answers), blocks.slice(0, end).join("") + tail);
    }
  }
});
