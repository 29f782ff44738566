"""JSON that clients send, read fast, and refused where a key would be lost."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson

from backends.features import DataError
from backends.strict_json import shown


def read(text: bytes, what: str) -> Any:
    """Any JSON value.

    what: the text, for messages. Raises DataError for what is no JSON, and for an
    object with a key twice, of which one would be taken and the other not.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{what} is not JSON: {error}") from error
    if not _has_each_key_once(text, value):
        _find_repeated(text, what)
    return value


def _has_each_key_once(text: bytes, value: Any) -> bool:
    """Whether no object has a key twice; False means that it is not known.

    Each key takes a colon, so a key that is lost takes one away: among keys, or in
    what is written again, which has all colons in strings too unless one was escaped.
    """
    colons = text.count(b":")
    if colons == _keys(value):
        return True
    try:
        return b"\\u003" not in text and orjson.dumps(value).count(b":") == colons
    except orjson.JSONEncodeError:
        # Nested deeper than it writes.
        return False


def _keys(value: Any) -> int:
    """Of an object and the objects right in it: tensors by name, with their shapes."""
    if not isinstance(value, dict):
        return 0
    inner = (len(each) for each in value.values() if isinstance(each, dict))
    return len(value) + sum(inner)


def _find_repeated(text: bytes, what: str) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        names = Counter(name for name, _ in pairs)
        if len(names) < len(pairs):
            key = names.most_common(1)[0][0]
            raise DataError(f"{what} has the key {shown(key)} twice in one object")

    try:
        # Numbers do not matter here, and Python refuses to read long ones as whole.
        json.loads(text.decode(), object_pairs_hook=check, parse_int=float)
    except RecursionError as error:
        raise DataError(f"{what} is nested too deeply") from error
