"""Derives the features of pairs: the one definition, for training and for serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.clock import Times
from backends.timeseries.levels import levels, seasonal_offsets
from backends.timeseries.pairs import Origins
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.spec import (
    Date,
    DatePart,
    DaysSinceEvent,
    DaysToEvent,
    Derived,
    Diff,
    ForecastDistance,
    Historic,
    IsEvent,
    Known,
    Lag,
    Rolling,
    SeasonalLag,
    SeriesCode,
    Source,
    Spec,
    Static,
)
from backends.timeseries.windows import newest, reduce_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class History:
    """What columns hold in the steps around origins.

    columns: float64 (origins, steps) by name, oldest step first; the target's in
        `levels`, see there.
    low: the offset of the first step.
    """

    spec: Spec
    columns: Mapping[str, Floats]
    levels: list[Floats]
    low: int

    @classmethod
    def gather(cls, panel: Panel, grid: Grid, origins: Origins, ahead: int) -> History:
        """Take the effective derivation window of each origin.

        ahead: steps behind it that are held free, missing, for what is predicted.
        """
        spec = panel.spec
        low, high = spec.effective_start + 1, spec.feature_derivation_window.end
        steps = origins.steps[:, None] + np.arange(low, high + 1)
        rows = grid.find(origins.series[:, None], steps)
        columns = {}
        for name in spec.historic_columns:
            found = np.full((len(origins), high - low + 1 + ahead), np.nan)
            found[:, : high - low + 1] = panel.values(name, rows)
            columns[name] = found
        return cls(spec, columns, levels(columns[spec.target], spec.transforms), low)

    def window(
        self, feature: Historic, source: Source, first: int, last: int
    ) -> Floats:
        """A column at the offsets from first to last; float64 (origins, steps)."""
        return self._column(feature.column, source)[
            :, first - self.low : last - self.low + 1
        ]

    def at(self, column: str, source: Source, origins: Ints, offsets: Ints) -> Floats:
        """A column's values for pairs: of an origin each, at an offset each."""
        return self._column(column, source)[origins, offsets - self.low]

    def forward(self, steps: int) -> History:
        """The same as seen from so many steps after the origins."""
        return History(self.spec, self.columns, self.levels, self.low - steps)

    def _column(self, name: str, source: Source) -> Floats:
        if name != self.spec.target:
            return self.columns[name]
        return self.levels[-1 if source == "transformed" else 0]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known of the rows to predict, each from one of the origins.

    origins: int64 (n,): positions among the origins. distances: int64 (n,).
    series: int64 (n,): positions in the panel's labels.
    rows: int (n,): of the panel; -1: there is none.
    times: datetime64[us] (n,); NaT where not even that is known.
    """

    origins: Ints
    distances: Ints
    series: Ints
    rows: Ints
    times: Times


def derive(panel: Panel, history: History, ahead: Ahead) -> Floats:
    """Derive the features of rows; float64 (n, features), in the model's order."""
    features = panel.spec.features
    matrix = np.empty((len(ahead.rows), len(features)))
    calendar = np.array(panel.spec.calendar, "datetime64[D]")
    for position, feature in enumerate(features):
        if isinstance(feature, SeasonalLag):
            end = panel.spec.feature_derivation_window.end
            offsets = seasonal_offsets(ahead.distances, feature.period, end)
            matrix[:, position] = history.at(
                feature.column, feature.source, ahead.origins, offsets
            )
        elif isinstance(feature, Historic):
            # Once for each origin, however many rows are predicted from it.
            matrix[:, position] = _look_back(history, feature)[ahead.origins]
        else:
            matrix[:, position] = _look_ahead(panel, feature, ahead, calendar)
    return matrix


def _look_back(history: History, feature: Lag | Rolling | Diff | Static) -> Floats:
    """A feature that all rows of an origin share; float64 (origins,)."""
    if isinstance(feature, Lag):
        offset = feature.offset
        return history.window(feature, feature.source, offset, offset)[:, 0]
    if isinstance(feature, Rolling):
        first = feature.end - feature.window + 1
        window = history.window(feature, feature.source, first, feature.end)
        return reduce_rows(window, feature)
    if isinstance(feature, Diff):
        before = feature.offset - feature.period
        window = history.window(feature, feature.source, before, feature.offset)
        return np.asarray(window[:, -1] - window[:, 0])
    # Of a recursion's later steps it is still the one of the forecast point: nothing
    # of the series is known after that.
    first = history.low + history.spec.differenced
    last = history.spec.feature_derivation_window.end
    return newest(history.window(feature, "raw", first, last))


def _look_ahead(
    panel: Panel, feature: Derived, ahead: Ahead, calendar: Times
) -> Floats:
    """A feature of the predicted rows themselves; float64 (n,)."""
    if isinstance(feature, ForecastDistance):
        return ahead.distances.astype(np.float64)
    if isinstance(feature, Known):
        return panel.values(feature.column, ahead.rows)
    if isinstance(feature, SeriesCode):
        return panel.codes[feature.name][ahead.series]
    if isinstance(feature, Date):
        return date_part(ahead.times, feature.part)
    assert isinstance(feature, IsEvent | DaysToEvent | DaysSinceEvent)
    return _days(feature, ahead.times.astype("datetime64[D]"), calendar)


def _days(
    feature: IsEvent | DaysToEvent | DaysSinceEvent, days: Times, calendar: Times
) -> Floats:
    """Where days stand in a calendar, days in ascending order."""
    if isinstance(feature, IsEvent):
        found = np.isin(days, calendar).astype(np.float64)
        return np.where(np.isnat(days), np.nan, found)
    none = np.datetime64("NaT", "D")
    padded = np.concatenate([[none], calendar, [none]])
    if isinstance(feature, DaysToEvent):
        apart = padded[np.searchsorted(calendar, days, side="left") + 1] - days
    else:
        apart = days - padded[np.searchsorted(calendar, days, side="right")]
    return _as_floats(apart.astype(np.int64), np.isnat(apart))


def date_part(times: Times, part: DatePart) -> Floats:
    """A part of timestamps as numbers; NaN of NaT.

    Monday is 0; weeks are those of ISO 8601.
    """
    days = times.astype("datetime64[D]")
    missing = np.isnat(times)
    # Any day will do where there is none.
    days = np.where(missing, np.datetime64(0, "D"), days)
    times = np.where(missing, np.datetime64(0, "us"), times)
    return _as_floats(_PARTS[part](times, days), missing)


def _as_floats(numbers: Ints | NDArray[np.bool_], missing: NDArray[np.bool_]) -> Floats:
    return np.where(missing, np.nan, numbers.astype(np.float64))


def _since(days: Times, unit: str) -> Ints:
    """Days since the year or month of each began."""
    start = days.astype(f"datetime64[{unit}]").astype("datetime64[D]")
    return np.asarray((days - start).astype(np.int64))


def _month(days: Times) -> Ints:
    months = days.astype("datetime64[M]").astype(np.int64)
    return np.asarray(months % 12 + 1)


def _weekday(days: Times) -> Ints:
    # 1970 began on a Thursday.
    return np.asarray((days.astype(np.int64) + 3) % 7)


def _iso_week(days: Times) -> Ints:
    # A week belongs to the year that its Thursday is in.
    thursday = days - _weekday(days) + 3
    return _since(thursday, "Y") // 7 + 1


def _of_day(times: Times, days: Times, unit: int) -> Ints:
    passed = (times - days).astype("timedelta64[s]").astype(np.int64)
    return np.asarray(passed // unit)


_PARTS: Mapping[DatePart, Callable[[Times, Times], NDArray[Any]]] = {
    "year": lambda _, days: days.astype("datetime64[Y]").astype(np.int64) + 1970,
    "quarter": lambda _, days: (_month(days) - 1) // 3 + 1,
    "month": lambda _, days: _month(days),
    "day": lambda _, days: _since(days, "M") + 1,
    "dayofweek": lambda _, days: _weekday(days),
    "dayofyear": lambda _, days: _since(days, "Y") + 1,
    "week": lambda _, days: _iso_week(days),
    "hour": lambda times, days: _of_day(times, days, 3600),
    "minute": lambda times, days: _of_day(times, days, 60) % 60,
    "second": lambda times, days: _of_day(times, days, 1) % 60,
    "is_month_start": lambda _, days: _since(days, "M") == 0,
    "is_month_end": lambda _, days: _since(days + 1, "M") == 0,
    "is_weekend": lambda _, days: _weekday(days) >= 5,
}
