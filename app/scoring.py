"""Typed columns to predictions; knows no HTTP, serves requests and jobs alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from app.errors import PredictionNotFinite
from app.explaining import Explaining, Explanations
from backends import humility
from backends.base import Backend
from backends.features import Columns
from backends.humility import Humbled, HumilityError, Rule
from backends.model import Model


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment adds to its model.

    threshold: a binary prediction is positive above it.
    outlier_bounds: regression predictions outside are flagged; None: not asked for.
    humility: rules that fit the model, in their order.
    count: is told what the rules found, also when they refuse the request.
    explaining: what is to be explained; None: nothing.
    """

    threshold: float
    outlier_bounds: tuple[float, float] | None = None
    humility: tuple[Rule, ...] = ()
    explaining: Explaining | None = None
    count: Callable[[tuple[Rule, ...], Humbled], None] | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scored rows.

    values: float64 (n_rows, k), see `Backend.predict`; every one finite.
    positive: binary, bool (n_rows,): above the threshold.
    outliers: bool (n_rows,), or None if not asked for.
    humbled: what the humility rules found, or None if there are none.
    explanations: or None if not asked for.
    """

    values: NDArray[np.float64]
    positive: NDArray[np.bool_] | None = None
    outliers: NDArray[np.bool_] | None = None
    humbled: Humbled | None = None
    explanations: Explanations | None = None

    def __len__(self) -> int:
        return len(self.values)


def score(
    backend: Backend,
    columns: Columns,
    rules: Rules,
    *,
    first_row: int = 0,
) -> Predictions:
    """Predict, and do with the predictions what the rules say.

    first_row: number of the first of these rows in the request, for messages.
    Raises PredictionNotFinite naming the row, and what `judged` raises.
    """
    values = backend.predict(columns)
    refuse_not_finite(values, range(first_row, first_row + len(values)))
    return judged(backend, columns, values, rules)


def judged(
    backend: Backend,
    columns: Columns,
    values: NDArray[np.float64],
    rules: Rules,
    *,
    new_series: NDArray[np.bool_] | None = None,
) -> Predictions:
    """Apply the threshold, flag outliers, hold against rules, explain.

    values: what the backend predicted for the rows, all finite.
    new_series: bool (n_rows,): which rows are of a time series that training did not
        have; None: nobody knows.
    Raises HumilityError, and what `Explaining.explain` raises.
    """
    positive = None
    if backend.model.task == "binary":
        positive = backend.apply_threshold(values, rules.threshold)
    outliers = None
    if rules.outlier_bounds is not None:
        outliers = backend.flag_outliers(values, rules.outlier_bounds)
    humbled = None
    if rules.humility:
        humbled = _judge(rules, backend.model, columns, values, new_series)
    explanations = None
    if rules.explaining is not None:
        explanations = rules.explaining.explain(backend, columns, values)
    return Predictions(values, positive, outliers, humbled, explanations)


def _judge(
    rules: Rules,
    model: Model,
    columns: Columns,
    values: NDArray[np.float64],
    new_series: NDArray[np.bool_] | None,
) -> Humbled:
    try:
        humbled = humility.judge(rules.humility, model, columns, values, new_series)
    except HumilityError as error:
        if rules.count is not None:
            rules.count(rules.humility, error.humbled)
        raise
    if rules.count is not None:
        rules.count(rules.humility, humbled)
    return humbled


def refuse_not_finite(
    values: NDArray[np.float64], rows: Sequence[int] | NDArray[np.int64]
) -> None:
    """Raise PredictionNotFinite for the first row with a value that is no number.

    values: float64 (n_rows, k). rows: their numbers in the request.
    """
    # Most requests have one row, and numpy's calls cost as much for it as for many.
    if values.size == 1 and isfinite(values.item()):
        return
    finite = np.isfinite(values)
    if not np.logical_and.reduce(finite, axis=None):
        raise PredictionNotFinite(int(rows[int(np.argmin(finite.all(axis=1)))]))


def outlier_bounds(
    model: Model, lower: float | None, upper: float | None
) -> tuple[float, float] | None:
    """The deployment's own bounds, else those of the holdout; regression only."""
    if model.task != "regression":
        return None
    low, high = model.prediction_bounds or (-np.inf, np.inf)
    return (low if lower is None else lower, high if upper is None else upper)
