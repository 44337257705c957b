// @ts-check
/** When frames are acknowledged: every fifth at once, fewer after a quarter of a second, and always cumulatively. */

const EVERY = 5;
const AFTER = 250;

export class Acks {
  /** @param {(n: number) => void} send @param {() => boolean} hurried whether timers can't be trusted */
  constructor(send, hurried) {
    this.send = send;
    this.hurried = hurried;
    this.highest = 0;
    this.waiting = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** Begin anew: each socket counts from 1. */
  reset() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.highest = 0;
    this.waiting = 0;
  }

  /** Note that a frame has arrived. @param {number} n */
  count(n) {
    this.highest = Math.max(this.highest, n);
    this.waiting += 1;
    if (this.waiting >= EVERY || this.hurried()) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), AFTER);
  }

  /** Acknowledge everything that has arrived. */
  flush() {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (!this.waiting) return;
    this.waiting = 0;
    this.send(this.highest);
  }
}
