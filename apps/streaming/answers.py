"""Live text: what a generation has said so far, on its writer's side and on every reader's.

Values and counting alone: no transport, no rendering, no storage. Offsets count Unicode code points.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delta:
    """Carry a piece of one part's text and the place where it belongs.

    Shape: kind is "text", "reasoning" or "tool_call"; offset is where `text` begins inside the part.
    """

    live: str
    attempt: int
    part: int
    kind: str
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class PartText:
    """Name one part's kind and its whole text so far."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold a whole answer as it stood at one moment.

    Shape: status says how the answer ended, where the source knows it (the row does, a bus need not).
    """

    attempt: int
    parts: tuple[PartText, ...]
    ended: bool = False
    status: str = ""


class Parts:
    """Hold an ordered list of parts whose texts only ever grow."""

    __slots__ = ("_kinds", "_texts")

    def __init__(self, parts: Sequence[PartText] = ()) -> None:
        self._kinds = [part.kind for part in parts]
        self._texts = [part.text for part in parts]

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def size(self) -> int:
        """Count the code points of all parts."""
        return sum(map(len, self._texts))

    @property
    def position(self) -> tuple[int, int]:
        """Give the end of the text as (part, offset); (0, 0) while there is none."""
        return (len(self._texts) - 1, len(self._texts[-1])) if self._texts else (0, 0)

    def frozen(self) -> tuple[PartText, ...]:
        """Copy the parts as values."""
        return tuple(map(PartText, self._kinds, self._texts))

    def add(self, kind: str, text: str) -> None:
        """Append text to the last part, or open a part where the kind changes."""
        if self._kinds and self._kinds[-1] == kind:
            self._grow(len(self._kinds) - 1, text)
        else:
            self._kinds.append(kind)
            self._texts.append(text)

    def write(self, part: int, kind: str, offset: int, text: str) -> bool:
        """Put text where it belongs, leaving what is there already; False means that something before it is missing."""
        if part >= len(self._texts):
            if part > len(self._texts) or offset:
                return False
            self._kinds.append(kind)
            self._texts.append(text)
            return True
        held = len(self._texts[part])
        if offset > held:
            return False
        if offset + len(text) > held:
            self._grow(part, text[held - offset :])
        return True

    def since(self, part: int, offset: int) -> Iterator[tuple[int, str, int, str]]:
        """Yield (part, kind, offset, text) for what lies behind a position, in order, empty pieces left out."""
        for index in range(part, len(self._texts)):
            start = offset if index == part else 0
            text = self._texts[index]
            if start < len(text):
                yield index, self._kinds[index], start, text[start:]

    def _grow(self, part: int, more: str) -> None:
        # The list lets go of the string first: with one owner left CPython extends it in place instead of copying it.
        text = self._texts[part]
        self._texts[part] = ""
        text += more
        self._texts[part] = text


class LiveAnswer:
    """Collect what a provider sends and hand it on in deltas: the writer's side."""

    __slots__ = ("_parts", "_taken", "attempt", "live")

    def __init__(self, live: str, attempt: int, parts: Sequence[PartText] = ()) -> None:
        self.live = live
        self.attempt = attempt
        self._parts = Parts(parts)
        self._taken = self._parts.position

    @property
    def parts(self) -> tuple[PartText, ...]:
        """Give all parts as they stand."""
        return self._parts.frozen()

    @property
    def position(self) -> tuple[int, int]:
        """Give the end of the text as (part, offset)."""
        return self._parts.position

    @property
    def size(self) -> int:
        """Count the code points of all parts."""
        return self._parts.size

    def add(self, kind: str, text: str) -> None:
        """Append text; a change of kind opens a new part, empty text changes nothing."""
        if text:
            self._parts.add(kind, text)

    def take(self) -> list[Delta]:
        """Give everything since the last take, one delta for each part touched, in order."""
        taken, self._taken = self._taken, self._parts.position
        return [Delta(self.live, self.attempt, *piece) for piece in self._parts.since(*taken)]


class Reader:
    """Rebuild an answer from snapshots and deltas that may come twice, late, out of order or never.

    The order for every reader: subscribe, then load a snapshot, then apply deltas; where `apply` says False, load a newer one.
    """

    __slots__ = ("_parts", "attempt")

    def __init__(self) -> None:
        self.attempt = 0
        self._parts = Parts()

    @property
    def parts(self) -> tuple[PartText, ...]:
        """Give all parts as far as they are known."""
        return self._parts.frozen()

    @property
    def position(self) -> tuple[int, int]:
        """Give the end of the known text as (part, offset)."""
        return self._parts.position

    def since(self, part: int, offset: int) -> Iterator[tuple[int, str, int, str]]:
        """Yield (part, kind, offset, text) for what lies behind a position."""
        return self._parts.since(part, offset)

    def apply(self, delta: Delta) -> bool:
        """Take in a delta; False means a gap before it: load a snapshot.

        What is known already is dropped, an older attempt too; a newer attempt starts from nothing.
        """
        if delta.attempt < self.attempt:
            return True
        if delta.attempt > self.attempt:
            self._restart(delta.attempt)
        if delta.part and delta.part >= len(self._parts):
            # Offsets inside a new part cannot show that the end of the part before it was lost; a snapshot can.
            return False
        return self._parts.write(delta.part, delta.kind, delta.offset, delta.text)

    def load(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; text that is known already stays, so an old snapshot changes nothing."""
        if snapshot.attempt < self.attempt:
            return
        if snapshot.attempt > self.attempt:
            self._restart(snapshot.attempt)
        for index, part in enumerate(snapshot.parts):
            self._parts.write(index, part.kind, 0, part.text)

    def _restart(self, attempt: int) -> None:
        self.attempt = attempt
        self._parts = Parts()
