// @ts-check
/** What screen readers are told: boundaries alone, never each word of an answer. */
import { BOUGH, on } from "bough/events";
import { article, find } from "bough/page";
import { say } from "bough/words";

const STILL_EVERY = 20_000;
const READ_ALOUD = 500;
let still = 0;
/** Answers whose beginning was told. @type {Set<string>} */
const begun = new Set();
/** What comes within this time is told at once: several answers may begin or end together. */
const TOGETHER = 50;
/** @type {Map<string, string[]>} */
const said = new Map();

/** Say something politely, when the reader has a moment. @param {string} text */
export function announce(text) {
  put("#announce", text);
}

/** Say something that cannot wait. @param {string} text */
export function alert(text) {
  put("#alert", text);
}

/** @param {string} selector @param {string} text */
function put(selector, text) {
  const node = find(selector);
  if (!node) return;
  const waiting = said.get(selector) ?? [];
  said.set(selector, [...waiting, text]);
  if (waiting.length) return;
  // The same words twice are a change only if the node was empty between.
  node.textContent = "";
  setTimeout(() => {
    node.textContent = said.get(selector)?.filter(Boolean).join(". ") ?? "";
    said.delete(selector);
  }, TOGETHER);
}

/** Of answers side by side each is named. @param {HTMLElement} element @param {string} words */
function named(element, words) {
  return element.closest(".beside") ? say("announce_of", { name: nameOf(element), words }) : words;
}

/** @param {HTMLElement} element */
const nameOf = (element) => find("h2", element)?.textContent?.trim() ?? "";

function painted({ detail }) {
  if (begun.has(detail.message) || !detail.element.hasAttribute("data-live")) return;
  begun.add(detail.message);
  announce(say("announce_answering", { name: nameOf(detail.element) }));
  clearInterval(still);
  still = window.setInterval(() => announce(say("announce_still")), STILL_EVERY);
}

function ended({ detail }) {
  const element = article(detail.message);
  begun.delete(detail.message);
  if (!begun.size) clearInterval(still);
  if (!element) return;
  if (detail.status === "stopped") return announce(named(element, say("announce_stopped")));
  if (detail.status === "failed") return alert(named(element, say("announce_failed")));
  if (detail.status === "interrupted") return announce(named(element, say("announce_interrupted")));
  const text = spoken(element);
  const words = say("announce_complete", { count: text ? text.split(/\s+/).length : 0 });
  // Several texts at once would be a babble.
  const aloud = text && text.length <= READ_ALOUD && !element.closest(".beside");
  announce(aloud ? `${words}. ${text}` : named(element, words));
}

/** The words of an answer, block by block, without what is added for the eye. @param {HTMLElement} element */
function spoken(element) {
  const blocks = element.querySelectorAll(".part[data-kind=text] .md > *");
  const texts = Array.from(blocks, (block) => {
    const copy = /** @type {Element} */ (block.cloneNode(true));
    for (const added of copy.querySelectorAll("[data-added]")) added.remove();
    return copy.textContent?.replace(/\s+/g, " ").trim() ?? "";
  });
  return texts.filter(Boolean).join(" ");
}

/** Another conversation is on screen: its title says which. */
function opened() {
  announce(find("#main h1")?.innerText.trim() ?? "");
}

export function mount() {
  on(BOUGH.opened, opened);
  on(BOUGH.painted, painted);
  on(BOUGH.ended, ended);
}
