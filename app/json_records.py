"""Rows in JSON: objects, about a chunk's bytes at a time."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from app.errors import BodyUnreadable, DuplicateColumns

# Rows in JSON: an array that is empty or begins with an object, or one object.
# Columns by name, or rows under a key, begin with an array or object in the object.
_OPENING = re.compile(
    rb"[ \t\n\r]*+(?:(\[)[ \t\n\r]*+[{\]]"
    rb'|\{(?![ \t\n\r]*+"[^"\\]*+"[ \t\n\r]*+:[ \t\n\r]*+[\[{]))'
)
_CUT = re.compile(rb"\}[ \t\n\r]*+,[ \t\n\r]*+(?=\{)")
# What Python's reader takes and orjson does not: tokens that are not JSON, numbers
# beyond a float, halves of surrogate pairs.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONG_INTEGER = re.compile(rb"[0-9]{19}")
_BEYOND_ORJSON = re.compile(
    rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{309}|" + _SURROGATE.pattern
)
_ROWS_EXPECTED = "an array of row objects is expected"


def read_objects(data: bytes, piece_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """Parse an array of objects, about `piece_bytes` at a time, or a single object.

    The array is cut where one object seems to end and another to begin. If that is
    inside a string or another value, the piece before it does not parse, and it is cut
    further on.

    Raises BodyUnreadable, DuplicateColumns if an object has a key twice.
    """
    opening = _OPENING.match(data)
    if opening is None:
        raise BodyUnreadable(f"The JSON body holds no rows: {_ROWS_EXPECTED}")
    if opening[1] is None:
        yield [_single_row(parse(data, 0))]
        return
    start, size = opening.end(1), piece_bytes
    while cut := _CUT.search(data, start + size):
        try:
            records = parse(b"[" + data[start : cut.start() + 1] + b"]", start - 1)
        except BodyUnreadable:
            # By multiples the whole work stays linear.
            size *= 2
            continue
        yield _checked_rows(records)
        start, size = cut.end(), piece_bytes
    yield _checked_rows(parse(b"[" + data[start:], start - 1))


def _single_row(value: dict[str, Any]) -> dict[str, Any]:
    # Columns by name, or rows under a key like "data", come as one object too.
    if any(isinstance(cell, dict | list) for cell in value.values()):
        raise BodyUnreadable(f"The JSON body is not a row: {_ROWS_EXPECTED}")
    return value


def _checked_rows(records: list[Any]) -> list[dict[str, Any]]:
    if not {dict}.issuperset(map(type, records)):
        raise BodyUnreadable(
            f"The JSON body holds other values than objects: {_ROWS_EXPECTED}"
        )
    return records


def parse(text: bytes, offset: int, expected: str = _ROWS_EXPECTED) -> Any:
    """Parse JSON whose first byte is the body's byte `offset`.

    expected: what the whole body should be, for messages.

    Beyond JSON it takes NaN, Infinity and -Infinity, as many clients write them, and
    numbers too large for a float. Raises DuplicateColumns if an object has a key
    twice, BodyUnreadable.
    """
    try:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            if not _BEYOND_ORJSON.search(text):
                raise
            value = _parse_slowly(text)
        if not _has_each_key_once(text, value):
            # Python refuses to read long integers, whose values do not matter here.
            json.loads(
                text.decode(), object_pairs_hook=_refuse_repeated_keys, parse_int=float
            )
    except json.JSONDecodeError as error:
        byte = offset + len(error.doc[: error.pos].encode())
        raise BodyUnreadable(
            f"The body is not valid JSON: {error.msg} at byte {byte}; {expected}"
        ) from error
    except RecursionError as error:
        raise BodyUnreadable("The JSON body is nested too deeply") from error
    return value


def _parse_slowly(text: bytes) -> Any:
    # Python's reader calls back for each integer, which is worth it for few texts.
    parse_int = _integer if _LONG_INTEGER.search(text) else None
    try:
        value = json.loads(text.decode(), parse_int=parse_int)
        if _SURROGATE.search(text):
            # Alone it is valid JSON, but no text that can be written again.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BodyUnreadable("The JSON body has a string that is no Unicode") from error
    return value


def _integer(digits: str) -> int | float:
    # As orjson reads it: a float beyond 64 bits.
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    return float(digits)


def _has_each_key_once(text: bytes, value: Any) -> bool:
    """Tell whether no object has a key twice, of which only the last would be left.

    False means that it is not known. Each key takes a colon, so a key that is lost
    takes one away: among keys, or in what is written again from the parsed value,
    which has all colons in strings as well unless one was escaped.
    """
    colons = text.count(b":")
    if isinstance(value, list) and {dict}.issuperset(map(type, value)):
        if colons == sum(map(len, value)):
            return True
    try:
        return b"\\u003" not in text and orjson.dumps(value).count(b":") == colons
    except orjson.JSONEncodeError:
        # Nested deeper than it writes.
        return False


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    refuse_repeated([name for name, _ in pairs])


def refuse_repeated(names: Sequence[str]) -> None:
    """Raise DuplicateColumns listing the names that stand there twice."""
    if len(set(names)) == len(names):
        return
    repeated = [name for name, times in Counter(names).items() if times > 1]
    listed = ", ".join(map(repr, repeated))
    raise DuplicateColumns(f"Columns stand more than once in the data: {listed}")
