"""Marshmallow fields that read query arguments and refuse in the documents' words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from schemas import errors

_TRUE = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE = frozenset({"false", "n", "no", "off", "0", "none"})


def check_bounds(number: float, low: int | None, high: int | None) -> None:
    """Raise ValidationError for a number below `low` or above `high`, if there are."""
    if low is not None and number < low:
        raise ValidationError(errors.less_than(low))
    if high is not None and number > high:
        raise ValidationError(errors.greater_than(high))


class Int(fields.Field[int]):
    """A whole number, from `low` up to `high` where those are given."""

    def __init__(
        self, *, low: int | None = None, high: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.low = low
        self.high = high

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValidationError(errors.NOT_INT) from None
        check_bounds(number, self.low, self.high)
        return number


# What `all` is read as: no number of things.
ALL = -1


class IntOrAll(Int):
    """A whole number from 0, or the constant `all` as `ALL`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(low=0, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> int:
        return ALL if value == "all" else super()._deserialize(value, attr, data)


class Float(fields.Field[float]):
    """A finite number."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValidationError(errors.NOT_FLOAT) from None
        if not math.isfinite(number):
            raise ValidationError(errors.NOT_FLOAT)
        return number


class Bool(fields.Field[bool]):
    """A truth value in any of the accepted spellings."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> bool:
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValidationError(errors.NOT_BOOL)
        return word in _TRUE


class Exactly(fields.Field[str]):
    """The one value that is allowed."""

    def __init__(self, only: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only = only

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        if value != self.only:
            raise ValidationError(errors.not_exactly(self.only))
        return self.only


class Variant(fields.Field[str]):
    """One of several lower-case words, given in any case."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        word = str(value).lower()
        if word not in self.words:
            raise ValidationError(errors.NO_VARIANT)
        return word


class Names(fields.Field[tuple[str, ...]]):
    """A parameter that may be repeated, none of its values blank."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> tuple[str, ...]:
        if not all(value):
            raise ValidationError(errors.BLANK)
        return tuple(value)


class Instant(fields.Field[datetime.datetime]):
    """A date and time in ISO 8601, with or without a zone; without one it is UTC."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> datetime.datetime:
        try:
            # A "+" that was not escaped in the query string arrives as a blank.
            instant = datetime.datetime.fromisoformat(_with_plus(value))
            if instant.tzinfo is None:
                return instant.replace(tzinfo=datetime.UTC)
            return instant.astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            raise ValidationError(
                f"Invalid RFC 3339 datetime string: {value}"
            ) from None


def _with_plus(text: str) -> str:
    head, blank, zone = text.rpartition(" ")
    return f"{head}+{zone}" if blank and "T" in head or " " in head else text
