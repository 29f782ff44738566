"""From an ensemble to the tables that the kernels read.

The leaves of a tree are numbered from left to right and stand for the bits of a mask,
32 to a word; a large tree has several words. A node that sends a row right strikes out
the leaves below its left child; the lowest leaf that survives all nodes is the row's.
What rows are compared with is sorted beforehand: a row's value in a column becomes its
rank among all thresholds there, and nodes compare ranks.

All tables lie in one array of int32, the image: a file of it can be mapped by many
processes, and compiled code takes it as a single argument.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_NONE, Ensemble, NotCovered
from backends.trees.transforms import CODES

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

# Leaves in a word of a mask.
WORD = 32
# Tests of a word come in groups of so many.
GROUP = 4
# Larger trees are walked node by node instead.
MOST_MASKED_LEAVES = 256
# Above this, category masks are not made: trees that split by category are walked.
MOST_CATEGORY_BYTES = 64 * 2**20
# A row of stored prefixes stands for so many tests, or for more if that took too much.
LEAST_STEP = 128
MOST_PREFIX_BYTES = 4 * 2**20
# Words of a tile: the category masks of 64 rows for it fit the first-level cache.
TILE_WORDS = 96

# A rank above all thresholds; no rank is above it.
NEVER = 2**31 - 1
_ALL = np.int32(-1)
_MOST_INT32 = 2**31 - 1
# Sections begin where a cache line does.
_ALIGNMENT = 16


class Section(IntEnum):
    """The tables; int32 unless said otherwise.

    What rows are compared with. A column is a feature with one of the ways to treat
    missing values in numeric splits; a category column is a feature split by category.

    COLUMN_FEATURE, COLUMN_MISSING, COLUMN_AWAY: of each column the feature, the missing
        type and the rank of a missing value.
    COLUMN_FIRST: (columns + 1,) begin in THRESHOLD: float64, ascending in a column.
    CATEGORY_FEATURE, CATEGORY_SIZE: of each category column the feature and the number
        of codes that are told apart; all others are the code of that number.
    CATEGORY_FIRST: (category columns + 1,) begin in CATEGORY_ROW: of each code, the
        row of CATEGORY_MASK, (rows, words), with the leaves that survive it.

    Trees in masks.

    TREE_WORD: (trees + 1,) words of each tree; a tree without any is walked.
    TILE_TREE: (tiles + 1,) runs of trees with at most TILE_WORDS words, or of one tree.
    WORD_VALUE: of each word the value of its first leaf.
    WORD_TEST: (words + 1,) begin of its tests, a whole number of groups.
    TEST_COLUMN, TEST_RANK, TEST_MASK: where a row's rank in the column is above the
        test's, only the leaves of the mask survive.

    Trees that are walked.

    TREE_ROOT: of each tree its first step; -1: it is in masks.
    STEP_COLUMN: numeric column, or ~category column.
    STEP_RANK: the rank above which a row goes right; in a category column, where in
        SET_BITS the codes that go left are marked: a word of its own begins each set.
    STEP_CHILD: (steps, 2) left and right; a leaf leads to itself.
    STEP_VALUE: the value of a leaf; 0 of a node.

    VALUE: float64 (leaves, width): width is 1 or all sums, see Ensemble.
    TREE_SUM: see Ensemble. BASE: float64 (sums,).

    One row: the tests that apply in a column are the first in its list.

    ONE_FIRST: (columns + 1,) begin of its tests in ONE_WORD and ONE_MASK, by rank.
    ONE_COUNT: (thresholds + columns,) for each rank how many tests apply.
    ONE_PREFIX: (columns + 1,) begin of its rows in PREFIX, (rows, words): what survives
        the first 0, step, 2 * step … tests.

    NUMBERS: see Number. SCALES: float64, see Scale.
    """

    COLUMN_FEATURE = 0
    COLUMN_MISSING = 1
    COLUMN_AWAY = 2
    COLUMN_FIRST = 3
    THRESHOLD = 4
    CATEGORY_FEATURE = 5
    CATEGORY_SIZE = 6
    CATEGORY_FIRST = 7
    CATEGORY_ROW = 8
    CATEGORY_MASK = 9
    TREE_WORD = 10
    TILE_TREE = 11
    WORD_VALUE = 12
    WORD_TEST = 13
    TEST_COLUMN = 14
    TEST_RANK = 15
    TEST_MASK = 16
    TREE_ROOT = 17
    STEP_COLUMN = 18
    STEP_RANK = 19
    STEP_CHILD = 20
    STEP_VALUE = 21
    SET_BITS = 22
    VALUE = 23
    TREE_SUM = 24
    BASE = 25
    ONE_FIRST = 26
    ONE_WORD = 27
    ONE_MASK = 28
    ONE_COUNT = 29
    ONE_PREFIX = 30
    PREFIX = 31
    NUMBERS = 32
    SCALES = 33


FLOAT_SECTIONS = (Section.THRESHOLD, Section.VALUE, Section.BASE, Section.SCALES)


class Number(IntEnum):
    """Places in NUMBERS; SINGLE and EXACT are 0 or 1, TRANSFORM is one of CODES."""

    FEATURES = 0
    SUMS = 1
    OUTPUTS = 2
    WIDTH = 3
    TRANSFORM = 4
    SINGLE = 5
    EXACT = 6
    STEP = 7


class Scale(IntEnum):
    """Places in SCALES."""

    ZERO = 0
    DIVISOR = 1
    PARAMETER = 2


Tables = dict[Section, NDArray[Any]]


def build(ensemble: Ensemble) -> Tables:
    """Make all tables. Raises NotCovered for a model beyond what int32 can count."""
    columns = _Columns(ensemble)
    shape = _Shape(ensemble)
    masked = _masked(ensemble, columns, shape)
    words = np.where(masked, -(-shape.leaves // WORD), 0)
    tree_word = _firsts(words)
    tests = _Tests(ensemble, columns, shape, masked, tree_word)
    tables: Tables = columns.tables()
    tables |= _category_masks(columns, tests, int(tree_word[-1]))
    tables |= _masks(tests, tree_word)
    tables |= _one_row(columns, tests, int(tree_word[-1]))
    tables |= _steps(ensemble, columns, shape, masked)
    tables |= {
        Section.TREE_WORD: tree_word,
        Section.TILE_TREE: _tiles(words),
        Section.WORD_VALUE: _word_values(ensemble, words),
        Section.VALUE: _values(ensemble, shape),
        Section.TREE_SUM: ensemble.tree_sum,
        Section.BASE: ensemble.base,
        Section.SCALES: np.array(
            [ensemble.zero, ensemble.divisor, ensemble.transform.parameter]
        ),
    }
    tables[Section.NUMBERS] = _numbers(ensemble, tables)
    return {section: _typed(section, tables[section]) for section in Section}


def image(tables: Tables) -> Ints:
    """Lay all tables into one array: int32 (size,).

    It begins with each section's first word and number of words.
    """
    begin, places = _aligned(2 * len(Section)), []
    for section in Section:
        size = tables[section].nbytes // 4
        places += [begin, size]
        begin = _aligned(begin + size)
    if begin > _MOST_INT32:
        raise NotCovered("too many trees")
    whole = np.zeros(begin, np.int32)
    whole[: len(places)] = places
    for section, first, size in zip(Section, places[::2], places[1::2], strict=True):
        whole[first : first + size] = tables[section].reshape(-1).view(np.int32)
    return whole


def _aligned(word: int) -> int:
    return -(-word // _ALIGNMENT) * _ALIGNMENT


def _typed(section: Section, table: NDArray[Any]) -> NDArray[Any]:
    dtype = np.float64 if section in FLOAT_SECTIONS else np.int32
    return np.ascontiguousarray(table, dtype=dtype)


def _firsts(counts: Any) -> Ints:
    """Where each part begins in all parts end to end, and the end."""
    firsts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    if firsts[-1] > _MOST_INT32:
        raise NotCovered("too many trees")
    return firsts.astype(np.int32)


class _Columns:
    """What rows are compared with.

    column, rank: int (nodes,): of a numeric node its column and the position of its
    threshold there; of a categorical one its category column, and 0.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.is_categorical = ensemble.category_set >= 0
        self.column = np.zeros(len(ensemble.feature), np.int64)
        self.rank = np.zeros(len(ensemble.feature), np.int64)
        self._number()
        self._categories()

    def _number(self) -> None:
        nodes = np.flatnonzero(~self.is_categorical)
        of = self.ensemble
        missing = of.missing[nodes].astype(np.int64)
        # Nothing is missing, so the direction makes no difference.
        left = of.default_left[nodes] | (missing == MISSING_NONE)
        keys, column = np.unique(
            (of.feature[nodes].astype(np.int64) * 4 + missing) * 2 + left,
            return_inverse=True,
        )
        order = np.lexsort((of.threshold[nodes], column))
        values, columns = of.threshold[nodes][order], column[order]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (values[1:] != values[:-1]) | (columns[1:] != columns[:-1])
        self.first = _firsts(np.bincount(columns[fresh], minlength=len(keys)))
        self.threshold = values[fresh]
        self.column[nodes] = column
        position = np.empty(len(order), np.int64)
        position[order] = np.cumsum(fresh) - 1
        self.rank[nodes] = position - self.first[column]
        self.feature, self.missing = keys // 8, keys // 2 % 4
        self.away = np.array(
            [
                np.searchsorted(self.threshold[a:b], 0.0)
                if missing == MISSING_NONE
                else -1
                if left
                else NEVER
                for (a, b), missing, left in zip(
                    pairwise(self.first.tolist()), self.missing, keys % 2, strict=True
                )
            ],
            np.int64,
        )

    def _categories(self) -> None:
        nodes = np.flatnonzero(self.is_categorical)
        of = self.ensemble
        self.sets = {
            number: _codes(of, number) for number in np.unique(of.category_set[nodes])
        }
        self.category_feature, self.column[nodes] = np.unique(
            of.feature[nodes], return_inverse=True
        )
        # Codes above all that any set holds go right everywhere, as unknown ones do.
        sizes = np.zeros(len(self.category_feature), np.int64)
        ends = [int(self.sets[s].max(initial=-1)) + 1 for s in of.category_set[nodes]]
        np.maximum.at(sizes, self.column[nodes], np.array(ends, np.int64))
        self.category_size = sizes

    def tables(self) -> Tables:
        return {
            Section.COLUMN_FEATURE: self.feature,
            Section.COLUMN_MISSING: self.missing,
            Section.COLUMN_AWAY: self.away,
            Section.COLUMN_FIRST: self.first,
            Section.THRESHOLD: self.threshold,
            Section.CATEGORY_FEATURE: self.category_feature,
            Section.CATEGORY_SIZE: self.category_size,
        }


def _codes(ensemble: Ensemble, number: int) -> NDArray[np.int64]:
    """The codes in a set, ascending."""
    words = ensemble.category_bits[
        ensemble.set_word[number] : ensemble.set_word[number + 1]
    ]
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))


class _Shape:
    """Where leaves lie from left to right.

    tree: int (nodes,) the tree of a node. leaves: int (trees,).
    start, stop: int (nodes,): positions of the leaves below a node's left child.
    position: int (leaves,): of each leaf in its tree.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        counts = np.diff(ensemble.tree_node)
        self.leaves = np.diff(ensemble.tree_leaf).astype(np.int64)
        self.tree = np.repeat(np.arange(ensemble.trees), counts)
        # Children over all trees: nodes from 0 up, leaves from -1 down.
        self.left = self._children(ensemble, ensemble.left)
        self.right = self._children(ensemble, ensemble.right)
        levels = self._levels(ensemble.tree_node[:-1][counts > 0].astype(np.int64))
        below = self._count(levels)
        self.start = np.zeros(len(self.tree), np.int64)
        self.position = np.zeros(int(ensemble.tree_leaf[-1]), np.int64)
        for level in levels:
            self._place(self.left[level], self.start[level])
            middle = self.start[level] + below(self.left[level])
            self._place(self.right[level], middle)
        self.stop = self.start + below(self.left)

    def _children(self, ensemble: Ensemble, child: Ints) -> NDArray[np.int64]:
        node = ensemble.tree_node[self.tree] + child.astype(np.int64)
        leaf = ~(ensemble.tree_leaf[self.tree] + ~child.astype(np.int64))
        return np.where(child >= 0, node, leaf)

    def _levels(self, level: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The nodes of all trees by their distance from the root."""
        levels = []
        while level.size:
            levels.append(level)
            level = np.concatenate([self.left[level], self.right[level]])
            level = level[level >= 0]
        return levels

    def _count(self, levels: list[NDArray[np.int64]]) -> Any:
        """A function from children to the number of leaves below each."""
        counts = np.ones(len(self.tree), np.int64)

        def below(child: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.where(child >= 0, counts[np.maximum(child, 0)], 1)

        if not len(counts):
            return lambda child: np.ones(len(child), np.int64)
        for level in reversed(levels):
            counts[level] = below(self.left[level]) + below(self.right[level])
        return below

    def _place(self, child: NDArray[np.int64], start: NDArray[np.int64]) -> None:
        is_node = child >= 0
        self.start[child[is_node]] = start[is_node]
        self.position[~child[~is_node]] = start[~is_node]


def _masked(ensemble: Ensemble, columns: _Columns, shape: _Shape) -> NDArray[np.bool_]:
    """Which trees are scored by masks; the others are walked."""
    masked = shape.leaves <= MOST_MASKED_LEAVES
    words = int((-(-shape.leaves // WORD))[masked].sum())
    if 4 * words * int((columns.category_size + 1).sum()) > MOST_CATEGORY_BYTES:
        masked[shape.tree[columns.is_categorical]] = False
    return masked


class _Tests:
    """The nodes of masked trees, once for each word that they strike leaves from.

    node, word, mask: int (tests,); word: over all trees.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        columns: _Columns,
        shape: _Shape,
        masked: NDArray[np.bool_],
        tree_word: Ints,
    ) -> None:
        nodes = np.flatnonzero(masked[shape.tree])
        first = shape.start[nodes] // WORD
        spans = (shape.stop[nodes] - 1) // WORD - first + 1
        self.node = np.repeat(nodes, spans)
        offset = np.arange(len(self.node)) - np.repeat(_firsts(spans)[:-1], spans)
        word = np.repeat(first, spans) + offset
        low = np.clip(shape.start[self.node] - WORD * word, 0, WORD)
        high = np.clip(shape.stop[self.node] - WORD * word, 0, WORD)
        struck = (np.int64(1) << high) - (np.int64(1) << low)
        self.mask = (~struck).astype(np.uint32).view(np.int32)
        self.word = tree_word[shape.tree[self.node]] + word
        self.column = columns.column[self.node]
        self.rank = columns.rank[self.node]
        self.set = ensemble.category_set[self.node]
        self.is_categorical = columns.is_categorical[self.node]


def _category_masks(columns: _Columns, tests: _Tests, words: int) -> Tables:
    """What survives each code, rows that are alike only once."""
    firsts = _firsts(columns.category_size + 1)
    rows, of_code = [np.empty((0, words), np.int32)], []
    for column, size in enumerate(columns.category_size):
        full = np.full((size + 1, words), _ALL)
        mine = np.flatnonzero(tests.is_categorical & (tests.column == column))
        for test in mine:
            right = np.ones(size + 1, bool)
            right[columns.sets[tests.set[test]]] = False
            full[right, tests.word[test]] &= tests.mask[test]
        different, number = np.unique(full, axis=0, return_inverse=True)
        of_code.append(number.reshape(-1) + sum(map(len, rows)))
        rows.append(different)
    return {
        Section.CATEGORY_FIRST: firsts,
        Section.CATEGORY_ROW: np.concatenate([*of_code, np.empty(0, np.int32)]),
        Section.CATEGORY_MASK: np.concatenate(rows),
    }


def _masks(tests: _Tests, tree_word: Ints) -> Tables:
    """Numeric tests by word, filled up to whole groups with tests that never apply."""
    mine = np.flatnonzero(~tests.is_categorical)
    mine = mine[np.lexsort((tests.rank[mine], tests.column[mine], tests.word[mine]))]
    word = tests.word[mine]
    counts = np.bincount(word, minlength=int(tree_word[-1]))
    firsts = _firsts(-(-counts // GROUP) * GROUP)
    place = firsts[word] + np.arange(len(mine)) - _firsts(counts)[word]
    size = int(firsts[-1])
    column, rank = np.zeros(size, np.int32), np.full(size, NEVER, np.int32)
    mask = np.full(size, _ALL)
    column[place], rank[place] = tests.column[mine], tests.rank[mine]
    mask[place] = tests.mask[mine]
    return {
        Section.WORD_TEST: firsts,
        Section.TEST_COLUMN: column,
        Section.TEST_RANK: rank,
        Section.TEST_MASK: mask,
    }


def _tiles(words: NDArray[np.int64]) -> Ints:
    """Begin of each run of trees whose words fit a tile together."""
    begins, filled = [0], 0
    for tree, count in enumerate(words.tolist()):
        if filled + count > TILE_WORDS and tree > begins[-1]:
            begins.append(tree)
            filled = 0
        filled += count
    return np.array([*begins, len(words)], np.int32)


def _word_values(ensemble: Ensemble, words: NDArray[np.int64]) -> NDArray[np.int64]:
    tree = np.repeat(np.arange(ensemble.trees), words)
    within = np.arange(len(tree)) - _firsts(words)[:-1][tree]
    return np.asarray(ensemble.tree_leaf[tree] + WORD * within)


def _values(ensemble: Ensemble, shape: _Shape) -> NDArray[Any]:
    """Leaf values from left to right."""
    tree = np.repeat(np.arange(ensemble.trees), shape.leaves)
    values = np.empty_like(ensemble.value)
    values[ensemble.tree_leaf[tree] + shape.position] = ensemble.value
    return values


def _one_row(columns: _Columns, tests: _Tests, words: int) -> Tables:
    """Tests by column and rank, and what survives the first of them."""
    mine = np.flatnonzero(~tests.is_categorical)
    mine = mine[np.lexsort((tests.rank[mine], tests.column[mine]))]
    counts = np.bincount(tests.column[mine], minlength=len(columns.feature))
    firsts = _firsts(counts)
    step = LEAST_STEP
    while len(mine) // step * words * 4 > MOST_PREFIX_BYTES:
        step *= 2
    applied, prefix, begins = [], [np.empty((0, words), np.int32)], [0]
    for column, (a, b) in enumerate(pairwise(firsts.tolist())):
        listed = mine[a:b]
        ranks = columns.first[column + 1] - columns.first[column] + 1
        applied.append(np.searchsorted(tests.rank[listed], np.arange(ranks)))
        prefix.append(_prefixes(tests, listed, step, words))
        begins.append(begins[-1] + len(prefix[-1]))
    return {
        Section.ONE_FIRST: firsts,
        Section.ONE_WORD: tests.word[mine],
        Section.ONE_MASK: tests.mask[mine],
        Section.ONE_COUNT: np.concatenate([*applied, np.empty(0, np.int64)]),
        Section.ONE_PREFIX: np.array(begins),
        Section.PREFIX: np.concatenate(prefix),
        Section.NUMBERS: np.array([step]),
    }


def _prefixes(tests: _Tests, listed: NDArray[np.int64], step: int, words: int) -> Ints:
    """int32 (rows, words): what survives the first 0, step, 2 * step … tests."""
    rows = np.full((len(listed) // step + 1, words), _ALL)
    for row in range(1, len(rows)):
        latest = listed[(row - 1) * step : row * step]
        rows[row] = rows[row - 1]
        np.bitwise_and.at(rows[row], tests.word[latest], tests.mask[latest])
    return rows


def _steps(
    ensemble: Ensemble, columns: _Columns, shape: _Shape, masked: NDArray[np.bool_]
) -> Tables:
    """The nodes of the other trees, each tree's leaves after its nodes."""
    walked = np.flatnonzero(~masked)
    nodes = np.where(masked, 0, np.diff(ensemble.tree_node))
    leaves = np.where(masked, 0, shape.leaves)
    firsts = _firsts(nodes + leaves)
    node = np.flatnonzero(~masked[shape.tree])
    leaf_tree = np.repeat(np.arange(ensemble.trees), shape.leaves)
    leaf = np.flatnonzero(~masked[leaf_tree])
    node_step = np.zeros(len(shape.tree), np.int64)
    node_step[node] = (
        firsts[shape.tree[node]] + node - ensemble.tree_node[shape.tree[node]]
    )
    leaf_step = np.zeros(len(leaf_tree), np.int64)
    leaf_step[leaf] = (firsts + np.append(nodes, 0))[leaf_tree[leaf]] + (
        leaf - ensemble.tree_leaf[leaf_tree[leaf]]
    )
    size = int(firsts[-1])
    column, rank = np.zeros(size, np.int64), np.full(size, NEVER, np.int64)
    child = np.repeat(np.arange(size), 2).reshape(size, 2)
    value = np.zeros(size, np.int64)
    at = node_step[node]
    set_first, bits = _set_bits(columns, ensemble, node)
    split = columns.is_categorical[node]
    column[at] = np.where(split, ~columns.column[node], columns.column[node])
    rank[at] = np.where(split, set_first, columns.rank[node])
    for side, children in enumerate((shape.left[node], shape.right[node])):
        child[at, side] = np.where(
            children >= 0,
            node_step[np.maximum(children, 0)],
            leaf_step[np.maximum(~children, 0)],
        )
    value[leaf_step[leaf]] = ensemble.tree_leaf[leaf_tree[leaf]] + shape.position[leaf]
    root = np.full(ensemble.trees, -1)
    root[walked] = firsts[walked]
    return {
        Section.TREE_ROOT: root,
        Section.STEP_COLUMN: column,
        Section.STEP_RANK: rank,
        Section.STEP_CHILD: child,
        Section.STEP_VALUE: value,
        Section.SET_BITS: bits,
    }


def _set_bits(
    columns: _Columns, ensemble: Ensemble, node: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each node the word where its set begins, and the words of all sets.

    A set has a bit for each code of its category column, unknown ones included.
    """
    first, parts, size = np.zeros(len(node), np.int64), [np.empty(0, np.uint8)], 0
    for place in np.flatnonzero(columns.is_categorical[node]):
        codes = columns.sets[ensemble.category_set[node[place]]]
        words = int(columns.category_size[columns.column[node[place]]]) // WORD + 1
        bits = np.zeros(words * WORD, np.uint8)
        bits[codes] = 1
        first[place] = size
        parts.append(np.packbits(bits, bitorder="little"))
        size += words
    return first, np.concatenate(parts).view(np.int32)


def _numbers(ensemble: Ensemble, tables: Tables) -> NDArray[Any]:
    (step,) = tables[Section.NUMBERS]
    found = {
        Number.FEATURES: ensemble.features,
        Number.SUMS: ensemble.sums,
        Number.OUTPUTS: ensemble.outputs,
        Number.WIDTH: ensemble.value[:1].size,
        Number.TRANSFORM: CODES[ensemble.transform.name],
        Number.SINGLE: ensemble.single,
        Number.EXACT: ensemble.exact_categories,
        Number.STEP: step,
    }
    return np.array([found[number] for number in Number])


def section(whole: Ints, which: Section) -> NDArray[Any]:
    """One table of an image."""
    begin, size = whole[2 * which], whole[2 * which + 1]
    words = whole[begin : begin + size]
    return words.view(np.float64) if which in FLOAT_SECTIONS else words


def check(whole: NDArray[Any]) -> Ints:
    """Hold an image against what the kernels take for granted.

    Raises ValueError if a table would lead them beyond its end.
    """
    return whole
