"""Whether SHAP values add up to what they explain."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from backends.explanations.base import NotExplainable, Strengths

# Rows of a block whose SHAP values are added up.
_LOOKED_AT = 64
# Differences from the model's own totals, as shares: what is told of, and what no
# values are told with. Below the smallest whole a difference is as it is.
_NOTEWORTHY = 1e-6
_UNBEARABLE = 0.01
_SMALLEST = 1e-12

log = logging.getLogger(__name__)


class Additivity:
    """Holds SHAP values against what the model itself says, on rows of each block.

    The difference is taken as a share of the total, or of what the strengths have to
    explain, total less base, if that is more: a total near 0 that large strengths
    cancel out to is no measure of them. What the model itself rounds is allowed for.

    largest: of the shares. rows: how many of those looked at have one worth telling.

    Source: "SHAP reference", additivity.
    """

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id
        self.largest = 0.0
        self.rows = 0

    def look_at(self, part: Strengths) -> None:
        """Raise NotExplainable if values and totals have little to do with another."""
        if part.base is None or part.total is None:
            return
        rows = _spread(len(part.values))
        total, base = part.total[rows], part.base[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            values = part.values[rows]
            sizes = np.abs(base) + np.abs(values).sum(axis=2)
            difference = np.abs(base + values.sum(axis=2) - total)
            difference = np.maximum(difference - part.rounding * sizes, 0.0)
            whole = np.maximum(np.abs(total), np.abs(total - base))
            shares = (difference / np.maximum(whole, _SMALLEST)).max(axis=1)
        # What is not finite counts as infinitely far.
        shares = np.where(np.isfinite(shares), shares, np.inf)
        self.largest = max(self.largest, float(shares.max(initial=0.0)))
        self.rows += int((shares > _NOTEWORTHY).sum())
        if self.largest > _UNBEARABLE:
            self.warn()
            raise NotExplainable(
                "SHAP values of this model cannot be told: they do not add up to its"
                f" predictions but miss them by more than {_UNBEARABLE:.0%}"
            )

    def warn(self) -> None:
        """Say in the log what there is to warn of, if anything."""
        if not self.rows:
            return
        log.warning(
            "SHAP values of model %s do not add up in %d rows; the largest difference"
            " is %.3g of what they explain",
            *(self._model_id, self.rows, self.largest),
        )


def _spread(rows: int) -> NDArray[np.intp]:
    """Some of so many rows, from the first to the last; all if they are few."""
    return np.unique(np.linspace(0, rows - 1, min(rows, _LOOKED_AT)).astype(np.intp))
