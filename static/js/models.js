// @ts-check
/** Which models answer: one to begin with, and further ones beside it, each a choice of its own that can be taken away. */
import { BOUGH, on } from "bough/events";
import { conversationId, find } from "bough/page";
import { say } from "bough/words";

const MOST = 8;
const FURTHER = ".model-choice--further";

/** This tab remembers the further ones of each conversation. */
const key = () => `models:${conversationId() || "new"}`;
/** @param {ParentNode} place @returns {HTMLSelectElement[]} */
const choices = (place) => Array.from(place.querySelectorAll(".model-choice select"));
/** @param {Element} place */
const isComposer = (place) => Boolean(place.closest("#composer"));

/**
 * Put one more choice behind the others.
 * @param {HTMLElement} place @param {string} [model] else the first that nobody is asked yet
 * @returns {HTMLSelectElement | undefined}
 */
function add(place, model) {
  const first = choices(place)[0];
  const made = find("template#further-model")?.content.firstElementChild?.cloneNode(true);
  const select = made && find("select", made);
  if (!first || !select || choices(place).length >= MOST) return undefined;
  select.append(...Array.from(first.children, (group) => group.cloneNode(true)));
  const taken = choices(place).map((one) => one.value);
  const free = Array.from(/** @type {HTMLSelectElement} */ (select).options).find((one) => !taken.includes(one.value));
  select.value = model ?? free?.value ?? first.value;
  if (select.selectedIndex < 0) return undefined;
  find("[data-action=add-model]", place).before(made);
  number(place);
  return select;
}

/** Names for those who can't see the order; no more choices than are allowed. @param {HTMLElement} place */
function number(place) {
  const all = choices(place);
  const name = all[0].getAttribute("aria-label") ?? "";
  all.slice(1).forEach((select, index) => {
    select.setAttribute("aria-label", `${name} ${index + 2}`);
    const out = find("button", select.closest(FURTHER) ?? undefined);
    out.setAttribute("aria-label", say("remove_model", { name: select.selectedOptions[0]?.text ?? "" }));
  });
  find("[data-action=add-model]", place).hidden = all.length >= MOST;
  place.toggleAttribute("data-several", all.length > 1);
  if (isComposer(place)) sessionStorage.setItem(key(), JSON.stringify(all.slice(1).map((one) => one.value)));
}

function pressed(event) {
  const button = event.target.closest?.("[data-action=add-model], [data-action=remove-model]");
  const place = button?.closest("[data-models]");
  if (!place) return;
  if (button.dataset.action === "add-model") return add(place)?.focus();
  const gone = button.closest(FURTHER);
  const next = gone.nextElementSibling?.matches(FURTHER) ? gone.nextElementSibling : gone.previousElementSibling;
  gone.remove();
  number(place);
  find("select", next)?.focus();
}

function chosen(event) {
  const place = event.target.closest?.("[data-models]");
  if (place) number(place);
}

/** What was chosen in this conversation before is chosen again, and for a message that is written anew too. */
function restore() {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-models]:not([data-known])"))) {
    place.setAttribute("data-known", "");
    const further = JSON.parse(sessionStorage.getItem(key()) ?? "[]");
    const first = find("#composer select[name=model]");
    if (place.closest(".edit-form") && first) choices(place)[0].value = first.value;
    if (place.closest("#composer, .edit-form")) for (const model of further) add(place, model);
    number(place);
  }
}

/** A new conversation takes its choice along; the next new one begins with one model again. */
function sent({ detail }) {
  if (!detail.created) return;
  sessionStorage.removeItem("models:new");
  const place = find("#composer [data-models]");
  if (place) number(place);
}

export function mount() {
  on("click", pressed);
  on("change", chosen);
  on(BOUGH.swapped, restore);
  on(BOUGH.sent, sent);
  restore();
}
