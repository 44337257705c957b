// @ts-check
/** Boots the page: each module mounts itself once and needs no other call. */
import { mount as announce } from "bough/announce";
import { mount as arrivals } from "bough/arrivals";
import { mount as branches } from "bough/branches";
import { mount as clipboard } from "bough/clipboard";
import { mount as columns } from "bough/columns";
import { mount as composer } from "bough/composer";
import { mount as connection } from "bough/connection";
import { mount as csrf } from "bough/csrf";
import { mount as dialogs } from "bough/dialogs";
import { mount as drafts } from "bough/drafts";
import { mount as editing } from "bough/editing";
import { mount as errors } from "bough/errors";
import { mount as menus } from "bough/menus";
import { mount as messages } from "bough/messages";
import { mount as models } from "bough/models";
import { mount as opening } from "bough/opening";
import { mount as polling } from "bough/polling";
import { mount as progress } from "bough/progress";
import { mount as queue } from "bough/queue";
import { mount as rename } from "bough/rename";
import { mount as returning } from "bough/returning";
import { mount as rows } from "bough/rows";
import { mount as scroll } from "bough/scroll";
import { mount as seen } from "bough/seen";
import { mount as sending } from "bough/sending";
import { mount as shortcuts } from "bough/shortcuts";
import { mount as sidebar } from "bough/sidebar";
import { mount as socket } from "bough/socket";
import { mount as stopping } from "bough/stopping";
import { mount as stream } from "bough/stream";
import { mount as swaps } from "bough/swaps";
import { mount as theme } from "bough/theme";
import { mount as toasts } from "bough/toasts";

// Controls that need a script are hidden until there is one.
document.documentElement.classList.add("js");

// Order matters where modules hear the same event: what paints comes before what tells about it, the socket last.
const modules = [swaps, csrf, errors, dialogs, connection, stream, messages, arrivals, progress, announce, polling, stopping, sending, queue, drafts, composer, models, columns];
modules.push(opening, editing, scroll, clipboard, menus, branches, sidebar, rows, seen, returning, rename, shortcuts, theme, toasts, socket);
for (const mount of modules) mount();
