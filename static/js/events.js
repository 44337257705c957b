// @ts-check
/** Names of the events we send and of the ones of htmx we hear. docs/events.md says when each is sent. */

export const HTMX = {
  afterSwap: "htmx:afterSwap",
  configRequest: "htmx:configRequest",
  beforeSwap: "htmx:beforeSwap",
  beforeRequest: "htmx:beforeRequest",
  afterRequest: "htmx:afterRequest",
  responseError: "htmx:responseError",
  sendError: "htmx:sendError",
  swapError: "htmx:swapError",
  timeout: "htmx:timeout",
  confirm: "htmx:confirm",
};

export const BOUGH = {
  /** Every frame of the socket: detail = the frame. */
  frame: "bough:frame",
  /** The socket opened, closed or was refused: detail = {state, code, failures, again}. */
  socket: "bough:socket",
  /** The socket is back after a pause: ask for what was missed. */
  returned: "bough:returned",
  /** The page asked for live text in place of the socket: detail = {status} of the answer, 0 for none. */
  polled: "bough:polled",
  /** The socket asked for the live text of the conversation on screen. */
  watched: "bough:watched",
  /** htmx swapped something: detail = {targets} (ids). */
  swapped: "bough:swapped",
  /** Another conversation is on screen: detail = {conversation, before}. */
  opened: "bough:opened",
  /** The server took a message: detail = {conversation, created}. */
  sent: "bough:sent",
  /** Text of an answer was painted: detail = {message, element}. */
  painted: "bough:painted",
  /** An answer ended: detail = {message, status, html}. */
  ended: "bough:ended",
  /** The server says what an answer is doing: detail = {message, word}. */
  status: "bough:status",
  /** Articles came, went or changed: detail = {ids}. */
  changed: "bough:changed",
  /** Stop was asked for or failed: detail = {messages, failed}. */
  stopping: "bough:stopping",
  /** A client lacks what came before a frame: watch again. */
  missing: "bough:missing",
  /** The server sends `HX-Trigger: auth:expired`; htmx and our own fetch pass it on. */
  expired: "auth:expired",
};

/**
 * Tell the document that something happened.
 * @param {string} name
 * @param {Record<string, unknown>} [detail]
 */
export function emit(name, detail = {}) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

/**
 * Hear an event that reaches the document; the same listener twice is heard once.
 * @param {string} name
 * @param {(event: any) => void} listener
 * @param {AddEventListenerOptions} [options]
 */
export function on(name, listener, options) {
  document.addEventListener(name, listener, options);
}
