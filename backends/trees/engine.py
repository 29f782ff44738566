"""The engine: an ensemble's tables, checked, and the compiled code that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.trees import image_file
from backends.trees.build import build
from backends.trees.ensemble import Ensemble
from backends.trees.kernels import score_each, score_rows
from backends.trees.tables import Number, Section, image, section

_FILE = "tables.int32"

# A block costs the same whatever the number of its rows: up to about so many, they are
# quicker one by one.
_FEW = 64


class Engine:
    """Scores rows. Safe to call from many threads at once; each uses its own thread.

    features: columns of the matrix. sums, outputs: values of a raw score and of an
    answer. nbytes: memory that the tables take, shared if they were opened.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        """Make the tables. Raises NotCovered."""
        self._use(image(build(ensemble)))

    @classmethod
    def open(cls, folder: Path) -> Engine:
        """Map the tables that `write` wrote.

        Raises ValueError if they are damaged or not there.
        """
        engine = cls.__new__(cls)
        engine._use(image_file.open(folder / _FILE))
        return engine

    def write(self, folder: Path) -> None:
        """Write the tables for `open`, down to the disk."""
        image_file.write(self._image, folder / _FILE)

    def _use(self, tables: NDArray[np.int32]) -> None:
        self._image = tables
        self._image.flags.writeable = False
        numbers = section(tables, Section.NUMBERS)
        self.features = int(numbers[Number.FEATURES])
        self.sums = int(numbers[Number.SUMS])
        self.outputs = int(numbers[Number.OUTPUTS])
        self.nbytes = tables.nbytes

    def score(
        self, matrix: NDArray[np.float64], *, raw: bool = False
    ) -> NDArray[np.float64]:
        """Score a matrix of (n_rows, features).

        Returns float64 (n_rows, outputs); if raw (n_rows, sums), the trees' sums.
        Raises ValueError for a matrix of another shape.
        """
        matrix = np.ascontiguousarray(matrix, np.float64)
        shape = matrix.shape
        if len(shape) != 2 or shape[1] != self.features:
            raise ValueError(f"a matrix of {self.features} columns is expected")
        rows = shape[0]
        out = np.empty((rows, self.sums if raw else self.outputs))
        kernel = score_each if rows <= _FEW else score_rows
        kernel(self._image, matrix, 1 if raw else 0, out)
        return out
