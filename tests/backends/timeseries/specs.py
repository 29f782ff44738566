"""Specs to be changed, and what is then said of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from backends.timeseries.spec import SpecError
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
