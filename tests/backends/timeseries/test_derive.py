"""Derived features: those of training and of serving, and those by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.timeseries import forecasting
from backends.timeseries.forecasting import (
    derive_direct,
    forecast,
    grid_of,
    parts_of,
)
from backends.timeseries.pairs import Pairs
from backends.timeseries.panel import Panel
from backends.timeseries.refusals import HistoryTooShort
from backends.timeseries.spec import DATE_PARTS, STATISTICS, UNITS, Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import TrainingRows, training_rows
from tests.backends.timeseries.by_definition import Origin, Rows
from tests.backends.timeseries.random_specs import (
    COLOURS,
    LONG,
    SERIES,
    WEATHER,
    Case,
    case_of,
    cases,
    format_of,
    panel_of,
    spoilt,
)
from tests.backends.trees.effort import effort

Floats = np.ndarray
# Examined in each example; each takes a request of its own.
PAIRS = 4


def same_bits(found: Floats, expected: Floats) -> None:
    """NaN is one value, 0 and -0 are two."""
    found, expected = (np.where(np.isnan(a), np.nan, a) for a in (found, expected))
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


def wobbly(spec: Spec) -> Callable[[Floats], Floats]:
    """A model whose answer depends on every feature, row by row.

    What says which file serves a row is no feature.
    """
    weights = np.random.default_rng(7).normal(size=len(spec.features))

    def model(matrix: Floats) -> Floats:
        assert matrix.shape[1] == len(weights) + bool(spec.models)
        total = np.zeros(len(matrix))
        for weight, column in zip(weights, matrix.T, strict=False):
            # A missing value counts as well.
            total += weight * np.where(np.isnan(column), 3.0, column / 20)
        return (1.5 + np.tanh(total))[:, None]

    return model


def of_one_row(model: Callable[[Floats], Floats], spec: Spec) -> Callable[[Any], float]:
    more = [0.0] if spec.models else []
    return lambda features: float(model(np.array([[*features, *more]]))[0, 0])


def trained_on(case: Case) -> tuple[Panel, TrainingRows] | None:
    panel = case.panel
    try:
        return panel, training_rows(panel)
    except HistoryTooShort:
        return None


def some(count: int, random: np.random.Generator) -> list[int]:
    return random.permutation(count)[:PAIRS].tolist()


def pair_of(panel: Panel, record: dict[str, Any], records: list[Any], ahead: int):
    """The pair that predicts a record from so many steps before it."""
    row = records.index(record)
    series, step = panel.series[[row]], panel.steps[[row]]
    return Pairs(series, step - ahead, np.array([ahead]), np.array([row]))


def request(case: Case, panel: Panel, pair: Pairs, spoil: str) -> list[dict[str, Any]]:
    """What has to be sent for a forecast, and nothing that helps beside.

    The steps of the history, of all series, and the rows after them up to the one that
    is predicted, whose targets and other columns are missing or wrong; but for what is
    known in advance of the predicted rows.
    """
    spec = case.spec
    origin, row = int(pair.origins[0]), int(pair.rows[0])
    last = origin + int(pair.distances[0])
    found = []
    for place, record in enumerate(case.records):
        step = panel.steps[place]
        if origin - spec.history < step <= origin:
            found.append(record)
        elif origin < step <= last + 1:
            on_the_way = spec.strategy == "recursive" and step <= last
            is_own = panel.series[place] == pair.series[0] and on_the_way
            keep = spec.known_in_advance if is_own or place == row else ()
            changed = spoilt(record, spec, keep)
            found.append(changed | ({"y": None} if spoil == "blank" else {}))
    return found


# ---- Against training


@effort(150)
@given(cases(), st.integers(0, 2**32 - 1), st.sampled_from(["blank", "wrong"]))
def test_request_derives_what_training_derived(
    case: Case, seed: int, spoil: str
) -> None:
    found = trained_on(case)
    if found is None:
        return
    panel, rows = found
    random = np.random.default_rng(seed)
    for place in some(len(rows.y), random):
        pair = rows.pairs.take(np.array([place]))
        sent = request(case, panel, pair, spoil)
        record = next(
            each
            for each in sent
            if all(
                each.get(key) == case.records[pair.rows[0]].get(key)
                for key in ("when", "shop")
            )
        )
        random.shuffle(sent)
        served = panel_of(sent, case.spec)
        asked = pair_of(served, record, sent, int(pair.distances[0]))
        derived = forecast(served, grid_of(served, asked), asked, wobbly(case.spec))
        same_bits(derived.derivation.matrix[0], rows.matrix[place])


@effort(60)
@given(cases("recursive"), st.integers(0, 2**32 - 1))
def test_nothing_after_the_forecast_point_is_used(case: Case, seed: int) -> None:
    panel = case.panel
    last = case.spec.forecast_window.end
    random = np.random.default_rng(seed)
    far = Pairs.every(panel, np.arange(len(panel)), np.array([last]))
    far = far.take(panel.has_history(far.series, far.origins))
    model = wobbly(case.spec)
    for place in some(len(far), random):
        pair = far.take(np.array([place]))
        whole = forecast(panel, grid_of(panel, pair), pair, model)
        for spoil in ("blank", "wrong"):
            sent = request(case, panel, pair, spoil)
            own = case.records[pair.rows[0]]
            keys = ("when", "shop")
            record = next(
                each
                for each in sent
                if [each.get(key) for key in keys] == [own.get(key) for key in keys]
            )
            served = panel_of(sent, case.spec)
            asked = pair_of(served, record, sent, last)
            found = forecast(served, grid_of(served, asked), asked, model)
            same_bits(found.derivation.matrix, whole.derivation.matrix)
            same_bits(found.sums, whole.sums)
            same_bits(found.values, whole.values)


@effort(60)
@given(cases(), st.integers(0, 2**32 - 1))
def test_parts_of_any_size_give_the_same(case: Case, seed: int) -> None:
    panel = case.panel
    window = case.spec.forecast_window
    ahead = np.arange(window.start, window.end + 1)
    pairs = Pairs.every(panel, np.arange(len(panel)), ahead)
    pairs = pairs.take(panel.has_history(pairs.series, pairs.origins))
    if not len(pairs):
        return
    random, model = np.random.default_rng(seed), wobbly(case.spec)
    grid = grid_of(panel, pairs)
    whole = forecast(panel, grid, pairs, model)
    # In any order too.
    order = random.permutation(len(pairs))
    most = int(random.integers(1, len(pairs) + 1))
    matrix, values = np.empty_like(whole.derivation.matrix), np.empty_like(whole.values)
    with pytest.MonkeyPatch.context() as patch:
        # Nothing is held together for what it shares.
        patch.setattr(forecasting, "_SHARING", 0)
        parts = list(parts_of(pairs.take(order), case.spec, most))
    for part in parts:
        rows = order[part]
        assert 0 < len(rows) <= most
        chosen = pairs.take(rows)
        found = forecast(panel, grid_of(panel, chosen), chosen, model)
        matrix[rows], values[rows] = found.derivation.matrix, found.values
    same_bits(matrix, whole.derivation.matrix)
    same_bits(values, whole.values)


# ---- By definition


def close(found: Floats, expected: Floats) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def assert_as_defined(case: Case, seed: int) -> None:
    """Features, targets and forecasts of some pairs."""
    spec, rows = case.spec, Rows(case.records, case.spec)
    found = trained_on(case)
    random = np.random.default_rng(seed)
    if found is not None:
        panel, trained = found
        for place in some(len(trained.y), random):
            assert_trained(case, rows, trained, place)
    panel = case.panel
    window = spec.forecast_window
    pairs = Pairs.every(
        panel, np.arange(len(panel)), np.arange(window.start, window.end + 1)
    )
    pairs = pairs.take(panel.has_history(pairs.series, pairs.origins))
    if not len(pairs):
        return
    model = wobbly(spec)
    answer = of_one_row(model, spec)
    pairs = pairs.take(np.array(some(len(pairs), random)))
    derived = forecast(panel, grid_of(panel, pairs), pairs, model)
    for place, row in enumerate(pairs.rows):
        origin, ahead = origin_of(rows, int(row), int(pairs.distances[place]))
        if spec.strategy == "recursive":
            expected = origin.recursive(ahead, answer)
        else:
            expected = origin.direct(ahead, answer)
        close(derived.values[place, 0], expected)


def origin_of(rows: Rows, row: int, ahead: int) -> tuple[Origin, int]:
    series, key = rows.series[row], rows.keys[row]
    return Origin(rows, series, rows.shifted(key, -ahead)), ahead


def assert_trained(case: Case, rows: Rows, trained: TrainingRows, place: int) -> None:
    spec, row = case.spec, int(trained.pairs.rows[place])
    ahead = int(trained.pairs.distances[place])
    origin, _ = origin_of(rows, row, ahead)
    features = origin.features(origin.point, ahead)
    close(trained.matrix[place, : len(features)], features)
    if spec.models:
        assert trained.matrix[place, -1] == ahead
    # The row's own target is known in training.
    own = Origin(rows, rows.series[row], rows.keys[row])
    y = own.level(own.point, spec.transforms) - origin.offset(origin.point, ahead)
    close(trained.y[place], y)


@effort(150)
@given(cases(), st.integers(0, 2**32 - 1))
def test_features_and_forecasts_are_as_defined(case: Case, seed: int) -> None:
    assert_as_defined(case, seed)


@effort(40)
@given(cases())
def test_training_has_every_row_that_it_can(case: Case) -> None:
    spec, rows = case.spec, Rows(case.records, case.spec)
    firsts = {
        series: min(
            k for s, k in zip(rows.series, rows.keys, strict=True) if s == series
        )
        for series in rows.series
    }
    window = spec.forecast_window
    aheads = range(window.start, window.end + 1)
    expected = set()
    for row, (series, key) in enumerate(zip(rows.series, rows.keys, strict=True)):
        for ahead in [1] if spec.strategy == "recursive" else aheads:
            origin, _ = origin_of(rows, row, ahead)
            own = Origin(rows, series, key)
            y = own.level(key, spec.transforms) - origin.offset(origin.point, ahead)
            begin = rows.shifted(origin.point, 1 - spec.history)
            if y == y and firsts[series] <= begin:
                expected.add((row, ahead))
    found = trained_on(case)
    pairs = [] if found is None else found[1].pairs
    got = [] if found is None else list(zip(pairs.rows, pairs.distances, strict=True))
    assert len(got) == len(set(got))
    assert set(got) == expected


def everything(unit: str, strategy: str, basis: str, step: int) -> Spec:
    """A spec with each feature there is."""
    is_direct = strategy == "direct"
    columns: dict[str, dict[str, Any]] = {
        "temp": {},
        "y": {"source": "raw"},
        "y ": {"source": "transformed"},
        "colour": {"categories": COLOURS},
    }
    features: list[dict[str, Any]] = []
    for name, more in columns.items():
        about = {"column": name.strip(), **more}
        numeric = name != "colour"
        if not is_direct and name in ("temp", "colour"):
            # A recursion of 5 steps knows them 4 steps before.
            features += [{"op": "lag", "offset": -4, **about}]
            continue
        features += [{"op": "lag", "offset": offset, **about} for offset in (-2, -6)]
        features += [{"op": "seasonal_lag", "period": p, **about} for p in (1, 3, 4)]
        if numeric:
            features += [{"op": "diff", "period": 2, **about}]
        for stat in STATISTICS:
            if (stat == "most_frequent") == numeric:
                continue
            if not numeric and stat not in ("count", "first", "last", "most_frequent"):
                continue
            more = {"quantile": 0.3} if stat == "quantile" else {}
            features += [
                {
                    "op": "rolling",
                    "stat": stat,
                    "window": 4,
                    "end": -2,
                    **about,
                    **more,
                },
                {"op": "rolling", "stat": stat, "window": 2, "minCount": 2, "ddof": 0}
                | {"end": -4, **about, **more},
            ]
    for feature in features:
        if feature["op"] == "diff":
            feature.pop("categories", None)
    features += [{"op": "static", "column": "temp"}]
    features += [{"op": "static", "column": "weather", "categories": WEATHER}]
    features += [{"op": "known", "column": "weather", "categories": WEATHER}]
    features += [{"op": "known", "column": "promo"}]
    features += [{"op": "series_code", "categories": SERIES[:2]}]
    features += [{"op": "date", "part": part} for part in DATE_PARTS]
    features += [{"op": op} for op in ("is_event", "days_to_event", "days_since_event")]
    if is_direct:
        features += [{"op": "forecast_distance"}]
    differenced = {"op": "baseline", "period": 3}
    if not is_direct:
        differenced = {"op": "difference", "period": 2}
    return load_spec(
        {
            "version": 1,
            "target": "y",
            "targetType": "Regression",
            "datetimeColumn": "when",
            "datetimeFormat": format_of(unit),
            "timeUnit": unit,
            "timeStep": step,
            "windowsBasisUnit": basis,
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -8, "end": -2 if is_direct else 0},
            "forecastWindow": {"start": 2, "end": 5},
            "knownInAdvance": ["promo", "weather"],
            "strategy": strategy,
            "targetTransform": [{"op": "log1p"}, differenced],
            "calendar": ["2024-02-29", "2024-12-31", "2025-03-01"],
            "features": [{"name": f"f{i}", **each} for i, each in enumerate(features)],
        }
    )


@pytest.mark.parametrize("anchor", ["start", "end"])
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
@pytest.mark.parametrize("unit", UNITS)
def test_every_feature_in_every_unit_is_as_defined(
    unit: str, strategy: str, anchor: str
) -> None:
    random = np.random.default_rng(3)
    for basis, step in ((unit, 1), (unit, 3), ("ROW", 1)):
        spec = everything(unit, strategy, basis, step)
        assert_as_defined(case_of(spec, random, anchor), 1)
    if unit in LONG:
        assert_as_defined(case_of(spec, random, "middle"), 2)


def test_derivation_adds_the_distance_where_files_differ() -> None:
    spec = load_spec(
        {
            "version": 1,
            "target": "y",
            "targetType": "Regression",
            "datetimeColumn": "when",
            "datetimeFormat": "%m/%d/%y",
            "featureDerivationWindow": {"start": -1, "end": 0},
            "forecastWindow": {"start": 2, "end": 3},
            "features": [{"name": "lag", "op": "lag"}],
            "models": {"2": "a.txt", "3": "b.txt"},
        }
    )
    records = [{"when": f"01/0{day}/24", "y": day * 1.5} for day in (1, 2, 3, 4)]
    panel = panel_of(records, spec)
    pairs = Pairs.every(panel, np.array([3]), np.array([2, 3]))
    found = derive_direct(panel, grid_of(panel, pairs), pairs)
    assert found.matrix.tolist() == [[3.0, 2.0], [1.5, 3.0]]
    assert found.offset is None


@pytest.mark.parametrize("ahead", [None, 9.0])
def test_static_of_a_recursion_is_that_of_the_forecast_point(
    ahead: float | None,
) -> None:
    spec = load_spec(
        {
            "version": 1,
            "target": "y",
            "datetimeColumn": "when",
            "datetimeFormat": "%m/%d/%y",
            "featureDerivationWindow": {"start": -1, "end": 0},
            "forecastWindow": {"start": 1, "end": 4},
            "strategy": "recursive",
            "features": [
                {"name": "lag", "op": "lag"},
                {"name": "size", "op": "static", "column": "size"},
            ],
        }
    )
    records = [
        {"when": f"01/0{day}/24", "y": 1.0, "size": 7.0 if day < 4 else ahead}
        for day in range(1, 8)
    ]
    panel = panel_of(records, spec)
    pairs = Pairs.every(panel, np.arange(3, 7), np.arange(1, 5))
    pairs = pairs.take(pairs.origins == 2)
    found = forecast(panel, grid_of(panel, pairs), pairs, wobbly(spec))
    assert found.derivation.matrix[:, 1].tolist() == [7.0] * 4
