"""Specs from mlforecast, which trains in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRAIN = ROOT / "tests" / "mlforecast" / "train.py"


def train(folder, *data):
    """Run the script that trains; its environment must be there when tests count."""
    venv = ROOT / os.environ.get("MLFORECAST_VENV", ".venv-mlforecast")
    if not (venv / "bin" / "python").exists():
        missing = (
            pytest.fail if {"CI", "MLFORECAST_VENV"} & {*os.environ} else pytest.skip
        )
        missing(f"{venv} is not there: make test makes it")
    done = subprocess.run(
        [venv / "bin" / "python", TRAIN, folder, *data],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("mlforecast"))


def spec_of(folder):
    return json.loads((folder / "spec.json").read_bytes())


def rolling(name, stat, window, end=0, **more):
    said = {"name": name, "op": "rolling", "stat": stat, "window": window, "end": end}
    return said | {"minCount": window} | more


def test_recursive_model_becomes_a_spec(trained):
    assert spec_of(trained / "differences") == {
        "version": 1,
        "target": "y",
        "targetType": "Regression",
        "datetimeColumn": "ds",
        "datetimeFormat": "%Y-%m-%d",
        "seriesIdColumn": "unique_id",
        "timeUnit": "MONTH",
        "timeStep": 1,
        # The rolling mean of three steps at lag 12 looks back 14.
        "featureDerivationWindow": {"start": -14, "end": 0},
        "forecastWindow": {"start": 1, "end": 12},
        "knownInAdvance": [],
        "strategy": "recursive",
        "targetTransform": [
            {"op": "difference", "period": 1},
            {"op": "difference", "period": 12},
        ],
        "features": [
            {"name": "lag1", "op": "lag", "offset": 0},
            {"name": "lag2", "op": "lag", "offset": -1},
            {"name": "lag12", "op": "lag", "offset": -11},
            rolling("rolling_mean_lag1_window_size3", "mean", 3),
            rolling("rolling_std_lag1_window_size6", "std", 6),
            rolling("rolling_min_lag1_window_size12", "min", 12),
            rolling("rolling_max_lag1_window_size12", "max", 12),
            rolling("rolling_mean_lag12_window_size3", "mean", 3, end=-11),
            {"name": "month", "op": "date", "part": "month"},
            {"name": "quarter", "op": "date", "part": "quarter"},
        ],
    }


def test_quantile_samples_and_offsets_are_said(trained):
    features = spec_of(trained / "others")["features"]
    name = "rolling_quantile_lag1_p0.3_window_size5"
    assert features[1] == rolling(name, "quantile", 5, quantile=0.3)
    name = "rolling_std_lag1_window_size4_min_samples2"
    assert features[2] == rolling(name, "std", 4, minCount=2)
    name = "rolling_mean_lag4_window_size3"
    assert features[3] == rolling(name, "mean", 3, end=-3)
    assert features[6] == {"name": "weekday", "op": "date", "part": "dayofweek"}


def test_columns_bring_their_levels(trained):
    spec = spec_of(trained / "columns")
    assert spec["knownInAdvance"] == ["price", "weather"]
    kinds = ["shop", "depot", "kiosk"]
    assert spec["features"][:4] == [
        {"name": "unique_id", "op": "series_code", "categories": ["000", "001", "002"]},
        {"name": "price", "op": "known", "column": "price"},
        {
            "name": "weather",
            "op": "known",
            "column": "weather",
            "categories": ["dry", "wet"],
        },
        {"name": "kind", "op": "static", "column": "kind", "categories": kinds},
    ]


def test_models_of_distances_are_direct(trained):
    spec = spec_of(trained / "later_distances")
    assert spec["strategy"] == "direct"
    assert spec["forecastWindow"] == {"start": 3, "end": 5}
    assert spec["models"] == {f"{each}": f"model-{each}.txt" for each in (3, 4, 5)}


def test_logarithm_comes_before_differences(trained):
    assert spec_of(trained / "logarithm")["targetTransform"] == [
        {"op": "log1p"},
        {"op": "difference", "period": 1},
    ]


# Name in refusals.json to what the message names, and its reason.
REFUSALS = {
    "not fitted": ("The object", "is not fitted"),
    "two models": ("The object holds 2 models", "which of 'a', 'b'"),
    "unknown model": ("model", "there is no 'c', but 'a', 'b'"),
    "expanding": ("expanding_mean_lag1", "from its start"),
    "exponential": ("exponentially_weighted_mean_lag1_alpha0.5", "from its start"),
    "seasonal": ("seasonal_rolling_mean_lag1", "every step of its window"),
    "combined": ("rolling_mean_lag1", "take both"),
    "function": ("last_lag1", "a function is not data"),
    "pooled": ("global_rolling_mean_lag1", "from one series alone"),
    "scaled": ("LocalStandardScaler", "target transforms are"),
    "box cox": ("LocalBoxCox", "target transforms are"),
    "root": ("GlobalSklearnTransformer", "target transforms are"),
    "log1p last": ("GlobalSklearnTransformer", "before them"),
    "date function": ("half_year", "a function is not data"),
    "date part": ("daysinmonth", "no such part of a date"),
    "date dummies": ("date_features_as_dummies", "as one number"),
    "dates of distances": ("month", "trains on the date of the first step"),
    "differenced distances": ("Differences", "one model for each distance"),
    "missing distance": (
        "horizon",
        "no model for distance 2; there are models for 1, 3",
    ),
    "no horizon": ("horizon", "0 is less than one step"),
    "whole numbers": ("y", "float32"),
    "numbered steps": ("freq", "1 has no unit"),
    "business days": ("freq", "'B' has no unit"),
    "unknown levels": ("categories", "['dry', 'wet']"),
    "other levels": ("categories", "['wet']"),
    "not known": ("weather", "name it in known_in_advance"),
    "static and known": ("known_in_advance", "'kind' is static"),
    "unknown column": ("known_in_advance", "'price' is not a column"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_no_spec_can_say_is_refused_by_name(trained, name):
    message = json.loads((trained / "refusals.json").read_bytes())[name]
    subject, reason = REFUSALS[name]
    assert message.startswith(subject)
    assert reason in message


def test_every_refusal_is_expected(trained):
    assert {*json.loads((trained / "refusals.json").read_bytes())} == {*REFUSALS}
