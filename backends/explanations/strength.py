"""The qualitative strength of an explanation: how much of its row's it is, in signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# From the strongest against to the strongest for; as far from either end of the middle
# as `_grades` says.
SYMBOLS = ("---", "--", "-", "<-", "<+", "+", "++", "+++")

# Strengths of a row and class that are added up to what a strength is a share of.
_LARGEST = 10
# A share below this is next to nothing.
_LEAST = 0.001
# Shares this close to a bound, relatively, are on it: 0.3 is a fifth of five times 0.3,
# but float64 makes it a little less or more.
_NOISE = 1e-9


def symbols(strengths: Floats, features_of_model: int) -> NDArray[np.intp]:
    """Find the symbol of every strength.

    strengths: float64 (..., f), all that a row and class have, in any order.
    features_of_model: how many features the model takes, explained or not.
    Returns int (..., f), positions in SYMBOLS. A strength of 0 counts as negative.

    Source: "XEMP calculation reference", qualitative strength.
    """
    size = np.abs(strengths)
    largest = np.sort(size, axis=-1)[..., -_LARGEST:]
    whole = largest.sum(axis=-1, keepdims=True)
    # Where all are 0 each of them is none of it.
    share = np.divide(size, whole, out=np.zeros_like(size), where=whole > 0)
    grades = _grades(share, features_of_model)
    return np.where(strengths > 0, 4 + grades, 3 - grades)


def _grades(share: Floats, features: int) -> NDArray[np.intp]:
    """How many signs a share of the whole is worth: 0 for next to nothing, to 3."""
    grades = (share >= _LEAST * (1 - _NOISE)).astype(np.intp)
    if features == 1:
        return grades * 3
    for bound in _bounds(features):
        grades += share > bound * (1 + _NOISE)
    return grades


def _bounds(features: int) -> tuple[float, float]:
    """Above the first a share is worth two signs, above the second three."""
    if features == 2:
        return 0.25, 0.75
    if features < 10:
        return 1 / (2 * features), 2 / features
    return 0.05, 0.2
