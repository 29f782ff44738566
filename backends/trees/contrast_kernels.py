"""Compiled code for interventional Shapley values, against reference rows.

It is read by numba, as `kernels` is; `path_sets` says what elements of paths are.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.asking import Floats, Ints, Sets, floats, ints
from backends.trees.bits import LANES, ROWS, lowest_bit
from backends.trees.path_sets import (
    ALL_ROWS,
    IMAGE,
    MATRIX,
    NONE,
    OUT,
    SLOTS,
    ask,
    has_row,
    let_path,
    longest_path,
)
from backends.trees.tables import Number, Section

_ONE = np.uint64(1)

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def contrast_rows(
    image: Ints,
    matrix: Floats,
    reference: Floats,
    scale: Floats,
    plus: Floats,
    minus: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """Interventional Shapley values of the trees' sums, added up over reference rows.

    A mixture of the two rows reaches a leaf if each element lets one of them through.
    Of the elements that only the row passes, a of them, each counts plus[a, b] times
    the leaf's value; of the b that only the reference row passes minus[a, b] less.

    matrix: (n_rows, features), at most ROWS. reference: (others, features). scale:
    (n_rows, others): what each contrast is multiplied by. plus, minus: see
    `explainer`. slot: of each feature that is asked for the place in out.
    out: (n_rows, sums, slots).
    """
    longest = longest_path(image)
    let = np.empty((longest, LANES), np.uint64)
    others = np.empty((longest, LANES), np.uint64)
    meeting = np.empty(LANES, np.uint64)
    passes, lacking = np.empty(longest, np.uint8), np.empty(longest, np.int32)
    gain = np.empty(longest)
    leaves = ints(image, Section.PATH_FIRST).size - 1
    tree_leaf = ints(image, Section.PATH_TREE)
    right = ask(image, matrix, 0)
    out[:] = 0.0
    for start in range(0, reference.shape[0], ROWS):
        rows = min(ROWS, reference.shape[0] - start)
        others_right = ask(image, reference, start)
        tree = 0
        for leaf in range(leaves):
            while leaf >= tree_leaf[tree + 1]:
                tree += 1
            let_path(image, leaf, right, let)
            let_path(image, leaf, others_right, others)
            for i in range(matrix.shape[0]):
                if _meet_others(image, leaf, let, i, others, rows, passes, meeting):
                    lost = _contrast(
                        *(image, leaf, passes, meeting, others),
                        *(scale[i, start : start + rows], plus, minus),
                        *(lacking, gain),
                    )
                    _add_contrast(
                        *(image, tree, leaf, passes, gain, lost, slot, out[i])
                    )


@_jit
def _meet_others(
    image: Ints,
    leaf: int,
    let: Sets,
    i: int,
    others: Sets,
    rows: int,
    passes: NDArray[np.uint8],
    meeting: NDArray[np.uint64],
) -> bool:
    """Whether there are other rows that pass what row i does not.

    passes: becomes 1 for each element that row i passes. meeting: those other rows.
    """
    path = ints(image, Section.PATH_FIRST)
    for lane in range(LANES):
        left = min(max(rows - 64 * lane, 0), 64)
        meeting[lane] = ALL_ROWS >> np.uint64(64 - left) if left else NONE
    found = ALL_ROWS
    for j in range(path[leaf + 1] - path[leaf]):
        passes[j] = has_row(let, j, i)
        if not passes[j] and found:
            found = NONE
            for lane in range(LANES):
                meeting[lane] &= others[j, lane]
                found |= meeting[lane]
    return found != NONE


@_jit
def _contrast(
    image: Ints,
    leaf: int,
    passes: NDArray[np.uint8],
    meeting: NDArray[np.uint64],
    others: Sets,
    scale: Floats,
    plus: Floats,
    minus: Floats,
    lacking: NDArray[np.int32],
    gain: Floats,
) -> float:
    """What a leaf of value 1 counts: gain of each element that the row passes, and
    less for each that it does not."""
    path = ints(image, Section.PATH_FIRST)
    count = path[leaf + 1] - path[leaf]
    refused, lost = 0, 0.0
    for j in range(count):
        gain[j] = 0.0
        refused += 1 - np.int64(passes[j])
    for lane in range(LANES):
        bits = meeting[lane]
        while bits:
            bit = lowest_bit(bits)
            bits &= bits - _ONE
            lacks = 0
            for j in range(count):
                if passes[j] and not others[j, lane] >> bit & _ONE:
                    lacking[lacks] = j
                    lacks += 1
            weight = scale[64 * lane + np.int64(bit)]
            lost += weight * minus[lacks, refused]
            for at in range(lacks):
                gain[lacking[at]] += weight * plus[lacks, refused]
    return lost


@_jit
def _add_contrast(
    image: Ints,
    tree: int,
    leaf: int,
    passes: NDArray[np.uint8],
    gain: Floats,
    lost: float,
    slot: Ints,
    out: Floats,
) -> None:
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    for j in range(path[leaf + 1] - path[leaf]):
        amount = gain[j] if passes[j] else -lost
        place = slot[feature[path[leaf] + j]]
        for k in range(width):
            at = k if target < 0 else target
            out[at, place] += value[leaf * width + k] * amount


# What is compiled, and for which arguments; see `kernel_cache`.
KERNELS = ((contrast_rows, numba.void(IMAGE, *[MATRIX] * 5, SLOTS, OUT)),)
