"""From an ensemble to the tables that the kernels read.

Many rows go through a tree together, as bits of words. Each *condition* that nodes ask
for, whether a value is above a threshold or a category in a set, is answered once for
all rows of a block; a node parts the rows that reach it by its condition's answer.

One row goes another way. The leaves of a tree, numbered from left to right, are the
bits of a mask, 32 to a word. A node that sends the row right strikes out the leaves
below its left child, and the lowest leaf that survives is the row's. The nodes that
send it right in a column are the first in a list by threshold, so that what survives
the first 128, 256, … of them is stored, and little remains to be struck one by one.

All tables lie in one array of int32, the image: a file of it can be mapped by many
processes, and compiled code takes it as a single argument.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered

Ints = NDArray[np.int32]

# Leaves whose rows are collected together.
LEAF_GROUP = 8

# The first words of an image: the digest of all others.
DIGEST_WORDS = 8
# Sections begin where a cache line does.
_ALIGNMENT = 16
_MOST_INT32 = 2**31 - 1


class Section(IntEnum):
    """The tables; int32 unless said otherwise.

    Conditions. A column is a feature with one of the ways to treat missing values in
    numeric splits; a category column is a feature that is split by category. Conditions
    are numbered: all thresholds, column by column, then all sets.

    COLUMN_FEATURE, COLUMN_MISSING: of each column.
    COLUMN_AWAY: of each column, 1 where a missing value goes right; and one more, for
        leaves that ask where there is no column.
    COLUMN_FIRST: (columns + 1,) begin in THRESHOLD: float64, ascending in a column.
    CATEGORY_FEATURE, CATEGORY_SIZE: of each category column the feature and the number
        of codes that are told apart; all others are the code of that number.
    CATEGORY_FIRST: (category columns + 1,) where each column's codes begin among all.
    SET_FIRST: (sets + 1,) begin in SET_CODE: codes, counted among those of all columns.
    SET_RIGHT: of each set, 1 where its codes go right, 0 where they go left.

    Blocks of rows. The rows that reach a node lie in a slot: the root's is 0, those of
    the children of a tree's node k are 2 * k + 1 and 2 * k + 2.

    TREE_NODE: (trees + 1,) begin in NODE_CONDITION and NODE_SLOT; parents come first.
    TREE_LEAF: (trees + 1,) begin in LEAF_SLOT, whole groups of LEAF_GROUP, leaves from
        left to right, filled up with a slot that stays empty. A tree without is walked.
    TREE_VALUE: of each tree the place of its first leaf in VALUE, see below.

    One row.

    TREE_WORD: (trees + 1,) words of each tree's mask; a tree without any is walked.
    WORD_VALUE: of each word the place of its first leaf in VALUE.
    ONE_FIRST: (columns + 1,) begin of a column's tests in ONE_WORD and ONE_MASK,
        ascending by threshold.
    ONE_COUNT: for each number of thresholds that a value is above, 0 included, how many
        tests apply; a column has one more of them than thresholds.
    ONE_PREFIX: (columns + 1,) begin of a column's rows in PREFIX, (rows, words): what
        survives the first 0, step, 2 * step … tests.
    CATEGORY_ROW: for each code the row in CATEGORY_MASK, (rows, words), that survives.

    Trees that are walked.

    TREE_STEP: of each tree its first step; -1: it is not walked. A tree's steps are its
        nodes and leaves by slot.
    STEP: (steps, 4) of a node: its column, or ~category column; its left child's step,
        which the right one follows; then two words with the threshold, float64, or in
        the first where in SET_BITS the codes that go left are marked. A leaf is its own
        child and goes by column 0.
    STEP_VALUE: of a leaf its place in VALUE; 0 of a node.

    Leaves.

    VALUE: float64 (leaves, width), each tree's from left to right; width is 1 or all
        sums. TREE_SUM: see Ensemble. BASE: float64 (sums,).

    NUMBERS: see Number. SCALES: float64, see Scale.

    Paths, which lie in an image of their own, with the conditions of all nodes, VALUE
    in the order of the ensemble, TREE_SUM, NUMBERS and SCALES. A path's element is a
    feature that it asks; the tests of an element are all that it asks of the feature.

    PATH_TREE: (trees + 1,) begin of each tree's leaves in PATH_FIRST and VALUE.
    PATH_FIRST: (leaves + 1,) begin of the elements of the path to each leaf.
    ELEMENT_FEATURE: of each element. ELEMENT_SHARE: float64, which share of the
        training rows that reached its nodes went on to the leaf.
    ELEMENT_TEST: (elements + 1,) begin in PATH_TEST: 2 * condition, + 1 where the path
        goes right.
    EDGE_FIRST: (trees + 1,) begin of each tree's edges. An edge leads to a node or a
        leaf; a tree's are counted from 1, those above come first; 0 is the root.
    EDGE_TEST: as PATH_TEST. EDGE_FEATURE: what is asked.
    EDGE_PARENT: the edge above. EDGE_UP: the next one above that asks the same feature,
        or 0. EDGE_SKIP: the first that is not below.
    EDGE_LEAF: the leaf that it leads to, counted over all trees, or -1.
    EDGE_SHARE: float64, of this edge and all above that ask the feature; as
        ELEMENT_SHARE.
    EXPECTED: float64 (sums,): the mean over the training rows of what the trees add
        up to; empty if it is not known, and then the shares mean nothing.
    """

    COLUMN_FEATURE = 0
    COLUMN_MISSING = 1
    COLUMN_AWAY = 2
    COLUMN_FIRST = 3
    THRESHOLD = 4
    CATEGORY_FEATURE = 5
    CATEGORY_SIZE = 6
    CATEGORY_FIRST = 7
    SET_FIRST = 8
    SET_CODE = 9
    SET_RIGHT = 10
    TREE_NODE = 11
    NODE_CONDITION = 12
    NODE_SLOT = 13
    TREE_LEAF = 14
    LEAF_SLOT = 15
    TREE_VALUE = 16
    TREE_WORD = 17
    WORD_VALUE = 18
    ONE_FIRST = 19
    ONE_WORD = 20
    ONE_MASK = 21
    ONE_COUNT = 22
    ONE_PREFIX = 23
    PREFIX = 24
    CATEGORY_ROW = 25
    CATEGORY_MASK = 26
    TREE_STEP = 27
    STEP = 28
    STEP_VALUE = 29
    SET_BITS = 30
    VALUE = 31
    TREE_SUM = 32
    BASE = 33
    NUMBERS = 34
    SCALES = 35
    PATH_TREE = 36
    PATH_FIRST = 37
    ELEMENT_FEATURE = 38
    ELEMENT_SHARE = 39
    ELEMENT_TEST = 40
    PATH_TEST = 41
    EDGE_FIRST = 42
    EDGE_TEST = 43
    EDGE_FEATURE = 44
    EDGE_PARENT = 45
    EDGE_UP = 46
    EDGE_SKIP = 47
    EDGE_LEAF = 48
    EDGE_SHARE = 49
    EXPECTED = 50


FLOAT_SECTIONS = (
    *(Section.THRESHOLD, Section.VALUE, Section.BASE, Section.SCALES),
    *(Section.ELEMENT_SHARE, Section.EDGE_SHARE, Section.EXPECTED),
)


class Number(IntEnum):
    """Places in NUMBERS.

    WIDTH: values of a leaf. TRANSFORM: one of CODES. SINGLE, EXACT: 0 or 1, see
    Ensemble. STEP: tests between stored prefixes. SLOTS: slots of a tree, at most.
    """

    FEATURES = 0
    SUMS = 1
    OUTPUTS = 2
    WIDTH = 3
    TRANSFORM = 4
    SINGLE = 5
    EXACT = 6
    STEP = 7
    SLOTS = 8


class Scale(IntEnum):
    """Places in SCALES."""

    ZERO = 0
    DIVISOR = 1
    PARAMETER = 2


# Tables of another form have another digest.
_FORM = repr(([*Section], [*Number], [*Scale])).encode()

Tables = dict[Section, NDArray[Any]]


def image(tables: Tables) -> Ints:
    """Lay tables into one array: int32 (size,); sections that are not given are empty.

    It begins with the digest of all that follows, then each section's first word and
    number of words. Raises NotCovered if int32 cannot count them.
    """
    begin, places = _aligned(DIGEST_WORDS + 2 * len(Section)), []
    for which in Section:
        cells = tables[which].size if which in tables else 0
        size = cells * (2 if which in FLOAT_SECTIONS else 1)
        places.append((begin, size))
        begin = _aligned(begin + size)
    if begin > _MOST_INT32:
        raise NotCovered("too many trees")
    whole = np.zeros(begin, np.int32)
    whole[DIGEST_WORDS : DIGEST_WORDS + 2 * len(Section)] = np.ravel(places)
    for which, (first, size) in zip(Section, places, strict=True):
        if not size:
            continue
        dtype = np.float64 if which in FLOAT_SECTIONS else np.int32
        table = np.ascontiguousarray(tables[which], dtype)
        whole[first : first + size] = table.reshape(-1).view(np.int32)
    whole[:DIGEST_WORDS] = _digest(whole)
    return whole


def _aligned(word: int) -> int:
    return -(-word // _ALIGNMENT) * _ALIGNMENT


def _digest(whole: Ints) -> Ints:
    digest = hashlib.sha256(_FORM)
    digest.update(whole[DIGEST_WORDS:].data)
    return np.frombuffer(digest.digest(), np.int32)


def checked(whole: NDArray[Any]) -> Ints:
    """An image as it was laid, for code that trusts its tables.

    Raises ValueError if it is anything else.
    """
    if (
        whole.dtype != np.int32
        or whole.ndim != 1
        or whole.size <= DIGEST_WORDS + 2 * len(Section)
        or not np.array_equal(whole[:DIGEST_WORDS], _digest(whole))
    ):
        raise ValueError("the tables are not as they were written")
    return whole


def section(whole: Ints, which: Section) -> NDArray[Any]:
    """One table of an image."""
    begin, size = whole[DIGEST_WORDS + 2 * which : DIGEST_WORDS + 2 * which + 2]
    words = whole[begin : begin + size]
    return words.view(np.float64) if which in FLOAT_SECTIONS else words


def firsts(counts: NDArray[Any]) -> Ints:
    """Where each part begins in all parts end to end, and the end.

    Raises NotCovered if int32 cannot count them.
    """
    ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    if ends[-1] > _MOST_INT32:
        raise NotCovered("too many trees")
    return ends.astype(np.int32)
