import assert from "node:assert/strict";
import test from "node:test";
import { Acks } from "../../static/js/acks.js";

function started(hurried = false) {
  const sent = [];
  return { sent, acks: new Acks((n) => sent.push(n), () => hurried) };
}

test("every fifth frame is acknowledged at once, with everything before it", () => {
  const { sent, acks } = started();
  for (let n = 1; n <= 11; n += 1) acks.count(n);
  acks.reset();
  assert.deepEqual(sent, [5, 10]);
});

test("fewer frames are acknowledged after a quarter of a second", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, acks } = started();
  acks.count(1);
  acks.count(2);
  context.mock.timers.tick(249);
  assert.deepEqual(sent, []);
  context.mock.timers.tick(1);
  assert.deepEqual(sent, [2]);
});

test("a hidden tab acknowledges each frame, for its timers may sleep", () => {
  const { sent, acks } = started(true);
  acks.count(1);
  acks.count(2);
  assert.deepEqual(sent, [1, 2]);
});

test("a closed socket's frames are never acknowledged on the next one", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, acks } = started();
  acks.count(4);
  acks.reset();
  context.mock.timers.tick(1000);
  assert.deepEqual(sent, []);
});
