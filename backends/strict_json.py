"""Plain JSON read strictly: every mistake is a SpecError that begins with its path."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from backends.model import Label

_Choice = TypeVar("_Choice", bound=str)

# Far above any real spec: a table of intervals, some thousands of features.
_MAX_BYTES = 64 * 2**20
_MOST_SHOWN = 64
_MOST_LISTED = 40
# What neither a database nor UTF-8 keeps.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")


class SpecError(ValueError):
    """A spec cannot be used; the message begins with the path of what is wrong."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of plain JSON, and the path to it.

    Each method returns what the value has to be, or raises SpecError.
    """

    data: Any
    path: str = ""

    def refuse(self, text: str, about: str = "") -> NoReturn:
        """Raise SpecError; about: what the value belongs to, set beside the path."""
        path = f"{self.path} ({about})" if about else self.path
        raise SpecError(f"{path or 'the spec'}: {text}")

    def expect(self, text: str) -> NoReturn:
        """Raise SpecError: something else is expected."""
        self.refuse(f"{text} is expected, not {shown(self.data)}")

    def members(
        self, required: Iterable[str], optional: Iterable[str] = ()
    ) -> dict[str, Value]:
        """The members of an object with all the required keys and no unknown one."""
        members = self.table()
        required = tuple(required)
        known = dict.fromkeys((*required, *optional))
        for name, member in members.items():
            if name not in known:
                member.refuse(f"unknown key; the known ones are {_listed(known)}")
        for name in required:
            if name not in members:
                self._member(name).refuse("missing")
        return members

    def need(self, name: str) -> Value:
        """One member of an object."""
        member = self.table().get(name)
        if member is None:
            self._member(name).refuse("missing")
        return member

    def table(self) -> dict[str, Value]:
        """The members of an object, whatever their keys."""
        if not isinstance(self.data, dict):
            self.expect("an object")
        return {name: self._member(name) for name in self.data}

    def items(self, most: int | None = None) -> list[Value]:
        """The items of a list; most: how many it may have."""
        if not isinstance(self.data, list):
            self.expect("a list")
        if most is not None and len(self.data) > most:
            self.refuse(f"at most {most:,} are allowed, not {len(self.data):,}")
        return [
            Value(each, f"{self.path}[{position}]")
            for position, each in enumerate(self.data)
        ]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.data, str) or not self.data:
            self.expect("a text")
        return self._storable(self.data)

    def file_name(self) -> str:
        """The name of a file, without a folder."""
        name = self.text()
        if "/" in name or "\\" in name or name.startswith("."):
            self.expect("the name of a file, without its folder,")
        return name

    def choice(self, known: Collection[_Choice]) -> _Choice:
        """One of the known texts."""
        for each in known:
            if self.data == each:
                return each
        self.refuse(
            f"unknown {shown(self.data)}; the known ones are {', '.join(known)}"
        )

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        # A boolean is an int to Python, and a mistake here.
        is_whole = isinstance(self.data, int) and not isinstance(self.data, bool)
        if not is_whole or self.data < low:
            self.expect(f"a whole number from {low}")
        if self.data > high:
            self.refuse(f"at most {high:,} is allowed, not {shown(self.data)}")
        return int(self.data)

    def number(self) -> float:
        """A finite number."""
        if isinstance(self.data, int | float) and not isinstance(self.data, bool):
            try:
                number = float(self.data)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        self.expect("a finite number")

    def labels(self, least: int = 1) -> tuple[Label, ...]:
        """Distinct texts, numbers and booleans.

        Distinct as texts too: cells of a request are compared with them as texts.
        """
        items = self.items()
        if len(items) < least:
            self.refuse(f"at least {least} are expected, not {len(items)}")
        labels = tuple(each._label() for each in items)
        for spelled in (labels, tuple(map(str, labels))):
            first: dict[Label, int] = {}
            for position, label in enumerate(spelled):
                if first.setdefault(label, position) != position:
                    items[position].refuse(f"{shown(label)} is there twice")
        return labels

    def _label(self) -> Label:
        if isinstance(self.data, bool):
            return self.data
        if isinstance(self.data, str):
            return self._storable(self.data)
        number = self.number()
        return self.data if isinstance(self.data, int) else number

    def _storable(self, text: str) -> str:
        if _UNSTORABLE.search(text):
            self.refuse(f"{shown(text)} has characters that no text may have")
        return text

    def _member(self, name: str) -> Value:
        key = name if _PLAIN_KEY.fullmatch(name) else shown(name)
        path = f"{self.path}.{key}" if self.path else key
        # Keys of tables may be anything; what is not there has no data.
        return Value(self.data.get(name), path)


def shown(data: object) -> str:
    """A value as messages print it: on one line, and not too long."""
    if isinstance(data, dict):
        return "an object"
    if isinstance(data, list):
        return "a list"
    if data is None or isinstance(data, bool):
        return json.dumps(data)
    text = repr(data)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def listed(names: Collection[str], most: int = 20) -> str:
    """Names as messages print them: the first ones, and how many more there are."""
    first = ", ".join(map(repr, itertools.islice(names, most)))
    more = len(names) - most
    return f"{first} and {more} more" if more > 0 else first


def _listed(known: Collection[str]) -> str:
    names = list(known)
    if len(names) > _MOST_LISTED:
        names[_MOST_LISTED - 1 : -1] = ["..."]
    return ", ".join(names)


def read(source: Path | str | Mapping[str, Any]) -> Value:
    """Read a file of JSON, or take an object, which is copied.

    Raises SpecError for what is no JSON: NaN, infinity and a key that is there twice
    are none.
    """
    if isinstance(source, Mapping):
        return Value(_parse(lambda: json.dumps(dict(source), allow_nan=False)))
    path = Path(source)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from error
    if len(content) > _MAX_BYTES:
        raise SpecError(f"{path}: is larger than {_MAX_BYTES} bytes")
    return Value(_parse(lambda: content))


def _parse(content: Callable[[], str | bytes]) -> Any:
    try:
        return json.loads(
            content(), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
    except SpecError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"the spec: is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise SpecError(f"the spec: is not JSON: {name} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise SpecError(f"{shown(twice)}: this key is there twice in one object")
    return members
