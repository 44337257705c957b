// @ts-check
/** How long to wait before trying again. Pure. */

/** Waits before each try to stop an answer, in milliseconds. */
export const STOP_WAITS = [0, 300, 1000, 3000];

/**
 * Draw a wait with full jitter: anything up to a bound that doubles with each failure.
 * @param {number} failures how many tries failed in a row, from 0
 * @param {{base?: number, cap?: number, random?: () => number}} [options] milliseconds
 * @returns {number} milliseconds
 */
export function fullJitter(failures, { base = 500, cap = 30_000, random = Math.random } = {}) {
  const bound = Math.min(cap, base * 2 ** Math.min(Math.max(failures, 0), 30));
  return Math.round(random() * bound);
}

/**
 * Draw the wait of a socket that is one too many: half a minute to a minute.
 * @param {() => number} [random]
 * @returns {number} milliseconds
 */
export function patience(random = Math.random) {
  return Math.round(30_000 * (1 + random()));
}

/**
 * Say what the end of a socket asks for.
 * @param {number} code the close code
 * @returns {"sign-in" | "resync" | "wait" | "crowded" | "leave"}
 */
export function afterClose(code) {
  if (code === 4401) return "sign-in";
  if (code === 4429) return "crowded";
  if (code === 4408 || code === 1012) return "resync";
  if (code === 4400 || code === 4403 || code === 4413) return "leave";
  return "wait";
}
