// @ts-check
/** Light, dark or as the system: told to the page at once and to the server by a cookie, so that the next page is right from the start. */
import { on } from "bough/events";

const YEAR = 31_536_000;
const THEMES = ["system", "light", "dark"];

/** @param {string} theme */
export function setTheme(theme) {
  if (!THEMES.includes(theme)) return;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  remember("theme", theme);
  for (const button of document.querySelectorAll("[data-set-theme]")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.setTheme === theme));
  }
}

/** Keep a choice of the frame where the server sees it. @param {string} name @param {string} value */
export function remember(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
}

/** @param {Event} event */
function pressed(event) {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest?.("[data-set-theme]"));
  if (!button) return;
  event.preventDefault();
  setTheme(button.dataset.setTheme ?? "system");
}

export function mount() {
  on("click", pressed);
}
