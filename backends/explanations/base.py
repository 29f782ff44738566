"""What every explanation algorithm gives, and what can stand in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from backends.model import Model

Floats = NDArray[np.float64]


class NotInitialized(Exception):
    """The bundle lacks what the algorithm needs."""

    def __init__(self) -> None:
        super().__init__("Prediction Explanations are not initialized for the model")


class NotExplainable(Exception):
    """The algorithm does not explain such models; the message says what would."""


class ExplanationTooSlow(Exception):
    """Explaining the rows would take longer than it may."""

    def __init__(self) -> None:
        super().__init__(
            "The rows cannot be explained in the time that explanations may take:"
            " send fewer rows at once"
        )


@dataclass(frozen=True, slots=True)
class Strengths:
    """What each feature adds to the predictions of some rows.

    features: int (f,): positions among the model's features.
    values: float64 (n_rows, classes, f). classes is 1 for regression and for binary
        models, whose values are those of the positive label; else one for each label.
    base: float64 (n_rows, classes): what a row's values are added to, SHAP only. Of
        most models every row has the same, and this is a view of it.
    total: float64 (n_rows, classes): what base and a row's values add up to by the
        model itself, SHAP only.
    rounding: what total may be off by because the model rounds as it adds up, as a
        share of the sizes of base and strengths together.
    """

    features: NDArray[np.intp]
    values: Floats
    base: Floats | None = None
    total: Floats | None = None
    rounding: float = 0.0


def refuse_multiclass(model: Model) -> None:
    """Raise NotExplainable for a multiclass model."""
    if model.task == "multiclass":
        # The words of the documented table of errors.
        raise NotExplainable(
            "Multiclass models cannot be used for Prediction Explanations"
        )
