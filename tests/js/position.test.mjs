import assert from "node:assert/strict";
import test from "node:test";
import { compensation, drift, jumpShown, shouldPin } from "../../static/js/position.js";

test("the jump button comes beyond 200 pixels and goes within 60", () => {
  assert.equal(jumpShown(false, -199), false);
  assert.equal(jumpShown(false, -201), true);
  assert.equal(jumpShown(true, -61), true);
  assert.equal(jumpShown(true, -59), false);
});

test("a reader near the end follows again only while text arrives", () => {
  assert.equal(shouldPin(-59, true), true);
  assert.equal(shouldPin(-60, true), false);
  assert.equal(shouldPin(-59, false), false);
  assert.equal(shouldPin(0, true), false);
});

test("text that grows below a reader moves the scroll by as much", () => {
  assert.equal(compensation(-500, 40, false), -40);
  assert.equal(compensation(0, 40, false), 0);
  assert.equal(compensation(-500, 40, true), 0);
  assert.equal(compensation(-500, -40, false), 0);
});

test("a switched message goes back to where it stood", () => {
  assert.equal(drift(100, 340.4), 240);
  assert.equal(drift(100, 60), -40);
});
