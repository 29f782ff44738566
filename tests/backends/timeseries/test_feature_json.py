"""A spec's features: their keys, and what they may look at."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

from backends.timeseries.spec import Rolling
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.specs import (
    CLASSES,
    DIRECT,
    GONE,
    RECURSIVE,
    Json,
    changed,
    read_feature,
    refusal,
    with_feature,
)


def test_windows_end_where_the_derivation_window_ends() -> None:
    spec = {**CLASSES, "featureDerivationWindow": {"start": -12, "end": -3}}
    assert read_feature(spec, op="lag").offset == -3
    assert read_feature(spec, op="diff", period=8).offset == -3
    assert read_feature(spec, op="rolling", stat="mean", window=9).end == -3


def test_options_of_rolling_are_read() -> None:
    feature = read_feature(
        **{"op": "rolling", "stat": "quantile", "window": 4, "end": -2, "quantile": 1},
        **{"minCount": 4, "ddof": 0, "source": "raw"},
    )
    assert feature == Rolling("f", "y", "quantile", 4, -2, "raw", 4, 0, 1.0)


BASELINE: Json = {
    **RECURSIVE,
    "strategy": "direct",
    "targetTransform": [{"op": "baseline", "period": 1}],
}


LOGARITHMIC: Json = {
    **BASELINE,
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 1}],
}


@pytest.mark.parametrize(
    ("spec", "given", "source"),
    [
        (RECURSIVE, {}, "transformed"),
        (RECURSIVE, {"source": "raw"}, "raw"),
        (RECURSIVE, {"column": "x", "offset": -11}, "raw"),
        (RECURSIVE, {"column": "x", "offset": -11, "source": "transformed"}, "raw"),
        ({**RECURSIVE, "targetTransform": []}, {"source": "transformed"}, "raw"),
        (LOGARITHMIC, {}, "raw"),
        (LOGARITHMIC, {"source": "transformed"}, "transformed"),
        (BASELINE, {"source": "transformed"}, "raw"),
    ],
)
def test_only_a_transformed_target_has_another_source(
    spec: Json, given: Json, source: str
) -> None:
    assert read_feature(spec, op="lag", **given).source == source


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("calendar", GONE, "features[9].op: 'days_to_event' needs a calendar in the spec"),
    (
        "seriesIdColumn",
        GONE,
        "features[7].op: 'series_code' needs the key seriesIdColumn",
    ),
    ("features", [], "features: at least one is expected"),
    ("features", [{}] * 10_001, "features: at most 10,000 are allowed, not 10,001"),
    (
        "features.3.name",
        "users_(lag_0)",
        "features[3] (users_(lag_0)): the name is that of",
    ),
    (
        "features.1.column",
        "date",
        "features[1].column: 'date' is the datetimeColumn; use",
    ),
    (
        "features.1.column",
        "part",
        "features[1].column: 'part' is the seriesIdColumn; use",
    ),
    (
        "features.6.column",
        "rain",
        "features[6].column: 'rain' is not in knownInAdvance",
    ),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_mistake_is_named_by_its_path(place: str, value: Any, message: str) -> None:
    assert refusal(changed(DIRECT, place, value)).startswith(message)


ROLLING = {"op": "rolling", "stat": "mean", "window": 2}


# A feature, and how the message begins after "features[0]".
MISTAKEN_FEATURES: list[tuple[Json, str]] = [
    ({}, ".op: missing"),
    ({"op": "ewm"}, ".op: unknown 'ewm'; the known ones are lag, rolling, diff,"),
    (
        {"op": "forecast_distance"},
        ".op: 'forecast_distance' is not allowed for the rec",
    ),
    (
        {"op": "lag", "lag": 1},
        ".lag: unknown key; the known ones are name, op, column,",
    ),
    (
        {"op": "lag", "offset": 1},
        " (f): reads steps 1..1, outside the feature derivati",
    ),
    ({"op": "lag", "offset": -12}, " (f): reads steps -12..-12, outside the feature"),
    (
        {"op": "lag", "offset": 0.0},
        ".offset: a whole number from -100000 is expected, n",
    ),
    (
        {"op": "lag", "source": "log"},
        ".source: unknown 'log'; the known ones are raw, tr",
    ),
    (
        {"op": "lag", "column": "x\0"},
        ".column: 'x\\x00' has characters that no text may",
    ),
    (
        {**ROLLING, "window": 13},
        " (f): reads steps -12..0, outside the feature derivati",
    ),
    ({**ROLLING, "window": "x"}, ".window: a whole number from 1 is expected, not 'x'"),
    (
        {**ROLLING, "window": True},
        ".window: a whole number from 1 is expected, not true",
    ),
    ({**ROLLING, "window": 10**6}, ".window: at most 100,000 is allowed, not 1000000"),
    ({"op": "rolling", "stat": "mean"}, ".window: missing"),
    (
        {**ROLLING, "stat": "mode"},
        ".stat: unknown 'mode'; the known ones are mean, std,",
    ),
    ({**ROLLING, "minCount": 3}, ".minCount: at most 2 is allowed, not 3"),
    ({**ROLLING, "quantile": 0.5}, ".quantile: only the stat 'quantile' has one"),
    (
        {**ROLLING, "stat": "quantile"},
        ".stat: 'quantile' needs the key quantile, from 0",
    ),
    (
        {**ROLLING, "stat": "quantile", "quantile": 50},
        ".quantile: a number from 0 to 1 is expected, not 50",
    ),
    ({"op": "diff", "period": 12}, " (f): reads steps -12..0, outside the feature der"),
    (
        {"op": "seasonal_lag", "period": 13},
        " (f): reads steps -12..0, outside the feat",
    ),
    (
        {"op": "date", "part": "era"},
        ".part: unknown 'era'; the known ones are year, qua",
    ),
    ({"op": "lag", "name": 'a"'}, """.name: 'a"' has '"', which LightGBM refuses"""),
    ({"op": "lag", "name": "a\nb"}, ".name: 'a\\nb' has '\\n', which LightGBM refuses"),
    (
        {"op": "lag", "name": " a"},
        ".name: a text of at most 1024 characters without sp",
    ),
]


@pytest.mark.parametrize(("feature", "message"), MISTAKEN_FEATURES)
def test_mistake_in_a_feature_is_named(feature: Json, message: str) -> None:
    assert refusal(with_feature(**feature)).startswith(f"features[0]{message}")


def test_recursive_strategy_knows_nothing_else_after_the_forecast_point() -> None:
    spec = {**RECURSIVE, "forecastWindow": {"start": 1, "end": 4}}
    assert "does not know 'price' after" in refusal(
        with_feature(spec, op="lag", column="price", offset=-2)
    )
    load_spec(with_feature(spec, op="lag", column="price", offset=-3))
    load_spec(with_feature(spec, op="static", column="price"))


def test_feature_outside_the_window_is_told_its_steps() -> None:
    assert refusal(changed(DIRECT, "features.1.offset", -40)) == (
        "features[1] (users (lag 0)): reads steps -40..-40, "
        "outside the feature derivation window (-35, 0]"
    )


@pytest.mark.parametrize(
    "names", [[f"a{mark}b"] for mark in ',:[]{}"'] + [["a b", "a_b"]]
)
def test_names_that_lightgbm_refuses_are_refused(names: list[str]) -> None:
    data = lightgbm.Dataset(np.zeros((9, len(names))), np.zeros(9), feature_name=names)
    with pytest.raises(lightgbm.basic.LightGBMError):
        data.construct()
    features = [{"name": name, "op": "lag"} for name in names]
    refusal({**RECURSIVE, "features": features})
