"""A spec is read whole, or its mistake is named by its path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.model import Feature
from backends.timeseries.spec import (
    Baseline,
    DaysToEvent,
    Diff,
    Lag,
    Log1p,
    Rolling,
    SeasonalLag,
    Spec,
    SpecError,
    Window,
)
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.specs import (
    CLASSES,
    DIRECT,
    GONE,
    RECURSIVE,
    Json,
    changed,
    refusal,
)


def test_spec_is_read_whole() -> None:
    spec = load_spec(DIRECT)
    assert spec.feature_derivation_window == Window(-35, 0)
    assert spec.known_in_advance == ("holiday", "weather")
    assert spec.transforms == (Log1p(), Baseline(7))
    assert spec.calendar == ("2012-12-25", "2013-01-01")
    assert spec.features[1:5] == (
        Lag("users (lag 0)", "users"),
        Rolling("users (7 day mean)", "users", "mean", 7),
        Diff("users (7 day diff)", "users", 7),
        SeasonalLag("users (naive 7 day)", "users", 7),
    )
    assert spec.features[9] == DaysToEvent("days to holiday")
    assert spec.intervals == {80: {1: (-0.41, 0.37), 2: (-0.45, 0.40)}}
    assert spec.models == {1: "h1.txt", 2: "h2.txt"}


def test_optional_keys_have_defaults() -> None:
    optional = ("targetTransform", "timeUnit", "strategy")
    required = {key: RECURSIVE[key] for key in RECURSIVE if key not in optional}
    assert load_spec(required) == Spec(
        target="y",
        target_type="Regression",
        datetime_column="ds",
        datetime_format="%Y-%m-%d",
        feature_derivation_window=Window(-12, 0),
        forecast_window=Window(1, 12),
        columns={"y": Feature("y", "numeric")},
        features=(Lag("lag1", "y"),),
    )


def test_raw_is_a_copy_of_plain_json() -> None:
    given = changed(DIRECT, "knownInAdvance", ("holiday", "weather"))
    spec = load_spec(given)
    given["features"].clear()
    assert spec.raw == DIRECT
    assert load_spec(spec.raw) == spec


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("target", GONE, "target: missing"),
    ("colour", 1, "colour: unknown key; the known ones are version, target,"),
    ("a b\n", 1, "'a b\\n': unknown key"),
    ("version", 2, "version: 1 is expected, not 2"),
    ("version", True, "version: 1 is expected, not true"),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_mistake_is_named_by_its_path(place: str, value: Any, message: str) -> None:
    assert refusal(changed(DIRECT, place, value)).startswith(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=10,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each object or list in a spec, with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, each) for each in keys] + [
        place for each in keys for place in places(value[each])
    ]


def load_or_refuse(spec: Any) -> None:
    try:
        loaded = load_spec(spec)
    except SpecError as error:
        assert "\n" not in str(error)
    else:
        json.dumps(loaded.raw, allow_nan=False, ensure_ascii=False).encode()
        assert load_spec(loaded.raw) == loaded


@given(st.dictionaries(st.text() | st.sampled_from(list(DIRECT)), json_values))
def test_any_object_loads_or_is_refused(spec: Json) -> None:
    load_or_refuse(spec)


@given(st.data(), st.sampled_from([DIRECT, RECURSIVE, CLASSES]))
def test_any_mutation_loads_or_is_refused(data: st.DataObject, spec: Json) -> None:
    spec = copy.deepcopy(spec)
    others = st.sampled_from([each[key] for each, key in places(spec)])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(spec)))
        if data.draw(st.booleans()):
            del container[key]
        else:
            value = data.draw(json_values | st.integers(-50, 50) | others)
            container[key] = copy.deepcopy(value)
    load_or_refuse(spec)


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs") / "spec.json"


@given(st.binary(), st.integers(0, 2000), st.booleans())
def test_any_file_loads_or_is_refused(
    spec_file: Path, piece: bytes, start: int, is_put_in: bool
) -> None:
    content = json.dumps(DIRECT).encode()
    end = start if is_put_in else start + len(piece)
    spec_file.write_bytes(content[:start] + piece + content[end:])
    load_or_refuse(spec_file)
