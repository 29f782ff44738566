"""Typed columns: raw cells, as CSV or JSON brings them, to the matrix a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backends.model import Feature


class DataError(ValueError):
    """The rows cannot be scored as they are; the message names column and row."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows decoded for one model.

    matrix: float64 (n_rows, n_features), C order, features in the model's order: the
        number, or the position in the feature's categories; NaN is missing. The
        column of a text feature holds NaN.
    texts: position of a text feature to its strings, object (n_rows,).
    unknown_categories, invalid_numbers: cells scored as missing because their value
        was not a known level, or no number.
    """

    matrix: NDArray[np.float64]
    texts: Mapping[int, NDArray[np.object_]] = field(default_factory=dict)
    unknown_categories: int = 0
    invalid_numbers: int = 0

    def __len__(self) -> int:
        return len(self.matrix)


class Decoder:
    """Turns raw cells into `Columns` by the features of one model."""

    def __init__(self, features: Sequence[Feature]) -> None: ...

    def from_records(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        first_row: int = 0,
        refuse_unknown: bool = False,
        refuse_invalid: bool = True,
    ) -> Columns:
        """Decode JSON objects, as orjson reads them. Raises DataError."""
        raise NotImplementedError

    def from_batch(
        self,
        batch: pa.RecordBatch,
        *,
        first_row: int = 0,
        refuse_unknown: bool = False,
        refuse_invalid: bool = True,
    ) -> Columns:
        """Decode CSV cells: numeric features as float64 or string, others string."""
        raise NotImplementedError
