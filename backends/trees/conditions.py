"""What nodes of an ensemble ask of a row, each question once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_NONE, Ensemble, Ints
from backends.trees.tables import Section, Tables, firsts

Longs = NDArray[np.int64]


class Conditions:
    """The different splits of some nodes; see the conditions of `Section`.

    is_categorical: bool (nodes,).
    column: int (nodes,): the column, or the category column, of every node.
    condition: int (nodes,), of the nodes that were asked for.
    rank: int (nodes,): position of a numeric split's threshold among its column's.
    first: int32 (columns + 1,): begin of each column's thresholds.
    codes: of each set, the codes that go left, ascending; those asked for first.
    sets: int (nodes,): of every categorical split its set.
    category_size: int (category columns,). category_first: their codes' begin.
    """

    def __init__(self, ensemble: Ensemble, asked: NDArray[np.bool_]) -> None:
        """asked: bool (nodes,): nodes that need their condition's number."""
        self.is_categorical = ensemble.category_set >= 0
        nodes = len(self.is_categorical)
        self.column = np.zeros(nodes, np.int64)
        self.condition = np.zeros(nodes, np.int64)
        self.rank = np.zeros(nodes, np.int64)
        self.sets = np.zeros(nodes, np.int64)
        self._take_columns(ensemble, np.flatnonzero(~self.is_categorical))
        self._take_thresholds(ensemble, np.flatnonzero(~self.is_categorical & asked))
        self._take_categories(ensemble, np.flatnonzero(self.is_categorical), asked)

    def _take_columns(self, ensemble: Ensemble, nodes: Longs) -> None:
        missing = ensemble.missing[nodes].astype(np.int64)
        # What is never missing goes nowhere by default.
        away = ~ensemble.default_left[nodes] & (missing != MISSING_NONE)
        keys, self.column[nodes] = np.unique(
            (ensemble.feature[nodes].astype(np.int64) * 4 + missing) * 2 + away,
            return_inverse=True,
        )
        self.feature, self.missing, self.away = keys // 8, keys // 2 % 4, keys % 2

    def _take_thresholds(self, ensemble: Ensemble, nodes: Longs) -> None:
        column = self.column[nodes]
        order = np.lexsort((ensemble.threshold[nodes], column))
        values, columns = ensemble.threshold[nodes][order], column[order]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (values[1:] != values[:-1]) | (columns[1:] != columns[:-1])
        self.threshold = values[fresh]
        self.first = firsts(np.bincount(columns[fresh], minlength=len(self.feature)))
        self.condition[nodes[order]] = np.cumsum(fresh) - 1
        self.rank[nodes] = self.condition[nodes] - self.first[column]

    def _take_categories(
        self, ensemble: Ensemble, nodes: Longs, asked: NDArray[np.bool_]
    ) -> None:
        # Those that were asked for first, so that their sets are.
        nodes = nodes[np.argsort(~asked[nodes], kind="stable")]
        of = [_codes(ensemble, each) for each in ensemble.category_set[nodes].tolist()]
        self.category_feature, self.column[nodes] = np.unique(
            ensemble.feature[nodes], return_inverse=True
        )
        # Codes above all that any set holds go right everywhere, as unknown ones do.
        self.category_size = np.zeros(len(self.category_feature), np.int64)
        highest = np.array([codes.max(initial=-1) for codes in of], np.int64)
        np.maximum.at(self.category_size, self.column[nodes], highest + 1)
        self.category_first = firsts(self.category_size + 1)
        numbers: dict[tuple[int, bytes], int] = {}
        self.codes: list[Longs] = []
        self._set_column: list[int] = []
        for node, codes in zip(nodes.tolist(), of, strict=True):
            key = (int(self.column[node]), codes.tobytes())
            if key not in numbers:
                numbers[key] = len(numbers)
                self.codes.append(codes)
                self._set_column.append(key[0])
            self.sets[node] = numbers[key]
        self.condition[nodes] = len(self.threshold) + self.sets[nodes]
        self._asked_sets = int(self.sets[nodes[asked[nodes]]].max(initial=-1)) + 1

    def tables(self) -> Tables:
        listed, right = [np.empty(0, np.int64)], []
        asked = slice(self._asked_sets)
        for column, codes in zip(
            self._set_column[asked], self.codes[asked], strict=True
        ):
            size = int(self.category_size[column])
            # The shorter list is quicker to go through.
            goes_right = 2 * len(codes) > size
            if goes_right:
                codes = np.setdiff1d(np.arange(size + 1), codes, assume_unique=True)
            listed.append(codes + self.category_first[column])
            right.append(goes_right)
        return {
            Section.COLUMN_FEATURE: self.feature,
            Section.COLUMN_MISSING: self.missing,
            Section.COLUMN_AWAY: np.append(self.away, 0),
            Section.COLUMN_FIRST: self.first,
            Section.THRESHOLD: self.threshold,
            Section.CATEGORY_FEATURE: self.category_feature,
            Section.CATEGORY_SIZE: self.category_size,
            Section.CATEGORY_FIRST: self.category_first,
            Section.SET_FIRST: firsts(np.array([len(each) for each in listed[1:]])),
            Section.SET_CODE: np.concatenate(listed),
            Section.SET_RIGHT: np.array(right, np.int32),
        }

    def set_bits(self, sets: Longs) -> tuple[Longs, Ints]:
        """A bit for each code of a set's column, 1 where it goes left.

        Returns the word where each of these sets begins, and all words.
        """
        parts, begins, size = [np.empty(0, np.int32)], [], 0
        for number in sets.tolist():
            column, codes = self._set_column[number], self.codes[number]
            bits = np.zeros((int(self.category_size[column]) // 32 + 1) * 32, np.uint8)
            bits[codes] = 1
            parts.append(np.packbits(bits, bitorder="little").view(np.int32))
            begins.append(size)
            size += len(parts[-1])
        return np.array(begins, np.int64), np.concatenate(parts)

    def ranges(self) -> list[tuple[int, int]]:
        """Of each column, where its thresholds begin and end."""
        return list(pairwise(self.first.tolist()))


def _codes(ensemble: Ensemble, number: int) -> Longs:
    """The codes in a set, ascending."""
    begin, end = ensemble.set_word[number], ensemble.set_word[number + 1]
    words = ensemble.category_bits[begin:end]
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
