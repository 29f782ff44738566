"""XEMP: how a prediction changes when one feature at a time takes other values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    Strengths,
)
from backends.explanations.exemplars import Exemplars
from backends.explanations.materials import Materials
from backends.features import Columns, DataError
from backends.model import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Substituted rows that are predicted at once: so many, and so many cells.
_ROWS = 16_384
_CELLS = 2**20

# Probabilities of 0 and 1 would be infinitely far from all others.
_LEAST_PROBABILITY = 1e-15


def explain(
    backend: Backend, columns: Columns, materials: Materials, deadline: float
) -> Strengths:
    """Explain rows by predictions for rows in which one feature has another value.

    The strength of feature j in row x is the mean, over the exemplars e of j weighted
    by their frequencies, of space(x) - space(x with e in j's place).

    Raises NotInitialized; NotExplainable if the model has no finite prediction for
    such a row; ExplanationTooSlow.

    Source: "XEMP calculation reference".
    """
    exemplars = materials.exemplars
    own = _predict(backend, columns)
    strengths = np.zeros((len(columns), len(exemplars.features), own.shape[1]))
    for block in _blocks(columns, exemplars):
        if time.monotonic() > deadline:
            raise ExplanationTooSlow
        found = _predict(backend, block.substituted(columns, exemplars))
        change = (own[block.rows] - found) * block.weights(exemplars)[:, None]
        block.add(strengths, change)
    return Strengths(exemplars.features, strengths.transpose(0, 2, 1))


def space(task: Task, values: Floats) -> Floats:
    """Bring predictions to the scale that their differences are taken on.

    values: float64 (n_rows, k), see `Backend.predict`.
    Returns float64 (n_rows, k): target units for regression; the log-odds of the
    positive label for binary; for multiclass the logarithm of each probability less
    their mean, which is the raw score less its mean where a softmax made them.
    """
    if task == "regression":
        return values
    likely = np.clip(values, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    if task == "binary":
        return np.asarray(np.log(likely) - np.log1p(-likely))
    logs = np.log(likely)
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def _predict(backend: Backend, columns: Columns) -> Floats:
    try:
        values = backend.predict(columns)
    except DataError as error:
        # Its row is none that was sent.
        raise NotExplainable(
            "The model refuses rows that explanations need, in which one feature has"
            f" another value: {error}"
        ) from error
    if not np.isfinite(values).all():
        raise NotExplainable(
            "The rows cannot be explained: with another value of one of their features"
            " the model's prediction is not finite"
        )
    return space(backend.model.task, values)


@dataclass(frozen=True, slots=True)
class _Block:
    """Substitutions, each of one exemplar in one row, ordered by row and feature.

    rows: int (m,): numbers of the rows.
    places: int (m,): positions among the features that are explained.
    numbers: int (m,): of the exemplars.
    """

    rows: Ints
    places: Ints
    numbers: Ints

    def weights(self, exemplars: Exemplars) -> Floats:
        return exemplars.weights[self.numbers, self.places]

    def substituted(self, columns: Columns, exemplars: Exemplars) -> Columns:
        """A copy of each row with the exemplar in its place."""
        taken = columns.take(self.rows)
        features = exemplars.features[self.places]
        among = np.arange(len(features))
        taken.matrix[among, features] = exemplars.columns.matrix[self.numbers, features]
        for position, texts in taken.texts.items():
            here = np.flatnonzero(features == position)
            texts[here] = exemplars.columns.texts[position][self.numbers[here]]
        return taken

    def add(self, strengths: Floats, change: Floats) -> None:
        """Add what each substitution changes to the strength of its feature.

        strengths: (n_rows, f, k). change: (m, k).
        """
        # Those of one row and feature stand side by side.
        cells = self.rows * strengths.shape[1] + self.places
        firsts = np.flatnonzero(np.diff(cells, prepend=-1))
        sums = np.add.reduceat(change, firsts, axis=0)
        strengths[self.rows[firsts], self.places[firsts]] += sums


def _blocks(columns: Columns, exemplars: Exemplars) -> Iterator[_Block]:
    """Every substitution that makes another row of a row."""
    places, numbers = np.nonzero(exemplars.weights.T)
    most = max(1, min(_ROWS, _CELLS // columns.matrix.shape[1]))
    # Many rows at once, for blocks to be full.
    step = max(1, _CELLS // max(1, len(places)))
    for start in range(0, len(columns), step):
        rows = np.arange(start, min(start + step, len(columns)))
        differs = _differs(columns, exemplars, rows, places, numbers)
        row, pair = np.nonzero(differs)
        for first in range(0, len(row), most):
            part = slice(first, first + most)
            chosen = pair[part]
            yield _Block(rows[row[part]], places[chosen], numbers[chosen])


def _differs(
    columns: Columns, exemplars: Exemplars, rows: Ints, places: Ints, numbers: Ints
) -> NDArray[np.bool_]:
    """Whether each exemplar is another value than the row's; bool (rows, pairs)."""
    features = exemplars.features[places]
    values = columns.matrix[np.ix_(rows, features)]
    others = exemplars.columns.matrix[numbers, features]
    same = (values == others) | (np.isnan(values) & np.isnan(others))
    for position, texts in columns.texts.items():
        here = np.flatnonzero(features == position)
        other = exemplars.columns.texts[position][numbers[here]]
        same[:, here] = texts[rows, None] == other
    return np.asarray(~same)
