import assert from "node:assert/strict";
import test from "node:test";
import { composing, matches, spelled } from "../../static/js/keys.js";

const press = (key, code, more = {}) => ({ key, code, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more });

test("Mod is Ctrl on most keyboards and the command key on a Mac", () => {
  const control = press("O", "KeyO", { ctrlKey: true, shiftKey: true });
  const command = press("o", "KeyO", { metaKey: true, shiftKey: true });
  assert.equal(matches(control, "Mod+Shift+O", false), true);
  assert.equal(matches(control, "Mod+Shift+O", true), false);
  assert.equal(matches(command, "Mod+Shift+O", true), true);
});

test("with Alt a letter is known by its place, whatever character it types", () => {
  assert.equal(matches(press("®", "KeyR", { altKey: true }), "Alt+R", true), true);
});

test("more keys than the combination names are another combination", () => {
  assert.equal(matches(press("Escape", "Escape", { shiftKey: true }), "Escape", false), false);
  assert.equal(matches(press("k", "KeyK", { ctrlKey: true, altKey: true }), "Mod+K", false), false);
  assert.equal(matches(press("k", "KeyK"), "Mod+K", false), false);
});

test("a slash is found on keyboards that need Shift for it by its place", () => {
  assert.equal(matches(press("/", "Slash", { ctrlKey: true }), "Mod+/", false), true);
});

test("keys of an input method are not ours, also Safari's late Enter", () => {
  assert.equal(composing(press("Enter", "Enter", { isComposing: true })), true);
  assert.equal(composing(press("Enter", "Enter", { keyCode: 229 })), true);
  assert.equal(composing(press("Enter", "Enter", { keyCode: 13 })), false);
});

test("a combination is spelled as the reader's keyboard does", () => {
  assert.deepEqual(spelled("Mod+Shift+O", false), ["Ctrl", "Shift", "O"]);
  assert.deepEqual(spelled("Mod+Shift+O", true), ["⌘", "⇧", "O"]);
});
