"""A small memory of results that are costly to make again. What is kept in it, and why, is said where it is used."""

from collections import OrderedDict
from threading import Lock


class Recent:
    """Keep the texts used last, together at most as long as the room; safe for threads.

    Units: room counts code points, keys included.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._lock = Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> str | None:
        """Give what was put under the key, if it is still here."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, value: str) -> None:
        """Remember a value, and forget what was used longest ago where there is no room for both."""
        with self._lock:
            self._used -= self._size(key, self._kept.pop(key, None))
            self._kept[key] = value
            self._used += self._size(key, value)
            while self._used > self._room:
                self._used -= self._size(*self._kept.popitem(last=False))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._used = 0

    @staticmethod
    def _size(key: str, value: str | None) -> int:
        return 0 if value is None else len(key) + len(value)
