"""The rows that a model is trained on: all forecasts that the data answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backends.timeseries.derive import Ahead, History, derive
from backends.timeseries.forecasting import derive_direct, grid_of, parts_of
from backends.timeseries.levels import levels, scale
from backends.timeseries.pairs import Origins, Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.panel_reader import PanelReader
from backends.timeseries.refusals import HistoryTooShort
from backends.timeseries.spec import Spec

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Derived rows and what is to be predicted for them.

    pairs: by series, then by the row's step, then by distance.
    matrix: float64 (n, features), as the model's card has them.
    y: float64 (n,): the target as the model predicts it: with its transforms, or the
        position of its class; never missing.
    """

    pairs: Pairs
    matrix: Floats
    y: Floats

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> TrainingRows:
        """Some of the rows."""
        return TrainingRows(
            self.pairs.take(chosen), self.matrix[chosen], self.y[chosen]
        )


def panel_of_table(table: pa.Table, spec: Spec) -> Panel:
    """Read the rows of a table: texts as in CSV, or numbers.

    Raises ForecastRefused and DataError.
    """
    decoder = PanelDecoder(spec)
    decoder.check_columns(dict.fromkeys(table.column_names))
    reader = PanelReader(decoder)
    cells = {name: _cells(table[name]) for name in (*decoder.texts, spec.target)}
    reader.add(cells, decoder.columns.from_table(table))
    return reader.finish()


# As in forecasting: what is beyond all numbers is a missing feature.
@np.errstate(over="ignore", invalid="ignore")
def _cells(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, in which no number is none."""
    cells = column.combine_chunks()
    if pa.types.is_floating(cells.type):
        return pc.if_else(pc.is_nan(cells), None, cells)
    return cells


def training_rows(panel: Panel) -> TrainingRows:
    """Derive a row for every forecast whose answer the panel knows.

    Of each series, each row with a target, from every origin a distance of the
    forecast window before it that has the history which a request has to have; of the
    recursive strategy the next step only. Raises HistoryTooShort if there are none.
    """
    spec = panel.spec
    pairs = training_pairs(panel)
    if not len(pairs):
        raise HistoryTooShort(spec)
    grid = grid_of(panel, pairs)
    derive_part = _derive_next if spec.strategy == "recursive" else _derive_direct
    derived = [
        derive_part(panel, grid, pairs.take(part)) for part in parts_of(pairs, spec)
    ]
    matrix, y = (
        np.concatenate([each[place] for each in derived]) for place in range(2)
    )
    known = ~np.isnan(y)
    if not known.any():
        raise HistoryTooShort(spec)
    return TrainingRows(pairs.take(known), matrix[known], y[known])


def training_pairs(panel: Panel) -> Pairs:
    """The pairs whose origin has enough history and whose row has a target."""
    spec, window = panel.spec, panel.spec.forecast_window
    known = np.flatnonzero(~np.isnan(panel.target))
    if spec.strategy == "recursive":
        distances = np.ones(1, np.int64)
    else:
        distances = np.arange(window.start, window.end + 1)
    pairs = Pairs.every(panel, known, distances)
    return pairs.take(panel.has_history(pairs.series, pairs.origins))


def _derive_direct(panel: Panel, grid: Grid, pairs: Pairs) -> tuple[Floats, Floats]:
    derivation = derive_direct(panel, grid, pairs)
    y = scale(panel.target[pairs.rows], panel.spec)
    if derivation.offset is not None:
        y = y - derivation.offset
    return derivation.matrix, y


def _derive_next(panel: Panel, grid: Grid, pairs: Pairs) -> tuple[Floats, Floats]:
    """The features of the step after each origin, and its last level."""
    spec, origins = panel.spec, Origins.of(pairs)
    history = History.gather(panel, grid, origins, ahead=1)
    ahead = Ahead(
        origins.of_pair,
        pairs.distances,
        pairs.series,
        pairs.rows,
        panel.times[pairs.rows],
    )
    # Each origin has one row, the next: what it had is known here.
    following = history.columns[spec.target].copy()
    following[origins.of_pair, -1] = panel.target[pairs.rows]
    y = levels(following, spec.transforms)[-1][origins.of_pair, -1]
    return derive(panel, history, ahead), y
