"""Compiled code that scores rows by the tables of an ensemble.

Everything here is read by numba. There are no Python objects, no threads and no
exceptions: who calls has checked the shapes, and the tables have been checked when they
were opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_ZERO
from backends.trees.tables import Number, Scale, Section
from backends.trees.transforms import finish

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

# Rows that go through the trees together.
ROWS = 64
# Columns with more thresholds are searched, not counted through.
_MOST_COUNTED = 500

_ALL = np.int32(-1)

_jit = numba.njit(nogil=True, error_model="numpy")


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(context: Any, word: Any) -> Any:
    """Position of the lowest set bit; the word must not be 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return word(word), generate


@_jit
def _ints(image: Ints, section: int) -> Ints:
    begin = image[2 * section]
    return image[begin : begin + image[2 * section + 1]]


@_jit
def _floats(image: Ints, section: int) -> Floats:
    return _ints(image, section).view(np.float64)


# ---- What rows are compared with


@_jit
def _number(value: float, scales: Floats, single: int) -> float:
    """A cell as the trees compare it."""
    if single:
        value = np.float64(np.float32(value))
    return 0.0 if abs(value) <= scales[Scale.ZERO] else value


@_jit
def _is_missing(value: float, missing: int) -> bool:
    return np.isnan(value) or (missing == MISSING_ZERO and value == 0.0)


@_jit
def _code(value: float, size: int, single: int, exact: int) -> int:
    """A category's number; `size` for everything that no split knows."""
    if single:
        value = np.float64(np.float32(value))
    if not (value > -1.0 and value < size):
        return size
    code = np.int64(value)
    if exact and np.float64(code) != value:
        return size
    return code


@_jit
def _count_below(
    x: Floats, a: float, b: float, c: float, d: float, count: NDArray[np.int64]
) -> None:
    for i in range(ROWS):
        count[i] += (
            np.int64(x[i] > a)
            + np.int64(x[i] > b)
            + np.int64(x[i] > c)
            + np.int64(x[i] > d)
        )


@_jit
def _count_thresholds(x: Floats, threshold: Floats, count: NDArray[np.int64]) -> None:
    """How many thresholds lie below each value."""
    size = threshold.size
    if size > _MOST_COUNTED:
        for i in range(ROWS):
            count[i] = _search(threshold, x[i])
        return
    count[:] = 0
    k = 0
    while k + 4 <= size:
        _count_below(
            x, threshold[k], threshold[k + 1], threshold[k + 2], threshold[k + 3], count
        )
        k += 4
    while k < size:
        _count_below(x, threshold[k], np.inf, np.inf, np.inf, count)
        k += 1


@_jit
def _search(threshold: Floats, value: float) -> int:
    """How many thresholds lie below a value."""
    low, length = 0, threshold.size
    while length > 1:
        half = length >> 1
        low += half * np.int64(threshold[low + half - 1] < value)
        length -= half
    return low + np.int64(threshold[low] < value)


@_jit
def _rank_rows(
    image: Ints, matrix: Floats, start: int, rows: int, work: NDArray[np.int32]
) -> None:
    """Fill work[1:] with the ranks of 64 rows; the last row stands for those beyond."""
    scales = _floats(image, Section.SCALES)
    single = _ints(image, Section.NUMBERS)[Number.SINGLE]
    feature = _ints(image, Section.COLUMN_FEATURE)
    missing = _ints(image, Section.COLUMN_MISSING)
    away = _ints(image, Section.COLUMN_AWAY)
    first = _ints(image, Section.COLUMN_FIRST)
    threshold = _floats(image, Section.THRESHOLD)
    x, count = np.empty(ROWS), np.empty(ROWS, np.int64)
    for c in range(feature.size):
        for i in range(ROWS):
            cell = matrix[start + min(i, rows - 1), feature[c]]
            x[i] = _number(cell, scales, single)
        _count_thresholds(x, threshold[first[c] : first[c + 1]], count)
        for i in range(ROWS):
            gone = _is_missing(x[i], missing[c])
            work[c + 1, i] = away[c] if gone else np.int32(count[i])


@_jit
def _code_rows(
    image: Ints, matrix: Floats, start: int, rows: int, codes: NDArray[np.int32]
) -> None:
    numbers = _ints(image, Section.NUMBERS)
    feature = _ints(image, Section.CATEGORY_FEATURE)
    size = _ints(image, Section.CATEGORY_SIZE)
    for c in range(feature.size):
        for i in range(ROWS):
            cell = matrix[start + min(i, rows - 1), feature[c]]
            codes[c, i] = _code(
                cell, size[c], numbers[Number.SINGLE], numbers[Number.EXACT]
            )


# ---- Many rows


@_jit
def score_rows(image: Ints, matrix: Floats, raw: int, out: Floats) -> None:
    """Score any number of rows.

    matrix: (n_rows, features). raw: 1 for the trees' sums alone, else 0.
    out: (n_rows, sums) if raw, else (n_rows, outputs).
    """
    numbers = _ints(image, Section.NUMBERS)
    columns = _ints(image, Section.COLUMN_FEATURE).size
    categories = _ints(image, Section.CATEGORY_FEATURE).size
    tile_tree = _ints(image, Section.TILE_TREE)
    tree_word = _ints(image, Section.TREE_WORD)
    widest = 0
    for tile in range(tile_tree.size - 1):
        widest = max(
            widest, tree_word[tile_tree[tile + 1]] - tree_word[tile_tree[tile]]
        )
    # Survivors are the first row of the array of ranks: two arrays could overlap for
    # all the compiler knows, which it would check at each step.
    work = np.empty((max(columns, 1) + 1, ROWS), np.int32)
    codes = np.empty((categories, ROWS), np.int32)
    # Rows of an odd number of cache lines do not crowd into the same few of its sets.
    survivors = np.empty((ROWS if categories else 0, widest + 16), np.int32)
    leaf = np.empty(ROWS, np.int32)
    totals = np.empty((numbers[Number.SUMS], ROWS))
    for start in range(0, matrix.shape[0], ROWS):
        rows = min(ROWS, matrix.shape[0] - start)
        _rank_rows(image, matrix, start, rows, work)
        _code_rows(image, matrix, start, rows, codes)
        totals[:] = 0.0
        for tile in range(tile_tree.size - 1):
            if categories:
                _survive_categories(
                    image,
                    codes,
                    tree_word[tile_tree[tile]],
                    tree_word[tile_tree[tile + 1]],
                    survivors,
                )
            for tree in range(tile_tree[tile], tile_tree[tile + 1]):
                if tree_word[tree] < tree_word[tree + 1]:
                    first = tree_word[tile_tree[tile]]
                    _find_leaves(image, tree, work, survivors, first, leaf)
                else:
                    _walk_rows(image, tree, work, codes, leaf)
                _add_leaves(image, tree, leaf, totals)
        _answer_rows(image, totals, start, rows, raw, out)


@_jit
def _survive_categories(
    image: Ints, codes: Ints, begin: int, end: int, survivors: NDArray[np.int32]
) -> None:
    """What the categories of 64 rows leave of the words from begin to end."""
    words = _ints(image, Section.TREE_WORD)[-1]
    masks = _ints(image, Section.CATEGORY_MASK)
    row = _ints(image, Section.CATEGORY_ROW)
    first = _ints(image, Section.CATEGORY_FIRST)
    for i in range(ROWS):
        mine = survivors[i, : end - begin]
        for c in range(codes.shape[0]):
            at = np.int64(row[first[c] + codes[c, i]]) * words
            theirs = masks[at + begin : at + end]
            if c == 0:
                mine[:] = theirs
            else:
                for w in range(mine.size):
                    mine[w] &= theirs[w]


@_jit
def _strike(
    work: NDArray[np.int32], column: Ints, rank: Ints, mask: Ints, k: int
) -> None:
    """A group of tests on 64 rows."""
    a, b, c, d = column[k] + 1, column[k + 1] + 1, column[k + 2] + 1, column[k + 3] + 1
    ka, kb, kc, kd = rank[k], rank[k + 1], rank[k + 2], rank[k + 3]
    ma, mb, mc, md = mask[k], mask[k + 1], mask[k + 2], mask[k + 3]
    for i in range(ROWS):
        work[0, i] &= (
            (ma if work[a, i] > ka else _ALL)
            & (mb if work[b, i] > kb else _ALL)
            & (mc if work[c, i] > kc else _ALL)
            & (md if work[d, i] > kd else _ALL)
        )


@_jit
def _find_leaves(
    image: Ints,
    tree: int,
    work: NDArray[np.int32],
    survivors: NDArray[np.int32],
    first: int,
    leaf: NDArray[np.int32],
) -> None:
    """The values of a tree's leaves for 64 rows; the lowest surviving leaf counts."""
    tree_word = _ints(image, Section.TREE_WORD)
    word_test = _ints(image, Section.WORD_TEST)
    word_value = _ints(image, Section.WORD_VALUE)
    column = _ints(image, Section.TEST_COLUMN)
    rank = _ints(image, Section.TEST_RANK)
    mask = _ints(image, Section.TEST_MASK)
    alive = work[0]
    last = tree_word[tree + 1] - 1
    for w in range(last, tree_word[tree] - 1, -1):
        if survivors.shape[0]:
            for i in range(ROWS):
                alive[i] = survivors[i, w - first]
        else:
            for i in range(ROWS):
                alive[i] = _ALL
        for k in range(word_test[w], word_test[w + 1], 4):
            _strike(work, column, rank, mask, k)
        if w == last:
            for i in range(ROWS):
                leaf[i] = word_value[w] + _lowest_bit(alive[i])
        else:
            for i in range(ROWS):
                if alive[i]:
                    leaf[i] = word_value[w] + _lowest_bit(alive[i])


@_jit
def _goes_right(
    step_column: Ints,
    step_rank: Ints,
    bits: Ints,
    step: int,
    ranks: Ints,
    codes: Ints,
) -> int:
    column, rank = step_column[step], step_rank[step]
    if column >= 0:
        return np.int64(ranks[column] > rank)
    code = codes[~column]
    return 1 - ((bits[rank + (code >> 5)] >> (code & 31)) & 1)


@_jit
def _walk_rows(
    image: Ints, tree: int, work: Ints, codes: Ints, leaf: NDArray[np.int32]
) -> None:
    """The values of a walked tree's leaves for 64 rows, a level at a time."""
    column = _ints(image, Section.STEP_COLUMN)
    rank = _ints(image, Section.STEP_RANK)
    child = _ints(image, Section.STEP_CHILD)
    value = _ints(image, Section.STEP_VALUE)
    bits = _ints(image, Section.SET_BITS)
    leaf[:] = _ints(image, Section.TREE_ROOT)[tree]
    ranks = work[1:]
    moved = True
    while moved:
        moved = False
        for i in range(ROWS):
            step = leaf[i]
            right = _goes_right(column, rank, bits, step, ranks[:, i], codes[:, i])
            leaf[i] = child[2 * step + right]
            moved |= leaf[i] != step
    for i in range(ROWS):
        leaf[i] = value[leaf[i]]


@_jit
def _add_leaves(image: Ints, tree: int, leaf: Ints, totals: Floats) -> None:
    numbers = _ints(image, Section.NUMBERS)
    value = _floats(image, Section.VALUE)
    target = _ints(image, Section.TREE_SUM)[tree]
    width = numbers[Number.WIDTH]
    for k in range(width):
        total = totals[k if width > 1 else max(target, 0)]
        if numbers[Number.SINGLE]:
            for i in range(ROWS):
                total[i] = np.float32(total[i] + value[leaf[i] * width + k])
        else:
            for i in range(ROWS):
                total[i] += value[leaf[i] * width + k]


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
    numbers = _ints(image, Section.NUMBERS)
    scales = _floats(image, Section.SCALES)
    base = _floats(image, Section.BASE)
    for k in range(sums.size):
        if not raw:
            sums[k] /= scales[Scale.DIVISOR]
        if numbers[Number.SINGLE]:
            sums[k] = np.float32(np.float32(sums[k]) + base[k])
        else:
            sums[k] += base[k]
    if raw:
        answer[:] = sums
    else:
        finish(sums, numbers[Number.TRANSFORM], scales[Scale.PARAMETER], answer)


# ---- One row


@_jit
def score_row(image: Ints, matrix: Floats, raw: int, out: Floats) -> None:
    """Score the first row of a matrix; see `score_rows`.

    The tests that strike leaves in a column are the first in its list: nothing is
    compared but the row's value with the thresholds.
    """
    numbers = _ints(image, Section.NUMBERS)
    tree_word = _ints(image, Section.TREE_WORD)
    row = matrix[0]
    ranks = np.empty(_ints(image, Section.COLUMN_FEATURE).size, np.int32)
    codes = np.empty(_ints(image, Section.CATEGORY_FEATURE).size, np.int32)
    alive = np.full(tree_word[-1], _ALL, np.int32)
    _narrow_by_categories(image, row, codes, alive)
    _narrow_by_numbers(image, row, ranks, alive)
    sums = np.zeros(numbers[Number.SUMS])
    value = _floats(image, Section.VALUE)
    word_value = _ints(image, Section.WORD_VALUE)
    tree_sum = _ints(image, Section.TREE_SUM)
    width = numbers[Number.WIDTH]
    single = numbers[Number.SINGLE]
    for tree in range(tree_sum.size):
        w = tree_word[tree]
        if w < tree_word[tree + 1]:
            while not alive[w]:
                w += 1
            leaf = word_value[w] + np.int64(_lowest_bit(alive[w]))
        else:
            leaf = _walk(image, tree, ranks, codes)
        for k in range(width):
            target = k if width > 1 else max(tree_sum[tree], 0)
            sums[target] += value[leaf * width + k]
            if single:
                sums[target] = np.float32(sums[target])
    _answer(image, sums, raw, out[0])


@_jit
def _narrow(alive: NDArray[np.int32], masks: Ints) -> None:
    for w in range(alive.size):
        alive[w] &= masks[w]


@_jit
def _narrow_by_categories(
    image: Ints, row: Floats, codes: NDArray[np.int32], alive: NDArray[np.int32]
) -> None:
    numbers = _ints(image, Section.NUMBERS)
    feature = _ints(image, Section.CATEGORY_FEATURE)
    size = _ints(image, Section.CATEGORY_SIZE)
    first = _ints(image, Section.CATEGORY_FIRST)
    category_row = _ints(image, Section.CATEGORY_ROW)
    masks = _ints(image, Section.CATEGORY_MASK)
    for c in range(feature.size):
        codes[c] = _code(
            row[feature[c]], size[c], numbers[Number.SINGLE], numbers[Number.EXACT]
        )
        at = np.int64(category_row[first[c] + codes[c]]) * alive.size
        _narrow(alive, masks[at : at + alive.size])


@_jit
def _narrow_by_numbers(
    image: Ints, row: Floats, ranks: NDArray[np.int32], alive: NDArray[np.int32]
) -> None:
    numbers = _ints(image, Section.NUMBERS)
    scales = _floats(image, Section.SCALES)
    feature = _ints(image, Section.COLUMN_FEATURE)
    missing = _ints(image, Section.COLUMN_MISSING)
    away = _ints(image, Section.COLUMN_AWAY)
    first = _ints(image, Section.COLUMN_FIRST)
    threshold = _floats(image, Section.THRESHOLD)
    test_first = _ints(image, Section.ONE_FIRST)
    test_word = _ints(image, Section.ONE_WORD)
    test_mask = _ints(image, Section.ONE_MASK)
    applied = _ints(image, Section.ONE_COUNT)
    prefix_first = _ints(image, Section.ONE_PREFIX)
    prefix = _ints(image, Section.PREFIX)
    step = numbers[Number.STEP]
    words = alive.size
    for c in range(feature.size):
        x = _number(row[feature[c]], scales, numbers[Number.SINGLE])
        known = first[c + 1] - first[c]
        if _is_missing(x, missing[c]):
            ranks[c] = away[c]
        else:
            ranks[c] = _search(threshold[first[c] : first[c + 1]], x)
        count = applied[first[c] + c + min(max(ranks[c], 0), known)]
        stored = count // step
        if stored:
            at = np.int64(prefix_first[c] + stored) * words
            _narrow(alive, prefix[at : at + words])
        for k in range(test_first[c] + stored * step, test_first[c] + count):
            alive[test_word[k]] &= test_mask[k]


@_jit
def _walk(image: Ints, tree: int, ranks: Ints, codes: Ints) -> int:
    column = _ints(image, Section.STEP_COLUMN)
    rank = _ints(image, Section.STEP_RANK)
    child = _ints(image, Section.STEP_CHILD)
    bits = _ints(image, Section.SET_BITS)
    step = np.int64(_ints(image, Section.TREE_ROOT)[tree])
    while True:
        right = _goes_right(column, rank, bits, step, ranks, codes)
        following = np.int64(child[2 * step + right])
        if following == step:
            return _ints(image, Section.STEP_VALUE)[step]
        step = following


# ---- Made ready

_SIGNATURE = numba.void(
    numba.types.Array(numba.int32, 1, "C", readonly=True),
    numba.types.Array(numba.float64, 2, "C", readonly=True),
    numba.int64,
    numba.types.Array(numba.float64, 2, "C"),
)
_KERNELS = (score_rows, score_row)

# What the compiled code is made from: numba itself looks at this file alone.
_SOURCES = ("ensemble.py", "kernels.py", "tables.py", "transforms.py")

_preparing = threading.Lock()
log = logging.getLogger(__name__)


def prepare(folder: Path) -> None:
    """Load the compiled kernels from a folder, or compile them and keep them there.

    Later calls do nothing. After the first nothing is compiled any more: a call with
    arguments of other types raises TypeError. Before a fork, children share the code.
    A folder that cannot be written is not used.
    """
    with _preparing:
        if not score_rows._can_compile:
            return
        caching = _make_cache(folder)
        for kernel in _KERNELS:
            if caching:
                kernel.enable_caching()
            kernel.compile(_SIGNATURE)
            kernel.disable_compile()


def _make_cache(folder: Path) -> bool:
    """Let numba keep compiled code in a folder; whether it can."""
    cache = folder / _fingerprint()
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled kernels cannot be kept: %s", error)
        return False
    if not os.access(cache, os.W_OK | os.X_OK):
        log.warning("compiled kernels cannot be kept: %s is not writable", cache)
        return False
    numba.config.CACHE_DIR = str(cache)
    return True


def _fingerprint() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]
