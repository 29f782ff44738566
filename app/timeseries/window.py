"""Which rows of a request are predicted, and from where: forecast point and window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from app.timeseries.sufficiency import Known, newest_steps, refuse_unknown
from backends.timeseries.clock import Times
from backends.timeseries.dates import DateFormat
from backends.timeseries.forecasting import grid_of
from backends.timeseries.pairs import Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.refusals import (
    ForecastTooLarge,
    HistoryTooShort,
    NoRowsToPredict,
    NoValidOutputRows,
)

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
    enough = Known.of(panel, grid).is_enough(pairs, allow_partial)
    if not allow_partial:
        enough &= panel.has_history(pairs.series, pairs.origins)
        # Where all series have ended, lags are of another time than in training.
        latest = pairs.origins + spec.feature_derivation_window.end
        enough &= bool((latest <= newest_steps(panel)[pairs.series]).any())
    if not enough.all():
        raise HistoryTooShort(spec)
    if not asked.relax_known_in_advance:
        refuse_unknown(panel, grid, pairs)
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
    enough = Known.of(panel, grid).is_enough(pairs, allow_partial)
    pairs = pairs.take(enough)
    if not len(pairs):
        raise HistoryTooShort(spec)
    if not asked.relax_known_in_advance:
        refuse_unknown(panel, grid, pairs)
    points = panel.times_at(grid, pairs.series, pairs.origins)
    return Plan(panel, grid, pairs, points)


def _distances(panel: Panel, rows: Ints, allow_partial: bool) -> tuple[Ints, Ints]:
    """The nearest and the furthest distance that rows can be predicted from.

    There, the derivation window has begun, and ends where targets are still known.
    """
    spec, series, steps = panel.spec, panel.series[rows], panel.steps[rows]
    end = spec.feature_derivation_window.end
    newest = newest_steps(panel)
    nearest = np.maximum(steps + end - newest[series], spec.forecast_window.start)
    first = panel.first_steps[series]
    latest = end if allow_partial else spec.effective_start + 1
    furthest = np.minimum(steps + latest - first, spec.forecast_window.end)
    return nearest, furthest


def _refuse_many(forecasts: int, limits: Limits) -> None:
    if forecasts > limits.forecasts:
        raise ForecastTooLarge(
            f"The answer would have {forecasts} forecasts, more than"
            f" {limits.forecasts}: ask for fewer series or a shorter range at once"
        )
