"""Timestamps to steps and back, against pandas."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.timeseries.clock import Clock
from backends.timeseries.spec import UNITS
from tests.backends.trees.effort import effort

LENGTHS = {"SECOND": "s", "MINUTE": "min", "HOUR": "h", "DAY": "D", "WEEK": "W"}
PERIODS = {"MONTH": "M", "QUARTER": "Q", "YEAR": "Y"}
fixed = pytest.mark.parametrize("unit", LENGTHS)
calendar = pytest.mark.parametrize("unit", PERIODS)
every = pytest.mark.parametrize("unit", UNITS)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2262, 4, 11))


def times(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


@every
@effort(60)
@given(moments, st.integers(1, 50), st.lists(st.integers(-500, 500), min_size=1))
def test_steps_of_times_are_those_steps(
    unit: str, anchor: datetime, step: int, steps: list[int]
) -> None:
    clock = Clock.of(unit, step, np.array([anchor], "datetime64[us]"))
    found = clock.times(np.array(steps))
    assert clock.steps(found).tolist() == steps
    assert clock.is_on_grid(found).all()
    assert clock.times(np.zeros(1, int))[0] == np.datetime64(anchor)


@fixed
@effort(60)
@given(moments, moments, st.integers(1, 50))
def test_fixed_units_are_floored_from_the_first_time(
    unit: str, anchor: datetime, moment: datetime, step: int
) -> None:
    clock = Clock.of(unit, step, np.array([anchor], "datetime64[us]"))
    length = pd.Timedelta(step, LENGTHS[unit]).to_pytimedelta()
    passed, rest = divmod(moment - anchor, length)
    given_times = np.array([moment], "datetime64[us]")
    assert clock.steps(given_times).tolist() == [passed]
    assert clock.is_on_grid(given_times).tolist() == [not rest]


@calendar
@effort(60)
@given(moments, moments, st.integers(1, 7))
def test_long_units_are_counted_by_the_calendar(
    unit: str, anchor: datetime, moment: datetime, step: int
) -> None:
    clock = Clock.of(unit, step, np.array([anchor], "datetime64[us]"))
    own, first = (pd.Period(each, PERIODS[unit]) for each in (moment, anchor))
    passed, rest = divmod((own - first).n, step)
    given_times = np.array([moment], "datetime64[us]")
    assert clock.steps(given_times).tolist() == [passed]
    assert clock.is_on_grid(given_times).tolist() == [rest == 0]


@effort(60)
@given(moments, st.sampled_from([1, 3, 12]), st.integers(-300, 300))
def test_days_of_months_are_kept_where_there_are_any(
    anchor: datetime, months: int, step: int
) -> None:
    unit = {1: "MONTH", 3: "QUARTER", 12: "YEAR"}[months]
    # One time is not a month's end: neither are the steps.
    some = np.array([anchor, datetime(2001, 2, 1)], "datetime64[us]")
    found = Clock.of(unit, 1, some).times(np.array([step]))[0]
    expected = pd.Timestamp(anchor) + pd.DateOffset(months=months * step)
    assert found == np.datetime64(expected.to_pydatetime())


@pytest.mark.parametrize(
    ("unit", "first", "after"),
    [
        ("MONTH", ["2024-01-31", "2024-02-29"], ["2024-03-31", "2024-04-30"]),
        ("MONTH", ["2023-02-28", "2023-03-31"], ["2023-04-30", "2023-05-31"]),
        ("QUARTER", ["2023-12-31", "2024-03-31"], ["2024-06-30", "2024-09-30"]),
        ("YEAR", ["2023-02-28", "2024-02-29"], ["2025-02-28", "2026-02-28"]),
        ("MONTH", ["2024-01-30", "2024-02-29"], ["2024-03-30", "2024-04-30"]),
        ("MONTH", ["2024-01-01", "2024-02-01"], ["2024-03-01", "2024-04-01"]),
    ],
)
def test_ends_of_months_stay_there(
    unit: str, first: list[str], after: list[str]
) -> None:
    clock = Clock.of(unit, 1, times(*first))
    np.testing.assert_array_equal(clock.times(np.array([2, 3])), times(*after))
    np.testing.assert_array_equal(clock.steps(times(*first, *after)), [0, 1, 2, 3])


def test_time_of_day_is_kept() -> None:
    clock = Clock.of("MONTH", 1, times("2024-01-31T06:30"))
    np.testing.assert_array_equal(
        clock.times(np.array([1, 2])), times("2024-02-29T06:30", "2024-03-31T06:30")
    )


def test_steps_before_the_first_time_are_negative() -> None:
    clock = Clock.of("DAY", 7, times("2024-01-08"))
    found = clock.steps(times("2024-01-07T23:59:59.999999", "2024-01-01", "2023-12-31"))
    assert found.tolist() == [-1, -1, -2]
    assert clock.is_on_grid(times("2024-01-01", "2024-01-02")).tolist() == [True, False]


def test_order_of_times_does_not_matter() -> None:
    days = times("2024-02-29", "2024-01-30", "2024-04-30")
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        clock = Clock.of("MONTH", 1, days[order])
        missing = clock.steps(times("2024-03-01"))
        np.testing.assert_array_equal(clock.times(missing), times("2024-03-30"))
