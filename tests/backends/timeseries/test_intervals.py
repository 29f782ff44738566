"""Intervals against errors that are counted one by one."""

import numpy as np
import pandas as pd
import pytest

from backends.timeseries.intervals import (
    IntervalsUnavailable,
    backtest,
    coverage,
    residual_quantiles,
    with_intervals,
)
from backends.timeseries.spec_json import load_spec

LAG = {"name": "y (lag 0)", "op": "lag", "offset": 0, "source": "raw"}


def spec_json(**others):
    return {
        "version": 1,
        "target": "y",
        "targetType": "Regression",
        "datetimeColumn": "day",
        "datetimeFormat": "%Y-%m-%d",
        "seriesIdColumn": "shop",
        "timeUnit": "DAY",
        "featureDerivationWindow": {"start": -3, "end": 0},
        "forecastWindow": {"start": 1, "end": 2},
        "features": [LAG],
    } | others


def series(steps=100, shops=("a", "b")):
    """Daily series of numbers that are all different, and grow."""
    rng = np.random.default_rng(3)
    days = pd.date_range("2024-01-01", periods=steps)
    parts = [
        pd.DataFrame({"shop": shop, "day": days, "y": rng.random(steps).cumsum() + 1})
        for shop in shops
    ]
    return pd.concat(parts, ignore_index=True)


def naive(features, y):
    """A model that says the newest value again."""
    return lambda features: features["y (lag 0)"]


def errors(frame, first, last, distance, error):
    """What a loop finds: error(history, actual) of each forecast in a block.

    The origins are the day before the block and the days in it.
    """
    found = []
    for _, rows in frame.groupby("shop"):
        values = rows["y"].to_numpy()
        for row, day in enumerate(rows["day"]):
            origin = row - distance
            before = day - pd.Timedelta(distance, "D")
            if first <= day <= last and before >= first - pd.Timedelta(1, "D"):
                found.append(error(values[: origin + 1], values[row]))
    return found


def assert_errors(frame, block, distance, error):
    expected = errors(frame, block.start, block.end, distance, error)
    got = block.residuals[block.distances == distance]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# ---- Quantiles


def test_middle_part_of_errors_makes_an_interval():
    residuals = np.random.default_rng(1).permutation(np.arange(1.0, 20))
    found = residual_quantiles(residuals, np.ones(19, int), (50, 80, 90))
    # The 20 gaps around 19 errors are alike: 4 of them lie outside of 2 and 18.
    assert found == {50: {1: (5, 15)}, 80: {1: (2, 18)}, 90: {1: (1, 19)}}


def test_interval_ends_at_the_furthest_errors():
    found = residual_quantiles(np.arange(10.0), np.ones(10, int), (99,))
    assert found == {99: {1: (0, 9)}}


def test_distances_have_intervals_of_their_own():
    residuals = np.concatenate([np.arange(19.0), 100 + np.arange(19.0)])
    found = residual_quantiles(residuals, np.repeat([1, 4], 19))
    assert found == {80: {1: (1, 17), 4: (101, 117)}}


def test_nine_errors_make_no_interval():
    with pytest.raises(IntervalsUnavailable, match="9 errors at distance 2"):
        residual_quantiles(np.zeros(20), np.repeat([1, 2], [11, 9]))


@pytest.mark.parametrize("size", [0, 100])
def test_sizes_are_percents(size):
    with pytest.raises(IntervalsUnavailable, match="from 1 to 99"):
        residual_quantiles(np.zeros(10), np.ones(10, int), (size,))


def test_coverage_counts_what_lies_inside_or_on_an_end():
    residuals = np.array([-1.1, -1, 0, 1, 1.1, 5])
    distances = np.array([1, 1, 1, 1, 2, 3])
    found = coverage(residuals, distances, {80: {1: (-1, 1), 2: (-2, 2)}, 50: {}})
    # Distance 3 has no interval.
    assert found[80] == 4 / 5
    assert np.isnan(found[50])


def test_intervals_are_read_back_from_the_spec():
    found = residual_quantiles(np.linspace(-1, 1, 30), np.repeat([1, 2], 15), (95, 50))
    spec = load_spec(with_intervals(spec_json(), found))
    assert spec.intervals == found
    assert [*spec.raw["predictionIntervals"]] == ["space", "50", "95"]


# ---- Backtests


@pytest.mark.parametrize("shops", [("a",), ("a", "b")])
def test_direct_forecasts_are_wrong_by_what_came(shops):
    frame = series(shops=shops)
    found = backtest(load_spec(spec_json()), frame, naive, steps=10)
    assert [str(block.start)[:10] for block in (*found.blocks, found.held_out)] == [
        *("2024-03-01", "2024-03-11", "2024-03-21", "2024-03-31")
    ]
    for block in (*found.blocks, found.held_out):
        assert len(block.residuals) == (10 + 9) * len(shops)
        for distance in (1, 2):
            assert_errors(frame, block, distance, lambda past, now: now - past[-1])


def test_models_are_trained_on_what_lies_before_their_block():
    frame = series(shops=("a",)).assign(y=np.arange(100.0))
    seen = []

    def fit(features, y):
        seen.append((features["y (lag 0)"].min(), y.max(), len(y)))
        return naive(features, y)

    found = backtest(load_spec(spec_json()), frame, fit, steps=10)
    # The first origin has three days up to it; rows are days counted from 0.
    assert seen == [(2, 59, 113), (2, 69, 133), (2, 79, 153), (2, 89, 173)]
    blocks = [*found.blocks, found.held_out]
    assert [block.training_rows for block in blocks] == [113, 133, 153, 173]


def test_errors_are_of_the_logarithm_where_that_is_predicted():
    transforms = [{"op": "log1p"}, {"op": "baseline", "period": 3}]
    spec = load_spec(spec_json(targetTransform=transforms))
    frame = series()
    found = backtest(spec, frame, zero, steps=10)
    for distance in (1, 2):

        def error(past, now, distance=distance):
            return np.log1p(now) - np.log1p(past[distance - 1 - 3])

        assert_errors(frame, found.held_out, distance, error)


def zero(features, y):
    return lambda features: np.zeros(len(features))


@pytest.mark.parametrize("transforms", [[], [{"op": "log1p"}]])
def test_recursive_forecasts_are_taken_several_steps_ahead(transforms):
    transforms = [*transforms, {"op": "difference", "period": 1}]
    spec = load_spec(spec_json(strategy="recursive", targetTransform=transforms))
    frame = series()
    found = backtest(spec, frame, tenth, steps=10)
    scale = np.log1p if len(transforms) == 2 else np.asarray
    for block in (*found.blocks, found.held_out):
        for distance in (1, 2):

            def error(past, now, distance=distance):
                return scale(now) - scale(past[-1]) - distance / 10

            assert_errors(frame, block, distance, error)


def tenth(features, y):
    return lambda features: np.full(len(features), 0.1)


def test_each_distance_has_a_model_of_its_own():
    spec = load_spec(spec_json(models={"1": "a.txt", "2": "b.txt"}))
    frame = series()
    widths = []

    def fit(features, y):
        widths.append(features.shape[1])
        mean = float((y - features["y (lag 0)"]).mean())
        return lambda features: features["y (lag 0)"] + mean

    found = backtest(spec, frame, fit, steps=10)
    assert widths == [1] * 8
    before = frame[frame["day"] < found.held_out.start]
    for distance in (1, 2):
        # From the third day on there is the history that requests have.
        steps = [
            rows["y"].diff(distance).iloc[2 + distance :]
            for _, rows in before.groupby("shop")
        ]
        mean = pd.concat(steps).mean()

        def error(past, now, mean=mean):
            return now - past[-1] - mean

        assert_errors(frame, found.held_out, distance, error)


def test_held_out_block_makes_no_interval():
    frame = series()
    spec = load_spec(spec_json())
    found = backtest(spec, frame, naive, steps=10)
    newest = frame["day"] >= found.held_out.start
    frame.loc[newest, "y"] *= 1000
    again = backtest(spec, frame, naive, steps=10)
    assert again.intervals((50, 80)) == found.intervals((50, 80))
    assert again.coverage(again.intervals())[80] < found.coverage(found.intervals())[80]


def test_errors_that_are_alike_are_covered_as_often_as_sizes_say():
    rng = np.random.default_rng(8)
    frame = series(steps=2000, shops=("a",)).assign(y=rng.normal(size=2000))
    found = backtest(load_spec(spec_json()), frame, naive)
    covered = found.coverage(found.intervals((50, 80, 95)))
    # 250 forecasts of each distance, hardly more than half of them independent.
    assert covered == pytest.approx({50: 0.5, 80: 0.8, 95: 0.95}, abs=0.06)


def test_half_of_the_data_is_left_for_the_first_training():
    found = backtest(load_spec(spec_json()), series(steps=803), naive)
    # The first three days only give others a history.
    assert (found.held_out.end - found.held_out.start).astype("m8[D]").astype(int) == 99


def test_blocks_are_as_long_as_the_furthest_distance_needs():
    window = {"start": 1, "end": 12}
    spec = load_spec(spec_json(forecastWindow=window))
    found = backtest(spec, series(steps=100, shops=("a",)), naive)
    intervals = found.intervals()
    assert [*intervals[80]] == [*range(1, 13)]


def test_distance_without_enough_errors_has_no_interval():
    window = {"start": 1, "end": 12}
    spec = load_spec(spec_json(forecastWindow=window))
    found = backtest(spec, series(), naive, steps=11)
    with pytest.raises(IntervalsUnavailable, match="0 errors at distance 12"):
        found.intervals()


def test_too_short_data_has_no_blocks():
    with pytest.raises(
        IntervalsUnavailable, match="4 blocks of 5 steps .* has 17 steps"
    ):
        backtest(load_spec(spec_json()), series(steps=20), naive)


def test_row_based_blocks_are_of_the_same_time():
    spec = load_spec(spec_json(windowsBasisUnit="ROW"))
    frame = series()
    # One shop begins later: its rows have other places.
    frame = frame[(frame["shop"] == "a") | (frame["day"] >= "2024-02-01")]
    found = backtest(spec, frame, naive, steps=10)
    for distance in (1, 2):
        assert_errors(frame, found.held_out, distance, lambda past, now: now - past[-1])


def test_errors_that_are_not_finite_are_refused():
    spec = load_spec(spec_json())
    with pytest.raises(IntervalsUnavailable, match="no finite error"):
        backtest(spec, series(), endless, steps=10)


def endless(features, y):
    return lambda features: np.full(len(features), np.inf)


def test_classes_have_no_intervals():
    features = [{"name": "month", "op": "date", "part": "month"}]
    spec = load_spec(
        spec_json(targetType="Binary", classes=["no", "yes"], features=features)
    )
    frame = series().assign(y=lambda frame: np.where(frame["y"] > 10, "yes", "no"))
    with pytest.raises(IntervalsUnavailable, match="not Binary"):
        backtest(spec, frame, zero)
