"""Rows of series as numbers: which step each is, of which series, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.clock import Clock, Times
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.refusals import (
    DuplicateTimestamp,
    ForecastTooLarge,
    IrregularTimestamp,
)
from backends.timeseries.spec import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A table of rows by series and step is made for its own sake up to so many cells.
_SMALL_GRID = 2**20


@dataclass(frozen=True, slots=True)
class Grid:
    """Which row has each step of each series.

    rows: int32 (series, steps): number of the row; -1: there is none.
    low: the step of the first column.
    """

    rows: NDArray[np.int32]
    low: int

    def find(self, series: Ints, steps: Ints) -> NDArray[np.int32]:
        """The rows of series at steps, arrays that broadcast; all inside the grid."""
        found: NDArray[np.int32] = self.rows[series, steps - self.low]
        return found


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows of one or several series, in any order.

    times: datetime64[us] (n,). steps: int64 (n,), see `Clock`; of a row-based spec the
        place among the rows of the series.
    series: int64 (n,): positions in `labels`.
    labels: series ids as they were sent, in the order of their first rows; [None] for
        one series without an id.
    first_steps: int64 (labels,): the first step of each series.
    codes: float64 (labels,) by name of feature: positions among its categories.
    columns: float64 (n,) by name: numbers, or positions among the categories; NaN is
        missing. The target is one of them.
    sent: bool (n,) by name: where a column known in advance holds anything, if that is
        not where its value is no NaN.
    originals: the different timestamps as they were sent. original: int64 (n,):
        positions among them.
    numbers: int64 (n,): of the rows in what was sent, from 0.
    """

    spec: Spec
    clock: Clock
    times: Times
    steps: Ints
    series: Ints
    labels: Sequence[Any]
    first_steps: Ints
    codes: Mapping[str, Floats]
    columns: Mapping[str, Floats]
    sent: Mapping[str, Bools]
    originals: Sequence[Any]
    original: Ints
    numbers: Ints

    @classmethod
    def of(
        cls,
        decoder: PanelDecoder,
        instants: Times,
        originals: Sequence[Any],
        original: Ints,
        labels: Sequence[Any],
        series: Ints,
        columns: Mapping[str, Floats],
        sent: Mapping[str, Bools],
        *,
        clock: Clock | None = None,
        numbers: Ints | None = None,
    ) -> Panel:
        """The panel of rows, one at least.

        instants: datetime64[us], what each of the originals means. clock, numbers: of
            rows that are not all that was sent. For the rest see the class.
        Raises IrregularTimestamp and DuplicateTimestamp.
        """
        spec = decoder.spec
        if clock is None:
            clock = Clock.of(spec.time_unit, spec.time_step, instants)
        if numbers is None:
            numbers = np.arange(len(original))
        times = instants[original]
        if spec.is_row_based:
            steps = _places(series, times)
        else:
            on_grid = clock.is_on_grid(instants)
            if not on_grid.all():
                # Timestamps stand in the order of their first rows.
                wrong = int(on_grid.argmin())
                row = int(numbers[(original == wrong).argmax()])
                raise IrregularTimestamp(spec, row, originals[wrong])
            steps = clock.steps(instants)[original]
        first = np.full(len(labels), np.iinfo(np.int64).max)
        np.minimum.at(first, series, steps)
        panel = cls(
            spec,
            clock,
            times,
            steps,
            series,
            labels,
            first,
            decoder.series_codes(labels),
            columns,
            sent,
            originals,
            original,
            numbers,
        )
        twice = _first_repeated(panel)
        if twice is not None:
            label = labels[series[twice]]
            row = int(numbers[twice])
            raise DuplicateTimestamp(originals[original[twice]], row, label)
        return panel

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def target(self) -> Floats:
        """The target's column."""
        return self.columns[self.spec.target]

    def values(self, name: str, rows: NDArray[np.integer[Any]]) -> Floats:
        """A column's values in rows of any shape; NaN where the row is -1: none."""
        found: Floats = self.columns[name][rows]
        found[rows < 0] = np.nan
        return found

    def is_sent(self, name: str, rows: NDArray[np.integer[Any]]) -> Bools:
        """Whether a column known in advance holds anything in rows; not in row -1."""
        if name not in self.sent:
            return ~np.isnan(self.values(name, rows))
        return np.asarray((rows >= 0) & self.sent[name][rows])

    def has_history(self, series: Ints, origins: Ints) -> NDArray[np.bool_]:
        """Whether series begin early enough for forecasts from origins.

        Steps between may be missing.
        """
        needed = origins + self.spec.effective_start + 1
        return np.asarray(self.first_steps[series] <= needed)

    def times_at(self, grid: Grid, series: Ints, steps: Ints) -> Times:
        """When steps of series are, datetime64[us]: what a row says, else the clock.

        NaT where there is no row, of a row-based spec.
        """
        rows = grid.find(series, steps)
        times: Times = np.full(len(steps), np.datetime64("NaT", "us"))
        if not self.spec.is_row_based:
            times = self.clock.times(steps)
        return np.asarray(np.where(rows >= 0, self.times[rows], times))

    def grid(self, low: int, high: int, most: int | None = None) -> Grid:
        """The rows from one step to another.

        most: cells; more raise ForecastTooLarge.
        """
        span = high - low + 1
        cells = span * len(self.labels)
        if most is not None and cells > most:
            raise ForecastTooLarge(
                f"The time span of the data, {span} steps of {len(self.labels)} series,"
                f" makes {cells} cells, more than {most}"
            )
        rows = np.full((len(self.labels), span), -1, np.int32)
        if low <= self.steps.min() and self.steps.max() <= high:
            chosen = np.arange(len(self), dtype=np.int32)
            rows[self.series, self.steps - low] = chosen
        else:
            inside = (self.steps >= low) & (self.steps <= high)
            chosen = np.flatnonzero(inside).astype(np.int32)
            rows[self.series[chosen], self.steps[chosen] - low] = chosen
        return Grid(rows, low)


def _places(series: Ints, times: Times) -> Ints:
    """The place of each row among those of its series, by time."""
    order = np.lexsort((times, series))
    begins = np.diff(series[order], prepend=-1) != 0
    counted = np.arange(len(series))
    starts = np.maximum.accumulate(np.where(begins, counted, 0))
    places = np.empty(len(series), np.int64)
    places[order] = counted - starts
    return places


def _first_repeated(panel: Panel) -> int | None:
    """The first row that has the series and the step of another before it."""
    if panel.spec.is_row_based:
        moments = panel.times.astype(np.int64)
    else:
        low, high = int(panel.steps.min()), int(panel.steps.max())
        cells = (high - low + 1) * len(panel.labels)
        if cells <= max(_SMALL_GRID, 4 * len(panel)):
            # Where two rows fall into one cell, one of them is not found there.
            found = panel.grid(low, high).find(panel.series, panel.steps)
            if bool((found == np.arange(len(panel))).all()):
                return None
        moments = panel.steps
    order = np.lexsort((moments, panel.series))
    same = (np.diff(panel.series[order]) == 0) & (np.diff(moments[order]) == 0)
    return int(order[1:][same].min()) if same.any() else None
