"""The socket: who may open it and what it takes (`watch`, `unwatch`, `ack`, `ping`). Frames are the hub's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http.cookie import parse_cookie

from apps.accounts.services import passes
from apps.accounts.services.passes import Lapse
from apps.conversations import process
from apps.conversations.services import generations
from apps.core.db import DATABASE_AWAY, in_db
from apps.core.errors import NotFound
from apps.core.ids import parse_id
from apps.core.logs import get_logger
from apps.streaming import frames
from apps.streaming.rates import Bucket
from apps.streaming.sockets import ActiveAnswer, Socket

BROKEN, BAD_MESSAGE, SIGN_IN, TOO_BIG, TOO_MANY = 1011, 4400, 4401, 4413, 4429
FRAME_BYTES = 64 * 1024
# Messages a second, and at once: a page sends a `watch` when it shows another conversation and a `ping` each 25
# seconds. Acknowledging what was sent is free, so that several answers at once never cost a page its socket.
MESSAGES, MESSAGES_AT_ONCE = 20.0, 60.0
# A `watch` reads the session, the user and what runs.
WATCH_COST = 5.0
log = get_logger(__name__)


class LiveConsumer(AsyncWebsocketConsumer):
    """One browser tab."""

    socket: Socket | None = None
    leave: Callable[[], None] | None = None
    is_over = False

    async def __call__(self, *connection: Any) -> None:
        """Serve one connection, and let go of the hub's socket however that ends: `disconnect` isn't called after a fault."""
        try:
            await super().__call__(*connection)
        finally:
            self._let_go()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one event of the server; a fault closes the socket, and the page comes again.

        Channels would hop to a thread here to close connections of the database, for every acknowledgement; `in_db` does that.
        """
        try:
            await getattr(self, get_handler_name(message))(message)
        except StopConsumer:
            raise
        except DATABASE_AWAY as error:
            log.warning("socket-cut", error=type(error).__name__)
            self._let_go()
            await self.close(frames.RESTARTING)
        except Exception:
            self._let_go()
            await self.close(BROKEN)
            raise

    async def connect(self) -> None:
        """Accept a tab of our own origin; one without a session is told to sign in."""
        headers = dict(self.scope["headers"])
        if not is_our_origin(headers.get(b"origin", b"").decode("latin-1")):
            await self.close()
            return
        await self.accept()
        cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
        self.session_key = cookies.get(settings.SESSION_COOKIE_NAME, "")
        doors = process.unstarted().doors
        if not doors.knock(self.session_key):
            await self.close(TOO_MANY)
            return
        async with doors.lanes:
            user = await in_db(user_of_session, self.session_key)
        if user is None:
            await self.close(SIGN_IN)
            return
        here = await process.here()
        if here.is_over:
            await self.close(frames.RESTARTING)
            return
        if here.hub.count(str(user.pk)) >= settings.SOCKETS_PER_USER:
            await self.close(TOO_MANY)
            return
        self.messages = Bucket(MESSAGES, MESSAGES_AT_ONCE, time.monotonic())
        self.socket = await here.hub.connect(str(user.pk), self._send_frame, self.close)
        self.leave = here.guard.admit(passes.of_session(self.session_key, user), self._turn_out)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close, and be deaf to what is still under way."""
        self.is_over = True
        await super().close(code, reason)

    async def disconnect(self, code: int) -> None:
        """Let go; the answer goes on."""
        self._let_go()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one message from the tab; anything but the four known ones closes the socket."""
        if self.socket is None or self.is_over:
            return
        if bytes_data is not None or text_data is None or len(text_data) > FRAME_BYTES:
            await self.close(BAD_MESSAGE if text_data is None else TOO_BIG)
            return
        try:
            message = json.loads(text_data)
            handler = HANDLERS[message["type"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            await self.close(BAD_MESSAGE)
            return
        await handler(self, message)

    async def _count(self, cost: float = 1.0) -> bool:
        """Count a message; False closes the socket, which says too much."""
        if self.messages.take(time.monotonic(), cost):
            return True
        self._let_go()
        await self.close(TOO_MANY)
        return False

    async def _watch(self, message: dict[str, Any]) -> None:
        assert self.socket is not None
        if not await self._count(WATCH_COST):
            return
        found = await in_db(watchable, self.session_key, message.get("conversation"))
        if found == SIGN_IN:
            await self.close(SIGN_IN)
        elif isinstance(found, list):
            self.socket.watch(str(parse_id(message["conversation"])), found)
        else:
            gone = {"type": "gone", "conversation": str(message.get("conversation"))[:36]}
            self.socket.forward(gone, 80)

    async def _unwatch(self, message: dict[str, Any]) -> None:
        assert self.socket is not None
        if await self._count():
            self.socket.unwatch()

    async def _ack(self, message: dict[str, Any]) -> None:
        assert self.socket is not None
        number = message.get("n")
        if not isinstance(number, int) or not self.socket.ack(number):
            await self._count()

    async def _ping(self, message: dict[str, Any]) -> None:
        # Outside the window of frames: it says that the line is alive, nothing else.
        if await self._count():
            await self.send('{"type":"pong"}')

    def _let_go(self) -> None:
        if self.leave is not None:
            self.leave()
        if self.socket is not None:
            self.socket.close()

    async def _turn_out(self, lapse: Lapse) -> None:
        """Close the socket of a session that lapsed; where its browser may have a new one, so that it comes again."""
        if self.socket is not None:
            await self.socket.expel(frames.RESTARTING if lapse is Lapse.RENEWED else SIGN_IN)

    async def _send_frame(self, frame: frames.Frame) -> None:
        await self.send(frames.encode(frame))


HANDLERS = {
    "watch": LiveConsumer._watch,
    "unwatch": LiveConsumer._unwatch,
    "ack": LiveConsumer._ack,
    "ping": LiveConsumer._ping,
}


def is_our_origin(origin: str) -> bool:
    """Compare scheme, host and port exactly; `null` and a missing origin are nobody's."""
    return origin.rstrip("/").lower() in settings.CSRF_TRUSTED_ORIGINS


def user_of_session(session_key: str) -> Any:
    """Find who is signed in by a session; None for nobody."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    user = get_user(SimpleNamespace(session=store(session_key or None)))  # type: ignore[arg-type]
    return user if user.is_authenticated and user.is_active else None


def watchable(session_key: str, conversation_id: object) -> list[ActiveAnswer] | int | None:
    """Read rights anew: the answers being written, SIGN_IN for a session that ended, None for what isn't there."""
    user = user_of_session(session_key)
    if user is None:
        return SIGN_IN
    try:
        found = generations.active_answers(user=user, conversation_id=str(conversation_id))
    except NotFound:
        return None
    return [ActiveAnswer(str(g.pk), str(g.message_id), g.attempt) for g in found]
