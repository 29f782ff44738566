"""Which rows of a request are predicted, and from where: forecast point and window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.clock import Times
from backends.timeseries.dates import DateFormat
from backends.timeseries.forecasting import grid_of
from backends.timeseries.levels import (
    baseline_of,
    differenced_from,
    seasonal_offsets,
    undone_with,
)
from backends.timeseries.pairs import Origins, Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.refusals import (
    ForecastTooLarge,
    HistoryTooShort,
    KnownInAdvanceMissing,
    NoRowsToPredict,
    NoValidOutputRows,
)
from backends.timeseries.spec import Spec

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of the forecasts it wants; times without a zone mean UTC.

    forecast_point: None for the newest possible one.
    start, end: of the timestamps to predict from every possible forecast point, the end
        left out; both or neither.
    relax_known_in_advance: what is known in advance may be missing.
    """

    forecast_point: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    relax_known_in_advance: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a request may ask for.

    forecasts: in an answer. cells: time steps times series that are looked at.
    """

    forecasts: int
    cells: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is predicted, in the order of the answer.

    pairs: one at least; by series, then by timestamp, then by distance.
    forecast_points: datetime64[us] (n,).
    """

    panel: Panel
    grid: Grid
    pairs: Pairs
    forecast_points: Times


def plan(panel: Panel, asked: Asked, limits: Limits, *, allow_partial: bool) -> Plan:
    """Find what is to be predicted, and whether the rows are enough for it.

    allow_partial: a series may begin later than the derivation window does.

    Raises ForecastRefused with the documents' texts, ForecastTooLarge.

    Source: "Time series predictions for deployments".
    """
    if np.isnan(panel.target).all():
        raise NoValidOutputRows
    if asked.start is None or asked.end is None:
        return _forecast(panel, asked, limits, allow_partial)
    return _historical(panel, asked, limits, allow_partial)


# ---- From one forecast point


def _forecast(panel: Panel, asked: Asked, limits: Limits, allow_partial: bool) -> Plan:
    spec = panel.spec
    point, origins = _forecast_point(panel, asked.forecast_point)
    distances = panel.steps - origins[panel.series]
    if not (distances <= 0).any():
        # The forecast point is before all rows.
        raise HistoryTooShort(spec)
    window = spec.forecast_window
    inside = (distances >= window.start) & (distances <= window.end)
    rows = np.flatnonzero(inside)
    if not len(rows):
        raise _no_rows(panel, point)
    if np.isnan(panel.target[distances <= 0]).all():
        raise NoValidOutputRows
    _refuse_many(len(rows), limits)
    rows = rows[np.lexsort((distances[rows], panel.series[rows]))]
    series = panel.series[rows]
    pairs = Pairs(series, origins[series], distances[rows], rows)
    grid = grid_of(panel, pairs, limits.cells)
    known = _Known.of(panel, grid)
    enough = _has_targets(known, pairs, allow_partial)
    if not allow_partial:
        enough &= panel.has_history(pairs.series, pairs.origins)
        enough &= known.in_window(pairs)
        # Where all series have ended, lags are of another time than in training.
        latest = pairs.origins + spec.feature_derivation_window.end
        enough &= bool((latest <= known.newest[pairs.series]).any())
    if not enough.all():
        raise HistoryTooShort(spec)
    if not asked.relax_known_in_advance:
        _refuse_unknown(panel, grid, pairs)
    return Plan(panel, grid, pairs, np.full(len(pairs), point))


def _forecast_point(panel: Panel, asked: datetime | None) -> tuple[np.datetime64, Ints]:
    """The forecast point, and its step in each series.

    Unless it is asked for, it is the newest timestamp with a target less the end of the
    derivation window.
    """
    end = panel.spec.feature_derivation_window.end
    newest = int(np.where(np.isnan(panel.target), _NEVER, panel.times).argmax())
    if panel.spec.is_row_based:
        point = panel.times[newest] if asked is None else _moment(asked)
        if asked is None and end:
            last = np.flatnonzero(~np.isnan(panel.target) & (panel.times == point))
            point = max(_time_of_place(panel, row, -end) for row in last.tolist())
        return point, _places_at(panel, point)
    if asked is None:
        step = int(panel.steps[newest]) - end
        point = _time_of_step(panel, step)
    else:
        # Between two steps it is the one before.
        moment = _moment(asked)
        step = int(panel.clock.steps(np.array([moment]))[0])
        point = _time_of_step(panel, step)
        if point > moment:
            # It lies in a month whose step is later in it.
            step -= 1
            point = _time_of_step(panel, step)
    return point, np.full(len(panel.labels), step)


def _time_of_step(panel: Panel, step: int) -> np.datetime64:
    """When a step is: what the latest of its rows says, else the clock.

    Rows of one month may have different days, and come in any order.
    """
    here = panel.times[panel.steps == step]
    found: np.datetime64 = (
        here.max() if len(here) else panel.clock.times(np.array([step]))[0]
    )
    return found


_NEVER = np.datetime64("0001-01-01", "us")
# No date has a year of five digits.
_PRINTABLE = np.datetime64("9999-12-31T23:59:59.999999", "us")


def _moment(asked: datetime) -> np.datetime64:
    return np.datetime64(asked.replace(tzinfo=None), "us")


def _time_of_place(panel: Panel, row: int, after: int) -> np.datetime64:
    """When the row so many places after a row is; the last one's if there is none."""
    own = np.flatnonzero(panel.series == panel.series[row])
    place = min(int(panel.steps[row]) + after, len(own) - 1)
    found: np.datetime64 = panel.times[own[panel.steps[own] == place][0]]
    return found


def _places_at(panel: Panel, point: np.datetime64) -> Ints:
    """The place of the last row of each series that is not after a moment.

    -1 where there is none.
    """
    places = np.full(len(panel.labels), -1, np.int64)
    before = panel.times <= point
    np.maximum.at(places, panel.series[before], panel.steps[before])
    return places


def _no_rows(panel: Panel, point: np.datetime64) -> NoRowsToPredict:
    spec = panel.spec
    dates = DateFormat(spec.datetime_format)
    step = panel.clock.steps(np.array([point]))[0]
    window = np.array([spec.forecast_window.start, spec.forecast_window.end])
    first, last = np.minimum(panel.clock.times(step + window), _PRINTABLE)
    return NoRowsToPredict(dates.format(point), dates.format(first), dates.format(last))


# ---- From every possible forecast point


def _historical(
    panel: Panel, asked: Asked, limits: Limits, allow_partial: bool
) -> Plan:
    assert asked.start is not None and asked.end is not None
    spec = panel.spec
    start, end = _moment(asked.start), _moment(asked.end)
    rows = np.flatnonzero((panel.times >= start) & (panel.times < end))
    if not len(rows):
        raise NoValidOutputRows
    nearest, furthest = _distances(panel, rows, allow_partial)
    counts = np.maximum(furthest - nearest + 1, 0)
    forecasts = int(counts.sum())
    if not forecasts:
        raise HistoryTooShort(spec)
    _refuse_many(forecasts, limits)
    pairs = Pairs.between(panel, rows, nearest, counts)
    grid = grid_of(panel, pairs, limits.cells)
    known = _Known.of(panel, grid)
    enough = _has_targets(known, pairs, allow_partial)
    if not allow_partial:
        enough &= known.in_window(pairs)
    pairs = pairs.take(enough)
    if not len(pairs):
        raise HistoryTooShort(spec)
    if not asked.relax_known_in_advance:
        _refuse_unknown(panel, grid, pairs)
    points = panel.times_at(grid, pairs.series, pairs.origins)
    return Plan(panel, grid, pairs, points)


def _distances(panel: Panel, rows: Ints, allow_partial: bool) -> tuple[Ints, Ints]:
    """The nearest and the furthest distance that rows can be predicted from.

    There, the derivation window has begun, and ends where targets are still known.
    """
    spec, series, steps = panel.spec, panel.series[rows], panel.steps[rows]
    end = spec.feature_derivation_window.end
    newest = _newest(panel)
    nearest = np.maximum(steps + end - newest[series], spec.forecast_window.start)
    first = panel.first_steps[series]
    latest = end if allow_partial else spec.effective_start + 1
    furthest = np.minimum(steps + latest - first, spec.forecast_window.end)
    return nearest, furthest


def _newest(panel: Panel) -> Ints:
    """The newest step of each series whose target is known."""
    known = ~np.isnan(panel.target)
    newest = np.full(len(panel.labels), _BEFORE_ALL)
    np.maximum.at(newest, panel.series[known], panel.steps[known])
    return newest


# Before every step that a panel may have.
_BEFORE_ALL = -(2**62)


# ---- What pairs need


def _refuse_many(forecasts: int, limits: Limits) -> None:
    if forecasts > limits.forecasts:
        raise ForecastTooLarge(
            f"The answer would have {forecasts} forecasts, more than"
            f" {limits.forecasts}: ask for fewer series or a shorter range at once"
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """Where a panel's targets are known.

    at: bool (n + 1,), of each row; False behind them, where there is no row.
    before: int32 (series, steps + 1): how many are known before each step of the grid.
    newest: int64 (series,): the newest known step.
    """

    spec: Spec
    grid: Grid
    at: Bools
    before: NDArray[np.int32]
    newest: Ints

    @classmethod
    def of(cls, panel: Panel, grid: Grid) -> _Known:
        at = np.append(~np.isnan(panel.target), False)
        before = np.zeros((len(panel.labels), grid.rows.shape[1] + 1), np.int32)
        np.cumsum(at[grid.rows], axis=1, out=before[:, 1:])
        return cls(panel.spec, grid, at, before, _newest(panel))

    def find(self, series: Ints, steps: Ints) -> Bools:
        """Whether series have a target at steps of the grid."""
        return np.asarray(self.at[self.grid.find(series, steps)])

    def count(self, series: Ints, first: Ints, last: Ints) -> NDArray[np.int32]:
        """How many targets series have from one step of the grid to another."""
        low = self.grid.low
        until = self.before[series, last - low + 1]
        return np.asarray(until - self.before[series, first - low])

    def in_window(self, pairs: Pairs) -> Bools:
        """Whether there is a target at all in the derivation window of each pair."""
        first = pairs.origins + self.spec.effective_start + 1
        last = pairs.origins + self.spec.feature_derivation_window.end
        return np.asarray(self.count(pairs.series, first, last) > 0)


def _has_targets(known: _Known, pairs: Pairs, allow_partial: bool) -> Bools:
    """Whether the targets that undo transforms are there, for each pair.

    Unless a part of the history is enough, so are all that differences are made of.
    """
    spec = known.spec
    baseline = baseline_of(spec)
    if baseline is not None:
        end = spec.feature_derivation_window.end
        offsets = seasonal_offsets(pairs.distances, baseline.period, end)
        return known.find(pairs.series, pairs.origins + offsets)
    first = differenced_from(spec)
    if first is None:
        return np.ones(len(pairs), np.bool_)
    origins = Origins.of(pairs)
    if allow_partial:
        found = np.ones(len(origins), np.bool_)
        for offset in undone_with(spec):
            found &= known.find(origins.series, origins.steps + offset)
    else:
        earliest = origins.steps + first
        found = known.count(origins.series, earliest, origins.steps) == 1 - first
    return np.asarray(found[origins.of_pair])


def _refuse_unknown(panel: Panel, grid: Grid, pairs: Pairs) -> None:
    """Raise KnownInAdvanceMissing if predicted rows lack what is known in advance."""
    names = panel.spec.known_in_advance
    if not names:
        return
    predicted: Iterable[NDArray[np.integer[Any]]]
    if panel.spec.strategy == "recursive":
        predicted = _rows_on_the_way(grid, pairs)
    else:
        predicted = [pairs.rows]
    lacking = {
        name
        for rows in predicted
        for name in names
        if not panel.is_sent(name, rows).all()
    }
    if lacking:
        raise KnownInAdvanceMissing([name for name in names if name in lacking])


def _rows_on_the_way(grid: Grid, pairs: Pairs) -> Iterator[NDArray[np.int32]]:
    """The rows of each step that is predicted, from all origins at once."""
    origins = Origins.of(pairs)
    last = origins.furthest(pairs)
    for distance in range(1, int(last.max()) + 1):
        wanted = last >= distance
        yield grid.find(origins.series[wanted], origins.steps[wanted] + distance)
