// @ts-check
/** Rules of the drafts kept in the browser: their keys, their size, how many. Pure over a Storage. */

export const MOST_DRAFTS = 50;
export const LONGEST_DRAFT = 100_000;
const PREFIX = "draft:";

/** @typedef {{text: string, at: number}} Draft */

/** @param {string} user @param {string} conversation empty for a new one */
export function draftKey(user, conversation) {
  return `${PREFIX}${user}:${conversation || "new"}`;
}

/**
 * Read one draft; anything unreadable is none.
 * @param {Pick<Storage, "getItem">} storage
 * @param {string} key
 * @returns {Draft | null}
 */
export function readDraft(storage, key) {
  try {
    const draft = JSON.parse(storage.getItem(key) ?? "null");
    return draft && typeof draft.text === "string" ? draft : null;
  } catch {
    return null;
  }
}

/**
 * Keep a text, or forget it when it is blank; never throws: typing must not break on a full storage.
 * @param {Storage} storage
 * @param {string} key
 * @param {string} text
 * @param {number} now
 */
export function writeDraft(storage, key, text, now) {
  try {
    if (!text.trim()) return storage.removeItem(key);
    storage.setItem(key, JSON.stringify({ text: text.slice(0, LONGEST_DRAFT), at: now }));
    for (const old of surplus(storage)) storage.removeItem(old);
  } catch {
    // Full or forbidden: the text is still in the box.
  }
}

/**
 * List the drafts beyond the newest fifty, oldest first.
 * @param {Storage} storage
 * @returns {string[]}
 */
export function surplus(storage) {
  const keys = draftKeys(storage);
  if (keys.length <= MOST_DRAFTS) return [];
  const age = (/** @type {string} */ key) => readDraft(storage, key)?.at ?? 0;
  return keys.sort((a, b) => age(a) - age(b)).slice(0, keys.length - MOST_DRAFTS);
}

/** @param {Storage} storage @returns {string[]} */
export function draftKeys(storage) {
  return Array.from({ length: storage.length }, (_, index) => storage.key(index) ?? "").filter((key) =>
    key.startsWith(PREFIX),
  );
}

/**
 * Join a text that could not be sent with what was typed since.
 * @param {string} failed
 * @param {string} typed
 */
export function joined(failed, typed) {
  if (!typed.trim() || typed === failed) return failed;
  return `${failed}\n\n${typed}`;
}
