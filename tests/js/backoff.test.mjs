import assert from "node:assert/strict";
import test from "node:test";
import { afterClose, fullJitter } from "../../static/js/backoff.js";

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
  for (const code of [1000, 1001, 1005, 1006, 1011, 4429]) assert.equal(afterClose(code), "wait");
});
