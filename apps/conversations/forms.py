"""What forms of the pages carry, read from a request's data into plain values. Rules of the product are the services'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.datastructures import MultiValueDict


@dataclass(frozen=True, slots=True)
class Choice:
    """The language models that are to answer: one, and further ones beside it. Empty means not chosen."""

    model: str | None
    further: list[str]

    @classmethod
    def read(cls, data: MultiValueDict[str, str]) -> Choice:
        return cls(data.get("model") or None, [model for model in data.getlist("models") if model])

    def as_words(self) -> dict[str, Any]:
        """Give what services take: `models` only where there are several."""
        chosen = [self.model, *self.further] if self.model else self.further
        return {"models": chosen} if len(chosen) > 1 else {"model": next(iter(chosen), None)}


@dataclass(frozen=True, slots=True)
class SendForm:
    """The composer. Empty fields mean not given."""

    content: str
    parent_id: str | None
    client_id: str | None
    choice: Choice

    @classmethod
    def read(cls, data: MultiValueDict[str, str]) -> SendForm:
        return cls(
            content=with_newlines(data.get("content", "")),
            parent_id=data.get("parent_id") or None,
            client_id=data.get("client_id") or None,
            choice=Choice.read(data),
        )


@dataclass(frozen=True, slots=True)
class EditForm:
    """A message's new text, and who answers it; `mode` is the button that was pressed."""

    content: str
    mode: str
    choice: Choice

    @classmethod
    def read(cls, data: MultiValueDict[str, str]) -> EditForm:
        content, mode = with_newlines(data.get("content", "")), data.get("mode", "branch")
        return cls(content=content, mode=mode, choice=Choice.read(data))


def with_newlines(text: str) -> str:
    """Undo what browsers do to line ends in forms, so that a message is the same through every door."""
    return text.replace("\r\n", "\n")
