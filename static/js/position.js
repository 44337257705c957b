// @ts-check
/** Arithmetic of the scroller (column-reverse: scrollTop is 0 at the end and negative above). Pure. */

export const SHOW_BEYOND = 200;
export const HIDE_WITHIN = 60;

/**
 * Decide whether the jump-to-end button shows; between the two bounds it stays as it is.
 * @param {boolean} shown
 * @param {number} scrollTop
 */
export function jumpShown(shown, scrollTop) {
  const distance = -scrollTop;
  if (distance > SHOW_BEYOND) return true;
  if (distance < HIDE_WITHIN) return false;
  return shown;
}

/**
 * Decide whether a reader who came back near the end follows again.
 * @param {number} scrollTop
 * @param {boolean} live whether text is arriving
 */
export function shouldPin(scrollTop, live) {
  return live && scrollTop < 0 && -scrollTop < HIDE_WITHIN;
}

/**
 * Work out how far to scroll when text grew below a reader, in engines without scroll anchoring.
 * @param {number} scrollTop
 * @param {number} grown pixels
 * @param {boolean} prepending whether older messages are being put above
 */
export function compensation(scrollTop, grown, prepending) {
  return grown > 0 && scrollTop < -1 && !prepending ? -grown : 0;
}

/**
 * Work out the scroll that puts an element back where it stood in the window.
 * @param {number} topBefore
 * @param {number} topAfter
 */
export function drift(topBefore, topAfter) {
  return Math.round(topAfter - topBefore);
}
