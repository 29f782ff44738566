"""Chooses what a golden sample asks: a request made of training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.golden import Record
from backends.timeseries.levels import differenced_from
from backends.timeseries.panel import Panel
from backends.timeseries.spec import Spec
from backends.timeseries.training import TrainingRows

Ints = NDArray[np.int64]

# More would show nothing that these do not.
_MOST_SERIES = 3
# Steps of the recursive strategy, each derived apart: a week of hours and more; less
# where they look back far.
_MOST_AHEAD = 200
_MOST_LOOKED_AT = 2**20


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is forecast of a series.

    series: position among the panel's. pairs: int (n,): positions among the training
    rows, one for each distance; of the recursive strategy each is of the next step.
    rows: int (n,): of the panel. distances: int (n,), ascending.
    """

    series: int
    pairs: Ints
    rows: Ints
    distances: Ints


def choices(panel: Panel, training: TrainingRows) -> Iterator[tuple[int, list[Ahead]]]:
    """Steps of forecast points, and what is forecast of some series from there.

    Those first behind which most series have most rows, of equals the newest. Each
    series has a row there, and one of them the target that makes it the request's own.
    """
    spec, pairs = panel.spec, training.pairs
    low = int(pairs.origins.min())
    # Steps ahead of an origin are not those of the next series.
    span = int(pairs.origins.max()) - low + 1 + spec.forecast_window.end
    keys = pairs.series * span + (pairs.origins - low)
    complete = _complete(keys, spec)
    series, origins = complete // span, complete % span + low
    grid = panel.grid(int(panel.steps.min()), int(panel.steps.max()))
    known = np.append(~np.isnan(panel.target), False)
    ends = origins + spec.feature_derivation_window.end
    is_known = known[grid.find(series, ends)]
    has_row = grid.find(series, origins) >= 0
    # A request has to have one of these, and all of those below.
    before = np.pad(
        np.cumsum(known[grid.rows], axis=1, dtype=np.int32), [(0, 0), (1, 0)]
    )
    first, end = origins + spec.effective_start + 1 - grid.low, ends + 1 - grid.low
    has_row &= before[series, end] > before[series, first]
    for offset in range(differenced_from(spec) or 0, 0):
        has_row &= known[grid.find(series, origins + offset)]
    candidates, counts = np.unique(origins[has_row], return_counts=True)
    possible = np.isin(candidates, origins[has_row & is_known])
    for place in np.lexsort((candidates, counts))[::-1]:
        if not possible[place]:
            continue
        origin = int(candidates[place])
        here = np.flatnonzero(has_row & (origins == origin))
        here = here[np.argsort(~is_known[here], kind="stable")]
        # Steps that are rows are of one series each.
        here = np.sort(here[: 1 if spec.is_row_based else _MOST_SERIES])
        ahead = [
            _ahead(panel, training, int(series[each]), keys, int(complete[each]))
            for each in here
        ]
        if not spec.is_row_based or _is_unbroken(ahead[0], spec):
            yield origin, ahead


def _is_unbroken(ahead: Ahead, spec: Spec) -> bool:
    """Whether there is a forecast of each row that the request must have."""
    first = 1 if spec.strategy == "recursive" else spec.forecast_window.start
    return bool((ahead.distances == first + np.arange(len(ahead.rows))).all())


def _complete(keys: Ints, spec: Spec) -> Ints:
    """The origins that have the most distances.

    keys: int (n,): of the origin of each training row; one step later is one more.
    """
    origins, counts = np.unique(keys, return_counts=True)
    if spec.strategy == "direct":
        return np.asarray(origins[counts == counts.max()])
    runs = np.ones(len(origins), np.int64)
    for distance in range(1, _steps_ahead(spec)):
        runs += (runs == distance) & np.isin(origins + distance, origins)
    is_longest = (runs == runs.max()) & (runs >= spec.forecast_window.start)
    return np.asarray(origins[is_longest])


def _ahead(
    panel: Panel, training: TrainingRows, series: int, keys: Ints, key: int
) -> Ahead:
    """What is forecast of a series from the origin of a key."""
    spec, pairs = panel.spec, training.pairs
    if spec.strategy == "direct":
        own = np.flatnonzero(keys == key)
        return Ahead(series, own, pairs.rows[own], pairs.distances[own])
    own = np.flatnonzero((keys >= key) & (keys < key + _steps_ahead(spec)))
    # To the first step that is not there.
    own = own[keys[own] - key == np.arange(len(own))]
    return Ahead(series, own, pairs.rows[own], np.arange(len(own)) + 1)


def _steps_ahead(spec: Spec) -> int:
    """How many steps the recursive strategy is to take."""
    window = spec.forecast_window
    most = min(_MOST_AHEAD, _MOST_LOOKED_AT // spec.history)
    return min(max(most, window.start), window.end)


def rows_at(panel: Panel, series: int, step: int) -> Ints:
    return np.flatnonzero((panel.series == series) & (panel.steps == step))


def request_of(
    table: pa.Table, panel: Panel, origin: int, ahead: Sequence[Ahead]
) -> tuple[list[int], list[Record]]:
    """The rows of a request, and which rows of the training data they are.

    Of each series the least history that a request has to have, and the rows to
    forecast, which only have what is known in advance. Where steps are rows there are
    those between as well.
    """
    spec = panel.spec
    columns = (spec.datetime_column, spec.series_id_column, *spec.columns)
    names = [name for name in columns if name is not None]
    given = {spec.datetime_column, spec.series_id_column, *spec.known_in_advance}
    end = origin + spec.feature_derivation_window.end
    rows: list[int] = []
    records: list[Record] = []
    for each in ahead:
        own = np.concatenate([history_of(panel, each.series, origin), each.rows])
        if spec.is_row_based:
            own = _between(panel, each.series, own)
        rows += own.tolist()
        for row, record in zip(
            own.tolist(), table.select(names).take(own).to_pylist(), strict=True
        ):
            if panel.steps[row] > end:
                record[spec.target] = None
            if panel.steps[row] > origin:
                record = {
                    name: cell if name in given else None
                    for name, cell in record.items()
                }
            records.append(record)
    return rows, records


def history_of(panel: Panel, series: int, origin: int) -> Ints:
    """The rows of a series that forecasts from an origin need, in their order."""
    own = np.flatnonzero(panel.series == series)
    own = own[np.argsort(panel.steps[own])]
    steps = panel.steps[own]
    first = origin + panel.spec.effective_start + 1
    # The series has to begin there, or before.
    first = int(steps[steps <= first].max())
    return np.asarray(own[(steps >= first) & (steps <= origin)])


def _between(panel: Panel, series: int, rows: Ints) -> Ints:
    """All rows of a series from the first of some to the last, in their order."""
    steps = panel.steps[rows]
    is_own = (panel.series == series) & (panel.steps >= steps.min())
    found = np.flatnonzero(is_own & (panel.steps <= steps.max()))
    return np.asarray(found[np.argsort(panel.steps[found])])
