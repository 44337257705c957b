// @ts-check
/** The sidebar's frame: collapsed or not on a desktop, a drawer below; the server learns it by a cookie. */
import { HTMX, on } from "bough/events";
import { find } from "bough/page";

const COOKIE = "bough_sidebar";
const YEAR = 31_536_000;
const SCROLL_KEY = "sidebar-scroll";

const isDrawer = () => matchMedia("(width < 64rem)").matches;

/** Show or hide the sidebar, whichever kind it is. */
export function toggleSidebar() {
  const sidebar = find("#sidebar");
  if (isDrawer()) return sidebar?.togglePopover?.();
  const root = document.documentElement;
  const collapsed = root.dataset.sidebar !== "collapsed";
  root.dataset.sidebar = collapsed ? "collapsed" : "open";
  remember(COOKIE, root.dataset.sidebar);
  find(collapsed ? ".expand" : "#collapse")?.focus();
}

/** Keep a choice of the frame where the server sees it. @param {string} name @param {string} value */
function remember(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
}

function pressed(event) {
  const target = event.target;
  if (target.closest?.("[data-action=sidebar]")) {
    event.preventDefault();
    toggleSidebar();
  }
}

/** A drawer has done its work once another conversation is there. */
function swapped({ detail }) {
  const sidebar = find("#sidebar");
  if (detail.target?.id === "main" && sidebar?.matches(":popover-open")) sidebar.hidePopover();
}

/** Where the list stood comes back after a reload. */
function keepScroll() {
  const list = find("#sidebar-scroll");
  if (list) sessionStorage.setItem(SCROLL_KEY, String(list.scrollTop));
}

function restoreScroll() {
  const list = find("#sidebar-scroll");
  const top = Number(sessionStorage.getItem(SCROLL_KEY));
  if (list && top) list.scrollTop = top;
}

/** Forms of rows lead back to the page they were sent from, which may have changed since the row was drawn. */
function sendBackHere(event) {
  const next = /** @type {HTMLInputElement | null} */ (event.target.querySelector?.("input[name=next]"));
  if (next) next.value = location.pathname + location.search;
}

/** Days in the list are the reader's days: the server needs to know the zone. */
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`tz=${zone}`)) remember("tz", zone);
}

export function mount() {
  on("click", pressed);
  on("submit", sendBackHere, { capture: true });
  on(HTMX.afterSwap, swapped);
  window.addEventListener("pagehide", keepScroll);
  restoreScroll();
  tellZone();
}
