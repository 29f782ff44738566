"""Training frames: from pandas of every kind, and against features made otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from backends.timeseries.frames import NothingToCompare, compare, training_frame
from backends.timeseries.refusals import (
    ForecastRefused,
    HistoryTooShort,
    MissingCells,
    MissingColumns,
)
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import training_rows
from tests.backends.timeseries.random_specs import Case, cases, panel_of
from tests.backends.trees.effort import effort


def spec_of(**changes: Any) -> Spec:
    return load_spec(
        {
            "version": 1,
            "target": "sales",
            "targetType": "Regression",
            "datetimeColumn": "day",
            "datetimeFormat": "%Y-%m-%d",
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -7, "end": 0},
            "forecastWindow": {"start": 1, "end": 2},
            "knownInAdvance": ["weather"],
            "features": [
                {"name": "lag", "op": "lag"},
                {"name": "mean", "op": "rolling", "stat": "mean", "window": 7},
                {"name": "weather", "op": "known", "column": "weather"}
                | {"categories": ["wet", "dry"]},
                {"name": "Forecast Distance", "op": "forecast_distance"},
            ],
        }
        | changes
    )


def sales(days: int = 20, shops: tuple[Any, ...] = ("b", "a")) -> pd.DataFrame:
    """Daily sales of shops, with the days as texts."""
    random = np.random.default_rng(3)
    parts = []
    for shop in shops:
        frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=days)})
        frame["day"] = frame["day"].dt.strftime("%Y-%m-%d")
        frame["shop"] = shop
        frame["sales"] = random.gamma(2, 10, days).round(2)
        frame["weather"] = random.choice(["wet", "dry"], days)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def by_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """The same features from groupby and rolling, with their keys."""
    frame = frame.assign(day=pd.to_datetime(frame["day"]))
    frame = frame.sort_values(["shop", "day"], ignore_index=True)
    parts = []
    for distance in (1, 2):
        groups = frame.groupby("shop", observed=True)["sales"]
        known = groups.shift(distance)
        rolled = known.groupby(frame["shop"], observed=True).rolling(7, min_periods=1)
        part = frame[["shop", "day"]].copy()
        part["lag"] = known
        part["mean"] = rolled.mean().reset_index(level=0, drop=True)
        part["weather"] = frame["weather"].map({"wet": 0.0, "dry": 1.0}).astype(float)
        part["forecastDistance"] = distance
        part["Forecast Distance"] = float(distance)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


# ---- What a model is trained on


def test_features_are_those_of_pandas() -> None:
    frame = sales()
    features, y, meta = training_frame(frame, spec_of())
    assert list(features) == ["lag", "mean", "weather", "Forecast Distance"]
    assert (features.dtypes == np.float64).all()
    # From the seventh day on, of two series.
    assert len(features) == len(y) == len(meta) == 2 * (13 + 12)
    own = by_pandas(frame).set_index(["shop", "day", "forecastDistance"])
    keys = list(
        zip(meta["series"], meta["timestamp"], meta["forecastDistance"], strict=True)
    )
    expected = own.loc[keys, list(features)]
    np.testing.assert_allclose(features.to_numpy(), expected.to_numpy(), rtol=1e-12)


def test_rows_are_told_by_their_place_in_the_frame() -> None:
    frame = sales().sample(frac=1, random_state=1)
    features, y, meta = training_frame(frame, spec_of())
    rows = frame.iloc[meta["rowId"]]
    np.testing.assert_array_equal(y, rows["sales"])
    assert rows["shop"].tolist() == meta["series"].tolist()
    times = pd.to_datetime(rows["day"]).to_numpy("datetime64[us]")
    np.testing.assert_array_equal(meta["timestamp"].to_numpy(), times)
    days = (meta["timestamp"] - meta["forecastPoint"]).dt.days
    assert days.tolist() == meta["forecastDistance"].tolist()
    assert features["Forecast Distance"].tolist() == days.tolist()


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "datetimes": lambda f: f.assign(day=pd.to_datetime(f["day"])),
    "zoned": lambda f: f.assign(day=pd.to_datetime(f["day"], utc=True)),
    "seconds": lambda f: f.assign(day=pd.to_datetime(f["day"]).astype("datetime64[s]")),
    "nanoseconds": lambda f: f.assign(
        day=pd.to_datetime(f["day"]).astype("datetime64[ns]")
    ),
    "categories": lambda f: f.astype({"weather": "category", "shop": "category"}),
    "objects": lambda f: f.astype(object),
    "strings": lambda f: f.astype({"day": "string", "shop": "string"}),
    "texts": lambda f: f.assign(sales=f["sales"].map(repr)),
    "nullable": lambda f: f.astype({"sales": "Float64"}),
    "more columns": lambda f: f.assign(other=[{}] * len(f)),
    "another index": lambda f: f.set_index(np.arange(len(f)) * 7 + 3),
    "twice the same index": lambda f: f.set_index(np.zeros(len(f), int)),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_is_read_alike(kind: str) -> None:
    frame = sales()
    frame.loc[11, "sales"] = np.nan
    expected = training_frame(frame, spec_of())
    if kind == "texts":
        frame["sales"] = frame["sales"].map(repr)
        found = training_frame(frame, spec_of())
    else:
        found = training_frame(FRAMES[kind](frame), spec_of())
    pd.testing.assert_frame_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    pd.testing.assert_frame_equal(found[2], expected[2])


def test_unsorted_frame_gives_the_same_rows() -> None:
    frame = sales()
    shuffled = frame.sample(frac=1, random_state=2)
    found, expected = [], []
    for each, into in ((frame, expected), (shuffled, found)):
        features, y, meta = training_frame(each, spec_of())
        whole = pd.concat([features, meta.drop(columns="rowId")], axis=1).assign(y=y)
        keys = ["series", "timestamp", "forecastDistance"]
        into.append(whole.sort_values(keys, ignore_index=True))
    pd.testing.assert_frame_equal(found[0], expected[0])


@pytest.mark.parametrize("ids", [(1, 2), (1.5, 2.5), ("007", "7"), (True, False)])
def test_series_are_told_as_they_were_given(ids: tuple[Any, ...]) -> None:
    _, _, meta = training_frame(sales(shops=ids), spec_of())
    assert list(dict.fromkeys(meta["series"])) == list(ids)


def test_years_may_be_numbers() -> None:
    spec = spec_of(
        timeUnit="YEAR",
        datetimeFormat="%Y",
        knownInAdvance=[],
        features=[{"name": "lag", "op": "lag"}],
    )
    frame = sales().assign(day=np.tile(np.arange(1990, 2010), 2))
    _, _, meta = training_frame(frame, spec)
    assert meta["timestamp"].dt.year.min() == 1997
    for gone in (None, pd.NA, np.nan):
        broken = frame.astype({"day": object})
        broken.loc[4, "day"] = gone
        for kind in (object, "Int64"):
            with pytest.raises(MissingCells, match="first at row 4"):
                training_frame(broken.astype({"day": kind}), spec)


@pytest.mark.parametrize("kind", [object, "string", "category", "Int64", "float64"])
def test_missing_ids_are_named(kind: Any) -> None:
    frame = sales(shops=(1, 2)).astype({"shop": object})
    frame.loc[25, "shop"] = None
    with pytest.raises(MissingCells, match='"shop".* row 25'):
        training_frame(frame.astype({"shop": kind}), spec_of())


def test_missing_datetimes_are_named() -> None:
    frame = sales()
    frame["day"] = pd.to_datetime(frame["day"])
    frame.loc[4, "day"] = pd.NaT
    with pytest.raises(MissingCells, match='"day".* row 4'):
        training_frame(frame, spec_of())


def test_datetimes_that_the_format_cannot_tell_are_refused() -> None:
    # 1960 would be 2060, which changes what is before what.
    frame = sales()
    days = pd.Series(pd.date_range("1968-12-25", periods=20).tolist() * 2)
    with pytest.raises(ForecastRefused):
        training_frame(frame.assign(day=days), spec_of(datetimeFormat="%m/%d/%y"))
    hours = pd.to_datetime(frame["day"]) + pd.Timedelta("90min")
    with pytest.raises(ForecastRefused):
        training_frame(frame.assign(day=hours), spec_of())


def test_classes_are_trained_by_their_positions() -> None:
    spec = spec_of(
        targetType="Binary",
        classes=["few", "many"],
        features=[{"name": "lag", "op": "lag"}],
        knownInAdvance=[],
    )
    frame = sales()
    is_many = frame["sales"] > 20
    for target in (
        pd.Series(np.where(is_many, "many", "few")),
        pd.Series(pd.Categorical(np.where(is_many, "many", "few"))),
    ):
        features, y, meta = training_frame(frame.assign(sales=target), spec)
        np.testing.assert_array_equal(y, is_many.iloc[meta["rowId"]])
        assert set(features["lag"]) == {0, 1}
    flags = load_spec({**spec.raw, "classes": [False, True]})
    found = training_frame(frame.assign(sales=is_many), flags)
    np.testing.assert_array_equal(found[1], y)


def test_distance_that_chooses_a_file_is_no_feature() -> None:
    spec = spec_of(models={"1": "a.txt", "2": "b.txt"})
    features, _, meta = training_frame(sales(), spec)
    assert list(features) == spec.names
    assert set(meta["forecastDistance"]) == {1, 2}


def test_missing_columns_and_short_histories_are_refused() -> None:
    with pytest.raises(MissingColumns, match="weather"):
        training_frame(sales().drop(columns="weather"), spec_of())
    with pytest.raises(HistoryTooShort):
        training_frame(sales(days=7), spec_of())


@effort(40)
@given(cases())
def test_frames_are_read_as_requests_are(case: Case) -> None:
    frame = pd.DataFrame(case.records)
    texts = [name for name in ("weather", "colour") if name in case.spec.columns]
    if any(case.spec.columns[name].categories is None for name in texts):
        return
    try:
        expected = training_rows(panel_of(case.records, case.spec))
    except HistoryTooShort:
        with pytest.raises(HistoryTooShort):
            training_frame(frame, case.spec)
        return
    features, y, meta = training_frame(frame, case.spec)
    np.testing.assert_array_equal(
        features, expected.matrix[:, : len(case.spec.features)]
    )
    np.testing.assert_array_equal(y, expected.y)
    np.testing.assert_array_equal(meta["rowId"], expected.pairs.rows)


# ---- Against features made otherwise


def test_own_features_are_found_equal() -> None:
    frame = sales()
    features, _, meta = training_frame(frame, spec_of())
    own = features.assign(
        shop=meta["series"],
        day=meta["timestamp"].dt.strftime("%Y-%m-%d"),
        forecastDistance=meta["forecastDistance"],
    ).sample(frac=1, random_state=4)
    found = compare(spec_of(), frame, own)
    assert found["feature"].tolist() == spec_of().names
    assert (found["rows"] == len(features)).all()
    assert not found[["different", "largest", "missing"]].to_numpy().any()
    dated = own.assign(day=pd.to_datetime(own["day"]))
    pd.testing.assert_frame_equal(compare(spec_of(), frame, dated), found)
    zoned = own.assign(day=pd.to_datetime(own["day"], utc=True))
    pd.testing.assert_frame_equal(compare(spec_of(), frame, zoned), found)
    categories = own.astype({"shop": "category", "day": "category"})
    pd.testing.assert_frame_equal(compare(spec_of(), frame, categories), found)


def test_features_of_pandas_differ_in_their_last_bits_at_most() -> None:
    frame = sales()
    found = compare(spec_of(), frame, by_pandas(frame)).set_index("feature")
    assert (found["rows"] == 50).all()
    assert (found["largest"] < 1e-12).all()
    assert not found["missing"].any()
    assert not found.loc[["lag", "weather", "Forecast Distance"], "different"].any()


def test_difference_is_named_with_its_size() -> None:
    frame = sales()
    own = by_pandas(frame)
    rows = own.index[(own["day"] == "2024-01-15") & (own["shop"] == "a")]
    own.loc[rows, "lag"] += 0.25
    own.loc[rows[0], "weather"] = np.nan
    found = compare(spec_of(), frame, own).set_index("feature")
    assert found.loc["lag", ["different", "missing"]].tolist() == [2, 0]
    assert found.loc["lag", "largest"] == pytest.approx(0.25)
    assert found.loc["weather", ["different", "largest", "missing"]].tolist() == [
        *(1, 0, 1)
    ]


def test_last_bit_counts_as_a_difference() -> None:
    frame = sales()
    own = by_pandas(frame)
    own["lag"] = np.nextafter(own["lag"], np.inf)
    found = compare(spec_of(), frame, own).set_index("feature")
    assert found.loc["lag", "different"] == 50
    assert 0 < found.loc["lag", "largest"] < 1e-12


def test_rows_that_only_one_has_are_left_out() -> None:
    frame = sales()
    own = by_pandas(frame)
    found = compare(spec_of(), frame, own[own["day"] > "2024-01-18"])
    # Two days of two shops from two distances.
    assert (found["rows"] == 8).all()


def test_what_tells_rows_apart_has_to_be_there() -> None:
    frame = sales()
    own = by_pandas(frame)
    for gone in ("day", "shop", "forecastDistance", "mean"):
        with pytest.raises(MissingColumns, match=gone):
            compare(spec_of(), frame, own.drop(columns=gone))


def test_one_series_with_one_distance_needs_the_day_alone() -> None:
    spec = spec_of(
        seriesIdColumn=None,
        forecastWindow={"start": 1, "end": 1},
        knownInAdvance=[],
        features=[{"name": "lag", "op": "lag"}],
    )
    frame = sales(shops=("a",))
    own = pd.DataFrame({"day": frame["day"], "lag": frame["sales"].shift(1)})
    found = compare(spec, frame, own)
    assert found["rows"].tolist() == [13]
    assert found["different"].tolist() == [0]


@pytest.mark.parametrize("ids", [(1, 2), (1.0, 2.0), ("1", "2")])
def test_ids_that_are_numbers_are_compared_too(ids: tuple[Any, ...]) -> None:
    frame = sales(shops=ids)
    found = compare(spec_of(), frame, by_pandas(frame))
    assert (found["rows"] == 50).all()


def test_ids_that_became_floats_are_the_same() -> None:
    frame = sales(shops=(1, 2))
    own = by_pandas(frame).astype({"shop": float})
    assert (compare(spec_of(), frame, own)["rows"] == 50).all()


def test_rows_without_a_partner_are_counted_or_refused() -> None:
    frame = sales()
    own = by_pandas(frame)
    stray = pd.concat([own, own.tail(3).assign(shop="nobody")])
    assert (compare(spec_of(), frame, stray)["unmatched"] - len(own) == 3 - 50).all()
    with pytest.raises(NothingToCompare, match="None of the 3 rows is one of the 50"):
        compare(spec_of(), frame, stray.tail(3))
