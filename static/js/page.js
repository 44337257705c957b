// @ts-check
/** What the page says about itself: conversation, user, addresses. Reads the document and nothing else. */

/**
 * Find an element; untyped, for the selector says what it is.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {any}
 */
export function find(selector, root = document) {
  return root.querySelector(selector);
}

/** @returns {HTMLFormElement | null} */
export const composer = () => find("#composer");
/** @returns {HTMLTextAreaElement | null} */
export const box = () => find("#composer textarea");
/** @returns {HTMLElement | null} */
export const scroller = () => find("#scroller");
/** @returns {HTMLElement | null} */
export const turns = () => find("#turns");

/** The id of the conversation on screen; empty for a new one. */
export const conversationId = () => composer()?.dataset.conversation ?? "";
export const userId = () => document.body.dataset.user || "me";

/** @param {string} message @returns {HTMLElement | null} */
export const article = (message) => document.getElementById(`m-${message}`);
/** @returns {HTMLElement[]} */
export const articles = () => Array.from(document.querySelectorAll("#turns article.message[data-message]"));
/** @returns {HTMLElement[]} The same along the path: of answers side by side the one that it goes through. */
export const path = () => articles().filter((node) => !node.closest(".column:not([data-current])"));
/** @returns {HTMLElement[]} Answers on screen that are being written. */
export const liveArticles = () => articles().filter((node) => node.hasAttribute("data-live"));

export const address = {
  conversation: (/** @type {string} */ id) => `/c/${id}/`,
  message: (/** @type {string} */ conversation, /** @type {string} */ id) => `/c/${conversation}/m/${id}/`,
  live: (/** @type {string} */ conversation, /** @type {string} */ id) => `/c/${conversation}/live/?m=${id}`,
  send: (/** @type {string} */ conversation) => `/c/${conversation}/send/`,
  stop: (/** @type {string} */ conversation) => `/c/${conversation}/stop/`,
  seen: (/** @type {string} */ conversation) => `/c/${conversation}/seen/`,
  row: (/** @type {string} */ conversation) => `/sidebar/row/${conversation}/`,
  sidebar: "/sidebar/",
  appearance: "/settings/appearance/",
};

/**
 * Make an element out of the server's own HTML.
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Let htmx see attributes in what we put into the page. @param {Element} element */
export function enliven(element) {
  /** @type {any} */ (window).htmx?.process(element);
}
