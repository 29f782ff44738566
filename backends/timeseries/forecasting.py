"""Forecasts of pairs: features, what the model says of them, and what that means."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.derive import Ahead, History, derive
from backends.timeseries.levels import (
    baseline_of,
    inverse,
    seasonal_offsets,
)
from backends.timeseries.pairs import Origins, Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.spec import Difference, Log1p, Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# From derived features, float64 (n, features), to what the model says, float64 (n, k).
Model = Callable[[Floats], Floats]

# Numbers that are held at once while features are derived: 16 MB.
_CELLS = 2**21
# Pairs of the recursive strategy that may be forecast at once.
_SHARING = 2**17


@dataclass(frozen=True, slots=True)
class Derivation:
    """The features of pairs, and what their predictions are added to.

    matrix: float64 (n, features), as the model's card has them.
    offset: float64 (n,): baseline, or what differences are undone with; None: nothing.
    """

    matrix: Floats
    offset: Floats | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts of pairs.

    sums: float64 (n, k): what the model says and the offset; with a logarithm that of
        the prediction, before its inverse.
    values: float64 (n, k), see `Backend.predict`; regression in the target's units.
    """

    derivation: Derivation
    sums: Floats
    values: Floats


def grid_of(panel: Panel, pairs: Pairs, most: int | None = None) -> Grid:
    """The part of a panel that pairs look at.

    most: cells; more raise ForecastTooLarge.
    """
    low = int(pairs.origins.min()) + panel.spec.effective_start + 1
    high = int((pairs.origins + pairs.distances).max())
    return panel.grid(low, high, most)


def parts_of(pairs: Pairs, spec: Spec, most: int = sys.maxsize) -> Iterator[slice]:
    """Cut pairs into parts that are forecast in bounded memory.

    most: pairs in a part; of the recursive strategy more, where they share origins:
        what is predicted on the way is predicted again for every part.
    """
    if spec.strategy == "recursive":
        yield from _recursive_parts(pairs, spec, max(most, _SHARING))
        return
    window = spec.history * len(spec.historic_columns)
    step = max(1, min(most, _CELLS // max(window, len(spec.features), 1)))
    for start in range(0, len(pairs), step):
        yield slice(start, min(start + step, len(pairs)))


def _recursive_parts(pairs: Pairs, spec: Spec, most: int) -> Iterator[slice]:
    """Parts that begin where an origin does."""
    window = (spec.history + spec.forecast_window.end) * len(spec.historic_columns)
    origins = max(1, _CELLS // window)
    most = max(1, min(most, _CELLS // len(spec.features)))
    of_pair = Origins.of(pairs).of_pair
    begins = np.zeros(len(pairs), np.int64)
    begins[np.unique(of_pair, return_index=True)[1]] = 1
    begun = np.cumsum(begins)
    start = 0
    while start < len(pairs):
        # Of those begun before, some may go on.
        end = int(np.searchsorted(begun, begun[start] + origins))
        end = min(end, start + most, len(pairs))
        if end < len(pairs):
            whole = np.flatnonzero(begins[start + 1 : end + 1])
            end = start + 1 + int(whole[-1]) if len(whole) else end
        yield slice(start, end)
        start = end


# What is beyond all numbers is a missing feature, or refused when all is done.
@np.errstate(over="ignore", invalid="ignore")
def forecast(panel: Panel, grid: Grid, pairs: Pairs, model: Model) -> Forecast:
    """Forecast pairs, one or more, from what was known at their origins."""
    if panel.spec.strategy == "recursive":
        return _Recursion.of(panel, grid, pairs).forecast(model)
    derivation = derive_direct(panel, grid, pairs)
    answers = model(derivation.matrix)
    if derivation.offset is not None:
        answers = answers + derivation.offset[:, None]
    return Forecast(derivation, answers, inverse(answers, panel.spec))


def derive_direct(panel: Panel, grid: Grid, pairs: Pairs) -> Derivation:
    """Derive the features of pairs that are predicted at once, and their baseline."""
    spec = panel.spec
    origins = Origins.of(pairs)
    history = History.gather(panel, grid, origins, ahead=0)
    ahead = Ahead(
        origins.of_pair,
        pairs.distances,
        pairs.series,
        pairs.rows,
        panel.times[pairs.rows],
    )
    matrix = with_distances(spec, derive(panel, history, ahead), pairs.distances)
    baseline = baseline_of(spec)
    if baseline is None:
        return Derivation(matrix, None)
    end = spec.feature_derivation_window.end
    offsets = seasonal_offsets(pairs.distances, baseline.period, end)
    last = history.at(spec.target, "transformed", origins.of_pair, offsets)
    return Derivation(matrix, last)


def with_distances(spec: Spec, matrix: Floats, distances: Ints) -> Floats:
    """One more column where the distance chooses among several model files."""
    if not spec.models:
        return matrix
    return np.column_stack([matrix, distances])


@dataclass(frozen=True, slots=True)
class _Recursion:
    """Steps predicted one after the other, each from those before it.

    last: int64 (origins,): the furthest distance wanted of each.
    """

    panel: Panel
    grid: Grid
    pairs: Pairs
    origins: Origins
    last: Ints
    history: History

    @classmethod
    def of(cls, panel: Panel, grid: Grid, pairs: Pairs) -> _Recursion:
        origins = Origins.of(pairs)
        last = origins.furthest(pairs)
        # What came after the origins is not looked at: it was not known there.
        history = History.gather(panel, grid, origins, ahead=int(last.max()))
        return cls(panel, grid, pairs, origins, last, history)

    def forecast(self, model: Model) -> Forecast:
        pairs, spec = self.pairs, self.panel.spec
        matrix = np.empty((len(pairs), len(spec.features)))
        offset, values = np.empty(len(pairs)), np.empty((len(pairs), 1))
        for distance in range(1, int(self.last.max()) + 1):
            wanted = np.flatnonzero(self.last >= distance)
            derived = derive(
                self.panel,
                self.history.forward(distance - 1),
                self._ahead(wanted, distance),
            )
            answers = model(derived)[:, 0]
            sums = self._undo(answers, wanted, distance)
            # Where each of them stands among those that were predicted now.
            place = np.empty(len(self.origins), np.int64)
            place[wanted] = np.arange(len(wanted))
            here = np.flatnonzero(pairs.distances == distance)
            found = place[self.origins.of_pair[here]]
            matrix[here] = derived[found]
            values[here, 0] = sums[found]
            offset[here] = sums[found] - answers[found]
        return Forecast(
            Derivation(matrix, offset if spec.differenced else None),
            values,
            inverse(values, spec),
        )

    def _ahead(self, wanted: Ints, distance: int) -> Ahead:
        """The rows so many steps after some origins."""
        series = self.origins.series[wanted]
        steps = self.origins.steps[wanted] + distance
        rows = self.grid.find(series, steps).astype(np.int64)
        times = self.panel.times_at(self.grid, series, steps)
        ones = np.ones(len(wanted), np.int64)
        return Ahead(wanted, ones, series, rows, times)

    def _undo(self, answers: Floats, wanted: Ints, distance: int) -> Floats:
        """Undo the transforms of a step, and keep what comes of each.

        Returns the step's values on the scale that is added up on.
        """
        levels, low = self.history.levels, self.history.low
        place = distance - low
        transforms = list(self.panel.spec.transforms)
        value = sums = answers
        levels[-1][wanted, place] = value
        for level in range(len(transforms) - 1, -1, -1):
            transform = transforms[level]
            if isinstance(transform, Difference):
                before = levels[level][wanted, place - transform.period]
                value = sums = value + before
            elif isinstance(transform, Log1p):
                value = inverse(value, self.panel.spec)
            levels[level][wanted, place] = value
        return sums
