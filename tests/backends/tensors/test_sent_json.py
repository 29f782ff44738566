"""JSON of tensors in which no key is lost."""

from __future__ import annotations

import orjson
import pytest

from backends.features import DataError
from backends.tensors import sent_json


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, 5, "a:b", [[1, 2], [3, 4]]),
        {"x": {"shape": [1], "data": [2]}, "y": ["a: b", ":"]},
        {"x": {"y": {"z": 1}}, "y": [{"z": {}}]},
    ],
)
def test_json_is_read_as_it_is(value: object) -> None:
    assert sent_json.read(orjson.dumps(value), "it") == value


def test_escaped_colons_are_no_keys() -> None:
    assert sent_json.read(rb'{"a": "\u003a", "b": ":"}', "it") == {"a": ":", "b": ":"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"x": [1], "y": [2], "x": [3]}', "x"),
        ('{"x": {"data": [1], "data": [2], "shape": [1]}}', "data"),
        ('{"x": [":"], "x": ["::"]}', "x"),
        ('{"x": "\\u003a", "x": "\\u003a"}', "x"),
        ('[{"a": 1, "\\u0061": 2}]', "a"),
        ('{"x": %s, "x": 1}' % ("1" * 300), "x"),
    ],
)
def test_key_twice_is_refused(text: str, key: str) -> None:
    with pytest.raises(DataError, match=f"^it has the key '{key}' twice in one object"):
        sent_json.read(text.encode(), "it")


def test_deep_nesting_is_no_crash() -> None:
    for depth in (250, 300, 1000):
        text = b'{"x":' * depth + b"1" + b',"y":2}' * depth
        try:
            assert sent_json.read(text, "it")
        except DataError as error:
            assert "nested" in str(error) or "is not JSON" in str(error)
