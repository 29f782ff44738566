"""Marshmallow fields of the management API, which refuse in trafaret's words.

Values of bodies are JSON's, those of queries texts; a field that takes numbers reads
both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import ValidationError

from schemas import errors
from schemas.fields import check_bounds
from schemas.management import Fields

# A whole number of more digits is nobody's.
_MOST_DIGITS = 20


class _Field(marshmallow.fields.Field[Any]):
    """One whose refusal of null is that of any other wrong value."""

    wrong = ""
    default_error_messages = {"required": errors.REQUIRED}

    def __init__(self, **kwargs: Any) -> None:
        texts = {"null": self.wrong, **kwargs.pop("error_messages", {})}
        super().__init__(error_messages=texts, **kwargs)


class Text(_Field):
    """A string, from `least` to `most` characters long."""

    wrong = errors.NOT_TEXT

    def __init__(self, *, least: int = 1, most: int = 1024, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least = least
        self.most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        if not isinstance(value, str):
            raise ValidationError(self.wrong)
        if len(value) < self.least:
            raise ValidationError(errors.BLANK)
        if len(value) > self.most:
            raise ValidationError(errors.longer_than(self.most))
        return value


class Choice(_Field):
    """One of several texts, exactly as they stand there."""

    wrong = errors.NO_VARIANT

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValidationError(self.wrong)
        return value


class Words(_Field):
    """Any of several words, separated by commas: a tuple."""

    wrong = errors.NO_VARIANT

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> tuple[str, ...]:
        if not isinstance(value, str):
            raise ValidationError(self.wrong)
        found = tuple(value.split(","))
        if not set(found) <= set(self.words):
            raise ValidationError(self.wrong)
        return found


class _Bounded(_Field):
    """A number, from `low` up to `high` where those are given."""

    def __init__(
        self, *, low: int | None = None, high: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.low = low
        self.high = high

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> float:
        number = self._read(value)
        check_bounds(number, self.low, self.high)
        return number

    def _read(self, value: Any) -> float:
        """The number that is meant; raises ValidationError."""
        raise NotImplementedError


class Whole(_Bounded):
    """A whole number, from `low` up to `high` where those are given."""

    wrong = errors.NOT_INT

    def _read(self, value: Any) -> int:
        if isinstance(value, str):
            digits = value.strip().removeprefix("-")
            if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS:
                return int(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value) and value == int(value):
                return int(value)
        raise ValidationError(self.wrong)


class Number(_Bounded):
    """A finite number, from `low` up to `high` where those are given."""

    wrong = errors.NOT_FLOAT

    def _read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValidationError(self.wrong)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise ValidationError(self.wrong) from None
        if not math.isfinite(number):
            raise ValidationError(self.wrong)
        return number


class Switch(_Field):
    """true or false; in queries as words."""

    wrong = errors.NOT_BOOL
    _words = {"true": True, "false": False}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> bool:
        if isinstance(value, str):
            value = self._words.get(value.strip().lower())
        if not isinstance(value, bool):
            raise ValidationError(self.wrong)
        return value


class Items(marshmallow.fields.List[Any]):
    """A list of what one field reads, from `least` to `most` of them."""

    default_error_messages = {
        "required": errors.REQUIRED,
        "null": errors.NOT_LIST,
        "invalid": errors.NOT_LIST,
    }

    def __init__(
        self,
        each: marshmallow.fields.Field[Any],
        *,
        least: int = 0,
        most: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(each, **kwargs)
        self.least = least
        self.most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError(errors.NOT_LIST)
        if len(value) < self.least:
            raise ValidationError(errors.shorter_list_than(self.least))
        if len(value) > self.most:
            raise ValidationError(errors.longer_list_than(self.most))
        return super()._deserialize(value, attr, data)


class Part(marshmallow.fields.Nested):
    """An object with fields of its own."""

    default_error_messages = {
        "required": errors.REQUIRED,
        "null": errors.NOT_DICT,
        "type": errors.NOT_DICT,
    }

    def __init__(self, schema: type[Fields], **kwargs: Any) -> None:
        super().__init__(schema, **kwargs)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        partial: Any = None,
        **kwargs: Any,
    ) -> Any:
        if not isinstance(value, dict):
            raise ValidationError(errors.NOT_DICT)
        return super()._deserialize(value, attr, data, partial, **kwargs)


class Mappings(_Field):
    """An object of any keys."""

    wrong = errors.NOT_DICT

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError(self.wrong)
        return value


class PageFields(Fields):
    """Which part of a list a query asks for.

    Source: the wire contract, section 9: at most 100 at once, 20 unless said.
    """

    limit = Whole(low=1, high=100, load_default=20)
    offset = Whole(low=0, high=2**31 - 1, load_default=0)
