"""Compiled code that explains rows by values of exemplars in place of their own.

It is read by numba, as `kernels` is; `path_sets` says what elements of paths are.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.asking import Floats, Ints, Sets, floats, ints
from backends.trees.bits import LANES, ROWS, add_two
from backends.trees.path_sets import (
    ALL_ROWS,
    IMAGE,
    MATRIX,
    OUT,
    SLOTS,
    ask,
    has_row,
    let_through,
    longest_path,
    most_edges,
    put_out,
    read_goes,
)
from backends.trees.tables import Number, Section

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def weigh_exemplars(
    image: Ints, matrix: Floats, weights: Floats, share: Floats
) -> None:
    """How much of the exemplars' weight each element lets through.

    matrix: (exemplars, features), at most ROWS of them. weights: of each its weight.
    share: (elements,).
    """
    right = ask(image, matrix, 0)
    feature = ints(image, Section.ELEMENT_FEATURE)
    let = np.empty((1, LANES), np.uint64)
    for element in range(feature.size):
        let_through(image, right, element, let, 0)
        share[element] = 0.0
        for i in range(matrix.shape[0]):
            if has_row(let, 0, i):
                share[element] += weights[i, feature[element]]


@_jit
def xemp_rows(
    image: Ints, matrix: Floats, share: Floats, slot: Ints, out: Floats
) -> None:
    """What each feature's value, instead of its exemplars, adds to the trees' sums.

    A leaf counts for a feature where no other refuses it: with its value if the row
    goes there, less the part of the exemplars that would.

    matrix: (n_rows, features). share: as `weigh_exemplars` found it. slot: of each
    feature the place in out, or -1. out: (n_rows, sums, slots).
    """
    sums, slots = out.shape[1], out.shape[2]
    longest = longest_path(image)
    total = np.empty((sums * slots, ROWS))
    let = np.empty((longest + 1, LANES), np.uint64)
    before = np.empty((longest + 1, LANES), np.uint64)
    once = np.empty((1, LANES), np.uint64)
    tree_leaf = ints(image, Section.PATH_TREE)
    for start in range(0, matrix.shape[0], ROWS):
        right = ask(image, matrix, start)
        total[:] = 0.0
        for tree in range(tree_leaf.size - 1):
            for leaf in range(tree_leaf[tree], tree_leaf[tree + 1]):
                _add_xemp(
                    image, tree, leaf, right, share, slot, let, before, once, total
                )
        put_out(total, start, out)


@_jit
def _add_xemp(
    image: Ints,
    tree: int,
    leaf: int,
    right: Sets,
    share: Floats,
    slot: Ints,
    let: Sets,
    before: Sets,
    once: Sets,
    total: Floats,
) -> None:
    """Add what one leaf counts for the features on its path.

    let, before, once: room for sets: of each element, of all before it, and of the
    rows that it alone refuses.
    """
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    slots = total.shape[0] // ints(image, Section.NUMBERS)[Number.SUMS]
    first, count = path[leaf], path[leaf + 1] - path[leaf]
    before[0] = ALL_ROWS
    for j in range(count):
        let_through(image, right, first + j, let, j)
        for lane in range(LANES):
            before[j + 1, lane] = before[j, lane] & let[j, lane]
    # From here on the last of `let` is what all elements behind let through.
    let[count] = ALL_ROWS
    for j in range(count - 1, -1, -1):
        for lane in range(LANES):
            once[0, lane] = before[j, lane] & let[j + 1, lane] & ~let[j, lane]
            let[j, lane] &= let[j + 1, lane]
        place = slot[feature[first + j]]
        if place < 0:
            continue
        refused = share[first + j]
        for k in range(width):
            worth = value[leaf * width + k]
            at = (k if target < 0 else target) * slots + place
            _within_total(total, at)
            add_two(
                *(total, at, before, count, worth * (1.0 - refused)),
                *(once, 0, -worth * refused),
            )


@_jit
def _within_total(total: Floats, at: int) -> float:
    """Where numba checks bounds it stops here, as `bits` has none to check."""
    return total[at, ROWS - 1]


@_jit
def xemp_each(
    image: Ints, matrix: Floats, share: Floats, slot: Ints, out: Floats
) -> None:
    """The same for rows one by one, of up to ROWS.

    Below an edge where a second feature refuses the row no leaf counts.
    """
    trees = ints(image, Section.EDGE_FIRST).size - 1
    right = ask(image, matrix, 0)
    goes = np.empty(right.shape[0], np.int32)
    # Of each edge the feature that refuses the row on the way there; -1: none does.
    refusing = np.full(most_edges(image), -1, np.int32)
    out[:] = 0.0
    for i in range(matrix.shape[0]):
        read_goes(right, i, goes)
        for tree in range(trees):
            _refuse_tree(image, tree, goes, share, slot, refusing, out[i])


@_jit
def _refuse_tree(
    image: Ints,
    tree: int,
    goes: Ints,
    share: Floats,
    slot: Ints,
    refusing: NDArray[np.int32],
    out: Floats,
) -> None:
    first = ints(image, Section.EDGE_FIRST)[tree]
    count = ints(image, Section.EDGE_FIRST)[tree + 1] - first
    test = ints(image, Section.EDGE_TEST)[first : first + count]
    parent = ints(image, Section.EDGE_PARENT)[first : first + count]
    skip = ints(image, Section.EDGE_SKIP)[first : first + count]
    feature = ints(image, Section.EDGE_FEATURE)[first : first + count]
    leaf = ints(image, Section.EDGE_LEAF)[first : first + count]
    e = 0
    while e < count:
        refuses = refusing[parent[e]]
        if goes[test[e] >> 1] != test[e] & 1:
            if refuses >= 0 and refuses != feature[e]:
                e = skip[e] - 1
                continue
            refuses = feature[e]
        refusing[e + 1] = refuses
        if leaf[e] >= 0:
            _count_leaf(image, tree, leaf[e], refuses, share, slot, out)
        e += 1


@_jit
def _count_leaf(
    image: Ints,
    tree: int,
    leaf: int,
    refuses: int,
    share: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """Add what a leaf counts: for all on its path if none refuses the row, or for the
    feature that does."""
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    for element in range(path[leaf], path[leaf + 1]):
        place = slot[feature[element]]
        if place < 0 or (refuses >= 0 and feature[element] != refuses):
            continue
        factor = 1.0 - share[element] if refuses < 0 else -share[element]
        for k in range(width):
            at = k if target < 0 else target
            out[at, place] += value[leaf * width + k] * factor


_SHARES = numba.types.Array(numba.float64, 1, "C")
_SIGNATURE = numba.void(IMAGE, MATRIX, _SHARES, SLOTS, OUT)
# What is compiled, and for which arguments; see `kernel_cache`.
KERNELS = (
    (weigh_exemplars, numba.void(IMAGE, MATRIX, MATRIX, _SHARES)),
    (xemp_rows, _SIGNATURE),
    (xemp_each, _SIGNATURE),
)
