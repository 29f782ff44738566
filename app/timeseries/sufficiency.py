"""Whether a request's rows are enough: targets, and what is known in advance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.levels import (
    baseline_of,
    differenced_from,
    seasonal_offsets,
    undone_with,
)
from backends.timeseries.pairs import Origins, Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.refusals import KnownInAdvanceMissing
from backends.timeseries.spec import Spec

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def newest_steps(panel: Panel) -> Ints:
    """The newest step of each series whose target is known."""
    known = ~np.isnan(panel.target)
    newest = np.full(len(panel.labels), _BEFORE_ALL)
    np.maximum.at(newest, panel.series[known], panel.steps[known])
    return newest


# Before every step that a panel may have.
_BEFORE_ALL = -(2**62)


@dataclass(frozen=True, slots=True)
class Known:
    """Where a panel's targets are known.

    at: bool (n + 1,), of each row; False behind them, where there is no row.
    before: int32 (series, steps + 1): how many are known before each step of the grid.
    """

    spec: Spec
    grid: Grid
    at: Bools
    before: NDArray[np.int32]

    @classmethod
    def of(cls, panel: Panel, grid: Grid) -> Known:
        at = np.append(~np.isnan(panel.target), False)
        before = np.zeros((len(panel.labels), grid.rows.shape[1] + 1), np.int32)
        np.cumsum(at[grid.rows], axis=1, out=before[:, 1:])
        return cls(panel.spec, grid, at, before)

    def is_enough(self, pairs: Pairs, allow_partial: bool) -> Bools:
        """Whether each pair has the targets that it cannot do without.

        Those that undo its transforms, and unless a part of the history is enough, one
        at least in its derivation window.
        """
        enough = self._undoes_transforms(pairs, allow_partial)
        return enough if allow_partial else enough & self._in_window(pairs)

    def _undoes_transforms(self, pairs: Pairs, allow_partial: bool) -> Bools:
        """Whether the targets that undo transforms are there, for each pair.

        Unless a part of the history is enough, so are all that differences are made of.
        """
        spec = self.spec
        baseline = baseline_of(spec)
        if baseline is not None:
            end = spec.feature_derivation_window.end
            offsets = seasonal_offsets(pairs.distances, baseline.period, end)
            return self._find(pairs.series, pairs.origins + offsets)
        first = differenced_from(spec)
        if first is None:
            return np.ones(len(pairs), np.bool_)
        origins = Origins.of(pairs)
        if allow_partial:
            found = np.ones(len(origins), np.bool_)
            for offset in undone_with(spec):
                found &= self._find(origins.series, origins.steps + offset)
        else:
            earliest = origins.steps + first
            found = self._count(origins.series, earliest, origins.steps) == 1 - first
        return np.asarray(found[origins.of_pair])

    def _find(self, series: Ints, steps: Ints) -> Bools:
        """Whether series have a target at steps of the grid."""
        return np.asarray(self.at[self.grid.find(series, steps)])

    def _count(self, series: Ints, first: Ints, last: Ints) -> NDArray[np.int32]:
        """How many targets series have from one step of the grid to another."""
        low = self.grid.low
        until = self.before[series, last - low + 1]
        return np.asarray(until - self.before[series, first - low])

    def _in_window(self, pairs: Pairs) -> Bools:
        """Whether there is a target at all in the derivation window of each pair."""
        first = pairs.origins + self.spec.effective_start + 1
        last = pairs.origins + self.spec.feature_derivation_window.end
        return np.asarray(self._count(pairs.series, first, last) > 0)


def refuse_unknown(panel: Panel, grid: Grid, pairs: Pairs) -> None:
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
