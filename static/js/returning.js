// @ts-check
/** After a pause without a socket: when this tab may ask what it missed. All tabs come back at once after a restart, and must not all ask at once. */
import { BOUGH, emit, on } from "bough/events";

const SPREAD = 2000;

const tell = () => emit(BOUGH.returned);

/** A tab that nobody looks at asks when somebody does. */
function socketChanged({ detail }) {
  if (detail.state !== "open" || !detail.again) return;
  if (document.hidden) on("visibilitychange", tell, { once: true });
  else window.setTimeout(tell, Math.random() * SPREAD);
}

export function mount() {
  on(BOUGH.socket, socketChanged);
}
