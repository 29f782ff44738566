"""A spec's columns: their roles, kinds and categories."""

from __future__ import annotations

from typing import Any

import pytest

from backends.model import Feature
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.specs import (
    CLASSES,
    DIRECT,
    RECURSIVE,
    changed,
    read_feature,
    refusal,
    with_feature,
)


def test_columns_are_those_of_the_data() -> None:
    weather = Feature("weather", "categorical", categories=("clear", "mist", "rain"))
    assert load_spec(DIRECT).columns == {
        "users": Feature("users", "numeric"),
        "weather": weather,
        "size of town": Feature("size of town", "numeric"),
        "holiday": Feature("holiday", "numeric"),
    }


def test_classes_are_the_categories_of_the_target() -> None:
    spec = load_spec(CLASSES)
    assert spec.classes == ("low", "high")
    assert spec.columns["y"].kind == "categorical"


def test_null_names_no_series() -> None:
    assert load_spec({**RECURSIVE, "seriesIdColumn": None}).series_id_column is None


def test_target_is_a_number_unless_it_is_said() -> None:
    spec = {name: each for name, each in DIRECT.items() if name != "targetType"}
    assert load_spec(spec).target_type == "Regression"


def test_known_categories_hold_for_all_features_of_a_column() -> None:
    frequent = {"op": "rolling", "stat": "most_frequent", "window": 3}
    feature = {"name": "f", **frequent, "column": "weather"}
    assert load_spec(changed(DIRECT, "features.5", feature)).names[5] == "f"


@pytest.mark.parametrize("stat", ["mean", "std", "quantile", "most_frequent", "count"])
def test_binary_target_has_statistics_of_numbers_and_levels(stat: str) -> None:
    quantile = {"quantile": 0.5} if stat == "quantile" else {}
    read_feature(CLASSES, op="rolling", stat=stat, window=3, **quantile)


def test_classes_of_many_are_no_numbers() -> None:
    spec = {**CLASSES, "targetType": "Multiclass"}
    assert "mean needs numbers" in refusal(
        with_feature(spec, op="rolling", stat="mean", window=2)
    )


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("target", "", "target: a text is expected, not ''"),
    ("target", "date", "datetimeColumn: 'date' is in target already"),
    ("knownInAdvance", ["part"], "knownInAdvance[0]: 'part' is in seriesIdColumn"),
    ("knownInAdvance", ["a", "a"], "knownInAdvance[1]: 'a' is in knownInAdvance"),
    ("knownInAdvance", "a", "knownInAdvance: a list is expected, not 'a'"),
    ("targetType", "Anomaly", "targetType: unknown 'Anomaly'; the known ones are Regr"),
    ("datetimeFormat", "%m/%d", "datetimeFormat: the format '%m/%d' has no year"),
    ("classes", ["a", "b"], "classes: a target of targetType Regression has none"),
    ("targetType", "Binary", "targetType: Binary needs the key classes"),
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


def test_recursive_strategy_is_for_numbers() -> None:
    spec = {**CLASSES, "strategy": "recursive"}
    assert refusal(spec) == "strategy: recursive is for targets of Regression only"
