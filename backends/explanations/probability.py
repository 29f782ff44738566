"""Probabilities of log-odds, and how fast they rise with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def logistic(margins: Floats) -> Floats:
    """The probabilities of log-odds."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-margins)))


def slopes(own: Floats, others: Floats) -> Floats:
    """Difference in probability for each unit of log-odds: float64 (n_rows, others).

    own: float64 (n_rows, 1), others: (others,), log-odds; of equals the derivative.
    """
    half = (own - others) / 2.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        far = (logistic(own) - logistic(others)) / (2.0 * half)
        # The same number; but of close margins the difference has lost its digits.
        near = np.sqrt(_steepness(own) * _steepness(others))
        near = near * np.where(half == 0.0, 1.0, np.sinh(half) / half)
    return np.where(np.abs(half) < 1.0, near, far)


def _steepness(margins: Floats) -> Floats:
    """The derivative of the logistic function."""
    return np.asarray(logistic(margins) * logistic(-margins))
