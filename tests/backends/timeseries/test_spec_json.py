"""A spec is read whole, or its mistake is named by its path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
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

Json = dict[str, Any]
GONE = object()

DIRECT: Json = {
    "version": 1,
    "target": "users",
    "targetType": "Regression",
    "datetimeColumn": "date",
    "datetimeFormat": "%m/%d/%y",
    "seriesIdColumn": "part",
    "timeUnit": "DAY",
    "timeStep": 1,
    "windowsBasisUnit": "DAY",
    "featureDerivationWindow": {"start": -35, "end": 0},
    "forecastWindow": {"start": 1, "end": 2},
    "knownInAdvance": ["holiday", "weather"],
    "strategy": "direct",
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 7}],
    "calendar": ["2013-01-01", "2012-12-25"],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "users (lag 0)", "op": "lag", "offset": 0},
        {"name": "users (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "users (7 day diff)", "op": "diff", "period": 7},
        {"name": "users (naive 7 day)", "op": "seasonal_lag", "period": 7},
        {"name": "weather (1st lag)", "op": "lag", "column": "weather"},
        {
            "name": "weather (actual)",
            "op": "known",
            "column": "weather",
            "categories": ["clear", "mist", "rain"],
        },
        {"name": "part", "op": "series_code", "categories": ["night", "morning"]},
        {"name": "date (dayofweek)", "op": "date", "part": "dayofweek"},
        {"name": "days to holiday", "op": "days_to_event"},
        {"name": "town", "op": "static", "column": "size of town"},
    ],
    "models": {"1": "h1.txt", "2": "h2.txt"},
    "predictionIntervals": {
        "space": "model",
        "80": {"1": [-0.41, 0.37], "2": [-0.45, 0.40]},
    },
    "explanations": {"reference": "xemp_reference.json"},
    "model": {"file": "model.txt", "numFeatures": 11},
    "goldenSample": {"request": "sample.csv", "expected": "sample_expected.json"},
}
RECURSIVE: Json = {
    "version": 1,
    "target": "y",
    "targetType": "Regression",
    "datetimeColumn": "ds",
    "datetimeFormat": "%Y-%m-%d",
    "timeUnit": "MONTH",
    "featureDerivationWindow": {"start": -12, "end": 0},
    "forecastWindow": {"start": 1, "end": 12},
    "strategy": "recursive",
    "targetTransform": [
        {"op": "difference", "period": 1},
        {"op": "difference", "period": 12},
    ],
    "features": [{"name": "lag1", "op": "lag"}],
}
CLASSES: Json = {
    **RECURSIVE,
    "targetType": "Binary",
    "strategy": "direct",
    "targetTransform": [],
    "classes": ["low", "high"],
}


def changed(spec: Json, place: str, value: Any) -> Json:
    """The spec with a value at a place like `features.3.name`, or without one."""
    spec = copy.deepcopy(spec)
    inner: Any = spec
    *path, last = place.split(".")
    for key in path:
        inner = inner[int(key) if isinstance(inner, list) else key]
    key = int(last) if isinstance(inner, list) else last
    if value is GONE:
        del inner[key]
    else:
        inner[key] = value
    return spec


def refusal(spec: Json) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    return str(caught.value)


def with_feature(spec: Json = RECURSIVE, **feature: Any) -> Json:
    return {**spec, "features": [{"name": "f", **feature}]}


def read_feature(spec: Json = RECURSIVE, **feature: Any) -> Any:
    (feature,) = load_spec(with_feature(spec, **feature)).features
    return feature


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


def test_columns_are_those_of_the_data() -> None:
    weather = Feature("weather", "categorical", categories=("clear", "mist", "rain"))
    assert load_spec(DIRECT).columns == {
        "users": Feature("users", "numeric"),
        "weather": weather,
        "size of town": Feature("size of town", "numeric"),
        "holiday": Feature("holiday", "numeric"),
    }


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


def test_file_and_object_give_the_same_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(DIRECT), encoding="utf-8-sig")
    assert load_spec(path) == load_spec(str(path)) == load_spec(DIRECT)
    assert load_spec(path).raw == DIRECT


def test_raw_is_a_copy_of_plain_json() -> None:
    given = changed(DIRECT, "knownInAdvance", ("holiday", "weather"))
    spec = load_spec(given)
    given["features"].clear()
    assert spec.raw == DIRECT
    assert load_spec(spec.raw) == spec


def test_classes_are_the_categories_of_the_target() -> None:
    spec = load_spec(CLASSES)
    assert spec.classes == ("low", "high")
    assert spec.columns["y"].kind == "categorical"


def test_row_basis_is_read() -> None:
    assert load_spec({**DIRECT, "windowsBasisUnit": "ROW"}).is_row_based


def test_every_distance_has_an_interval() -> None:
    told = refusal(changed(DIRECT, "predictionIntervals.80.2", GONE))
    assert told == "predictionIntervals.80.2: missing"


def test_null_names_no_series() -> None:
    assert load_spec({**RECURSIVE, "seriesIdColumn": None}).series_id_column is None


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


@pytest.mark.parametrize("stat", ["mean", "std", "quantile", "most_frequent", "count"])
def test_binary_target_has_statistics_of_numbers_and_levels(stat: str) -> None:
    quantile = {"quantile": 0.5} if stat == "quantile" else {}
    read_feature(CLASSES, op="rolling", stat=stat, window=3, **quantile)


def test_known_categories_hold_for_all_features_of_a_column() -> None:
    frequent = {"op": "rolling", "stat": "most_frequent", "window": 3}
    feature = {"name": "f", **frequent, "column": "weather"}
    assert load_spec(changed(DIRECT, "features.5", feature)).names[5] == "f"


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("target", GONE, "target: missing"),
    ("colour", 1, "colour: unknown key; the known ones are version, target,"),
    ("a b\n", 1, "'a b\\n': unknown key"),
    ("version", 2, "version: 1 is expected, not 2"),
    ("version", True, "version: 1 is expected, not true"),
    ("target", "", "target: a text is expected, not ''"),
    ("target", "date", "datetimeColumn: 'date' is in target already"),
    ("knownInAdvance", ["part"], "knownInAdvance[0]: 'part' is in seriesIdColumn"),
    ("knownInAdvance", ["a", "a"], "knownInAdvance[1]: 'a' is in knownInAdvance"),
    ("knownInAdvance", "a", "knownInAdvance: a list is expected, not 'a'"),
    ("targetType", "Anomaly", "targetType: unknown 'Anomaly'; the known ones are Regr"),
    ("strategy", 1, "strategy: unknown 1; the known ones are direct, recursive"),
    (
        "timeUnit",
        "DAYS",
        "timeUnit: unknown 'DAYS'; the known ones are SECOND, MINUTE,",
    ),
    ("timeStep", 0, "timeStep: a whole number from 1 is expected, not 0"),
    ("timeStep", 10**9, "timeStep: at most 132,220 is allowed, not 1000000000"),
    ("timeStep", 10**4, "featureDerivationWindow: 35 steps are more than the years"),
    (
        "windowsBasisUnit",
        "HOUR",
        "windowsBasisUnit: unknown 'HOUR'; the known ones are DA",
    ),
    ("datetimeFormat", "%m/%d", "datetimeFormat: the format '%m/%d' has no year"),
    ("classes", ["a", "b"], "classes: a target of targetType Regression has none"),
    ("targetType", "Binary", "targetType: Binary needs the key classes"),
    (
        "featureDerivationWindow.start",
        0,
        "featureDerivationWindow: needs start < end <= 0",
    ),
    (
        "featureDerivationWindow.end",
        1,
        "featureDerivationWindow: needs start < end <= 0",
    ),
    ("featureDerivationWindow.end", GONE, "featureDerivationWindow.end: missing"),
    (
        "featureDerivationWindow",
        [],
        "featureDerivationWindow: an object is expected, no",
    ),
    (
        "featureDerivationWindow.start",
        -(10**6),
        "featureDerivationWindow.start: a whole nu",
    ),
    ("forecastWindow.start", 0, "forecastWindow: needs 1 <= start <= end"),
    ("forecastWindow.start", 3, "forecastWindow: needs 1 <= start <= end"),
    (
        "forecastWindow.end",
        10_001,
        "forecastWindow.end: at most 10,000 is allowed, not 1",
    ),
    (
        "forecastWindow.step",
        1,
        "forecastWindow.step: unknown key; the known ones are star",
    ),
    (
        "targetTransform.1",
        {"op": "log1p"},
        "targetTransform[1]: log1p has to be the first",
    ),
    (
        "targetTransform.0",
        {"op": "baseline", "period": 1},
        "targetTransform[1]: at most one",
    ),
    (
        "targetTransform.1.op",
        "difference",
        "targetTransform[1].op: 'difference' is not all",
    ),
    (
        "targetTransform.1.op",
        "boxcox",
        "targetTransform[1].op: unknown 'boxcox'; the known",
    ),
    (
        "targetTransform.1.period",
        36,
        "targetTransform[1]: reads steps -35..0, outside the",
    ),
    ("targetTransform.1.period", GONE, "targetTransform[1].period: missing"),
    (
        "targetTransform.0.period",
        1,
        "targetTransform[0].period: unknown key; the known on",
    ),
    (
        "calendar.0",
        "2012-02-30",
        "calendar[0]: a day like 2012-12-25 is expected, not '20",
    ),
    (
        "calendar.0",
        "20121225",
        "calendar[0]: a day like 2012-12-25 is expected, not '2012",
    ),
    ("calendar.1", "2013-01-01", "calendar[1]: '2013-01-01' is there twice"),
    ("calendar", GONE, "features[9].op: 'days_to_event' needs a calendar in the spec"),
    (
        "seriesIdColumn",
        GONE,
        "features[7].op: 'series_code' needs the key seriesIdColumn",
    ),
    ("models.2", GONE, "models.2: missing"),
    ("models.3", "h3.txt", "models.3: unknown key; the known ones are 1, 2"),
    (
        "models.1",
        "../h1.txt",
        "models.1: the name of a file, without its folder, is exp",
    ),
    (
        "predictionIntervals.space",
        "target",
        "predictionIntervals.space: unknown 'target';",
    ),
    ("predictionIntervals.space", GONE, "predictionIntervals.space: missing"),
    (
        "predictionIntervals.101",
        {},
        "predictionIntervals.101: sizes are whole numbers from",
    ),
    (
        "predictionIntervals.080",
        {},
        "predictionIntervals.080: sizes are whole numbers from",
    ),
    (
        "predictionIntervals.80.3",
        [0, 1],
        "predictionIntervals.80.3: unknown key; the known",
    ),
    (
        "predictionIntervals.80.1",
        [1, 0],
        "predictionIntervals.80.1: low 1.0 is above high",
    ),
    (
        "predictionIntervals.80.1",
        [0],
        "predictionIntervals.80.1: low and high are expected",
    ),
    (
        "predictionIntervals.80.1.1",
        10**400,
        "predictionIntervals.80.1[1]: a finite number",
    ),
    ("explanations.reference", 1, "explanations.reference: a text is expected, not 1"),
    (
        "explanations.reference",
        "/etc/passwd",
        "explanations.reference: the name of a file, without its folder, is expected",
    ),
    (
        "goldenSample.expected",
        "../sample.json",
        "goldenSample.expected: the name of a file, without its folder, is expected",
    ),
    ("model.numFeatures", 10, "model.numFeatures: the spec has 11 features"),
    (
        "goldenSample.sample",
        "a",
        "goldenSample.sample: unknown key; the known ones are re",
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
        "features.1.categories",
        [1],
        "features[1].categories: the target of targetType Regr",
    ),
    (
        "features.5.categories",
        [1],
        "features[6].categories: the column 'weather' has othe",
    ),
    (
        "features.6.column",
        "rain",
        "features[6].column: 'rain' is not in knownInAdvance",
    ),
    (
        "features.6.categories",
        [],
        "features[6].categories: at least 1 are expected, not 0",
    ),
    (
        "features.2.column",
        "weather",
        "features[2] (users (7 day mean)): mean needs numbers,",
    ),
    (
        "features.3.column",
        "weather",
        "features[3] (users (7 day diff)): diff needs numbers,",
    ),
    (
        "features.2.stat",
        "most_frequent",
        "features[2] (users (7 day mean)): most_frequent n",
    ),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_mistake_is_named_by_its_path(place: str, value: Any, message: str) -> None:
    assert refusal(changed(DIRECT, place, value)).startswith(message)


@pytest.mark.parametrize(
    ("target_type", "classes", "message"),
    [
        ("Binary", ["a"], "classes: at least 2 are expected, not 1"),
        ("Binary", ["a", "b", "c"], "classes: a Binary target has 2, not 3"),
        ("Binary", [None, 0], "classes[0]: a finite number is expected, not null"),
        ("Multiclass", [1, "a", "1"], "classes[2]: '1' is there twice"),
        ("Multiclass", [1, 0, True], "classes[2]: true is there twice"),
    ],
)
def test_mistake_in_classes_is_named(
    target_type: str, classes: list[Any], message: str
) -> None:
    spec = {**CLASSES, "targetType": target_type, "classes": classes}
    assert refusal(spec) == message


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


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (
            "featureDerivationWindow.end",
            -1,
            "featureDerivationWindow: the recursive str",
        ),
        (
            "models",
            {},
            "models: the recursive strategy has one model for all distances",
        ),
        (
            "targetTransform.1.op",
            "baseline",
            "targetTransform[1].op: 'baseline' is not",
        ),
        (
            "targetTransform.1",
            {"op": "log1p"},
            "targetTransform[1]: log1p has to be the",
        ),
        (
            "targetTransform",
            [0] * 11,
            "targetTransform: at most 10 are allowed, not 11",
        ),
        (
            "targetTransform.0.period",
            99_999,
            "featureDerivationWindow: with its differences the model needs 100,023",
        ),
    ],
)
def test_recursive_strategy_has_rules_of_its_own(
    place: str, value: Any, message: str
) -> None:
    assert refusal(changed(RECURSIVE, place, value)).startswith(message)


def test_recursive_strategy_is_for_numbers() -> None:
    spec = {**CLASSES, "strategy": "recursive"}
    assert refusal(spec) == "strategy: recursive is for targets of Regression only"


def test_recursive_strategy_knows_nothing_else_after_the_forecast_point() -> None:
    spec = {**RECURSIVE, "forecastWindow": {"start": 1, "end": 4}}
    assert "does not know 'price' after" in refusal(
        with_feature(spec, op="lag", column="price", offset=-2)
    )
    load_spec(with_feature(spec, op="lag", column="price", offset=-3))
    load_spec(with_feature(spec, op="static", column="price"))


def test_target_is_a_number_unless_it_is_said() -> None:
    spec = {name: each for name, each in DIRECT.items() if name != "targetType"}
    assert load_spec(spec).target_type == "Regression"


def test_feature_outside_the_window_is_told_its_steps() -> None:
    assert refusal(changed(DIRECT, "features.1.offset", -40)) == (
        "features[1] (users (lag 0)): reads steps -40..-40, "
        "outside the feature derivation window (-35, 0]"
    )


def test_class_target_has_no_transforms() -> None:
    spec = {**CLASSES, "targetTransform": [{"op": "log1p"}]}
    assert (
        refusal(spec) == "targetTransform: only a target of Regression has transforms"
    )


def test_classes_have_no_intervals() -> None:
    spec = {**CLASSES, "predictionIntervals": {"space": "model"}}
    assert refusal(spec).startswith("predictionIntervals: only a target of Regression")


def test_classes_of_many_are_no_numbers() -> None:
    spec = {**CLASSES, "targetType": "Multiclass"}
    assert "mean needs numbers" in refusal(
        with_feature(spec, op="rolling", stat="mean", window=2)
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


def test_models_have_not_too_many_files() -> None:
    spec = changed(DIRECT, "predictionIntervals", GONE)
    spec = changed(spec, "forecastWindow.end", 1001)
    files = {str(each): f"h{each}.txt" for each in range(1, 1002)}
    assert refusal(changed(spec, "models", files)) == (
        "models: at most 1,000 files are allowed, and the forecast window has 1,001"
        " distances"
    )


def test_window_of_many_columns_has_not_too_many_cells() -> None:
    features = [
        {"name": f"f{each}", "op": "lag", "column": f"x{each}", "offset": -12}
        for each in range(167)
    ]
    spec = {**CLASSES, "timeUnit": "DAY", "features": features}
    window = "featureDerivationWindow.start"
    load_spec(changed(spec, window, -(2**24 // 168)))
    assert refusal(changed(spec, window, -(2**24 // 168) - 1)) == (
        "featureDerivationWindow: features look back 99,865 steps at 168 columns, which"
        " are more than 16,777,216 cells"
    )


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
