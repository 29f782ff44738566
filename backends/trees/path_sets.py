"""Compiled helpers of the kernels that explain rows by the paths of an ensemble.

They are read by numba, as `kernels` is; `tables.Section` says what lies in each table.
A path's elements are its features; an element lets a row through if all that the path
asks of the feature is answered as the path goes. Rows go through in blocks of ROWS, a
set of rows being some words of bits, see `bits`.
"""

from __future__ import annotations

import numba
import numpy as np

from backends.trees.asking import Floats, Ints, Sets, ask_rows, floats, ints, within
from backends.trees.bits import LANES, ROWS, meet
from backends.trees.tables import Number, Section

ALL_ROWS = np.uint64(2**64 - 1)
NONE = np.uint64(0)
_ONE = np.uint64(1)

# The types of what several kernels are called with.
IMAGE = numba.types.Array(numba.int32, 1, "C", readonly=True)
MATRIX = numba.types.Array(numba.float64, 2, "C", readonly=True)
SLOTS = numba.types.Array(numba.int32, 1, "C", readonly=True)
OUT = numba.types.Array(numba.float64, 3, "C")

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def ask(image: Ints, matrix: Floats, start: int) -> Sets:
    """Which rows of a block go right at each condition: (conditions, LANES)."""
    columns = ints(image, Section.COLUMN_FEATURE).size
    categories = ints(image, Section.CATEGORY_FEATURE).size
    thresholds = floats(image, Section.THRESHOLD).size
    sets = ints(image, Section.SET_RIGHT).size
    single = ints(image, Section.NUMBERS)[Number.SINGLE]
    right = np.empty((thresholds + sets, LANES), np.uint64)
    ask_rows(
        image,
        matrix,
        start,
        min(ROWS, matrix.shape[0] - start),
        np.empty((columns, ROWS)),
        np.empty((columns if single else 0, ROWS), np.float32),
        np.empty((columns, LANES), np.uint64),
        np.empty((categories, ROWS), np.int32),
        np.zeros((ints(image, Section.CATEGORY_FIRST)[-1], LANES), np.uint64),
        right,
    )
    return right


@_jit
def has_row(sets: Sets, place: int, i: int) -> int:
    """1 if row i of the block is in a set, else 0."""
    return sets[place, i >> 6] >> np.uint64(i & 63) & _ONE


@_jit
def read_goes(right: Sets, i: int, goes: Ints) -> None:
    """goes = 1 for each condition at which row i goes right."""
    for condition in range(goes.size):
        goes[condition] = has_row(right, condition, i)


@_jit
def let_through(image: Ints, right: Sets, element: int, let: Sets, place: int) -> None:
    """let[place] = the rows that an element lets through."""
    first = ints(image, Section.ELEMENT_TEST)
    test = ints(image, Section.PATH_TEST)
    for lane in range(LANES):
        let[place, lane] = ALL_ROWS
    for at in range(first[element], first[element + 1]):
        within(right, test[at] >> 1)
        meet(right, test[at] >> 1, NONE if test[at] & 1 else ALL_ROWS, let, place)


@_jit
def let_path(image: Ints, leaf: int, right: Sets, let: Sets) -> None:
    """let = the rows that each element of a leaf's path lets through."""
    path = ints(image, Section.PATH_FIRST)
    for j in range(path[leaf + 1] - path[leaf]):
        let_through(image, right, path[leaf] + j, let, j)


@_jit
def longest_path(image: Ints) -> int:
    """Elements of the longest path."""
    first = ints(image, Section.PATH_FIRST)
    longest = 0
    for leaf in range(first.size - 1):
        longest = max(longest, first[leaf + 1] - first[leaf])
    return longest


@_jit
def most_edges(image: Ints) -> int:
    """Edges of the tree that has most, and one for the root's."""
    first = ints(image, Section.EDGE_FIRST)
    most = 1
    for tree in range(first.size - 1):
        most = max(most, first[tree + 1] - first[tree] + 1)
    return most


@_jit
def put_out(total: Floats, start: int, out: Floats) -> None:
    """Copy the totals of a block, (sums * slots, ROWS), to the rows of out."""
    slots = out.shape[2]
    for i in range(min(ROWS, out.shape[0] - start)):
        for k in range(out.shape[1]):
            for s in range(slots):
                out[start + i, k, s] = total[k * slots + s, i]
