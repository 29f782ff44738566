"""Which rows of a request are predicted, and from where: forecast point and window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from app.timeseries.sufficiency import Known, newest_steps, refuse_unknown
from backends.timeseries.clock import Clock, Times
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

    pairs: by series, then by timestamp, then by distance.
    forecast_points: datetime64[us] (n,).
    """

    panel: Panel
    grid: Grid
    pairs: Pairs
    forecast_points: Times

    @classmethod
    def nothing(cls, panel: Panel) -> Plan:
        """The plan where no row is predicted."""
        none = np.empty(0, np.int64)
        grid = Grid(np.empty((len(panel.labels), 0), np.int32), 0)
        times = np.empty(0, "datetime64[us]")
        return cls(panel, grid, Pairs(none, none, none, none), times)


@dataclass(frozen=True, slots=True)
class Whole:
    """What is known of all rows, before those of some of their series are planned.

    clock: of all of them. point, step: the forecast point, and its step in every
        series, of a spec that is not row-based; None where a range is asked for.
    is_current: whether a series that is predicted has a target as late as its features
        look at.
    """

    clock: Clock
    point: np.datetime64 | None = None
    step: int | None = None
    is_current: bool = True


def plan(panel: Panel, asked: Asked, limits: Limits, *, allow_partial: bool) -> Plan:
    """Find what is to be predicted, and whether the rows are enough for it.

    allow_partial: a series may begin later than the derivation window does.

    Raises ForecastRefused with the documents' texts, ForecastTooLarge.

    Source: "Time series predictions for deployments".
    """
    whole = survey([panel], asked, allow_partial=allow_partial)
    found = plan_series(panel, whole, asked, limits, allow_partial=allow_partial)
    if not len(found.pairs):
        raise HistoryTooShort(panel.spec)
    return found


def survey(panels: Iterable[Panel], asked: Asked, *, allow_partial: bool) -> Whole:
    """What must be known of all rows to plan those of some series.

    panels: together all rows, each with all rows of its series, by one clock; gone
        through again and again. Of their columns the target is looked at, and of it
        only where it is known.
    Raises ForecastRefused, where not one series could be predicted.
    """
    known = [time for panel in panels if (time := _newest_known(panel)) is not None]
    if not known:
        raise NoValidOutputRows
    first = next(iter(panels))
    if asked.start is not None and asked.end is not None:
        if not any(len(_in_range(panel, asked)) for panel in panels):
            raise NoValidOutputRows
        return Whole(first.clock)
    point, step = _forecast_point(panels, first, max(known), asked.forecast_point)
    whole = Whole(first.clock, point, step)
    past = past_target = inside = is_current = False
    for panel in panels:
        origins, distances = _distances_from(panel, whole)
        is_past = distances <= 0
        past |= bool(is_past.any())
        past_target |= not np.isnan(panel.target[is_past]).all()
        rows = _inside(panel, distances)
        inside |= bool(len(rows))
        is_current |= allow_partial or _is_current(panel, origins, rows)
    if not past:
        # The forecast point is before all rows.
        raise HistoryTooShort(first.spec)
    if not inside:
        raise _no_rows(first, point)
    if not past_target:
        raise NoValidOutputRows
    return replace(whole, is_current=is_current)


def plan_series(
    panel: Panel, whole: Whole, asked: Asked, limits: Limits, *, allow_partial: bool
) -> Plan:
    """The plan of some series, which may be an empty one; see `plan`.

    panel: all rows of them. whole: what `survey` found.
    Raises ForecastRefused and ForecastTooLarge.
    """
    if whole.point is None:
        return _historical(panel, asked, limits, allow_partial)
    return _forecast(panel, whole, asked, limits, allow_partial)


def _newest_known(panel: Panel) -> np.datetime64 | None:
    """The newest timestamp with a target."""
    times = panel.times[~np.isnan(panel.target)]
    return times.max() if len(times) else None


# ---- From one forecast point


def _forecast(
    panel: Panel, whole: Whole, asked: Asked, limits: Limits, allow_partial: bool
) -> Plan:
    origins, distances = _distances_from(panel, whole)
    rows = _inside(panel, distances)
    if not len(rows):
        return Plan.nothing(panel)
    _refuse_many(len(rows), limits)
    rows = rows[np.lexsort((distances[rows], panel.series[rows]))]
    series = panel.series[rows]
    pairs = Pairs(series, origins[series], distances[rows], rows)
    grid = grid_of(panel, pairs, limits.cells)
    enough = Known.of(panel, grid).is_enough(pairs, allow_partial)
    if not allow_partial:
        enough &= panel.has_history(pairs.series, pairs.origins)
        # Where all series have ended, lags are of another time than in training.
        enough &= whole.is_current
    if not enough.all():
        raise HistoryTooShort(panel.spec)
    if not asked.relax_known_in_advance:
        refuse_unknown(panel, grid, pairs)
    return Plan(panel, grid, pairs, np.full(len(pairs), whole.point))


def _distances_from(panel: Panel, whole: Whole) -> tuple[Ints, Ints]:
    """The step of the forecast point in each series, and how far behind it rows are."""
    if whole.step is None:
        assert whole.point is not None
        origins = _places_at(panel, whole.point)
    else:
        origins = np.full(len(panel.labels), whole.step)
    return origins, panel.steps - origins[panel.series]


def _inside(panel: Panel, distances: Ints) -> Ints:
    """The rows in the forecast window."""
    window = panel.spec.forecast_window
    return np.flatnonzero((distances >= window.start) & (distances <= window.end))


def _is_current(panel: Panel, origins: Ints, rows: Ints) -> bool:
    """Whether a series of these has a target where its features end, or later."""
    series = panel.series[rows]
    latest = origins[series] + panel.spec.feature_derivation_window.end
    return bool((latest <= newest_steps(panel)[series]).any())


def _forecast_point(
    panels: Iterable[Panel],
    first: Panel,
    newest: np.datetime64,
    asked: datetime | None,
) -> tuple[np.datetime64, int | None]:
    """The forecast point, and its step in every series; None if that is row-based.

    Unless it is asked for, it is the newest timestamp with a target less the end of the
    derivation window.

    first: of the panels. newest: the newest timestamp with a target.
    """
    end = first.spec.feature_derivation_window.end
    if first.spec.is_row_based:
        point = newest if asked is None else _moment(asked)
        if asked is None and end:
            point = max(
                _time_of_place(panel, row, -end)
                for panel in panels
                for row in _known_at(panel, newest)
            )
        return point, None
    if asked is None:
        step = int(first.clock.steps(np.array([newest]))[0]) - end
        return _time_of_step(panels, first.clock, step), step
    # Between two steps it is the one before.
    moment = _moment(asked)
    step = int(first.clock.steps(np.array([moment]))[0])
    point = _time_of_step(panels, first.clock, step)
    if point > moment:
        # It lies in a month whose step is later in it.
        step -= 1
        point = _time_of_step(panels, first.clock, step)
    return point, step


def _known_at(panel: Panel, moment: np.datetime64) -> list[int]:
    """The rows at a moment that have a target."""
    known = ~np.isnan(panel.target) & (panel.times == moment)
    found: list[int] = np.flatnonzero(known).tolist()
    return found


def _time_of_step(panels: Iterable[Panel], clock: Clock, step: int) -> np.datetime64:
    """When a step is: what the latest of its rows says, else the clock.

    Rows of one month may have different days, and come in any order.
    """
    here = [panel.times[panel.steps == step] for panel in panels]
    latest = [times.max() for times in here if len(times)]
    found: np.datetime64 = max(latest, default=clock.times(np.array([step]))[0])
    return found


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
    rows = _in_range(panel, asked)
    nearest, furthest = _distances(panel, rows, allow_partial)
    counts = np.maximum(furthest - nearest + 1, 0)
    forecasts = int(counts.sum())
    if not forecasts:
        return Plan.nothing(panel)
    _refuse_many(forecasts, limits)
    pairs = Pairs.between(panel, rows, nearest, counts)
    grid = grid_of(panel, pairs, limits.cells)
    enough = Known.of(panel, grid).is_enough(pairs, allow_partial)
    pairs = pairs.take(enough)
    if not len(pairs):
        return Plan.nothing(panel)
    if not asked.relax_known_in_advance:
        refuse_unknown(panel, grid, pairs)
    points = panel.times_at(grid, pairs.series, pairs.origins)
    return Plan(panel, grid, pairs, points)


def _in_range(panel: Panel, asked: Asked) -> Ints:
    """The rows whose timestamps are asked for."""
    assert asked.start is not None and asked.end is not None
    start, end = _moment(asked.start), _moment(asked.end)
    return np.flatnonzero((panel.times >= start) & (panel.times < end))


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
