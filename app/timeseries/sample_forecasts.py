"""Forecasts of a golden sample, found another way than serving finds them.

Features are derived from the training data, the training library answers them, and
transforms are undone number by number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.golden import Answer, Record
from app.timeseries.sample_replay import derived_cells
from app.timeseries.sample_request import Ahead, history_of
from backends.model import Model
from backends.timeseries.panel import Panel
from backends.timeseries.spec import Baseline, Difference, Log1p, Spec, Static
from backends.timeseries.training import TrainingRows, panel_of_table, training_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleForecast:
    """One forecast: of which row of the training data, and what is answered.

    features: the derived row that it is made from.
    """

    series: int
    row: int
    distance: int
    features: Record
    values: Sequence[float]


def forecast_directly(
    model: Model,
    answer: Answer,
    panel: Panel,
    training: TrainingRows,
    origin: int,
    ahead: Sequence[Ahead],
) -> Iterator[SampleForecast]:
    """Forecasts of all distances at once."""
    for each in ahead:
        derived = derived_cells(model, training.matrix[each.pairs])
        values, _ = answer(derived)
        known = _targets(panel, each.series)
        for row, distance, features, own in zip(
            each.rows.tolist(),
            each.distances.tolist(),
            derived,
            values.tolist(),
            strict=True,
        ):
            if model.task == "regression":
                own = [_undone(own[0], panel.spec, known, origin, distance)]
            yield SampleForecast(each.series, row, distance, features, own)


def _undone(
    value: float, spec: Spec, known: Mapping[int, float], origin: int, distance: int
) -> float:
    """A direct model's answer without its transforms."""
    is_log = any(isinstance(each, Log1p) for each in spec.transforms)
    for transform in reversed(spec.transforms):
        if isinstance(transform, Baseline):
            step = origin + distance
            while step > origin + spec.feature_derivation_window.end:
                step -= transform.period
            value += math.log1p(known[step]) if is_log else known[step]
        elif isinstance(transform, Log1p):
            value = math.expm1(value)
    return value


def forecast_recursively(
    model: Model,
    answer: Answer,
    table: pa.Table,
    panel: Panel,
    training: TrainingRows,
    origin: int,
    ahead: Sequence[Ahead],
) -> Iterator[SampleForecast]:
    """Forecasts step by step, as if those before had come true.

    table: the training data as its file has it.
    """
    spec = panel.spec
    # Nothing is known of the series after the forecast point, but of the target.
    held = [
        position
        for position, feature in enumerate(spec.features)
        if isinstance(feature, Static) and feature.column != spec.target
    ]
    for each in ahead:
        own = _looked_at(panel, each, origin)
        rows = _without_future(table.take(own), spec, panel.steps[own] > origin)
        known = _targets(panel, each.series)
        known = {step: value for step, value in known.items() if step <= origin}
        # The first is the one step that all of the data says the features of.
        first = training.matrix[each.pairs[:1]]
        for row, distance in zip(
            each.rows.tolist(), each.distances.tolist(), strict=True
        ):
            step = origin + distance
            matrix = first
            if distance > 1:
                matrix = _derived(rows, panel, own, known, row)
                matrix[:, held] = first[:, held]
            derived = derived_cells(model, matrix)
            values, _ = answer(derived)
            sums = float(values[0, 0])
            for place in range(len(spec.transforms) - 1, -1, -1):
                transform = spec.transforms[place]
                if isinstance(transform, Difference):
                    before = step - transform.period
                    sums += _level(known, spec, place, before)
                elif isinstance(transform, Log1p):
                    sums = math.expm1(sums)
            known[step] = sums
            if distance >= spec.forecast_window.start:
                yield SampleForecast(each.series, row, distance, derived[0], [sums])


def _looked_at(panel: Panel, ahead: Ahead, origin: int) -> Ints:
    """The rows that forecasts of a series may look at, in the table's order."""
    steps = panel.steps
    first = steps[history_of(panel, ahead.series, origin)].min()
    is_own = (panel.series == ahead.series) & (steps >= first)
    return np.flatnonzero(is_own & (steps <= steps[ahead.rows].max()))


def _level(known: Mapping[int, float], spec: Spec, place: int, step: int) -> float:
    """A step's target with the first so many of the transforms."""
    if place == 0:
        return known[step]
    value = _level(known, spec, place - 1, step)
    transform = spec.transforms[place - 1]
    if isinstance(transform, Difference):
        return value - _level(known, spec, place - 1, step - transform.period)
    return math.log1p(value)


def _without_future(
    table: pa.Table, spec: Spec, is_future: NDArray[np.bool_]
) -> pa.Table:
    """The columns of a spec, of future rows only what is known in advance."""
    kept = (spec.datetime_column, spec.series_id_column, *spec.known_in_advance)
    columns = {name: table[name] for name in kept if name is not None}
    for name in spec.columns:
        if name not in columns:
            columns[name] = pc.if_else(pa.array(is_future), None, table[name])
    return pa.table(columns)


def _derived(
    rows: pa.Table, panel: Panel, own: Ints, known: Mapping[int, float], row: int
) -> Floats:
    """The features of one row, if the target were known up to it; (1, features).

    rows: of its series. own: which ones of the panel they are.
    """
    spec = panel.spec
    # Of the row itself anything will do: nothing looks at it.
    target = [known.get(step, math.nan) for step in panel.steps[own].tolist()]
    target[own.tolist().index(row)] = 0.0
    place = rows.column_names.index(spec.target)
    rows = rows.set_column(place, spec.target, [pa.array(target, pa.float64())])
    training = training_rows(panel_of_table(rows, spec))
    return np.asarray(training.matrix[own[training.pairs.rows] == row])


def _targets(panel: Panel, series: int) -> dict[int, float]:
    """The targets that are known of a series, by step."""
    own = np.flatnonzero((panel.series == series) & ~np.isnan(panel.target))
    steps, values = panel.steps[own].tolist(), panel.target[own].tolist()
    return dict(zip(steps, values, strict=True))
