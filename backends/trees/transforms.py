"""From the sums of a row's trees to its answer, as each objective defines it.

Compiled code calls the C library's exp as the training libraries do, so that answers
are theirs to the last bit or one unit in the last place.
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
}

_SIGMOID = CODES["sigmoid"]
_SOFTMAX = CODES["softmax"]
_EXP = CODES["exp"]
_SIGNED_SQUARE = CODES["signed_square"]
_LOG1P_EXP = CODES["log1p_exp"]


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
