"""LightGBM text models, scored by the C library itself.

The library is opened by ctypes: `import lightgbm` would bring pandas and
scikit-learn into every worker (1.5 s and 179 MB against 0.1 s and 26 MB).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends import adjusting
from backends.base import Backend, ModelFileRejected
from backends.explanations import shapley
from backends.explanations.base import (
    ExplanationTooSlow,
    Strengths,
    refuse_multiclass,
)
from backends.features import Columns
from backends.model import Model

if TYPE_CHECKING:
    from backends.explanations.materials import Materials

# Values of the C API's constants, from c_api.h.
_FLOAT64 = 1
_NORMAL = 0
_RAW_SCORE = 1
_CONTRIBUTIONS = 3

# One thread, whatever the environment says; no early stop, which would change
# answers; widths checked, as a narrower row would be read beyond its end.
_PARAMETERS = (
    b"num_threads=1 verbosity=-1 pred_early_stop=false"
    b" predict_disable_shape_check=false"
)

# The fast path costs about 2 us more a row, the other about 15 us once: up to about
# this many rows the fast path is quicker.
_FEW_ROWS = 8

# More threads than this are seldom scoring rows at once; those take the other path.
_ROW_SCORERS = 8

# Rows in one call of the library, whose row counts are 32 bits wide.
_CHUNK = 65_536

# Rows that are explained between two looks at the clock: 500 trees of 31 leaves take
# some 3 ms a row.
_EXPLAINED_ROWS = 256

# Memory of a loaded booster for each byte of its text, measured on models of 50 to
# 1000 trees.
_BYTES_PER_BYTE = 1.0


class LightGBMBackend(Backend):
    """A booster, with reused buffers for single rows."""

    engine = "lightgbm"

    def __init__(self, folder: Path, model: Model) -> None:
        text = (folder / model.file).read_bytes()
        self.model = model
        self.nbytes = int(len(text) * _BYTES_PER_BYTE)
        self._booster = Booster(text)
        outputs = max(len(model.labels), 1) if model.task == "multiclass" else 1
        if (self._booster.features, self._booster.outputs) != (
            len(model.features),
            outputs,
        ):
            raise ModelFileRejected(
                f"{model.file} takes {self._booster.features} features and answers"
                f" {self._booster.outputs} values a row; model.json says"
                f" {len(model.features)} and {outputs}"
            )
        # The trees of a random forest are added up, and divided by before the link.
        head, _, _ = text.partition(b"\n\n")
        is_averaged = b"average_output" in head.split(b"\n")
        self._divisor = self._booster.iterations if is_averaged else 1
        self._is_linear = b"\nis_linear=1\n" in text
        # LightGBM's probability is the second label's.
        self._flip = model.task == "binary" and model.positive_label == model.labels[0]
        self._sign = -1.0 if self._flip else 1.0

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        if self.model.link is not None:
            margins = self.raw_scores(columns)
            return adjusting.predictions(self.model, margins, columns)
        values = self._booster.score(columns.matrix)
        return 1.0 - values if self._flip else values

    def raw_scores(self, columns: Columns) -> NDArray[np.float64]:
        """Score rows without the objective's transform.

        Returns float64 (n_rows, k): the sum of the trees; of a binary model the
        margin for `labels[1]`, whichever label is the positive one.
        """
        return self._booster.score(columns.matrix, raw=True)

    def explain(
        self,
        columns: Columns,
        algorithm: str,
        materials: Materials,
        deadline: float = float("inf"),
    ) -> Strengths:
        """Tell what each feature adds to the predictions of rows; see Backend.

        shap is the library's own: exact, by the shares of the training rows that took
        each path of a tree. What adds up is the raw score, that of a random forest
        divided by its trees. Trees with linear models in their leaves, which the
        library does not explain, are asked like any other model.
        """
        if algorithm != "shap":
            return super().explain(columns, algorithm, materials, deadline)
        refuse_multiclass(self.model)
        if self._is_linear:
            return shapley.explain_score(self._margins, columns, materials, deadline)
        matrix = columns.matrix
        parts = [self._booster.contributions(np.full((1, matrix.shape[1]), np.nan))]
        for start in range(0, len(matrix), _EXPLAINED_ROWS):
            if time.monotonic() > deadline:
                raise ExplanationTooSlow
            rows = matrix[start : start + _EXPLAINED_ROWS]
            parts.append(self._booster.contributions(rows))
        found = np.concatenate(parts) * (self._sign / self._divisor)
        total = self._margins(columns)[:, None]
        return Strengths(
            features=np.arange(matrix.shape[1]),
            values=found[1:, None, :-1],
            # The same for every row, there or not.
            base=np.broadcast_to(found[0, -1:], total.shape),
            total=total,
        )

    def _margins(self, columns: Columns) -> NDArray[np.float64]:
        """What the link is given for the positive label; float64 (n_rows,)."""
        return self.raw_scores(columns)[:, 0] * (self._sign / self._divisor)


class Booster:
    """A loaded model text. Safe to call from many threads at once.

    features, outputs: width of the matrix it takes, and of the one it answers.
    iterations: how many trees are behind each output.
    """

    def __init__(self, text: bytes) -> None:
        """Load a model text. Raises ModelFileRejected if the library refuses it."""
        if b"\0" in text:
            raise ModelFileRejected("The model file is not a LightGBM text model")
        library = _library()
        handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        if library.LGBM_BoosterLoadModelFromString(
            text, ctypes.byref(iterations), ctypes.byref(handle)
        ):
            raise ModelFileRejected(f"LightGBM cannot load the model: {_last_error()}")
        self._handle = _Handle(handle)
        self.features = self._count(library.LGBM_BoosterGetNumFeature)
        self.outputs = self._count(library.LGBM_BoosterNumModelPerIteration)
        self.iterations = self._count(library.LGBM_BoosterGetCurrentIteration)
        # Made now: making one waits for all scoring to pause, which under the load
        # of a large request it may not do for many seconds.
        self._row_scorers = [
            _RowScorer(self._handle, self.features, self.outputs)
            for _ in range(_ROW_SCORERS)
        ]

    def score(
        self, matrix: NDArray[np.float64], *, raw: bool = False
    ) -> NDArray[np.float64]:
        """Score a matrix of (n_rows, features).

        Returns float64 (n_rows, outputs), transformed by the objective unless raw.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.features:
            raise ValueError(f"a matrix of {self.features} columns is expected")
        values = np.empty((len(matrix), self.outputs))
        if len(matrix) <= _FEW_ROWS and not raw and self._score_few(matrix, values):
            return values
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        predict_type = _RAW_SCORE if raw else _NORMAL
        for start in range(0, len(matrix), _CHUNK):
            stop = start + _CHUNK
            self._score_chunk(matrix[start:stop], values[start:stop], predict_type)
        return values

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each feature adds to the raw score of the rows of a matrix.

        Returns float64 (n_rows, features + 1), the last what they are added to. For
        boosters of one output, without linear models in their leaves.
        """
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        values = np.empty((len(matrix), self.features + 1))
        self._score_chunk(matrix, values, _CONTRIBUTIONS)
        return values

    def _score_chunk(
        self,
        matrix: NDArray[np.float64],
        values: NDArray[np.float64],
        predict_type: int,
    ) -> None:
        written = ctypes.c_int64()
        _check(
            _library().LGBM_BoosterPredictForMat(
                self._handle.pointer,
                ctypes.c_void_p(matrix.ctypes.data),
                _FLOAT64,
                len(matrix),
                self.features,
                1,  # row major
                predict_type,
                0,
                -1,  # all trees
                _PARAMETERS,
                ctypes.byref(written),
                ctypes.c_void_p(values.ctypes.data),
            )
        )

    def _score_few(
        self, matrix: NDArray[np.float64], values: NDArray[np.float64]
    ) -> bool:
        """Score rows one by one; False, with nothing done, if no scorer is free."""
        try:
            scorer = self._row_scorers.pop()
        except IndexError:
            return False
        try:
            for index in range(len(matrix)):
                values[index] = scorer.score(matrix[index])
        finally:
            self._row_scorers.append(scorer)
        return True

    def _count(self, function: ctypes._NamedFuncPointer) -> int:
        count = ctypes.c_int()
        _check(function(self._handle.pointer, ctypes.byref(count)))
        return count.value


class _Handle:
    """Owns a booster of the library; frees it when nothing refers to it."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self.pointer = pointer
        # Not at exit: a thread may still be scoring, and the process takes all with it.
        weakref.finalize(self, _library().LGBM_BoosterFree, pointer).atexit = False


class _RowScorer:
    """Scores single rows, for one thread at a time, through reused buffers."""

    def __init__(self, handle: _Handle, features: int, outputs: int) -> None:
        library = _library()
        config = ctypes.c_void_p()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                handle.pointer,
                _NORMAL,
                0,
                -1,  # all trees
                _FLOAT64,
                features,
                _PARAMETERS,
                ctypes.byref(config),
            )
        )
        weakref.finalize(self, _free_config, config, handle).atexit = False
        self._row = np.empty(features)
        self._values = np.empty(outputs)
        self._call = library.LGBM_BoosterPredictForMatSingleRowFast
        self._arguments = (
            config,
            ctypes.c_void_p(self._row.ctypes.data),
            ctypes.byref(ctypes.c_int64()),
            ctypes.c_void_p(self._values.ctypes.data),
        )

    def score(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score one row; the answer is overwritten by the next call."""
        self._row[:] = row
        if self._call(*self._arguments):
            raise RuntimeError(f"LightGBM: {_last_error()}")
        return self._values


def _free_config(config: ctypes.c_void_p, handle: _Handle) -> None:
    # `handle` is here to outlive the config, which points into its booster.
    _library().LGBM_FastConfigFree(config)


@functools.cache
def _library() -> ctypes.CDLL:
    """Open the C library of the installed package, once in a process.

    Never before a fork: its OpenMP threads would not survive into the child, where
    the first prediction would wait for them for ever.
    """
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("lightgbm is not installed", name="lightgbm")
    library = ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "lib_lightgbm.so"))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    # Loading a model text and what else takes no num_threads keeps to one as well.
    library.LGBM_SetMaxThreads(1)
    return library


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"LightGBM: {_last_error()}")


def _last_error() -> str:
    message: bytes = _library().LGBM_GetLastError()
    return message.decode(errors="replace")
