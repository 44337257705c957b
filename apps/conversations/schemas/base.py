"""What all shapes share: camelCase names, strict types for what comes in, and fields whose time has not come."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

MAX_INTEGER = 2_147_483_647


class Given(BaseModel):
    """A JSON object from outside: exact types, no guessing; unknown fields are passed over."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="ignore")


class Answer(BaseModel):
    """A JSON object of ours."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def later(default: Any) -> BeforeValidator:
    """Take a field of the contract that can't do anything yet: its default value passes, anything else is refused."""

    def check(value: Any) -> Any:
        if value is None or (type(value) is type(default) and value == default):
            return default
        raise PydanticCustomError("later", "This comes with a later version; leave the field out.")

    return BeforeValidator(check)


def clamped(low: int, high: int = MAX_INTEGER) -> BeforeValidator:
    """Take an integer of any size, as text or number, and clamp it into a range; anything else is refused."""

    def clamp(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return min(max(value, low), high)
        digits = value.strip().removeprefix("+").removeprefix("-") if isinstance(value, str) else ""
        if not (digits.isascii() and digits.isdigit()):
            raise PydanticCustomError("int_parsing", "Input should be a whole number.")
        if len(digits) > 18:
            # Python refuses to read very long numbers; the sign alone says where they end up.
            return low if value.strip().startswith("-") else high
        return min(max(int(value), low), high)

    return BeforeValidator(clamp)
