"""The tables of an ensemble's paths, checked, and the compiled code that reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.explanations.base import ExplanationTooSlow
from backends.trees import image_file
from backends.trees.bits import ROWS
from backends.trees.contrast_kernels import contrast_rows
from backends.trees.ensemble import Ensemble
from backends.trees.paths import build_paths
from backends.trees.quadrature import rules
from backends.trees.shap_kernels import MOST_TABLED, shap_each, shap_rows
from backends.trees.tables import Number, Section, image, section
from backends.trees.xemp_kernels import weigh_exemplars, xemp_each, xemp_rows

Floats = NDArray[np.float64]
Longs = NDArray[np.intp]

_FILE = "paths.int32"

# Blocks cost about the same whatever the number of their rows: up to about so many,
# rows are quicker one by one.
_FEW_SHAP = 16
_FEW_XEMP = 32
# Rows in one call of a kernel, between which the time is looked at; and contrasts of
# rows with reference rows by leaves, which take about a second.
_CALL = 8 * ROWS
_CONTRASTS = 500_000_000


class Explainer:
    """Explains the sums of the trees. Safe to call from many threads at once.

    features, sums: columns of the matrix, and sums that trees add to.
    used: int (f,): the features that any tree asks.
    expected: float64 (sums,): the mean of the sums over the training rows; None if
        the model file does not tell.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        """Make the tables. Raises NotCovered."""
        self._use(image(build_paths(ensemble)))

    @classmethod
    def open(cls, folder: Path) -> Explainer:
        """Map the tables that `write` wrote. Raises ValueError as `Engine.open`."""
        explainer = cls.__new__(cls)
        tables = image_file.open(folder / _FILE)
        if not section(tables, Section.PATH_FIRST).size:
            raise ValueError(f"{_FILE!r} in {folder} holds other tables")
        explainer._use(tables)
        return explainer

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether there are tables to open."""
        return (folder / _FILE).exists()

    @staticmethod
    def remove(folder: Path) -> None:
        """Take away what `write` wrote, or began to."""
        (folder / _FILE).unlink(missing_ok=True)

    def write(self, folder: Path) -> None:
        """Write the tables for `open`, down to the disk."""
        image_file.write(self.image, folder / _FILE)

    def _use(self, tables: NDArray[np.int32]) -> None:
        self.image = tables
        self.image.flags.writeable = False
        numbers = section(tables, Section.NUMBERS)
        self.features = int(numbers[Number.FEATURES])
        self.sums = int(numbers[Number.SUMS])
        self.used = np.unique(section(tables, Section.ELEMENT_FEATURE)).astype(np.intp)
        self._longest = int(np.diff(section(tables, Section.PATH_FIRST)).max(initial=1))
        known = section(tables, Section.EXPECTED)
        self.expected: Floats | None = known if known.size else None

    def weigh(self, exemplars: Floats, weights: Floats) -> Floats:
        """How much of the exemplars' weight each element of the paths lets through.

        exemplars, weights: float64 (k, features): a feature's weights add up to 1.
        """
        share = np.zeros(section(self.image, Section.ELEMENT_FEATURE).size)
        if len(exemplars):
            weigh_exemplars(self.image, exemplars, weights, share)
        return share

    def xemp(
        self, matrix: Floats, share: Floats, features: Longs, deadline: float
    ) -> Floats:
        """What each feature's value, instead of its exemplars, adds to the sums.

        share: of `weigh`. features: int (f,), those that are asked for.
        Returns float64 (n_rows, sums, f). Raises ExplanationTooSlow.
        """
        slot = self._slots(features)
        out = np.zeros((len(matrix), self.sums, len(features)))
        for rows in _calls(len(matrix), _CALL, deadline):
            part = np.ascontiguousarray(matrix[rows])
            kernel = xemp_each if len(part) <= _FEW_XEMP else xemp_rows
            kernel(self.image, part, share, slot, out[rows])
        return out

    def shap(self, matrix: Floats, deadline: float) -> Floats:
        """Path-dependent Shapley values of the sums; only if `expected` is known.

        Returns float64 (n_rows, sums, len(used)); with `expected` they add up to the
        sums. Raises ExplanationTooSlow.
        """
        points, weights = rules(self._longest)
        slot = self._slots(self.used)
        out = np.empty((len(matrix), self.sums, len(self.used)))
        # Longer paths are gone through row by row.
        step = _CALL if self._longest <= MOST_TABLED else ROWS
        for rows in _calls(len(matrix), step, deadline):
            part = np.ascontiguousarray(matrix[rows])
            kernel = shap_each if len(part) <= _FEW_SHAP else shap_rows
            kernel(self.image, part, points, weights, slot, out[rows])
        return out

    def contrast(
        self,
        matrix: Floats,
        reference: Floats,
        scale: Callable[[slice], Floats],
        deadline: float,
    ) -> Floats:
        """Interventional Shapley values of the sums, over reference rows.

        reference: float64 (others, features).
        scale: tells for a slice of the rows what each contrast with a reference row is
            multiplied by before they are added up: float64 (rows, others).
        Returns float64 (n_rows, sums, len(used)). Raises ExplanationTooSlow.
        """
        slot = self._slots(self.used)
        plus, minus = _contrast_weights(self._longest)
        reference = np.ascontiguousarray(reference)
        out = np.empty((len(matrix), self.sums, len(self.used)))
        leaves = section(self.image, Section.PATH_FIRST).size - 1
        step = _CONTRASTS // max(len(reference) * leaves, 1)
        step = min(max(step, 1), ROWS)
        for rows in _calls(len(matrix), step, deadline):
            part = np.ascontiguousarray(matrix[rows])
            contrast_rows(
                *(self.image, part, reference, np.ascontiguousarray(scale(rows))),
                *(plus, minus, slot, out[rows]),
            )
        return out

    def _slots(self, features: Longs) -> NDArray[np.int32]:
        """Of every feature its place among these, or -1."""
        slot = np.full(self.features, -1, np.int32)
        slot[features] = np.arange(len(features))
        return slot


def _calls(rows: int, step: int, deadline: float) -> Iterator[slice]:
    for start in range(0, rows, step):
        if time.monotonic() > deadline:
            raise ExplanationTooSlow
        yield slice(start, start + step)


def _contrast_weights(longest: int) -> tuple[Floats, Floats]:
    """Shapley's weights where a elements need the row, and b the reference row.

    Returns float64 (longest + 1, longest + 1) twice: (a - 1)! b! / (a + b)! for each
    of the former, a! (b - 1)! / (a + b)! for each of the latter.
    """
    size = longest + 1
    plus = np.zeros((size, size))
    plus[1] = 1.0 / np.arange(1, size + 1)
    for a in range(1, longest):
        plus[a + 1] = plus[a] * (a / np.arange(a + 1, a + 1 + size))
    return plus, np.ascontiguousarray(plus.T)
