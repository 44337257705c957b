// @ts-check
/** A menu has done its work once something in it was chosen; Copy stays a moment to say that it did, the theme stays. */
import { on } from "bough/events";

const SAID_FOR = 900;

function chosen(event) {
  const item = event.target.closest?.(".menu:popover-open .menu-item");
  if (!item || item.dataset.setTheme) return;
  const menu = /** @type {HTMLElement | null} */ (item.closest(".menu"));
  // Not before the press has reached its form.
  window.setTimeout(() => menu?.matches(":popover-open") && menu.hidePopover(), item.dataset.action === "copy" ? SAID_FOR : 0);
}

export function mount() {
  on("click", chosen);
}
