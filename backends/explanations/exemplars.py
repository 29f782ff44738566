"""Exemplars: the values of each feature that XEMP puts in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.features import Columns

# Features that are explained, and exemplars of each beside the missing value.
MOST_FEATURES = 50
MOST_VALUES = 10


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Up to ten values of each feature that is explained, and how frequent they are.

    features: int (f,): positions among the model's features, the one of the greatest
        impact first; at most 50.
    columns: a row for the first exemplar of every feature, one for the second, and so
        on; where a feature has fewer, and in features that are not explained, it holds
        something or other.
    weights: float64 (len(columns), f): frequencies, each column adds up to 1; 0 where
        a feature has fewer exemplars.
    """

    features: NDArray[np.intp]
    columns: Columns
    weights: NDArray[np.float64]
