// @ts-check
/** Light, dark or as the system: shown at once, and told to the server so that every page is right from its first paint. */
import { on } from "bough/events";
import { ask } from "bough/http";
import { address } from "bough/page";

const THEMES = ["system", "light", "dark"];

/** @param {string} theme */
function show(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-set-theme]")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.setTheme === theme));
  }
}

function pressed(event) {
  const button = event.target.closest?.("[data-set-theme]");
  const theme = button?.dataset.setTheme ?? "";
  if (!button || !THEMES.includes(theme)) return;
  event.preventDefault();
  show(theme);
  void ask(address.appearance, { method: "POST", body: new URLSearchParams({ theme }) });
}

export function mount() {
  on("click", pressed);
}
