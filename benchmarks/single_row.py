"""LightGBM's fastest way to score one row: C API, prepared once."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks import Unmeasured

# LightGBM's c_api.h.
_FLOAT64 = 1
_RAW_SCORE = 1
_EVERY_ITERATION = -1


class LibraryFailed(Unmeasured):
    """LightGBM's C API refused a call; the message is its own."""


class SingleRow:
    """`LGBM_BoosterPredictForMatSingleRowFast` on one thread, for raw scores.

    scores: float64 (sums,): what the last call found.
    """

    def __init__(self, library: ctypes.CDLL, prepared: ctypes.c_void_p, sums: int):
        self.scores = np.empty(sums)
        self._predict = library.LGBM_BoosterPredictForMatSingleRowFast
        self._prepared = prepared
        self._length = ctypes.c_int64()
        self._length_at = ctypes.byref(self._length)
        self._scores_at = self.scores.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def score(self, row: ctypes.c_void_p) -> int:
        """Score the row that lies there. Returns 0 if that went well."""
        status: int = self._predict(
            self._prepared, row, self._length_at, self._scores_at
        )
        return status


@contextmanager
def prepared(booster: lgb.Booster) -> Iterator[SingleRow]:
    """The call for this booster, which must outlive it. Raises LibraryFailed."""
    library = ctypes.CDLL(lgb.basic._LIB._name)
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    handle = ctypes.c_void_p()
    status = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,
        _RAW_SCORE,
        0,
        _EVERY_ITERATION,
        _FLOAT64,
        booster.num_feature(),
        b"num_threads=1",
        ctypes.byref(handle),
    )
    if status != 0:
        raise LibraryFailed(library.LGBM_GetLastError().decode())
    try:
        yield SingleRow(library, handle, booster.num_model_per_iteration())
    finally:
        library.LGBM_FastConfigFree(handle)


def addresses(rows: NDArray[np.float64]) -> list[ctypes.c_void_p]:
    """Where each row of a C-contiguous matrix lies, which must outlive them."""
    return [ctypes.c_void_p(row.ctypes.data) for row in rows]
