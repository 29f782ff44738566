"""Proves that the tree engine answers what the model's own library answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.validation import measure_difference
from backends.base import Backend
from backends.features import Columns, DataError
from backends.model import Model

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class AnswersDiffer(ValueError):
    """The engine answers a row otherwise than the library; the message shows it."""


def prove_equal(trees: Backend, library: Backend, columns: Columns, what: str) -> None:
    """Score rows with both; together, and by the engine also one at a time.

    A LightGBM model's raw scores must be the same to the bit, its predictions to one
    unit in the last place; a graph's answers to what float32 rounds.

    what: the rows, for the message. Raises AnswersDiffer, also where the library
    refuses rows.
    """
    for kind, ask in (("raw score", _raw_scores), ("prediction", _predict)):
        try:
            expected = ask(library, columns)
        except DataError as error:
            raise AnswersDiffer(f"{library.engine} refuses {what}: {error}") from error
        _compare(
            library.model, f"{kind} of {what}", kind, expected, ask(trees, columns)
        )
        singly = [ask(trees, _row(columns, row)) for row in range(len(columns))]
        place = f"{kind} of {what} one by one"
        _compare(library.model, place, kind, expected, np.concatenate(singly))


def _raw_scores(backend: Backend, columns: Columns) -> Floats:
    return backend.raw_scores(columns)


def _predict(backend: Backend, columns: Columns) -> Floats:
    return backend.predict(columns)


def _row(columns: Columns, row: int) -> Columns:
    return columns.take(np.array([row]))


def _compare(
    model: Model, place: str, kind: str, expected: Floats, answered: Floats
) -> None:
    if expected.shape != answered.shape:
        raise AnswersDiffer(f"the {place} has the shape {answered.shape}")
    if model.format != "lightgbm":
        finite = _all(np.isfinite(expected))
        _refuse(place, expected, answered, finite | _all(_same(expected, answered)))
        if finite.any():
            try:
                measure_difference(model, place, expected[finite], answered[finite])
            except ValueError as error:
                raise AnswersDiffer(str(error)) from error
    elif kind == "raw score":
        _refuse(place, expected, answered, _all(_same(expected, answered)))
    else:
        # One minus a probability has the last place of the probability.
        unit = np.spacing(np.abs(_unflipped(model, expected)))
        with np.errstate(invalid="ignore"):
            is_near = np.abs(expected - answered) <= unit
        is_near |= _same(expected, answered)
        _refuse(place, expected, answered, _all(is_near))


def _unflipped(model: Model, values: Floats) -> Floats:
    flip = model.task == "binary" and model.positive_label == model.labels[0]
    return 1.0 - values if flip else values


def _all(cells: Bools) -> Bools:
    """Which rows are right in every cell."""
    return np.asarray(cells.all(axis=1))


def _same(one: Floats, other: Floats) -> Bools:
    """Which numbers are the same, a zero's sign included; NaN is NaN."""
    same = (one == other) & (np.signbit(one) == np.signbit(other))
    return np.asarray(same | (np.isnan(one) & np.isnan(other)))


def _refuse(place: str, expected: Floats, answered: Floats, is_right: Bools) -> None:
    if not is_right.all():
        row = int(np.argmin(is_right))
        raise AnswersDiffer(
            f"the {place} differs in row {row}: {answered[row].tolist()} instead of"
            f" {expected[row].tolist()}"
        )
