"""Humility rules: where a model should not be trusted, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.features import Columns
from backends.model import Label, Model

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UncertainPrediction:
    """Regression: a prediction outside the bounds; binary: a probability inside."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class OutlyingInput:
    """A number of a feature outside the bounds."""

    feature: str
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class LowObservation:
    """A level of a categorical feature that is not listed."""

    feature: str
    levels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class NoOperation:
    """The rule is only told of."""


@dataclass(frozen=True, slots=True)
class Override:
    """The prediction is replaced: a class label, or a number for regression."""

    value: Label


@dataclass(frozen=True, slots=True)
class ThrowError:
    """The request is refused."""

    message: str = "Humility ReturnError action triggered."


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger and an action, under a name. id: 24 hex digits."""

    id: str
    name: str
    trigger: UncertainPrediction | OutlyingInput | LowObservation
    action: NoOperation | Override | ThrowError


@dataclass(frozen=True, slots=True)
class Humbled:
    """What rules found in some rows.

    triggered: bool (rules, n_rows).
    overriding: int (n_rows,): the rule whose value takes the prediction's place; -1
        where none does.
    """

    triggered: Bools
    overriding: NDArray[np.intp]


class HumilityError(Exception):
    """A rule with ThrowError triggered; the message is the rule's."""


def judge(
    rules: Sequence[Rule], model: Model, columns: Columns, values: NDArray[np.float64]
) -> Humbled:
    """Hold rows against rules, in their order.

    values: float64 (n_rows, k), what the model predicted for them.
    Raises HumilityError if a rule that throws one triggers.
    """
    raise NotImplementedError
