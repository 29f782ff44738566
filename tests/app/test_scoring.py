"""What a deployment adds to its model's predictions."""

from dataclasses import replace

import numpy as np
import pytest

from app.scoring import Rules, judged, outlier_bounds, score
from backends import load
from backends.features import Decoder
from backends.humility import (
    HumilityError,
    NewSeries,
    NoOperation,
    Rule,
    ThrowError,
    UncertainPrediction,
)


@pytest.fixture(scope="module")
def price(specimens):
    specimen = specimens["price"]
    backend = load(specimen.folder, specimen.model)
    records = specimen.frame[:20].astype(object).to_dict("records")
    return backend, Decoder(specimen.model.features).from_records(records)


def test_outliers_are_outside_of_the_holdouts_bounds_or_the_deployments(specimens):
    model = specimens["price"].model
    assert outlier_bounds(model, None, None) == model.prediction_bounds == (100, 1000)
    assert outlier_bounds(model, 5.0, None) == (5, 1000)
    assert outlier_bounds(model, None, 5.0) == (100, 5)
    assert outlier_bounds(model, -1.0, 5.0) == (-1, 5)
    unbounded = replace(model, prediction_bounds=None)
    assert outlier_bounds(unbounded, None, 5.0) == (-np.inf, 5)


@pytest.mark.parametrize("name", ["churn", "plan", "onnx-risk"])
def test_only_regressions_have_outliers(specimens, name):
    assert outlier_bounds(specimens[name].model, 0.1, 0.2) is None


def test_value_on_a_bound_is_no_outlier(price):
    backend, columns = price
    values = backend.predict(columns)[:, 0]
    low, high = np.sort(values)[[3, 12]]
    flags = score(backend, columns, Rules(0.5, (low, high))).outliers
    assert flags.tolist() == [not low <= value <= high for value in values]
    assert not flags[values == low].any() and not flags[values == high].any()
    assert flags.any()


def test_rules_that_nobody_counts_are_held_against_rows_too(price):
    backend, columns = price
    rule = Rule("1" * 24, "x", UncertainPrediction(0, 0), ThrowError("stop"))
    with pytest.raises(HumilityError, match="^stop$"):
        score(backend, columns, Rules(0.5, humility=(rule,)))
    assert score(backend, columns, Rules(0.5)).humbled is None


def test_rules_are_told_which_rows_are_of_new_series(price):
    backend, columns = price
    rules = Rules(0.5, humility=(Rule("1" * 24, "new", NewSeries(), NoOperation()),))
    new = np.arange(20) > 15
    values = backend.predict(columns)
    found = judged(backend, columns, values, rules, new_series=new).humbled
    assert found.triggered.tolist() == [new.tolist()]
    assert not score(backend, columns, rules).humbled.triggered.any()
