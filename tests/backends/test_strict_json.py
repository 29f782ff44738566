"""What a spec is written in: JSON, in a file or as an object."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from backends.timeseries.spec import SpecError
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.specs import (
    DIRECT,
    GONE,
    changed,
    refusal,
)


def test_file_and_object_give_the_same_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(DIRECT), encoding="utf-8-sig")
    assert load_spec(path) == load_spec(str(path)) == load_spec(DIRECT)
    assert load_spec(path).raw == DIRECT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
        (b'{"target": NaN}', "NaN is no number"),
        (b'{"target": -Infinity}', "-Infinity is no number"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "'b': this key is there twice"),
        (b'{"a":' * 100_000, "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"1" * 5000, "is not JSON"),
        (b"[]", "the spec: an object is expected, not a list"),
        (b" " * (64 * 2**20 + 1), "is larger than"),
    ],
)
def test_file_that_is_no_object_of_json_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load_spec(path)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="spec.json: cannot be read"):
        load_spec(tmp_path / "spec.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1}, b"x"])
def test_object_that_json_cannot_hold_is_refused(value: object) -> None:
    assert "is not JSON" in refusal({**DIRECT, "timeStep": value})


def test_object_that_holds_itself_is_refused() -> None:
    spec = copy.deepcopy(DIRECT)
    spec["model"] = spec
    assert "is not JSON" in refusal(spec)


def test_many_distances_are_named_in_a_short_message() -> None:
    spec = changed(DIRECT, "predictionIntervals", GONE)
    spec = changed(spec, "forecastWindow.end", 1000)
    message = refusal(changed(spec, "models", {"0": "h0.txt"}))
    assert message.startswith("models.0: unknown key; the known ones are 1, 2, 3,")
    assert message.endswith(", 39, ..., 1000")
