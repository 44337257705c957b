// @ts-check
/** Answers side by side: columns where there is room, tabs where there isn't, and one answer again once it goes on. */
import { BOUGH, on } from "bough/events";
import { composing } from "bough/keys";
import { article, find } from "bough/page";
import { say } from "bough/words";

/** Which answer was chosen on a narrow page, by the place. @type {Map<string, string>} */
const shown = new Map();
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
const watcher = typeof ResizeObserver === "undefined" ? null : new ResizeObserver(resized);

/** @returns {HTMLElement[]} */
const places = () => Array.from(document.querySelectorAll("#turns .beside"));
/** @param {Element} place @returns {HTMLElement[]} */
const columns = (place) => Array.from(place.querySelectorAll(".column"));
/** @param {Element} place @returns {HTMLElement[]} */
const tabs = (place) => Array.from(place.querySelectorAll(".tab"));

/** Where there is no room, one answer stands there at a time. @param {Element} place */
const isNarrow = (place) => getComputedStyle(find(".columns", place)).display === "block";

/** @param {ResizeObserverEntry[]} entries */
function resized(entries) {
  if (entries.some(({ target }) => isNarrow(target) !== Boolean(find("[role=tablist]", target)))) arrange();
}

/** Give each place the roles of what it looks like. */
function arrange() {
  for (const place of places()) {
    watcher?.observe(place);
    const narrow = isNarrow(place);
    setOrRemove(find(".tabs", place), "role", narrow && "tablist");
    for (const column of columns(place)) {
      setOrRemove(column, "role", narrow && "tabpanel");
      setOrRemove(column, "aria-labelledby", narrow && `tab-${column.dataset.column}`);
    }
    show(place, shown.get(place.id) ?? "", narrow);
  }
}

/**
 * Show one answer where there is room for one; the one that the path goes through, if the wanted one isn't there.
 * @param {HTMLElement} place @param {string} id @param {boolean} [narrow]
 */
function show(place, id, narrow = true) {
  const all = columns(place);
  const target = all.find((one) => one.dataset.column === id) ?? all.find((one) => one.hasAttribute("data-current")) ?? all[0];
  for (const column of all) column.toggleAttribute("data-shown", column === target);
  for (const tab of tabs(place)) {
    const mine = tab.dataset.tab === target?.dataset.column;
    setOrRemove(tab, "role", narrow && "tab");
    setOrRemove(tab, "aria-controls", narrow && `column-${tab.dataset.tab}`);
    setOrRemove(tab, "aria-selected", narrow && String(mine));
    setOrRemove(tab, "tabindex", narrow && !mine && "-1");
  }
}

/** @param {HTMLElement} tab */
function choose(tab) {
  const place = /** @type {HTMLElement} */ (tab.closest(".beside"));
  shown.set(place.id, tab.dataset.tab ?? "");
  show(place, tab.dataset.tab ?? "");
  tab.scrollIntoView({ inline: "nearest", block: "nearest" });
}

/** @param {Element} node @param {string} name @param {string | false} value */
function setOrRemove(node, name, value) {
  if (value === false) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

function pressed(event) {
  const tab = event.target.closest?.(".tab");
  if (!tab) return;
  event.preventDefault();
  if (tab.hasAttribute("role")) choose(tab);
  else find(`#column-${tab.dataset.tab}`)?.scrollIntoView({ inline: "nearest", block: "nearest", behavior: calm() ? "auto" : "smooth" });
}

function moved(event) {
  const tab = event.target.closest?.(".tab[role=tab]");
  const step = STEPS[event.key];
  if (!tab || step === undefined || composing(event) || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const all = tabs(tab.closest(".beside"));
  const at = all.indexOf(tab) + (document.dir === "rtl" && Number.isFinite(step) ? -step : step);
  const next = all[Number.isFinite(at) ? (at + all.length) % all.length : at < 0 ? 0 : all.length - 1];
  next.focus();
  choose(next);
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A tab says what its answer is doing. @param {string} message */
function tell(message) {
  const word = find(`[data-tab="${message}"] [data-word]`);
  const node = article(message);
  if (!word || !node) return;
  const status = node.dataset.status ?? "";
  const name = node.hasAttribute("data-live") ? "writing" : ["complete", "stopped", "failed"].includes(status) ? status : "interrupted";
  const text = say(/** @type {any} */ (`word_${name}`));
  if (word.textContent !== text) word.textContent = text;
}

function changed({ detail }) {
  for (const id of detail.ids ?? []) tell(id);
}

/** The conversation goes on below one of them: the path shows that one alone. */
export function closeColumns() {
  for (const place of places()) {
    const kept = find(".column[data-current] > article", place);
    if (kept) place.replaceWith(kept);
  }
  if (location.search) history.replaceState(history.state, "", location.pathname);
}

/** The address may name an answer that another one hides. */
function addressed() {
  const id = location.hash.slice(3);
  const place = id && article(id)?.closest(".beside");
  if (!place) return;
  shown.set(place.id, id);
  arrange();
}

export function mount() {
  on("click", pressed);
  on("keydown", moved);
  on(BOUGH.changed, changed);
  on(BOUGH.changed, arrange);
  on(BOUGH.swapped, arrange);
  addressed();
  arrange();
}
