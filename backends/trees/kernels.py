"""Compiled code that scores rows by the tables of an ensemble.

Everything here is read by numba. There are no Python objects, no threads and no
exceptions: who calls has checked the shapes, and the tables are those that were built.
`tables.Section` says what lies in each of them.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.asking import (
    Floats,
    Ints,
    Sets,
    ask_rows,
    code,
    floats,
    ints,
    number,
    within,
)
from backends.trees.bits import (
    LANES,
    PLANES,
    ROWS,
    collect,
    join,
    lowest_bit,
    part,
    spread_5,
    spread_8,
    spread_16,
)
from backends.trees.tables import LEAF_GROUP, Number, Scale, Section
from backends.trees.transforms import finish

# Walks that go on side by side.
_ABREAST = 8

_ONE, _TWO, _FOUR = np.uint64(1), np.uint64(2), np.uint64(4)
_ALL = np.int32(-1)
_ALL_ROWS = np.uint64(2**64 - 1)

_jit = numba.njit(nogil=True, error_model="numpy")


# ---- Blocks of rows


@_jit
def score_rows(image: Ints, matrix: Floats, raw: int, out: Floats) -> None:
    """Score any number of rows, a block at a time.

    matrix: (n_rows, features). raw: 1 for the trees' sums alone, else 0.
    out: (n_rows, sums) if raw, else (n_rows, outputs).
    """
    numbers = ints(image, Section.NUMBERS)
    columns = ints(image, Section.COLUMN_FEATURE).size
    categories = ints(image, Section.CATEGORY_FEATURE).size
    trees = ints(image, Section.TREE_SUM).size
    thresholds = floats(image, Section.THRESHOLD).size
    sets = ints(image, Section.SET_RIGHT).size
    # Leaves of walked trees ask for a column, whether there is one or not.
    x = np.empty((max(columns, 1), ROWS))
    narrow = np.empty((columns if numbers[Number.SINGLE] else 0, ROWS), np.float32)
    away = np.empty((columns, LANES), np.uint64)
    codes = np.empty((categories, ROWS), np.int32)
    of_code = np.zeros((ints(image, Section.CATEGORY_FIRST)[-1], LANES), np.uint64)
    right = np.empty((thresholds + sets, LANES), np.uint64)
    reach = np.zeros((numbers[Number.SLOTS] + 1, LANES), np.uint64)
    planes = np.zeros((PLANES + 1, LANES), np.uint64)
    leaf = np.zeros(ROWS, np.uint16)
    place = np.zeros(ROWS, np.int32)
    totals = np.empty((numbers[Number.SUMS], ROWS))
    tree_leaf = ints(image, Section.TREE_LEAF)
    reach[0] = _ALL_ROWS
    for start in range(0, matrix.shape[0], ROWS):
        rows = min(ROWS, matrix.shape[0] - start)
        ask_rows(image, matrix, start, rows, x, narrow, away, codes, of_code, right)
        totals[:] = 0.0
        for tree in range(trees):
            if tree_leaf[tree] < tree_leaf[tree + 1]:
                _route(image, tree, right, reach)
                _number_leaves(image, tree, reach, planes, leaf)
                first = ints(image, Section.TREE_VALUE)[tree]
                for i in range(ROWS):
                    place[i] = first + np.int32(leaf[i])
            else:
                _walk_rows(image, tree, x, codes, place)
            _add_leaves(image, tree, place, totals)
        _answer_rows(image, totals, start, rows, raw, out)


@_jit
def _route(image: Ints, tree: int, right: Sets, reach: Sets) -> None:
    """The rows that reach each slot of a tree."""
    tree_node = ints(image, Section.TREE_NODE)
    condition = ints(image, Section.NODE_CONDITION)
    slot = ints(image, Section.NODE_SLOT)
    first = tree_node[tree]
    for node in range(first, tree_node[tree + 1]):
        child = 2 * (node - first) + 1
        within(right, condition[node])
        within(reach, max(slot[node], child + 1))
        part(right, condition[node], reach, slot[node], child)


@_jit
def _number_leaves(
    image: Ints, tree: int, reach: Sets, planes: Sets, leaf: NDArray[np.uint16]
) -> None:
    """The leaf of each row, numbered from left to right.

    The bits of the numbers are found for all rows at once: the rows whose number has a
    bit are those of all leaves whose number has it.
    """
    tree_leaf = ints(image, Section.TREE_LEAF)
    slots = ints(image, Section.LEAF_SLOT)
    first, end = tree_leaf[tree], tree_leaf[tree + 1]
    planes[:] = 0
    for k in range(first, end, LEAF_GROUP):
        within(reach, slots[k + LEAF_GROUP - 1])
        collect(reach, slots, k, planes)
        bit, group = 3, (k - first) >> 3
        while group:
            if group & 1:
                join(planes, PLANES, planes, bit)
            group >>= 1
            bit += 1
    if end - first <= 32:
        spread_5(planes, leaf)
    elif end - first <= 256:
        spread_8(planes, leaf)
    else:
        spread_16(planes, leaf)


@_jit
def _add_leaves(image: Ints, tree: int, place: Ints, totals: Floats) -> None:
    numbers = ints(image, Section.NUMBERS)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = numbers[Number.WIDTH]
    for k in range(width):
        total = totals[k if target < 0 else target]
        if numbers[Number.SINGLE]:
            for i in range(ROWS):
                total[i] = np.float32(total[i] + value[place[i] * width + k])
        elif width == 1:
            for i in range(ROWS):
                total[i] += value[place[i]]
        else:
            for i in range(ROWS):
                total[i] += value[place[i] * width + k]


@_jit
def _answer_rows(
    image: Ints, totals: Floats, start: int, rows: int, raw: int, out: Floats
) -> None:
    sums = np.empty(totals.shape[0])
    for i in range(rows):
        for k in range(sums.size):
            sums[k] = totals[k, i]
        _answer(image, sums, raw, out[start + i])


@_jit
def _answer(image: Ints, sums: Floats, raw: int, answer: Floats) -> None:
    numbers = ints(image, Section.NUMBERS)
    scales = floats(image, Section.SCALES)
    base = floats(image, Section.BASE)
    single = numbers[Number.SINGLE]
    for k in range(sums.size):
        if not raw:
            sums[k] /= scales[Scale.DIVISOR]
        if single:
            sums[k] = np.float32(np.float32(sums[k]) + base[k])
        else:
            sums[k] += base[k]
    if raw:
        answer[:] = sums
    else:
        finish(sums, numbers[Number.TRANSFORM], scales[Scale.PARAMETER], answer)


# ---- Few rows, one by one


@_jit
def score_each(image: Ints, matrix: Floats, raw: int, out: Floats) -> None:
    """Score rows one by one; see `score_rows`."""
    numbers = ints(image, Section.NUMBERS)
    x = np.zeros(max(ints(image, Section.COLUMN_FEATURE).size, 1))
    codes = np.empty(ints(image, Section.CATEGORY_FEATURE).size, np.int32)
    alive = np.empty(ints(image, Section.TREE_WORD)[-1], np.int32)
    place = np.empty(ints(image, Section.TREE_SUM).size, np.int32)
    sums = np.empty(numbers[Number.SUMS])
    for i in range(matrix.shape[0]):
        alive[:] = _ALL
        _narrow_by_categories(image, matrix[i], codes, alive)
        _narrow_by_numbers(image, matrix[i], x, alive)
        if ints(image, Section.STEP).size:
            _walk_trees(image, x, codes, place)
        _sum_leaves(image, alive, place, sums)
        _answer(image, sums, raw, out[i])


@_jit
def _sum_leaves(image: Ints, alive: Ints, place: Ints, sums: Floats) -> None:
    numbers = ints(image, Section.NUMBERS)
    value = floats(image, Section.VALUE)
    tree_word = ints(image, Section.TREE_WORD)
    word_value = ints(image, Section.WORD_VALUE)
    tree_sum = ints(image, Section.TREE_SUM)
    width, single = numbers[Number.WIDTH], numbers[Number.SINGLE]
    sums[:] = 0.0
    for tree in range(tree_sum.size):
        w = tree_word[tree]
        if w < tree_word[tree + 1]:
            while not alive[w]:
                w += 1
            leaf = word_value[w] + np.int64(lowest_bit(alive[w]))
        else:
            leaf = np.int64(place[tree])
        for k in range(width):
            target = k if tree_sum[tree] < 0 else tree_sum[tree]
            sums[target] += value[leaf * width + k]
            if single:
                sums[target] = np.float32(sums[target])


@_jit
def _narrow(alive: NDArray[np.int32], masks: Ints) -> None:
    for w in range(alive.size):
        alive[w] &= masks[w]


@_jit
def _narrow_by_categories(
    image: Ints, row: Floats, codes: NDArray[np.int32], alive: NDArray[np.int32]
) -> None:
    numbers = ints(image, Section.NUMBERS)
    single, exact = numbers[Number.SINGLE], numbers[Number.EXACT]
    feature = ints(image, Section.CATEGORY_FEATURE)
    size = ints(image, Section.CATEGORY_SIZE)
    first = ints(image, Section.CATEGORY_FIRST)
    survivor = ints(image, Section.CATEGORY_ROW)
    masks = ints(image, Section.CATEGORY_MASK)
    for c in range(feature.size):
        codes[c] = code(row[feature[c]], size[c], single, exact)
        at = np.int64(survivor[first[c] + codes[c]]) * alive.size
        _narrow(alive, masks[at : at + alive.size])


@_jit
def _narrow_by_numbers(
    image: Ints, row: Floats, x: Floats, alive: NDArray[np.int32]
) -> None:
    numbers = ints(image, Section.NUMBERS)
    single, step = numbers[Number.SINGLE], numbers[Number.STEP]
    zero = floats(image, Section.SCALES)[Scale.ZERO]
    feature = ints(image, Section.COLUMN_FEATURE)
    missing = ints(image, Section.COLUMN_MISSING)
    goes_right = ints(image, Section.COLUMN_AWAY)
    first = ints(image, Section.COLUMN_FIRST)
    threshold = floats(image, Section.THRESHOLD)
    test_first = ints(image, Section.ONE_FIRST)
    test_word = ints(image, Section.ONE_WORD)
    test_mask = ints(image, Section.ONE_MASK)
    applied = ints(image, Section.ONE_COUNT)
    prefix_first = ints(image, Section.ONE_PREFIX)
    prefix = ints(image, Section.PREFIX)
    words = alive.size
    for c in range(feature.size):
        x[c] = number(row[feature[c]], missing[c], single, zero)
        if np.isnan(x[c]):
            rank = first[c + 1] - first[c] if goes_right[c] else 0
        else:
            rank = _search(threshold[first[c] : first[c + 1]], x[c])
        count = applied[first[c] + c + rank]
        stored = count // step
        if stored:
            at = np.int64(prefix_first[c] + stored) * words
            _narrow(alive, prefix[at : at + words])
        for k in range(test_first[c] + stored * step, test_first[c] + count):
            alive[test_word[k]] &= test_mask[k]


@_jit
def _search(threshold: Floats, value: float) -> int:
    """How many thresholds lie below a value, without a branch to be guessed."""
    low, length = 0, threshold.size
    if length == 0:
        return 0
    while length > 1:
        half = length >> 1
        low += half * np.int64(threshold[low + half - 1] < value)
        length -= half
    return low + np.int64(threshold[low] < value)


# ---- Trees that are walked


@_jit
def _walk_rows(
    image: Ints, tree: int, x: Floats, codes: Ints, place: NDArray[np.int32]
) -> None:
    """The place in VALUE of each row's leaf. x: (columns, ROWS), as codes."""
    first = ints(image, Section.TREE_STEP)[tree]
    value = ints(image, Section.STEP_VALUE)
    at = np.empty(_ABREAST, np.int32)
    row = np.empty(_ABREAST, np.int32)
    for start in range(0, ROWS, _ABREAST):
        for j in range(_ABREAST):
            at[j] = first
            row[j] = start + j
        _walk(image, at, x.reshape(-1), codes.reshape(-1), ROWS, row)
        for j in range(_ABREAST):
            place[start + j] = value[at[j]]


@_jit
def _walk_trees(image: Ints, x: Floats, codes: Ints, place: NDArray[np.int32]) -> None:
    """The place in VALUE of one row's leaf in each tree that masks do not cover."""
    tree_word = ints(image, Section.TREE_WORD)
    tree_step = ints(image, Section.TREE_STEP)
    value = ints(image, Section.STEP_VALUE)
    at = np.empty(_ABREAST, np.int32)
    tree = np.empty(_ABREAST, np.int32)
    row = np.zeros(_ABREAST, np.int32)
    filled = 0
    for t in range(tree_step.size):
        if tree_word[t] == tree_word[t + 1]:
            at[filled], tree[filled] = tree_step[t], t
            filled += 1
        if filled == _ABREAST or (filled and t == tree_step.size - 1):
            _walk(image, at[:filled], x, codes, 1, row)
            for j in range(filled):
                place[tree[j]] = value[at[j]]
            filled = 0


@_jit
def _walk(
    image: Ints,
    at: NDArray[np.int32],
    x: Floats,
    codes: Ints,
    stride: int,
    row: Ints,
) -> None:
    """Lead several from their steps to their leaves' at once: one waits for memory
    while another goes on.

    at: steps, replaced. x, codes: cells of column c at c * stride + row[j].
    """
    steps = ints(image, Section.STEP)
    thresholds = floats(image, Section.STEP)
    away = ints(image, Section.COLUMN_AWAY)
    bits = ints(image, Section.SET_BITS)
    wide = np.uint64(stride)
    moved = True
    while moved:
        moved = False
        for j in range(at.size):
            # Unsigned: a negative index would count from the end, which takes longer.
            step = np.uint64(at[j])
            column, child = steps[_FOUR * step], np.uint64(steps[_FOUR * step + _ONE])
            is_node = child != step
            if column >= 0:
                cell = np.uint64(column) * wide + np.uint64(row[j])
                right = (x[cell] > thresholds[_TWO * step + _ONE]) | (
                    (x[cell] != x[cell]) & (away[np.uint64(column)] == 1)
                )
            else:
                code = codes[np.uint64(~column) * wide + np.uint64(row[j])]
                word = bits[np.uint64(steps[_FOUR * step + _TWO] + (code >> 5))]
                right = ((word >> (code & 31)) & 1) == 0
            # A leaf asks as a node would, but stays: a branch would be guessed wrong.
            at[j] = child + np.uint64(right & is_node)
            moved |= is_node


_SIGNATURE = numba.void(
    numba.types.Array(numba.int32, 1, "C", readonly=True),
    numba.types.Array(numba.float64, 2, "C", readonly=True),
    numba.int64,
    numba.types.Array(numba.float64, 2, "C"),
)
# What is compiled, and for which arguments; see `kernel_cache`.
KERNELS = ((score_rows, _SIGNATURE), (score_each, _SIGNATURE))
