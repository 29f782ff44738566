"""Features and forecasts by their definitions: row by row, in plain Python and pandas.

Written from what the spec says, not from how it is derived: a second, slow way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from backends.timeseries.spec import (
    Baseline,
    Date,
    DaysSinceEvent,
    DaysToEvent,
    Diff,
    Difference,
    ForecastDistance,
    IsEvent,
    Known,
    Lag,
    Log1p,
    Rolling,
    SeasonalLag,
    SeriesCode,
    Spec,
    Static,
)

NAN = math.nan
PERIODS = {"MONTH": "M", "QUARTER": "Q", "YEAR": "Y"}
# A model of one row, from its features in the spec's order.
RowModel = Callable[[Sequence[float]], float]


class Rows:
    """Rows of a request as they are sent, by series and step.

    records: what JSON has: texts of dates, numbers or None, labels of categories.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], spec: Spec) -> None:
        self.spec = spec
        self.records = records
        self.series = [self._series(each) for each in records]
        self.times = [self._time(each) for each in records]
        self.keys = (
            self._places() if spec.is_row_based else list(map(self.key, self.times))
        )
        self.found = {
            pair: row
            for row, pair in enumerate(zip(self.series, self.keys, strict=True))
        }
        assert len(self.found) == len(records)

    def _series(self, record: Mapping[str, Any]) -> str | None:
        name = self.spec.series_id_column
        return None if name is None else str(record[name])

    def _time(self, record: Mapping[str, Any]) -> pd.Timestamp:
        text = record[self.spec.datetime_column]
        return pd.Timestamp(datetime.strptime(text, self.spec.datetime_format))

    def _places(self) -> list[int]:
        """How many rows of its series are before each."""
        return [
            sum(
                other == own and earlier < time
                for other, earlier in zip(self.series, self.times, strict=True)
            )
            for own, time in zip(self.series, self.times, strict=True)
        ]

    def key(self, time: pd.Timestamp) -> Any:
        """What tells the steps of a series apart: a moment, or a month and longer."""
        unit = self.spec.time_unit
        return time.to_period(PERIODS[unit]) if unit in PERIODS else time

    def shifted(self, key: Any, steps: int) -> Any:
        spec = self.spec
        if spec.is_row_based:
            return key + steps
        if spec.time_unit in PERIODS:
            return key + steps * spec.time_step
        length = {"SECOND": "s", "MINUTE": "min", "HOUR": "h", "DAY": "D", "WEEK": "W"}
        each = pd.Timedelta(1, length[spec.time_unit]) * spec.time_step
        return key + steps * each

    def time_of(self, series: str | None, key: Any) -> pd.Timestamp | None:
        """When a step is: what its row says; else by the first row; None: unknown."""
        row = self.found.get((series, key))
        if row is not None:
            return self.times[row]
        if self.spec.is_row_based:
            return None
        if self.spec.time_unit not in PERIODS:
            return key
        first = self.times[0]
        # The period's first month, and as far into the period as the first row is.
        own = self.key(first).start_time.to_period("M")
        month = key.start_time.to_period("M") + (first.to_period("M") - own).n
        days = month.days_in_month
        at_end = all(time.is_month_end for time in self.times)
        latest = max(time.day for time in self.times)
        day = days if at_end else min(latest, days)
        return first.replace(year=month.year, month=month.month, day=day)

    def cell(self, series: str | None, key: Any, column: str) -> float:
        """A number, or the position of a category; NaN is missing."""
        row = self.found.get((series, key))
        value = None if row is None else self.records[row][column]
        categories = self.spec.columns[column].categories
        if value is None:
            return NAN
        if categories is None:
            return float(value)
        return float(categories.index(value)) if value in categories else NAN


class Origin:
    """What is known of one series at a step: nothing after it but predictions.

    answers: what was predicted for the steps after the forecast point: the target, and
        what each transform made of it.
    point: the forecast point; later than that there are no cells.
    """

    def __init__(self, rows: Rows, series: str | None, point: Any) -> None:
        self.rows = rows
        self.spec = rows.spec
        self.series = series
        self.point = point
        self.answers: dict[Any, list[float]] = {}

    def value(self, column: str, key: Any) -> float:
        if column == self.spec.target and key in self.answers:
            return self.answers[key][0]
        if key > self.point:
            return NAN
        return self.rows.cell(self.series, key, column)

    def level(self, key: Any, transforms: Sequence[Any]) -> float:
        """The target at a step after some transforms."""
        if key in self.answers:
            return self.answers[key][len(transforms)]
        if not transforms:
            return self.value(self.spec.target, key)
        *before, last = transforms
        value = self.level(key, before)
        if isinstance(last, Log1p):
            return float(np.log1p(value))
        if isinstance(last, Difference):
            return value - self.level(self.rows.shifted(key, -last.period), before)
        assert isinstance(last, Baseline)
        return value

    def read(self, feature: Any, origin: Any, offset: int) -> float:
        """What a feature reads at an offset from an origin."""
        key = self.rows.shifted(origin, offset)
        column = feature.column
        if column == self.spec.target and feature.source == "transformed":
            return self.level(key, self.spec.transforms)
        return self.value(column, key)

    def features(self, origin: Any, distance: int) -> list[float]:
        """The features of the row so many steps after an origin."""
        key = self.rows.shifted(origin, distance)
        return [
            self.feature(each, origin, distance, key) for each in self.spec.features
        ]

    def feature(self, feature: Any, origin: Any, distance: int, key: Any) -> float:
        window = self.spec.feature_derivation_window
        if isinstance(feature, Lag):
            return self.read(feature, origin, feature.offset)
        if isinstance(feature, Rolling):
            first = feature.end - feature.window + 1
            offsets = range(first, feature.end + 1)
            return statistic(feature, [self.read(feature, origin, o) for o in offsets])
        if isinstance(feature, Diff):
            before = self.read(feature, origin, feature.offset - feature.period)
            return self.read(feature, origin, feature.offset) - before
        if isinstance(feature, SeasonalLag):
            return self.read(
                feature, origin, seasonal(distance, feature.period, window.end)
            )
        if isinstance(feature, Static):
            # In a recursion that of the forecast point, and what came since.
            since = 0
            while self.rows.shifted(self.point, since) != origin:
                since += 1
            for offset in range(window.end, window.start - since, -1):
                at = self.rows.shifted(origin, offset)
                value = self.value(feature.column, at)
                if value == value:
                    return value
            return NAN
        if isinstance(feature, Known):
            return self.rows.cell(self.series, key, feature.column)
        if isinstance(feature, SeriesCode):
            named = list(map(str, feature.categories))
            return float(named.index(self.series)) if self.series in named else NAN
        if isinstance(feature, ForecastDistance):
            return float(distance)
        time = self.rows.time_of(self.series, key)
        if time is None:
            return NAN
        if isinstance(feature, Date):
            return date_part(time, feature.part)
        days = [date.fromisoformat(each) for each in self.spec.calendar]
        return event(feature, time.date(), days)

    def offset(self, origin: Any, distance: int) -> float:
        """What a direct answer is added to."""
        baseline = [each for each in self.spec.transforms if isinstance(each, Baseline)]
        if not baseline:
            return 0.0
        end = self.spec.feature_derivation_window.end
        at = self.rows.shifted(origin, seasonal(distance, baseline[0].period, end))
        return self.level(at, self.spec.transforms)

    def direct(self, distance: int, model: RowModel) -> float:
        answer = model(self.features(self.point, distance))
        return self.undone(answer + self.offset(self.point, distance))

    def recursive(self, distance: int, model: RowModel) -> float:
        """The last of so many steps, each predicted from those before it."""
        value = NAN
        for ahead in range(1, distance + 1):
            value = model(self.features(self.rows.shifted(self.point, ahead - 1), 1))
            key = self.rows.shifted(self.point, ahead)
            transforms, found = list(self.spec.transforms), [value]
            while transforms:
                last = transforms.pop()
                if isinstance(last, Difference):
                    before = self.rows.shifted(key, -last.period)
                    value += self.level(before, transforms)
                else:
                    value = self.undone(value)
                found.insert(0, value)
            self.answers[key] = found
        return value

    def undone(self, value: float) -> float:
        is_log = any(isinstance(each, Log1p) for each in self.spec.transforms)
        return math.expm1(value) if is_log else value


def seasonal(distance: int, period: int, end: int) -> int:
    """The newest offset that is whole periods before the distance, not after end."""
    offset = distance - period
    while offset > end:
        offset -= period
    return offset


def statistic(feature: Rolling, values: Iterable[float]) -> float:
    """A statistic of a window, oldest value first."""
    window = list(values)
    known = [value for value in window if value == value]
    if len(known) < max(feature.min_count, 1):
        return NAN
    if feature.stat == "first":
        return window[0]
    if feature.stat == "last":
        return window[-1]
    if feature.stat == "most_frequent":
        counts = Counter(known)
        most = max(counts.values())
        return min(value for value, count in counts.items() if count == most)
    if feature.stat == "quantile":
        return float(np.quantile(known, feature.quantile))
    if feature.stat == "std":
        if len(known) <= feature.ddof:
            return NAN
        return float(pd.Series(known, dtype=float).std(ddof=feature.ddof))
    of_numbers = {
        "mean": lambda: math.fsum(known) / len(known),
        "sum": lambda: math.fsum(known),
        "min": lambda: min(known),
        "max": lambda: max(known),
        "count": lambda: float(len(known)),
        "median": lambda: float(np.median(known)),
    }
    return of_numbers[feature.stat]()


def date_part(time: pd.Timestamp, part: str) -> float:
    index = pd.DatetimeIndex([time])
    if part == "week":
        return float(index.isocalendar()["week"].iloc[0])
    if part == "is_weekend":
        return float(index.day_name()[0] in ("Saturday", "Sunday"))
    names = {"dayofweek": "day_of_week", "dayofyear": "day_of_year"}
    return float(getattr(index, names.get(part, part))[0])


def event(feature: Any, day: date, calendar: Sequence[date]) -> float:
    if isinstance(feature, IsEvent):
        return float(day in calendar)
    if isinstance(feature, DaysToEvent):
        return float(
            min(((each - day).days for each in calendar if each >= day), default=NAN)
        )
    assert isinstance(feature, DaysSinceEvent)
    return float(
        min(((day - each).days for each in calendar if each <= day), default=NAN)
    )
