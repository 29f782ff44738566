"""Specs from mlforecast, which trains in an environment of its own."""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from pyarrow import csv

from backends.timeseries.forecasting import forecast, grid_of
from backends.timeseries.frames import training_frame
from backends.timeseries.pairs import Pairs
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import panel_of_table
from tests.mlforecast.environment import mlforecast_python

ROOT = Path(__file__).parents[3]
TRAIN = ROOT / "tests" / "mlforecast" / "train.py"
EMPLOYMENT = ROOT.parent / "shared" / "data" / "us_employment_long.csv"


def train(folder, *data):
    done = subprocess.run(
        [mlforecast_python(), TRAIN, folder, *data],
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
    "unknown format": ("datetimeFormat", "%Q"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_no_spec_can_say_is_refused_by_name(trained, name):
    message = json.loads((trained / "refusals.json").read_bytes())[name]
    subject, reason = REFUSALS[name]
    assert message.startswith(subject)
    assert reason in message


def test_every_refusal_is_expected(trained):
    assert {*json.loads((trained / "refusals.json").read_bytes())} == {*REFUSALS}


# ---- Answers

# What trains on the target's history alone, and so on any data.
PLAIN = ("plain", "differences", "logarithm", "others")


@pytest.fixture(scope="module")
def employed(tmp_path_factory):
    """The same models of 22 monthly series of employment, on machines that have it."""
    if not EMPLOYMENT.exists():
        pytest.skip("the employment data is not on this machine")
    folder = tmp_path_factory.mktemp("employment")
    names = {"sector": "unique_id", "month": "ds", "jobs": "y"}
    data = pd.read_csv(EMPLOYMENT).rename(columns=names)
    data["y"] = data["y"].astype(float)
    data.to_csv(folder / "data.csv", index=False)
    return train(folder, folder / "data.csv")


def read(path, *texts):
    types = csv.ConvertOptions(column_types=dict.fromkeys(texts, "string"))
    return csv.read_csv(path, convert_options=types)


def answers_of(folder):
    """What is forecast from the request of a case; by series and timestamp."""
    spec = load_spec(folder / "spec.json")
    panel = panel_of_table(read(folder / "request.csv", "unique_id", "ds", "y"), spec)
    last = panel.steps[~np.isnan(panel.target)].max()
    distances = panel.steps - last
    window = spec.forecast_window
    rows = np.flatnonzero((distances >= window.start) & (distances <= window.end))
    pairs = Pairs(panel.series[rows], np.full(len(rows), last), distances[rows], rows)
    assert panel.has_history(pairs.series, pairs.origins).all()
    found = forecast(panel, grid_of(panel, pairs), pairs, model_of(folder, spec))
    labels = [panel.labels[series] for series in pairs.series]
    moments = panel.times[rows].tolist()
    answers = found.values  # noqa: PD011
    return dict(zip(zip(labels, moments, strict=True), answers[:, 0], strict=True))


def model_of(folder, spec):
    files = spec.models or {1: "model.txt"}
    boosters = {
        distance: lightgbm.Booster(model_file=folder / file)
        for distance, file in files.items()
    }

    def predict(matrix):
        if not spec.models:
            return boosters[1].predict(matrix, num_threads=1)[:, None]
        answers = np.empty((len(matrix), 1))
        for row, (*cells, distance) in enumerate(matrix):
            answers[row] = boosters[int(distance)].predict([cells], num_threads=1)
        return answers

    return predict


def theirs(folder):
    answers = read(folder / "answers.csv", "unique_id", "ds").to_pydict()
    return {
        (series, datetime.fromisoformat(text)): value
        for series, text, value in zip(*answers.values(), strict=True)
    }


# What pandas calls steps of time, and what the spec does.
FREQUENCIES = {
    "W-MON": ("WEEK", 1),
    "ME": ("MONTH", 1),
    "QE": ("QUARTER", 1),
    "QS-FEB": ("QUARTER", 1),
    "YS": ("YEAR", 1),
    "h": ("HOUR", 1),
    "2h": ("HOUR", 2),
    "15min": ("MINUTE", 15),
}


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_steps_of_time_are_those_of_mlforecast(trained, freq):
    spec = spec_of(trained / freq)
    assert (spec["timeUnit"], spec["timeStep"]) == FREQUENCIES[freq]
    expected = theirs(trained / freq)
    assert len(expected) == 2 * 12
    assert answers_of(trained / freq) == expected


@pytest.mark.parametrize("name", [*PLAIN, "columns", "distances", "later_distances"])
def test_forecasts_are_those_of_mlforecast_to_the_last_bit(trained, name):
    expected = theirs(trained / name)
    assert len(expected) >= 9
    assert answers_of(trained / name) == expected


@pytest.mark.parametrize("name", PLAIN)
def test_forecasts_of_employment_are_those_of_mlforecast(employed, name):
    expected = theirs(employed / name)
    assert len(expected) == 22 * 12
    assert answers_of(employed / name) == expected


@pytest.mark.parametrize("name", PLAIN)
def test_training_features_are_those_of_mlforecast(trained, name):
    """To 1e-8 only: mlforecast's rolling mean and deviation run on along a series."""
    folder = trained / name
    spec = load_spec(folder / "spec.json")
    history = read(folder / "history.csv", "unique_id", "ds").to_pandas()
    features, y, meta = training_frame(history, spec)
    expected = read(folder / "training.csv", "unique_id", "ds").to_pandas()
    # Where a window may be incomplete, mlforecast begins earlier than a request can.
    expected = expected.set_index(["unique_id", "ds"]).loc[
        [*zip(meta["series"], meta["timestamp"].dt.strftime("%Y-%m-%d"), strict=True)]
    ]
    derived = expected[spec.names].astype(float)
    np.testing.assert_allclose(features, derived, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(y, expected["y"])
