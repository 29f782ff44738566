"""Explanations as JSON values and as CSV columns.

All items of all rows are turned into text at once, each part of them for itself, and
each item fills the same template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from app.explaining import Explanations
from app.tokens import (
    Tokens,
    csv_cell,
    csv_numbers,
    number_tokens,
    pick,
    plain,
    sent_csv_numbers,
    sent_numbers,
)
from backends.explanations.strength import SYMBOLS
from backends.features import Columns, missing_among
from backends.model import Model

Ints = NDArray[np.intp]

_ITEM = (
    b'{"featureValue":%b,"strength":%b,"feature":%b,"qualitativeStrength":%b,'
    b'"label":%b}'
)
# The documented samples have the keys in two orders.
_SHAP_ITEM = (
    b'{"featureValue":%b,"strength":%b,"qualitativeStrength":%b,"feature":%b,'
    b'"label":%b}'
)
_COLUMNS = ("FEATURE_NAME", "STRENGTH", "ACTUAL_VALUE", "QUALITATIVE_STRENGTH")


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer tells of explanations.

    key: what a row's JSON object calls them.
    features: how many of them a row and class tells.
    classes: how many classes of a row are explained; 1 unless multiclass.
    is_shap: whether there is a base, and a remaining total.
    in_model_space: whether JSON says that SHAP values add up to what the model itself
        answers, before what is done to it to make it a prediction.
    """

    features: int
    classes: int = 1
    is_shap: bool = False
    key: str = "predictionExplanations"
    in_model_space: bool = False

    @property
    def items(self) -> int:
        """How many explanations a row has."""
        return self.features * self.classes


class Rows(Protocol):
    """What explanations show of rows.

    cells: the cells of features that are not numeric, as they are shown.
    """

    @property
    def columns(self) -> Columns: ...

    @property
    def cells(self) -> Mapping[str, Sequence[Any] | pa.Array]: ...


class ExplanationCells:
    """Writes the explanations of chunks of rows."""

    def __init__(
        self, model: Model, told: Told, labels: Sequence[bytes], decimals: int
    ) -> None:
        """labels: what JSON calls the model's labels, or the one that is explained."""
        self._told = told
        self._decimals = decimals
        self._is_multiclass = model.task == "multiclass"
        self._kinds = [feature.kind for feature in model.features]
        self._features = [feature.name for feature in model.features]
        self._levels = [feature.categories for feature in model.features]
        self._is_number = np.array([kind == "numeric" for kind in self._kinds])
        self._labels = labels
        self._class_names = [csv_cell(str(label)) for label in model.labels]

    @property
    def csv_columns(self) -> list[str]:
        """Names of the CSV columns, in the order of recorded answers."""
        numbers = range(1, self._told.features + 1)
        columns = []
        for class_number in range(1, self._told.classes + 1):
            group = f"CLASS_{class_number}" if self._is_multiclass else ""
            columns += [group] if group else []
            start = f"{group}_EXPLANATION" if group else "EXPLANATION"
            columns += [f"{start}_{i}_{name}" for i in numbers for name in _COLUMNS]
        if self._told.is_shap:
            columns += ["SHAP_BASE_VALUE", "SHAP_REMAINING_TOTAL"]
        return columns

    def json(self, explanations: Explanations, chunk: Rows) -> Tokens:
        """For each row the list of its items."""
        rows = np.flatnonzero(explanations.explained)
        features = explanations.features[rows].reshape(-1)
        values = self._values(_JSON, chunk, self._row_of_item(rows), features)
        strengths = explanations.strengths[rows].reshape(-1)
        labels = explanations.classes[rows].repeat(self._told.features)
        names = pick(list(map(orjson.dumps, self._features)), features)
        symbols = _symbols(explanations, rows, [b'"%b"' % each for each in _SYMBOLS])
        middle = [names, symbols or [b"null"] * len(names)]
        if self._told.is_shap:
            middle.reverse()
        items = zip(
            values,
            number_tokens(strengths, self._decimals),
            *middle,
            pick(self._labels, labels),
            strict=True,
        )
        item = _SHAP_ITEM if self._told.is_shap else _ITEM
        return self._lists(rows, [item % each for each in items], explanations)

    def shap_metadata(self, explanations: Explanations) -> Tokens:
        """For each row its `shapExplanationsMetadata`."""
        warnings = None
        if (mismatch := explanations.mismatch) is not None:
            warnings = [
                {
                    "maxNormalizedMismatch": mismatch.largest,
                    "mismatchRowCount": mismatch.rows,
                }
            ]
        start = b'{"warnings":' + orjson.dumps(warnings) + b',"remainingTotal":'
        remaining = number_tokens(_remaining(explanations), self._decimals)
        base = self._base(explanations, number_tokens)
        end = b',"space":"model"}' if self._told.in_model_space else b"}"
        return [
            start + rest + b',"baseValue":' + each + end
            for rest, each in zip(remaining, base, strict=True)
        ]

    def csv(self, explanations: Explanations, chunk: Rows) -> Iterator[Tokens]:
        """A column for each of `csv_columns`; empty where a row is not explained."""
        rows = np.flatnonzero(explanations.explained)
        spread = partial(_spread, rows, len(explanations.explained))
        features = explanations.features[rows].reshape(-1)
        strengths = explanations.strengths[rows].reshape(-1)
        symbols = _symbols(explanations, rows, _SYMBOLS) or [b""] * len(features)
        parts = [
            pick(list(map(csv_cell, self._features)), features),
            csv_numbers(strengths, self._decimals),
            self._values(_CSV, chunk, self._row_of_item(rows), features),
            symbols,
        ]
        step = self._told.items
        for number in range(self._told.classes):
            if self._is_multiclass:
                classes = explanations.classes[rows, number]
                yield spread(pick(self._class_names, classes))
            for item in range(self._told.features):
                first = number * self._told.features + item
                for part in parts:
                    yield spread(part[first::step])
        if self._told.is_shap:
            yield self._base(explanations, csv_numbers)
            yield csv_numbers(_remaining(explanations), self._decimals)

    def _row_of_item(self, rows: Ints) -> Ints:
        return rows.repeat(self._told.items)

    def _values(
        self, spelling: _Spelling, chunk: Rows, rows: Ints, features: Ints
    ) -> list[bytes]:
        """The features' values of items.

        rows, features: int (items,): where each of them stands.
        """
        matrix = chunk.columns.matrix[rows, features]
        tokens = spelling.numbers(matrix)
        others = np.flatnonzero(~self._is_number[features])
        for feature in np.unique(features[others]).tolist():
            items = others[features[others] == feature]
            sent = self._sent_texts(chunk, feature, rows[items], matrix[items])
            # Few different texts in many rows: each is spelled once.
            spelled = {text: spelling.text(text) for text in dict.fromkeys(sent)}
            for item, text in zip(items.tolist(), sent, strict=True):
                tokens[item] = spelled[text]
        return tokens

    def _sent_texts(
        self, chunk: Rows, feature: int, rows: Ints, codes: NDArray[np.float64]
    ) -> list[str | None]:
        """A feature's cells in some rows, as they were sent; codes: its matrix."""
        cells = plain(chunk.cells[self._features[feature]])
        if self._kinds[feature] == "text":
            return [_text(cells[row]) or None for row in rows.tolist()]
        is_missing = missing_among(self._levels[feature] or ())
        texts = [_text(cells[row]) for row in rows.tolist()]
        # A level that training did not have counts as missing, and was sent all the
        # same.
        return [
            None if text is None or (is_other and is_missing(text)) else text
            for text, is_other in zip(texts, np.isnan(codes).tolist(), strict=True)
        ]

    def _base(
        self,
        explanations: Explanations,
        spelled: Callable[[NDArray[np.float64], int], list[bytes]],
    ) -> list[bytes]:
        base = explanations.base
        if base is None:
            base = np.zeros(len(explanations.explained))
        # Of most models every row has the same: it is spelled once.
        if (base == base[:1]).all():
            return spelled(base[:1], self._decimals) * len(base)
        return spelled(base, self._decimals)

    def _lists(
        self, rows: Ints, items: list[bytes], explanations: Explanations
    ) -> Tokens:
        step = self._told.items
        if step == 0:
            return [b"[]"] * len(explanations.explained)
        lists = [
            b"[" + b",".join(items[start : start + step]) + b"]"
            for start in range(0, len(items), step)
        ]
        return _spread(rows, len(explanations.explained), lists, empty=b"[]")


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How an answer's form spells a feature's value; a missing one is a NaN or None."""

    numbers: Callable[[NDArray[np.float64]], list[bytes]]
    text: Callable[[str | None], bytes]


_JSON = _Spelling(sent_numbers, orjson.dumps)
_CSV = _Spelling(sent_csv_numbers, csv_cell)
_SYMBOLS = [symbol.encode() for symbol in SYMBOLS]


def _text(cell: Any) -> str | None:
    """A cell as it was sent."""
    if cell is None or cell != cell:
        return None
    return cell if isinstance(cell, str) else str(cell)


def _symbols(
    explanations: Explanations, rows: Ints, spelled: list[bytes]
) -> list[bytes]:
    if explanations.symbols is None:
        return []
    return pick(spelled, explanations.symbols[rows].reshape(-1))


def _remaining(explanations: Explanations) -> NDArray[np.float64]:
    remaining = explanations.remaining
    return np.zeros(len(explanations.explained)) if remaining is None else remaining


def _spread(
    rows: Ints, count: int, tokens: list[bytes], *, empty: bytes = b""
) -> list[bytes]:
    """Tokens of some rows as a column of all of them."""
    if len(rows) == count:
        return tokens
    column = [empty] * count
    for row, token in zip(rows.tolist(), tokens, strict=True):
        column[row] = token
    return column
