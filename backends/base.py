"""What every backend does: predict; and what all do alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends import explanations

if TYPE_CHECKING:
    from pathlib import Path

    from backends.explanations.base import Strengths
    from backends.explanations.materials import Materials
    from backends.features import Columns
    from backends.model import Model


class ModelFileRejected(ValueError):
    """The model file cannot be served; the message says why and what would help."""


class Backend(ABC):
    """A loaded model. Safe to call from many threads at once.

    engine: what computes the answers, in a word: `trees` for the project's own engine,
        else the library's name.
    nbytes: memory that the loaded model holds, for the model cache's budget.
    """

    engine: str
    model: Model
    nbytes: int

    @abstractmethod
    def __init__(self, folder: Path, model: Model) -> None:
        """Load the model file of the bundle in `folder`.

        Raises ModelFileRejected.
        """

    @abstractmethod
    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Score rows.

        Returns float64 (n_rows, k): regression k = 1, in target units; binary
        k = 1, the positive label's probability; multiclass one probability for each
        label, in the model's order.
        """

    @abstractmethod
    def raw_scores(self, columns: Columns) -> NDArray[np.float64]:
        """Score rows without the objective's transform.

        Returns float64 (n_rows, k), k as the model file has it: the margin of a
        boosted model, without an offset; what the graph answers of an ONNX model.
        """

    def apply_threshold(
        self, values: NDArray[np.float64], threshold: float
    ) -> NDArray[np.bool_]:
        """Tell which rows are positive: strictly above the threshold.

        values: float64 (n_rows, 1), probabilities of the positive label.
        Returns bool (n_rows,).
        """
        return np.asarray(values[:, 0] > threshold)

    def flag_outliers(
        self, values: NDArray[np.float64], bounds: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """Mark predictions outside the range seen in training.

        values: float64 (n_rows, 1), in target units.
        bounds: low and high in the same unit; a value on a bound is not an outlier.
        Returns bool (n_rows,).

        Source: "Predictions for deployments", argument predictionWarningEnabled.
        """
        low, high = bounds
        return np.asarray((values[:, 0] < low) | (values[:, 0] > high))

    def explain(
        self,
        columns: Columns,
        algorithm: str,
        materials: Materials,
        deadline: float = float("inf"),
    ) -> Strengths:
        """Tell what each feature adds to the predictions of rows.

        algorithm: one of `backends.explanations.ALGORITHMS`.
            xemp: by how much each feature's value, instead of the exemplars, changes
            the prediction; log-odds for binary, centred log-probabilities for
            multiclass, target units for regression.
            shap: Shapley values that add up to the raw score; of binary models the
            margin for the positive label.
            shap_probability: binary: those that add up to the probability; of no model
            with an offset.
        materials: of this model's bundle.
        deadline: when the time for it is over, monotonic seconds.

        Raises NotInitialized, NotExplainable and ExplanationTooSlow.
        """
        return explanations.explain(algorithm, self, columns, materials, deadline)
