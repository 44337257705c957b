import assert from "node:assert/strict";
import test from "node:test";
import { LONGEST_DRAFT, MOST_DRAFTS, draftKey, draftKeys, joined, readDraft, writeDraft } from "../../static/js/draft_book.js";

class Shelf {
  items = new Map();
  get length() {
    return this.items.size;
  }
  key(index) {
    return [...this.items.keys()][index] ?? null;
  }
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
  removeItem(key) {
    this.items.delete(key);
  }
}

test("a draft comes back as it was written", () => {
  const shelf = new Shelf();
  writeDraft(shelf, draftKey("ada", "c1"), "Hello\nthere", 5);
  assert.deepEqual(readDraft(shelf, draftKey("ada", "c1")), { text: "Hello\nthere", at: 5 });
});

test("drafts of users, conversations and the new one are apart", () => {
  assert.equal(new Set([draftKey("ada", "c1"), draftKey("bob", "c1"), draftKey("ada", ""), draftKey("ada", "c2")]).size, 4);
});

test("a blank text forgets the draft", () => {
  const shelf = new Shelf();
  writeDraft(shelf, "draft:a:b", "x", 1);
  writeDraft(shelf, "draft:a:b", "  \n", 2);
  assert.equal(shelf.length, 0);
});

test("only the newest fifty drafts are kept, and nothing else is touched", () => {
  const shelf = new Shelf();
  shelf.setItem("theme", "dark");
  for (let index = 0; index < MOST_DRAFTS + 10; index += 1) writeDraft(shelf, `draft:a:${index}`, "text", index);
  assert.equal(draftKeys(shelf).length, MOST_DRAFTS);
  assert.equal(readDraft(shelf, "draft:a:9"), null);
  assert.ok(readDraft(shelf, "draft:a:10"));
  assert.equal(shelf.getItem("theme"), "dark");
});

test("a draft is cut at its longest size", () => {
  const shelf = new Shelf();
  writeDraft(shelf, "draft:a:b", "x".repeat(LONGEST_DRAFT + 1), 1);
  assert.equal(readDraft(shelf, "draft:a:b").text.length, LONGEST_DRAFT);
});

test("a full or broken storage never breaks typing", () => {
  const full = { ...new Shelf(), setItem: () => { throw new Error("quota"); }, getItem: () => "{not json" };
  assert.doesNotThrow(() => writeDraft(full, "draft:a:b", "x", 1));
  assert.equal(readDraft(full, "draft:a:b"), null);
});

test("a text that could not be sent stands before what was typed since", () => {
  assert.equal(joined("first", ""), "first");
  assert.equal(joined("first", "  "), "first");
  assert.equal(joined("first", "second"), "first\n\nsecond");
  assert.equal(joined("same", "same"), "same");
});
