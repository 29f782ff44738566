"""Rows of a forecast, as they are predicted and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backends.features import Columns

Moments = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class ForecastChunk:
    """Some rows of an answer: which row of the request is predicted from where.

    columns: the derived features; offset: what is added back to the model's answers.
    row_ids: int (n_rows,): number of each row in the whole request, history included.
    series: id of each row's series as it was sent; None: there is one series.
    forecast_points, timestamps: datetime64[us] (n_rows,): from where and what for.
    distances: int (n_rows,): steps between the two.
    originals: the timestamps as they were sent.
    passthrough: column name to the values of these rows as they were sent.
    cells: the categorical features' levels, by name; None where there is none.
    intervals: float64 (n_rows, 2), low and high in target units; None: not asked for.
    """

    columns: Columns
    row_ids: NDArray[np.int64]
    series: Sequence[Any] | pa.Array | None
    forecast_points: Moments
    timestamps: Moments
    distances: NDArray[np.int64]
    originals: Sequence[str] | pa.Array
    passthrough: Mapping[str, Sequence[Any] | pa.Array]
    cells: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    intervals: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.row_ids)
