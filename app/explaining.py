"""Which explanations a request gets, and what of each row's is worth telling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from backends.explanations.materials import Materials
from backends.features import Columns

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """SHAP values that do not add up to what they explain.

    largest: of the differences, as a share of what is explained. rows: how many of
    the rows that were looked at.
    """

    largest: float
    rows: int


@dataclass(frozen=True, slots=True)
class Explanations:
    """The features that count most, for each row and class that is explained.

    Every row has as many classes and features; those of rows that are not explained
    mean nothing.

    explained: bool (n_rows,): which rows are explained at all.
    classes: int (n_rows, c): positions of labels; 0 unless multiclass.
    features: int (n_rows, c, k): positions among the model's features, the greatest
        strength first.
    strengths: float64 (n_rows, c, k).
    symbols: int (n_rows, c, k): positions in `strength.SYMBOLS`; XEMP only.
    base, remaining: float, and float64 (n_rows,): what is added to the strengths told,
        and the sum of those not told; SHAP only.
    mismatch: SHAP, if there is one.
    """

    explained: NDArray[np.bool_]
    classes: Ints
    features: Ints
    strengths: Floats
    symbols: Ints | None = None
    base: float = 0.0
    remaining: Floats | None = None
    mismatch: Mismatch | None = None


@dataclass(frozen=True, slots=True)
class Explaining:
    """What a request wants explained, of a model.

    algorithm: one of `backends.explanations.ALGORITHMS`.
    most: features told of a row and class, at least 1; fewer where there are fewer.
    low, high: rows whose prediction is below low or above high are explained; both
        None: all.
    top_classes: multiclass: how many of the most probable classes of a row.
    classes: multiclass: positions of the labels to explain instead.
    deadline: when the time for explanations is over, monotonic seconds.
    """

    materials: Materials
    algorithm: Literal["xemp", "shap", "shap_probability"]
    most: int
    low: float | None = None
    high: float | None = None
    top_classes: int = 1
    classes: tuple[int, ...] = ()
    deadline: float = float("inf")

    def explain(
        self, backend: Backend, columns: Columns, values: Floats
    ) -> Explanations:
        """Explain rows, a block at a time.

        values: float64 (n_rows, k), what the backend predicted for them.
        Raises NotInitialized, NotExplainable and ExplanationTooSlow.
        """
        raise NotImplementedError
