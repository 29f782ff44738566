"""From the sums of a row's trees to its answer, as each objective defines it.

Compiled code calls the C library's exp as the training libraries do, so that answers
are theirs to the last bit or one unit in the last place. Transforms whose names begin
with "float" answer float32 numbers and compute in float32, as onnxruntime does.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# Numbers by which compiled code knows the transforms.
CODES = {
    "identity": 0,
    "sigmoid": 1,
    "softmax": 2,
    "exp": 3,
    "signed_square": 4,
    "log1p_exp": 5,
    "float_scale": 6,
    "float_exp": 7,
    "float_logistic": 8,
    "float_softmax": 9,
    "float_softmax_zero": 10,
    # Two answers made of one sum: of the negative label and of the positive one.
    "float_opposites": 11,
    "float_complements": 12,
    "float_logistic_opposites": 13,
    "float_logistic_complements": 14,
}

_SIGMOID = CODES["sigmoid"]
_SOFTMAX = CODES["softmax"]
_EXP = CODES["exp"]
_SIGNED_SQUARE = CODES["signed_square"]
_LOG1P_EXP = CODES["log1p_exp"]
_FLOAT_SCALE = CODES["float_scale"]
_FLOAT_EXP = CODES["float_exp"]
_FLOAT_LOGISTIC = CODES["float_logistic"]
_FLOAT_SOFTMAX = CODES["float_softmax"]
_FLOAT_SOFTMAX_ZERO = CODES["float_softmax_zero"]
_FLOAT_OPPOSITES = CODES["float_opposites"]
_FLOAT_COMPLEMENTS = CODES["float_complements"]
_FLOAT_LOGISTIC_OPPOSITES = CODES["float_logistic_opposites"]
_FLOAT_LOGISTIC_COMPLEMENTS = CODES["float_logistic_complements"]

_ONE = np.float32(1.0)
_LOWEST = np.float32(np.finfo(np.float32).min)
# What SOFTMAX_ZERO takes for zero.
_NEARLY_ZERO = np.float32(1e-7)


@numba.njit(nogil=True, error_model="numpy")
def finish(
    sums: NDArray[Any], transform: int, parameter: float, answer: NDArray[np.float64]
) -> None:
    """Make a row's answer (outputs,) of its sums (sums,), both float64."""
    if transform == _SIGMOID:
        for k in range(sums.size):
            answer[k] = 1.0 / (1.0 + math.exp(-parameter * sums[k]))
    elif transform == _SOFTMAX:
        _softmax(sums, answer)
    elif transform == _EXP:
        for k in range(sums.size):
            answer[k] = math.exp(sums[k])
    elif transform == _SIGNED_SQUARE:
        for k in range(sums.size):
            answer[k] = math.copysign(sums[k] * sums[k], sums[k])
    elif transform == _LOG1P_EXP:
        for k in range(sums.size):
            answer[k] = math.log1p(math.exp(sums[k]))
    elif transform >= _FLOAT_SCALE:
        _finish_single(sums, transform, np.float32(parameter), answer)
    else:
        for k in range(sums.size):
            answer[k] = sums[k]


@numba.njit(nogil=True, error_model="numpy")
def _softmax(sums: NDArray[Any], answer: NDArray[np.float64]) -> None:
    # In the order of LightGBM's Common::Softmax, on which the last bits depend.
    highest = sums[0]
    for k in range(1, sums.size):
        highest = max(highest, sums[k])
    total = 0.0
    for k in range(sums.size):
        answer[k] = math.exp(sums[k] - highest)
        total += answer[k]
    for k in range(sums.size):
        answer[k] /= total


@numba.njit(nogil=True, error_model="numpy")
def _finish_single(
    sums: NDArray[Any], transform: int, parameter: Any, answer: NDArray[np.float64]
) -> None:
    """`finish` in float32; parameter: what sums, or their exp, are multiplied by."""
    if transform == _FLOAT_SCALE:
        for k in range(sums.size):
            answer[k] = np.float32(sums[k]) * parameter
    elif transform == _FLOAT_COMPLEMENTS:
        # Of a sum in float64, too: for one in float32 this rounds no otherwise.
        answer[0] = np.float32(1.0 - sums[0])
        answer[1] = np.float32(sums[0])
    elif transform == _FLOAT_EXP:
        for k in range(sums.size):
            answer[k] = math.exp(np.float32(sums[k])) * parameter
    elif transform == _FLOAT_LOGISTIC:
        for k in range(sums.size):
            answer[k] = _logistic(np.float32(sums[k]) * parameter)
    elif transform == _FLOAT_SOFTMAX:
        _single_softmax(sums, answer)
    elif transform == _FLOAT_SOFTMAX_ZERO:
        _softmax_zero(sums, answer)
    else:
        _pair(np.float32(sums[0]) * parameter, transform, answer)


@numba.njit(nogil=True, error_model="numpy")
def _pair(score: Any, transform: int, answer: NDArray[np.float64]) -> None:
    if transform == _FLOAT_OPPOSITES:
        answer[0] = -score
        answer[1] = score
    elif transform == _FLOAT_LOGISTIC_OPPOSITES:
        answer[0] = _logistic(-score)
        answer[1] = _logistic(score)
    else:
        positive = _logistic(score)
        answer[0] = _ONE - positive
        answer[1] = positive


@numba.njit(nogil=True, error_model="numpy")
def _logistic(score: Any) -> Any:
    """1 / (1 + exp(-score)) as onnxruntime's ComputeLogistic has it, in float32."""
    value = _ONE / (_ONE + math.exp(-abs(score)))
    return _ONE - value if score < 0 else value


@numba.njit(nogil=True, error_model="numpy")
def _highest(sums: NDArray[Any]) -> Any:
    highest = _LOWEST
    for k in range(sums.size):
        if sums[k] > highest:
            highest = np.float32(sums[k])
    return highest


@numba.njit(nogil=True, error_model="numpy")
def _single_softmax(sums: NDArray[Any], answer: NDArray[np.float64]) -> None:
    # In the order of onnxruntime's ComputeSoftmax.
    highest = _highest(sums)
    total = np.float32(0.0)
    for k in range(sums.size):
        answer[k] = math.exp(np.float32(sums[k]) - highest)
        total += np.float32(answer[k])
    for k in range(sums.size):
        answer[k] = np.float32(answer[k]) / total


@numba.njit(nogil=True, error_model="numpy")
def _softmax_zero(sums: NDArray[Any], answer: NDArray[np.float64]) -> None:
    # In the order of onnxruntime's ComputeSoftmaxZero: zeros stay zeros.
    highest = _highest(sums)
    factor = math.exp(-highest)
    total = np.float32(0.0)
    for k in range(sums.size):
        score = np.float32(sums[k])
        if score > _NEARLY_ZERO or score < -_NEARLY_ZERO:
            answer[k] = math.exp(score - highest)
            total += np.float32(answer[k])
        else:
            answer[k] = score * factor
    for k in range(sums.size):
        answer[k] = np.float32(answer[k]) / total
