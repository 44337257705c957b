import assert from "node:assert/strict";
import test from "node:test";
import { afterClose, fullJitter, patience } from "../../static/js/backoff.js";

test("the bound of a wait doubles with each failure up to thirty seconds", () => {
  const longest = () => 1;
  assert.deepEqual([0, 1, 2, 3, 6, 50].map((n) => fullJitter(n, { random: longest })), [500, 1000, 2000, 4000, 30000, 30000]);
});

test("a wait may be anything below its bound", () => {
  assert.equal(fullJitter(4, { random: () => 0 }), 0);
  assert.equal(fullJitter(4, { random: () => 0.5 }), 4000);
});

test("a close code says what to do next", () => {
  assert.equal(afterClose(4401), "sign-in");
  assert.equal(afterClose(4408), "resync");
  assert.equal(afterClose(1012), "resync");
  assert.equal(afterClose(4400), "leave");
  assert.equal(afterClose(4429), "crowded");
  for (const code of [1000, 1001, 1005, 1006, 1011]) assert.equal(afterClose(code), "wait");
});

test("a socket too many waits for half a minute or more, and never at the same time as others", () => {
  assert.deepEqual([0, 0.5, 1].map((chance) => patience(() => chance)), [30_000, 45_000, 60_000]);
});
