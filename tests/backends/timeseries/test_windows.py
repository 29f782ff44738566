"""Statistics of windows: of each row alone, and as numpy and pandas have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backends.timeseries.spec import STATISTICS, Rolling
from backends.timeseries.windows import newest, reduce_rows
from tests.backends.timeseries.by_definition import statistic
from tests.backends.trees.effort import effort

Floats = np.ndarray
every = pytest.mark.parametrize("stat", STATISTICS)
NAN = np.nan


def rolling(stat: Any, window: int, **more: Any) -> Rolling:
    return Rolling("f", "y", stat, window, **more)


def same_bits(found: Floats, expected: Floats) -> None:
    found, expected = (np.where(np.isnan(a), np.nan, a) for a in (found, expected))
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


def numbers(largest: float) -> st.SearchStrategy[float]:
    odd = st.sampled_from([NAN, NAN, 0.0, -0.0, 1.0, -1.0, 5e-324, 0.1])
    return odd | st.floats(-largest, largest)


def matrices(largest: float) -> st.SearchStrategy[Floats]:
    # More than the 8 and the 128 numbers that numpy adds up side by side.
    widths = st.integers(1, 20) | st.sampled_from([127, 128, 129, 300])
    shapes = st.tuples(st.integers(1, 12), widths)
    return arrays(np.float64, shapes, elements=numbers(largest), fill=numbers(largest))


@every
@effort(40)
@given(matrices(1.7e308), st.data())
def test_row_is_reduced_alike_alone_and_among_others(
    stat: str, windows: Floats, data: st.DataObject
) -> None:
    rows, width = windows.shape
    least, ddof = data.draw(st.integers(1, width)), data.draw(st.integers(0, 2))
    part = data.draw(st.floats(0, 1))
    feature = rolling(stat, width, min_count=least, ddof=ddof, quantile=part)
    together = reduce_rows(windows, feature)
    singly = [reduce_rows(windows[[row]], feature) for row in range(rows)]
    same_bits(np.concatenate(singly), together)
    first = data.draw(st.integers(0, rows - 1))
    last = data.draw(st.integers(first + 1, rows))
    same_bits(reduce_rows(windows[first:last], feature), together[first:last])
    order = data.draw(st.permutations(range(rows)))
    same_bits(reduce_rows(windows[order], feature), together[order])
    # As a part of a longer history, and however memory is laid out.
    wide = np.full((rows, width + 7), 1e300)
    wide[:, 3 : width + 3] = windows
    same_bits(reduce_rows(wide[:, 3 : width + 3], feature), together)
    same_bits(reduce_rows(np.asfortranarray(windows), feature), together)
    assert reduce_rows(windows[:0], feature).shape == (0,)


@every
@pytest.mark.parametrize("width", [1, 2, 7, 28, 129, 365])
def test_five_hundred_rows_are_reduced_as_one_by_one(stat: str, width: int) -> None:
    random = np.random.default_rng(width)
    windows = random.lognormal(0, 9, (500, width))
    windows[random.random(windows.shape) < 0.2] = NAN
    windows[:50] = 5.1
    feature = rolling(stat, width, quantile=0.3)
    together = reduce_rows(windows, feature)
    singly = [reduce_rows(windows[row : row + 1], feature) for row in range(500)]
    same_bits(np.concatenate(singly), together)


@every
@effort(60)
@given(matrices(1e6), st.data())
def test_statistics_are_as_defined(
    stat: str, windows: Floats, data: st.DataObject
) -> None:
    width = windows.shape[1]
    feature = rolling(
        stat,
        width,
        min_count=data.draw(st.integers(1, width)),
        ddof=data.draw(st.integers(0, 2)),
        quantile=data.draw(st.floats(0, 1) | st.sampled_from([0.1, 0.25, 0.7])),
    )
    found = reduce_rows(windows, feature)
    expected = [statistic(feature, row) for row in windows]
    # Of sums in another order; the largest number is 1e6.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    "stat", ["mean", "std", "min", "max", "sum", "median", "count"]
)
@pytest.mark.parametrize("least", [1, 3, 5])
def test_statistics_are_those_of_pandas_rolling(stat: str, least: int) -> None:
    random = np.random.default_rng(least)
    values = random.normal(50, 10, 200)
    values[random.random(200) < 0.3] = NAN
    windows = np.lib.stride_tricks.sliding_window_view(values, 5)
    found = reduce_rows(windows, rolling(stat, 5, min_count=least))
    own = getattr(pd.Series(values).rolling(5, min_periods=least), stat)()
    if stat == "count":
        # What pandas counts of nothing is 0; a feature is missing then.
        own = own.where(pd.Series(values).notna().rolling(5).sum() >= least)
    # A running sum forgets a little.
    np.testing.assert_allclose(found, own.to_numpy()[4:], rtol=1e-9)


@pytest.mark.parametrize("part", [0, 0.05, 1 / 3, 0.5, 0.95, 1])
def test_quantiles_are_those_of_numpy(part: float) -> None:
    windows = np.random.default_rng(5).normal(size=(100, 11))
    windows[::3, 2:6] = NAN
    found = reduce_rows(windows, rolling("quantile", 11, quantile=part))
    np.testing.assert_allclose(found, np.nanquantile(windows, part, axis=1), rtol=1e-13)


@pytest.mark.parametrize("ddof", [0, 1, 2])
def test_standard_deviation_divides_by_count_less_ddof(ddof: int) -> None:
    windows = np.array([[1.0, 2, 4, NAN], [7, NAN, NAN, NAN], [NAN] * 4])
    found = reduce_rows(windows, rolling("std", 4, ddof=ddof))
    mean = 7 / 3
    squares = (1 - mean) ** 2 + (2 - mean) ** 2 + (4 - mean) ** 2
    one = 0.0 if ddof == 0 else NAN
    expected = [np.sqrt(squares / (3 - ddof)), one, NAN]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_constant_has_its_own_mean_and_no_deviation() -> None:
    windows = np.full((3, 28), 5.1)
    windows[1, :5] = NAN
    # A sum of equal numbers is rounded; see the median for what is exact.
    means = reduce_rows(windows, rolling("mean", 28))
    np.testing.assert_allclose(means, 5.1, rtol=1e-15)
    np.testing.assert_array_equal(reduce_rows(windows, rolling("median", 28)), 5.1)
    deviations = reduce_rows(windows, rolling("std", 28))
    np.testing.assert_allclose(deviations, 0, atol=1e-14)


@every
def test_fewer_values_than_wanted_are_missing(stat: str) -> None:
    windows = np.array([[NAN, 1, NAN, 1], [NAN, 1, 1, 1], [NAN] * 4])
    found = reduce_rows(windows, rolling(stat, 4, min_count=3))
    assert np.isnan(found[[0, 2]]).all()
    # The first one is missing itself.
    assert np.isnan(found[1]) == (stat == "first")


@every
def test_nothing_at_all_is_missing(stat: str) -> None:
    assert np.isnan(reduce_rows(np.full((2, 3), NAN), rolling(stat, 3))).all()


def test_first_and_last_are_those_steps_values() -> None:
    windows = np.array([[1.0, 2, 3], [NAN, 2, NAN]])
    first, last = (reduce_rows(windows, rolling(each, 3)) for each in ("first", "last"))
    np.testing.assert_array_equal(first, [1, NAN])
    np.testing.assert_array_equal(last, [3, NAN])


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([2, 1, 2, 1], 1),
        ([1, 2, 1, 2], 1),
        ([0, 2, 2, 0, 2], 2),
        ([NAN, NAN, NAN, 3], 3),
        ([NAN, NAN, NAN, NAN], NAN),
        ([3, 2, 1, 0], 0),
        ([5, NAN, 5, 0], 5),
        ([0, 0, 1, 1, 1, NAN], 1),
    ],
)
def test_first_of_the_most_frequent_categories_is_taken(
    window: list[float], expected: float
) -> None:
    found = reduce_rows(np.array([window]), rolling("most_frequent", len(window)))
    np.testing.assert_array_equal(found, [expected])


@every
@pytest.mark.parametrize("size", [1e-310, 1e-150, 1e150, 1e300])
def test_size_of_numbers_makes_no_warning(stat: str, size: float) -> None:
    windows = np.array([[1.0, 2, 3, 4], [NAN, 1, 1, 3]])
    found = reduce_rows(windows * size, rolling(stat, 4))
    expected = reduce_rows(windows, rolling(stat, 4))
    if stat == "std" and size != 1e150:
        # Squares are out of range, in training as well.
        assert not np.isnan(found).any()
        return
    scaled = expected if stat == "count" else expected * size
    np.testing.assert_allclose(found, scaled, rtol=1e-12)


@effort(60)
@given(matrices(1e300))
def test_newest_is_the_last_value_there_is(windows: Floats) -> None:
    expected = pd.DataFrame(windows).ffill(axis=1).to_numpy()[:, -1]
    same_bits(newest(windows), expected)
    same_bits(newest(windows[:1]), expected[:1])
