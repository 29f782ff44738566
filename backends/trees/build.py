"""From an ensemble to its tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.conditions import Conditions
from backends.trees.ensemble import Ensemble, Floats, Ints
from backends.trees.shape import Shape
from backends.trees.tables import LEAF_GROUP, Number, Section, Tables, firsts
from backends.trees.transforms import CODES

Longs = NDArray[np.int64]

# Leaves in a word of a mask.
_WORD = 32
# Trees with more leaves are walked node by node: one row, and blocks of rows.
MOST_MASKED_LEAVES = 256
MOST_ROUTED_LEAVES = 4096  # at least MOST_MASKED_LEAVES
# Above this, category masks are not made: one row walks trees that split by category.
MOST_CATEGORY_BYTES = 16 * 2**20
# A row of stored prefixes stands for so many tests, or for more if that took too much.
_LEAST_STEP = 128
_MOST_PREFIX_BYTES = 4 * 2**20

_ALL = np.int32(-1)


def build(ensemble: Ensemble) -> Tables:
    """Make all tables. Raises NotCovered for a model beyond what int32 can count."""
    ensemble = replace(ensemble, threshold=round_thresholds(ensemble))
    shape = Shape(ensemble)
    routed = shape.leaves <= MOST_ROUTED_LEAVES
    conditions = Conditions(ensemble, routed[shape.tree])
    masked = _masked(conditions, shape)
    tests = _Tests(conditions, shape, masked)
    slots = _slots(shape, routed)
    step = _step(tests)
    return {
        **conditions.tables(),
        **_routes(conditions, shape, routed, slots),
        **_one_row(conditions, tests, step),
        **_category_masks(conditions, tests),
        **_steps(ensemble, conditions, shape, ~(routed & masked)),
        Section.TREE_VALUE: ensemble.tree_leaf[:-1],
        Section.TREE_WORD: tests.tree_word,
        Section.WORD_VALUE: _word_values(ensemble, tests.tree_word),
        Section.VALUE: _values(ensemble, shape),
        Section.TREE_SUM: ensemble.tree_sum,
        Section.BASE: ensemble.base,
        Section.NUMBERS: numbers(ensemble, step, slots),
        Section.SCALES: scales(ensemble),
    }


def round_thresholds(ensemble: Ensemble) -> Floats:
    """The thresholds as rows are compared with them.

    Where rows are float32, the largest float32 that is not above: those compare with
    it alike.
    """
    return _singles(ensemble.threshold) if ensemble.single else ensemble.threshold


def _singles(threshold: Floats) -> Floats:
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
        lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > threshold, lower, rounded).astype(np.float64)


def scales(ensemble: Ensemble) -> Floats:
    """SCALES of an ensemble."""
    return np.array([ensemble.zero, ensemble.divisor, ensemble.transform.parameter])


def numbers(ensemble: Ensemble, step: int = 0, slots: int = 0) -> Ints:
    """NUMBERS of an ensemble; see `Number`."""
    found = {
        Number.FEATURES: ensemble.features,
        Number.SUMS: ensemble.sums,
        Number.OUTPUTS: ensemble.outputs,
        Number.WIDTH: ensemble.value[:1].size,
        Number.TRANSFORM: CODES[ensemble.transform.name],
        Number.SINGLE: ensemble.single,
        Number.EXACT: ensemble.exact_categories,
        Number.STEP: step,
        Number.SLOTS: slots,
    }
    return np.array([found[number] for number in Number], np.int32)


def _values(ensemble: Ensemble, shape: Shape) -> NDArray[Any]:
    """Leaf values from left to right."""
    values = np.empty_like(ensemble.value)
    values[ensemble.tree_leaf[shape.leaf_tree] + shape.position] = ensemble.value
    return values


# ---- Blocks of rows


def _slots(shape: Shape, routed: NDArray[np.bool_]) -> int:
    """Slots of the largest routed tree; the one after them stays empty."""
    return 2 * int(shape.leaves[routed].max(initial=1)) - 1


def _routes(
    conditions: Conditions, shape: Shape, routed: NDArray[np.bool_], slots: int
) -> Tables:
    nodes = shape.order[routed[shape.tree[shape.order]]]
    leaves = np.where(routed, shape.leaves, 0)
    tree_leaf = firsts(-(-leaves // LEAF_GROUP) * LEAF_GROUP)
    mine = np.flatnonzero(routed[shape.leaf_tree])
    listed = np.full(int(tree_leaf[-1]), slots)
    listed[tree_leaf[shape.leaf_tree[mine]] + shape.position[mine]] = shape.leaf_slot[
        mine
    ]
    return {
        Section.TREE_NODE: firsts(np.where(routed, shape.leaves - 1, 0)),
        Section.NODE_CONDITION: conditions.condition[nodes],
        Section.NODE_SLOT: shape.slot[nodes],
        Section.TREE_LEAF: tree_leaf,
        Section.LEAF_SLOT: listed,
    }


# ---- One row


def _masked(conditions: Conditions, shape: Shape) -> NDArray[np.bool_]:
    """Which trees one row goes through by masks."""
    masked = shape.leaves <= MOST_MASKED_LEAVES
    words = int((-(-shape.leaves // _WORD))[masked].sum())
    if 4 * words * int(conditions.category_first[-1]) > MOST_CATEGORY_BYTES:
        masked[shape.tree[conditions.is_categorical]] = False
    return masked


class _Tests:
    """The nodes of masked trees, once for each word that they strike leaves from.

    tree_word: int32 (trees + 1,). words: of all trees.
    node, word, column, rank, set: int (tests,). mask: int32 (tests,).
    is_categorical: bool (tests,).
    """

    def __init__(
        self, conditions: Conditions, shape: Shape, masked: NDArray[np.bool_]
    ) -> None:
        self.tree_word = firsts(np.where(masked, -(-shape.leaves // _WORD), 0))
        self.words = int(self.tree_word[-1])
        nodes = np.flatnonzero(masked[shape.tree])
        first = shape.start[nodes] // _WORD
        spans = (shape.stop[nodes] - 1) // _WORD - first + 1
        node = np.repeat(nodes, spans)
        offset = np.arange(len(node)) - np.repeat(firsts(spans)[:-1], spans)
        word = np.repeat(first, spans) + offset
        low = np.clip(shape.start[node] - _WORD * word, 0, _WORD)
        high = np.clip(shape.stop[node] - _WORD * word, 0, _WORD)
        struck = (np.int64(1) << high) - (np.int64(1) << low)
        self.mask = (~struck).astype(np.uint32).view(np.int32)
        self.word = self.tree_word[shape.tree[node]] + word
        self.column = conditions.column[node]
        self.rank = conditions.rank[node]
        self.set = conditions.sets[node]
        self.is_categorical = conditions.is_categorical[node]

    def strike(self, alive: Ints, mine: Longs) -> None:
        """Let some tests strike their leaves from int32 (words,)."""
        np.bitwise_and.at(alive, self.word[mine], self.mask[mine])


def _step(tests: _Tests) -> int:
    """Tests between stored prefixes."""
    step = _LEAST_STEP
    while len(tests.word) // step * tests.words * 4 > _MOST_PREFIX_BYTES:
        step *= 2
    return step


def _one_row(conditions: Conditions, tests: _Tests, step: int) -> Tables:
    """Tests by column and threshold, and what survives the first of them."""
    mine = np.flatnonzero(~tests.is_categorical)
    mine = mine[np.lexsort((tests.rank[mine], tests.column[mine]))]
    one_first = firsts(
        np.bincount(tests.column[mine], minlength=len(conditions.feature))
    )
    counts, prefixes = [np.empty(0, np.int64)], [np.empty((0, tests.words), np.int32)]
    for (begin, end), (low, high) in zip(
        pairwise(one_first.tolist()), conditions.ranges(), strict=True
    ):
        listed = mine[begin:end]
        ranks = np.arange(high - low + 1)
        counts.append(np.searchsorted(tests.rank[listed], ranks))
        prefixes.append(_prefixes(tests, listed, step))
    return {
        Section.ONE_FIRST: one_first,
        Section.ONE_WORD: tests.word[mine],
        Section.ONE_MASK: tests.mask[mine],
        Section.ONE_COUNT: np.concatenate(counts),
        Section.ONE_PREFIX: firsts(np.array([len(each) for each in prefixes[1:]])),
        Section.PREFIX: np.concatenate(prefixes),
    }


def _prefixes(tests: _Tests, listed: Longs, step: int) -> Ints:
    """int32 (rows, words): what survives the first 0, step, 2 * step … tests."""
    rows = np.full((len(listed) // step + 1, tests.words), _ALL)
    for row in range(1, len(rows)):
        rows[row] = rows[row - 1]
        tests.strike(rows[row], listed[(row - 1) * step : row * step])
    return rows


def _category_masks(conditions: Conditions, tests: _Tests) -> Tables:
    """What survives each code, rows that are alike only once."""
    rows, of_code = [np.empty((0, tests.words), np.int32)], [np.empty(0, np.int64)]
    begin = 0
    for column, size in enumerate(conditions.category_size.tolist()):
        full = np.full((size + 1, tests.words), _ALL)
        for test in np.flatnonzero(tests.is_categorical & (tests.column == column)):
            goes_right = np.ones(size + 1, bool)
            goes_right[conditions.codes[tests.set[test]]] = False
            full[goes_right, tests.word[test]] &= tests.mask[test]
        different, number = np.unique(full, axis=0, return_inverse=True)
        rows.append(different)
        of_code.append(number.reshape(-1) + begin)
        begin += len(different)
    return {
        Section.CATEGORY_ROW: np.concatenate(of_code),
        Section.CATEGORY_MASK: np.concatenate(rows),
    }


def _word_values(ensemble: Ensemble, tree_word: Ints) -> Longs:
    tree = np.repeat(np.arange(ensemble.trees), np.diff(tree_word))
    within = np.arange(len(tree)) - tree_word[tree]
    return np.asarray(ensemble.tree_leaf[tree] + _WORD * within, np.int64)


# ---- Trees that are walked


def _steps(
    ensemble: Ensemble,
    conditions: Conditions,
    shape: Shape,
    walked: NDArray[np.bool_],
) -> Tables:
    begin = firsts(np.where(walked, 2 * shape.leaves - 1, 0))
    node = np.flatnonzero(walked[shape.tree])
    leaf = np.flatnonzero(walked[shape.leaf_tree])
    leaf_step = begin[shape.leaf_tree[leaf]] + shape.leaf_slot[leaf]
    node_step = begin[shape.tree[node]] + shape.slot[node]
    is_categorical = conditions.is_categorical[node]
    steps = np.zeros((int(begin[-1]), 4), np.int32)
    steps[node_step, 0] = np.where(
        is_categorical, ~conditions.column[node], conditions.column[node]
    )
    steps[node_step, 1] = begin[shape.tree[node]] + 2 * shape.place[node] + 1
    steps[leaf_step, 1] = leaf_step
    split = np.zeros((len(node), 2), np.int32)
    split[~is_categorical] = (
        ensemble.threshold[node[~is_categorical]].reshape(-1, 1).view(np.int32)
    )
    sets, place = np.unique(conditions.sets[node[is_categorical]], return_inverse=True)
    set_begin, bits = conditions.set_bits(sets)
    split[is_categorical, 0] = set_begin[place]
    steps[node_step, 2:] = split
    value = np.zeros(len(steps), np.int64)
    value[leaf_step] = ensemble.tree_leaf[shape.leaf_tree[leaf]] + shape.position[leaf]
    return {
        Section.TREE_STEP: np.where(walked, begin[:-1], -1),
        Section.STEP: steps,
        Section.STEP_VALUE: value,
        Section.SET_BITS: bits,
    }
