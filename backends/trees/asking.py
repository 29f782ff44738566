"""Compiled code that asks the conditions of an ensemble of rows, for other kernels.

It is read by numba, as `kernels` is; `tables.Section` says what lies in each table.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.bits import LANES, ROWS, above, join
from backends.trees.ensemble import MISSING_NONE, MISSING_ZERO
from backends.trees.tables import DIGEST_WORDS, Number, Scale, Section

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
# Sets of the rows of a block: uint64 (sets, LANES), see `bits`.
Sets = NDArray[np.uint64]

_ALL_ROWS = np.uint64(2**64 - 1)

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def ints(image: Ints, section: int) -> Ints:
    at = DIGEST_WORDS + 2 * section
    return image[image[at] : image[at] + image[at + 1]]


@_jit
def floats(image: Ints, section: int) -> Floats:
    return ints(image, section).view(np.float64)


# ---- What rows are compared with


@_jit
def number(value: float, missing: int, single: int, zero: float) -> float:
    """A cell as the trees compare it; NaN is what is missing."""
    if single:
        value = np.float64(np.float32(value))
    if abs(value) <= zero:
        value = 0.0
    if missing == MISSING_NONE and np.isnan(value):
        return 0.0
    if missing == MISSING_ZERO and value == 0.0:
        return np.nan
    return value


@_jit
def code(value: float, size: int, single: int, exact: int) -> int:
    """A category's number; `size` for everything that no split knows."""
    if single:
        value = np.float64(np.float32(value))
    if not (value > -1.0 and value < size):
        return size
    code = np.int64(value)
    if exact and (value < 0.0 or np.float64(code) != value):
        return size
    return code


# ---- Blocks of rows


@_jit
def ask_rows(
    image: Ints,
    matrix: Floats,
    start: int,
    rows: int,
    x: Floats,
    narrow: NDArray[np.float32],
    away: Sets,
    codes: NDArray[np.int32],
    of_code: Sets,
    right: Sets,
) -> None:
    """Which of up to ROWS rows go right at each condition.

    x, narrow, away, codes: room for what is read of them. of_code: empty sets.
    right: (conditions, LANES).
    """
    _read_numbers(image, matrix, start, rows, x, away)
    _ask_numbers(image, x, narrow, away, right)
    _read_codes(image, matrix, start, rows, codes)
    _ask_codes(image, codes, of_code, right)


@_jit
def _read_numbers(
    image: Ints, matrix: Floats, start: int, rows: int, x: Floats, away: Sets
) -> None:
    """The cells of each column; the last row stands for those beyond the end."""
    single = ints(image, Section.NUMBERS)[Number.SINGLE]
    zero = floats(image, Section.SCALES)[Scale.ZERO]
    feature = ints(image, Section.COLUMN_FEATURE)
    missing = ints(image, Section.COLUMN_MISSING)
    goes_right = ints(image, Section.COLUMN_AWAY)
    for c in range(feature.size):
        for i in range(ROWS):
            cell = matrix[start + min(i, rows - 1), feature[c]]
            x[c, i] = number(cell, missing[c], single, zero)
        for lane in range(LANES):
            away[c, lane] = 0
            for i in range(64 if goes_right[c] else 0):
                gone = np.uint64(np.isnan(x[c, 64 * lane + i]))
                away[c, lane] |= gone << np.uint64(i)


@_jit
def _ask_numbers(
    image: Ints, x: Floats, narrow: NDArray[np.float32], away: Sets, right: Sets
) -> None:
    """Which rows go right at each threshold.

    narrow: room for x in half its width, if that is what the trees compare; a vector
    holds twice as many of them.
    """
    first = ints(image, Section.COLUMN_FIRST)
    threshold = floats(image, Section.THRESHOLD)
    for c in range(first.size - 1):
        if narrow.shape[0]:
            for i in range(ROWS):
                narrow[c, i] = x[c, i]
        for k in range(first[c], first[c + 1]):
            within(right, k)
            if narrow.shape[0]:
                above(narrow, c, np.float32(threshold[k]), away, right, k)
            else:
                above(x, c, threshold[k], away, right, k)


@_jit
def _read_codes(
    image: Ints, matrix: Floats, start: int, rows: int, codes: NDArray[np.int32]
) -> None:
    """The category of each row, counted among those of all category columns."""
    numbers = ints(image, Section.NUMBERS)
    single, exact = numbers[Number.SINGLE], numbers[Number.EXACT]
    feature = ints(image, Section.CATEGORY_FEATURE)
    size = ints(image, Section.CATEGORY_SIZE)
    for c in range(feature.size):
        for i in range(ROWS):
            cell = matrix[start + min(i, rows - 1), feature[c]]
            codes[c, i] = code(cell, size[c], single, exact)


@_jit
def _ask_codes(image: Ints, codes: Ints, of_code: Sets, right: Sets) -> None:
    """Which rows go right at each set. of_code: empty sets, and again so at the end."""
    begin = ints(image, Section.CATEGORY_FIRST)
    first = ints(image, Section.SET_FIRST)
    listed = ints(image, Section.SET_CODE)
    goes_right = ints(image, Section.SET_RIGHT)
    thresholds = floats(image, Section.THRESHOLD).size
    for c in range(codes.shape[0]):
        for i in range(ROWS):
            bit = np.uint64(1) << np.uint64(i & 63)
            of_code[begin[c] + codes[c, i], i >> 6] |= bit
    for k in range(goes_right.size):
        right[thresholds + k] = 0
        for at in range(first[k], first[k + 1]):
            within(of_code, listed[at])
            join(of_code, listed[at], right, thresholds + k)
        if not goes_right[k]:
            for lane in range(LANES):
                right[thresholds + k, lane] ^= _ALL_ROWS
    for c in range(codes.shape[0]):
        for i in range(ROWS):
            of_code[begin[c] + codes[c, i], i >> 6] = 0


@_jit
def within(sets: Sets, item: int) -> np.uint64:
    """Where numba checks bounds it stops here, as `bits` has none to check."""
    return sets[item, LANES - 1]
