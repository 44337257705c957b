// @ts-check
/** What a combination of keys is called, and whether an event is one. Pure. */

/** @typedef {{key: string, code: string, ctrlKey: boolean, metaKey: boolean, shiftKey: boolean, altKey: boolean, isComposing?: boolean, keyCode?: number}} KeyPress */

/**
 * Tell whether a key belongs to an input method that is still composing (Safari ends it before its Enter: 229).
 * @param {KeyPress} press
 */
export function composing(press) {
  return Boolean(press.isComposing) || press.keyCode === 229;
}

/**
 * Tell whether a press is a combination like "Mod+Shift+O", "Alt+R", "Shift+Escape", "Escape".
 * Letters are compared by place on the keyboard: with Alt, macOS types other characters.
 * @param {KeyPress} press
 * @param {string} combination
 * @param {boolean} mac whether Mod is the command key
 */
export function matches(press, combination, mac) {
  const names = combination.split("+");
  const key = names.pop() ?? "";
  const wants = new Set(names);
  const mod = mac ? press.metaKey : press.ctrlKey;
  const other = mac ? press.ctrlKey : press.metaKey;
  if (mod !== wants.has("Mod") || other) return false;
  if (press.altKey !== wants.has("Alt") || press.shiftKey !== wants.has("Shift")) return false;
  if (/^[A-Z]$/.test(key)) return press.code === `Key${key}`;
  if (key === "/") return press.code === "Slash" || press.key === "/";
  return press.key === key;
}

/**
 * Write a combination the way the reader's keyboard says it.
 * @param {string} combination
 * @param {boolean} mac
 * @returns {string[]} one string per key
 */
export function spelled(combination, mac) {
  /** @type {Record<string, string>} */
  const names = mac
    ? { Mod: "⌘", Shift: "⇧", Alt: "⌥", Escape: "Esc", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑" }
    : { Mod: "Ctrl", Escape: "Esc", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑" };
  return combination.split("+").map((name) => names[name] ?? name);
}
