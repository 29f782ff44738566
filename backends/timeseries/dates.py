"""Texts of dates, parsed exactly as `datetime.strptime` does, but fast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

# What may be parsed: what DataRobot has no dates before, and what nanoseconds reach.
EARLIEST = np.datetime64("1900-01-01T00:00:00", "us")
LATEST = np.datetime64("2262-04-11T23:47:16", "us")

# No field of either has the value that strptime gives to a field that is not there.
_SAMPLES = (
    datetime(2023, 11, 26, 13, 45, 7, 123456, UTC),
    datetime(1999, 2, 3, 4, 5, 6, 70000, UTC),
)
_ABSENT = datetime(1900, 1, 1, tzinfo=UTC)
_FIELDS = ("month", "day", "hour", "minute", "second", "microsecond")

_MOST_CHARACTERS = 256

_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6}
_DEFAULTS = {"m": 1, "d": 1, "H": 0, "M": 0, "S": 0, "f": 0}
_HIGHEST = {"H": 23, "M": 59, "S": 59}


class DateFormat:
    """A format of `datetime.strptime` that gives back the times that it prints.

    text: the format.
    """

    __slots__ = ("_layout", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError, a sentence, for a format that cannot be used."""
        # strptime takes quadratic time to read one.
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"the format has more than {_MOST_CHARACTERS} characters")
        for sample in _SAMPLES:
            _check(text, sample)
        self.text = text
        self._layout = _Layout.of(text)

    def parse(self, texts: Sequence[str]) -> NDArray[np.datetime64]:
        """Parse as strptime does; what has an offset is brought to UTC.

        Returns datetime64[us] (n_texts,): NaT where a text does not match the format,
        or the time lies before EARLIEST or after LATEST.
        """
        times = np.full(len(texts), "NaT", dtype="datetime64[us]")
        others = np.ones(len(texts), dtype=bool)
        if self._layout is not None:
            width = self._layout.width
            (fitting,) = np.nonzero(_lengths(texts) == width)
            parsed = self._layout.parse([texts[i] for i in fitting.tolist()])
            times[fitting] = parsed
            others[fitting] = np.isnat(parsed)
        for position in np.flatnonzero(others).tolist():
            times[position] = _parse(texts[position], self.text)
        times[~((times >= EARLIEST) & (times <= LATEST))] = np.datetime64("NaT")
        return times

    def format(self, time: np.datetime64 | datetime) -> str:
        """Print a time; one without an offset is UTC.

        Raises ValueError for NaT.
        """
        if isinstance(time, np.datetime64):
            moment = time.astype("datetime64[us]").item()
            if not isinstance(moment, datetime):
                raise ValueError(f"{time} cannot be printed as a date")
            time = moment
        if time.tzinfo is None:
            return time.replace(tzinfo=UTC).strftime(self.text)
        return time.astimezone(UTC).strftime(self.text)


def _check(text: str, sample: datetime) -> None:
    """Raise ValueError for a format that loses what it prints of the sample."""
    try:
        printed = sample.strftime(text)
        parsed = datetime.strptime(printed, text)
    except (ValueError, re.error) as error:
        raise ValueError(f"the format {text!r} cannot be used: {error}") from error
    parsed = parsed.replace(tzinfo=parsed.tzinfo or UTC)
    if parsed.year != sample.year:
        raise ValueError(f"the format {text!r} has no year that can be parsed back")
    kept = all(
        getattr(parsed, field) in (getattr(sample, field), getattr(_ABSENT, field))
        for field in _FIELDS
    )
    if not kept or parsed.strftime(text) != printed:
        raise ValueError(
            f"the format {text!r} cannot be parsed back: of {printed!r} it makes "
            f"{parsed.replace(tzinfo=None)}"
        )


def _parse(text: str, format: str) -> np.datetime64:
    """One text as strptime has it; NaT for what it refuses."""
    try:
        time = datetime.strptime(text, format)
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return np.datetime64("NaT", "us")
    return np.datetime64(time, "us")


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where what stands in a text whose numbers all have their full width.

    fields: directive to its first position; each at most once.
    literals: position to code point.
    """

    width: int
    fields: Mapping[str, int]
    literals: Mapping[int, int]

    @classmethod
    def of(cls, format: str) -> _Layout | None:
        """None for a format with other directives, or with one twice."""
        fields: dict[str, int] = {}
        literals: dict[int, int] = {}
        width = 0
        characters = iter(format)
        for each in characters:
            directive = next(characters) if each == "%" else None
            if directive is None or directive == "%":
                literals[width] = ord(each)
                width += 1
            elif directive in _WIDTHS and directive not in fields:
                fields[directive] = width
                width += _WIDTHS[directive]
            else:
                return None
        has_one_year = ("Y" in fields) != ("y" in fields)
        return cls(width, fields, literals) if has_one_year else None

    def parse(self, texts: Sequence[str]) -> NDArray[np.datetime64]:
        """Parse texts of the right length; NaT is left to strptime.

        Of two digits strptime never takes one where both are in range, so that what
        is parsed here it would parse as well.
        """
        # Code points of four bytes each, those that UTF-8 refuses among them.
        content = "".join(texts).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(content, dtype="<u4").reshape(-1, self.width)
        valid = np.ones(len(texts), dtype=bool)
        for position, code in self.literals.items():
            valid &= codes[:, position] == code
        values = {}
        for directive in self.fields:
            values[directive] = self._number(codes, directive, valid)
        return _time(values, valid)

    def _number(
        self, codes: NDArray[np.uint32], directive: str, valid: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The numbers of a directive; where there is none, valid becomes False."""
        number = np.zeros(len(codes), dtype=np.int64)
        start = self.fields[directive]
        for position in range(start, start + _WIDTHS[directive]):
            # What lies below "0" wraps around.
            digit = codes[:, position] - np.uint32(ord("0"))
            valid &= digit <= 9
            number = number * 10 + digit
        return number


def _time(
    values: Mapping[str, NDArray[np.int64]], valid: NDArray[np.bool_]
) -> NDArray[np.datetime64]:
    """Times of the numbers of directives; NaT where not valid or out of range."""
    defaults = {name: np.full(len(valid), each) for name, each in _DEFAULTS.items()}
    part = {**defaults, **values}
    for directive, highest in _HIGHEST.items():
        valid = valid & (part[directive] <= highest)
    if "y" in part:
        year = part["y"] + np.where(part["y"] < 69, 2000, 1900)
    else:
        year = part["Y"]
    month, day = part["m"], part["d"]
    valid = valid & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    # Numbers that are not valid may be anything, but not so large that they overflow.
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    valid = valid & (day <= ((months + 1).astype("datetime64[D]") - first).astype(int))
    seconds = (part["H"] * 60 + part["M"]) * 60 + part["S"]
    since = (day - 1) * 86_400_000_000 + seconds * 1_000_000 + part["f"]
    times = first.astype("datetime64[us]") + since.astype("timedelta64[us]")
    return np.where(valid, times, np.datetime64("NaT", "us"))
