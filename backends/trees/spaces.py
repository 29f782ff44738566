"""Scales on which explanations are told that are linear in the trees' sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.model import Model
from backends.trees.tables import Number, Scale, Section, section
from backends.trees.transforms import CODES

Floats = NDArray[np.float64]

_NAMES = {code: name for name, code in CODES.items()}


@dataclass(frozen=True, slots=True)
class Scores:
    """What is linear in the sums of a row's trees.

    factors: float64 (scores, sums). constants: float64 (scores,).
    """

    factors: Floats
    constants: Floats

    def of(self, sums: Floats) -> Floats:
        """float64 (n_rows, scores) of the sums (n_rows, sums) of the trees."""
        return np.asarray(sums @ self.factors.T + self.constants)


@dataclass(frozen=True, slots=True)
class _Given:
    """What the scales depend on.

    positive: of a binary model the place of the positive label, 0 or 1.
    """

    model: Model
    transform: str
    parameter: float
    sums: int
    positive: int

    @property
    def sign(self) -> float:
        """Of a binary model's one sum, which is the second label's."""
        return 1.0 if self.positive else -1.0

    @property
    def difference(self) -> Floats:
        """Of two sums that of the positive label, less the other."""
        row = np.full((1, 2), -1.0)
        row[0, self.positive] = 1.0
        return row


def log_odds(image: NDArray[np.int32], model: Model) -> Scores | None:
    """The scale of XEMP: log-odds of the positive label for binary models; for others
    the logarithm of each probability less their mean; the prediction for regression.

    None where it is not linear in the sums.
    """
    given = _given(image, model)
    factors = {
        "regression": _REGRESSION,
        "binary": _LOGISTIC,
        "multiclass": _CENTRED,
    }[model.task].get(given.transform)
    if factors is None:
        return None
    return _scores(image, factors(given))


def margin(image: NDArray[np.int32], model: Model) -> Scores | None:
    """The scale of SHAP: the raw score, of binary models for the positive label.

    That is the log-odds where the sums become a probability by a logistic function or
    a softmax, and the probability itself where they are added up to it, as in random
    forests. None where there is no such scale, and for several classes.
    """
    given = _given(image, model)
    if model.task == "multiclass":
        return None
    if model.format == "lightgbm":
        # As the library's own contributions: before the objective's sigmoid.
        sign = given.sign if model.task == "binary" else 1.0
        return _scores(image, np.array([[sign]]))
    if model.task == "regression":
        scale = given.parameter if given.transform == "float_scale" else 1.0
        return _scores(image, np.full((1, 1), scale))
    if given.transform in _LOGISTIC:
        return _scores(image, _LOGISTIC[given.transform](given))
    if given.transform == "float_opposites":
        return _scores(image, np.array([[given.sign * given.parameter]]))
    return probability(image, model)


def probability(image: NDArray[np.int32], model: Model) -> Scores | None:
    """Binary: the positive label's probability, where the trees add up to it.

    None where they do not.
    """
    given = _given(image, model)
    if model.task != "binary" or given.transform not in _ADDED_UP:
        return None
    scale = given.parameter if given.transform == "float_scale" else 1.0
    if given.sums == 2:
        row = np.zeros((1, 2))
        row[0, given.positive] = scale
        return _scores(image, row)
    constant = 1.0 - given.positive
    return _scores(image, np.array([[given.sign * scale]]), constant)


Factors = Mapping[str, Callable[[_Given], Floats]]

_REGRESSION: Factors = {
    "identity": lambda given: np.ones((1, 1)),
    "float_scale": lambda given: np.full((1, 1), given.parameter),
}


def _logistic(given: _Given) -> Floats:
    if given.sums == 1:
        return np.array([[given.sign * given.parameter]])
    row = np.zeros((1, given.sums))
    row[0, given.positive] = given.parameter
    return row


_LOGISTIC: Factors = {
    "sigmoid": _logistic,
    "float_logistic": _logistic,
    "float_logistic_opposites": _logistic,
    "float_logistic_complements": _logistic,
    "softmax": lambda given: given.difference,
    "float_softmax": lambda given: given.difference,
}


def _centred(given: _Given) -> Floats:
    return np.eye(given.sums) - 1.0 / given.sums


_CENTRED: Factors = {"softmax": _centred, "float_softmax": _centred}

_ADDED_UP = ("identity", "float_scale", "float_complements")


def _given(image: NDArray[np.int32], model: Model) -> _Given:
    numbers = section(image, Section.NUMBERS)
    positive = 1
    if model.task == "binary":
        assert model.positive_label is not None
        positive = model.labels.index(model.positive_label)
    return _Given(
        model,
        _NAMES[int(numbers[Number.TRANSFORM])],
        float(section(image, Section.SCALES)[Scale.PARAMETER]),
        int(numbers[Number.SUMS]),
        positive,
    )


def _scores(image: NDArray[np.int32], factors: Floats, constant: float = 0.0) -> Scores:
    """Of the sums as the trees add up to them, before divisor and base."""
    divisor = float(section(image, Section.SCALES)[Scale.DIVISOR])
    base = section(image, Section.BASE)
    return Scores(factors / divisor, factors @ base + constant)
