"""Typed columns: raw cells, as CSV or JSON brings them, to the matrix a model takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backends.model import Feature, Label, Model

# Texts that mean a missing value. In a categorical column "NA" may well be a level.
MISSING_NUMBERS = (
    *("", "null", "NULL", "na", "NA", "n/a", "N/A", "#N/A", "nan", "NaN"),
    *("?", "None"),
)
MISSING_LEVELS = ("", "null", "NULL")

_MISSING_NUMBERS = frozenset(MISSING_NUMBERS)
_MISSING_ARRAY = pa.array(MISSING_NUMBERS)
_SPACE = " \t\n\r\v\f"
_WORDS = {"true": 1.0, "false": 0.0}
# What Arrow reads as a double, so that a text means the same wherever it is read;
# float() alone would also take "1_000" and the digits of other scripts.
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)",
    re.ASCII | re.IGNORECASE,
)
_NAN = re.compile(r"[+-]?nan(?:\([a-z0-9_]*\))?", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
# Beyond this a float64 no longer tells neighbouring whole numbers apart.
_LARGEST_WHOLE = 2.0**53
# Cells that become a number as they are.
_PLAIN = frozenset((int, float, bool, type(None)))
_SINGLE = (str, int, float, type(None))
_WANTED = {"numeric": "a number", "categorical": "a known level", "text": "a text"}
_ABSENT = "a value is missing, and the model takes no missing value here"
_SHOWN = 40
# Rows of a table that are decoded at once.
_TABLE_ROWS = 65_536


class DataError(ValueError):
    """The rows cannot be scored as they are; the message names column and row."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows decoded for one model.

    matrix: float64 (n_rows, n_features), C order, features in the model's order: the
        number, or the position in the feature's categories; NaN is missing. The
        column of a text feature holds NaN.
    texts: position of a text feature to its strings, object (n_rows,).
    unknown_categories, invalid_numbers: cells scored as missing because their value
        was not a known level, or no number.
    offset: float64 (n_rows,): what is added to the margin of each row; None: nothing.
    exposure: float64 (n_rows,): what each row's answer is multiplied by, above 0;
        None: 1.
    """

    matrix: NDArray[np.float64]
    texts: Mapping[int, NDArray[np.object_]] = field(default_factory=dict)
    unknown_categories: int = 0
    invalid_numbers: int = 0
    offset: NDArray[np.float64] | None = None
    exposure: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.matrix)

    def take(self, rows: NDArray[np.intp]) -> Columns:
        """Copy rows, in this order and as often as they are named; counts nothing."""
        return Columns(
            self.matrix[rows],
            {position: texts[rows] for position, texts in self.texts.items()},
            offset=None if self.offset is None else self.offset[rows],
            exposure=None if self.exposure is None else self.exposure[rows],
        )

    @classmethod
    def join(cls, parts: Sequence[Columns]) -> Columns:
        """The rows of parts, at least one, that were decoded for one model."""
        first = parts[0]
        return cls(
            np.concatenate([part.matrix for part in parts]),
            {
                position: np.concatenate([part.texts[position] for part in parts])
                for position in first.texts
            },
            sum(part.unknown_categories for part in parts),
            sum(part.invalid_numbers for part in parts),
            _joined([part.offset for part in parts]),
            _joined([part.exposure for part in parts]),
        )


def _joined(
    arrays: Sequence[NDArray[np.float64] | None],
) -> NDArray[np.float64] | None:
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None


class Decoder:
    """Turns raw cells into `Columns` by the features of one model.

    Made once for a loaded model; safe to use from many threads at once.

    features: every column that is read: the model's features, then those of its
        offset and its exposure, which are numbers that no row may lack.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        *,
        offset: str | None = None,
        exposure: str | None = None,
    ) -> None:
        """offset, exposure: the columns of that, see `Model`."""
        beside = [
            Feature(name, "numeric", missing="error")
            for name in (offset, exposure)
            if name is not None
        ]
        self.features = (*features, *beside)
        width = len(features)
        # Where the model's own columns end, if that is not the end of all.
        self._width = width if beside else None
        self._offset = None if offset is None else width
        self._exposure = None if exposure is None else len(self.features) - 1
        self._names = tuple(feature.name for feature in self.features)
        self._needed = frozenset(self._names)
        self._pick = _picker(self._names)
        levels = {
            position: _Levels(feature.categories)
            for position, feature in enumerate(self.features)
            if feature.categories is not None
        }
        self._codes = tuple(
            (position, level.codes.__getitem__) for position, level in levels.items()
        )
        self._cells = tuple(
            levels[position].cell if position in levels else read_number
            for position in range(len(self.features))
        )
        self._texts = self._positions(lambda feature: feature.kind == "text")
        self._strict = self._positions(
            lambda feature: feature.missing == "error" and feature.kind != "text"
        )
        self._whole = self._positions(
            lambda feature: feature.dtype == "int64" and feature.kind == "numeric"
        )

    @classmethod
    def of(cls, model: Model) -> Decoder:
        """What decodes everything that a model takes."""
        return cls(model.features, offset=model.offset, exposure=model.exposure)

    def check_columns(self, names: Set[str]) -> None:
        """Raise DataError listing the features that are not among the names."""
        if not names >= self._needed:
            missing = [name for name in self._names if name not in names]
            listed = ", ".join(map(repr, missing))
            raise DataError(
                f"columns that the model takes are not in the data: {listed}"
            )

    def from_records(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        complete: bool = True,
        first_row: int = 0,
        refuse_unknown: bool = False,
        refuse_invalid: bool = True,
    ) -> Columns:
        """Decode JSON objects, as orjson reads them.

        A key that only some records have is a missing value in the others.
        complete: False when more records of the same data come in other calls: a
            feature that none of these has is then missing values as well.
        first_row: number of the first record in messages.

        Raises DataError, also for a feature that no record has.
        """
        columns = self._read_plain(records)
        if columns is not None:
            return columns
        if complete:
            self.check_columns(set(chain.from_iterable(records)))
        run = _Run(self.features, first_row, refuse_unknown, refuse_invalid)
        matrix = np.empty((len(records), len(self.features)))
        texts = {}
        for position, name in enumerate(self._names):
            cells = [record.get(name) for record in records]
            if position in self._texts:
                texts[position] = self._read_texts(cells, position, run)
                matrix[:, position] = np.nan
            else:
                matrix[:, position] = self._read_cells(cells, position, run)
        return self._finish(matrix, texts, run)

    def from_batch(
        self,
        batch: pa.RecordBatch,
        *,
        first_row: int = 0,
        refuse_unknown: bool = False,
        refuse_invalid: bool = True,
    ) -> Columns:
        """Decode CSV cells: numeric features as float64 or string, others string.

        A column of another type is read cell by cell, as JSON would bring it.
        first_row: number of the first row in messages.

        Raises DataError.
        """
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        self.check_columns(arrays.keys())
        run = _Run(self.features, first_row, refuse_unknown, refuse_invalid)
        matrix = np.empty((len(batch), len(self.features)))
        texts = {}
        for position, name in enumerate(self._names):
            array = arrays[name]
            if position in self._texts:
                texts[position] = self._read_texts(array.to_pylist(), position, run)
                matrix[:, position] = np.nan
            else:
                matrix[:, position] = self._read_array(array, position, run)
        return self._finish(matrix, texts, run)

    def from_table(self, table: pa.Table) -> Columns:
        """Decode all rows of a table; see `from_batch`. Raises DataError."""
        parts = []
        first_row = 0
        # A table without rows may have no batch, which would say what columns it has.
        for batch in table.to_batches(_TABLE_ROWS) or [_empty_batch(table.schema)]:
            parts.append(self.from_batch(batch, first_row=first_row))
            first_row += batch.num_rows
        return Columns.join(parts)

    def _positions(self, wanted: Callable[[Feature], bool]) -> list[int]:
        return [i for i, feature in enumerate(self.features) if wanted(feature)]

    def _read_plain(self, records: Sequence[Mapping[str, Any]]) -> Columns | None:
        """Decode records that need no second look; None when one of their cells does.

        This is the path of almost every request: a flat list of all cells, and no
        work in Python for a single one.
        """
        width = len(self.features)
        texts = {}
        try:
            cells = list(chain.from_iterable(map(self._pick, records)))
            if len(records) == 1:
                # Most requests have one row, for which slices cost more than look-ups.
                for position, code in self._codes:
                    cells[position] = code(cells[position])
            else:
                for position, code in self._codes:
                    cells[position::width] = map(code, cells[position::width])
            for position in self._texts:
                column = cells[position::width]
                texts[position] = np.array(column, dtype=object)
                if not all(type(cell) is str and cell for cell in column):
                    return None
                cells[position::width] = [math.nan] * len(column)
            if not _PLAIN.issuperset(map(type, cells)):
                return None
            matrix = np.array(cells, np.float64).reshape(len(records), width)
        # A key that is not there, an unknown level, a list, a number out of range.
        except (KeyError, TypeError, OverflowError):
            return None
        if self._strict and np.isnan(matrix[:, self._strict]).any():
            return None
        if self._whole and _is_not_whole(matrix[:, self._whole]).any():
            return None
        if self._width is None:
            return Columns(matrix, texts)
        if any(_is_out(matrix[:, place], low).any() for place, low in self._beside):
            return None
        return self._split(Columns(matrix, texts))

    def _read_cells(
        self, cells: list[Any], position: int, run: _Run
    ) -> NDArray[np.float64]:
        if self._cells[position] is read_number and _PLAIN.issuperset(map(type, cells)):
            with suppress(OverflowError):
                return np.array(cells, np.float64)
        values = list(map(self._cells[position], cells))
        if None in values:
            bad = [row for row, value in enumerate(values) if value is None]
            run.count(position, len(bad))
            if not run.refuses(position):
                # An array or object is no cell, whatever the policy for cells.
                bad = [row for row in bad if not isinstance(cells[row], _SINGLE)]
            if bad:
                run.add_bad_cell(bad[0], position, cells[bad[0]])
        # None becomes NaN.
        return np.array(values, np.float64)

    def _read_array(
        self, array: pa.Array, position: int, run: _Run
    ) -> NDArray[np.float64]:
        numeric = self.features[position].kind == "numeric"
        if numeric and pa.types.is_float64(array.type):
            return np.asarray(array.to_numpy(zero_copy_only=False))
        if not pa.types.is_string(array.type):
            return self._read_cells(array.to_pylist(), position, run)
        if numeric and (numbers := _cast(array)) is not None:
            return numbers
        # Few different texts in many rows: each is looked at once.
        encoded = array.dictionary_encode()
        known = list(map(self._cells[position], encoded.dictionary.to_pylist()))
        rows = encoded.indices.fill_null(len(known)).to_numpy()
        if None in known:
            bad = np.array([*(value is None for value in known), False])[rows]
            run.count(position, int(bad.sum()))
            if run.refuses(position):
                row = int(bad.argmax())
                run.add_bad_cell(row, position, array[row].as_py())
        values: NDArray[np.float64] = np.array([*known, None], np.float64)[rows]
        return values

    def _read_texts(
        self, cells: list[Any], position: int, run: _Run
    ) -> NDArray[np.object_]:
        texts = list(map(read_text, cells))
        if None in texts:
            row = texts.index(None)
            run.add_bad_cell(row, position, cells[row])
        if self.features[position].missing == "error" and "" in texts:
            run.add_error(texts.index(""), position, _ABSENT)
        return np.array(texts, dtype=object)

    def _finish(
        self,
        matrix: NDArray[np.float64],
        texts: Mapping[int, NDArray[np.object_]],
        run: _Run,
    ) -> Columns:
        for position in self._strict:
            absent = np.isnan(matrix[:, position])
            if absent.any():
                run.add_error(int(absent.argmax()), position, _ABSENT)
        for position in self._whole:
            broken = _is_not_whole(matrix[:, position])
            if broken.any():
                row = int(broken.argmax())
                value = _shown(float(matrix[row, position]))
                run.add_error(
                    row,
                    position,
                    f"a whole number within ±2**53 is expected, not {value}",
                )
        for position, low in self._beside:
            outside = _is_out(matrix[:, position], low)
            if outside.any():
                row = int(outside.argmax())
                wanted = "a finite number" + ("" if low is None else f" above {low}")
                value = _shown(float(matrix[row, position]))
                run.add_error(row, position, f"{wanted} is expected, not {value}")
        run.raise_first_error()
        return self._split(Columns(matrix, texts, run.unknown, run.invalid))

    @property
    def _beside(self) -> Iterator[tuple[int, int | None]]:
        """Positions of offset and exposure, and what the numbers there exceed."""
        if self._offset is not None:
            yield self._offset, None
        if self._exposure is not None:
            yield self._exposure, 0

    def _split(self, columns: Columns) -> Columns:
        """Take offset and exposure out of the matrix."""
        if self._width is None:
            return columns
        matrix = columns.matrix
        offset, exposure = (
            None if position is None else matrix[:, position].copy()
            for position in (self._offset, self._exposure)
        )
        own = np.ascontiguousarray(matrix[:, : self._width])
        return replace(columns, matrix=own, offset=offset, exposure=exposure)


class _Run:
    """What is found in the cells while some rows are decoded."""

    def __init__(
        self,
        features: Sequence[Feature],
        first_row: int,
        refuse_unknown: bool,
        refuse_invalid: bool,
    ) -> None:
        self.features = features
        self.first_row = first_row
        self.refuse_unknown = refuse_unknown
        self.refuse_invalid = refuse_invalid
        self.unknown = 0
        self.invalid = 0
        self.errors: list[tuple[int, int, str]] = []

    def refuses(self, position: int) -> bool:
        """Tell whether a cell that has no value for the model is an error."""
        feature = self.features[position]
        if feature.kind == "categorical":
            return self.refuse_unknown or feature.missing == "error"
        return self.refuse_invalid or feature.missing == "error"

    def count(self, position: int, cells: int) -> None:
        """Count cells that have no value for the model."""
        if self.features[position].kind == "categorical":
            self.unknown += cells
        else:
            self.invalid += cells

    def add_bad_cell(self, row: int, position: int, value: Any) -> None:
        wanted = _WANTED[self.features[position].kind]
        self.add_error(row, position, f"{wanted} is expected, not {_shown(value)}")

    def add_error(self, row: int, position: int, message: str) -> None:
        self.errors.append((row, position, message))

    def raise_first_error(self) -> None:
        """Raise the error of the first row, there of the first feature, if any."""
        if not self.errors:
            return
        row, position, message = min(self.errors, key=itemgetter(0, 1))
        name = self.features[position].name
        raise DataError(f"column {name!r}, row {self.first_row + row}: {message}")


class _Levels:
    """The levels of a categorical feature.

    codes: what a cell may hold, as it comes, to the level's position as float; NaN
        for what is missing.
    """

    def __init__(self, categories: Sequence[Label]) -> None:
        # Levels that are numbers or booleans are found by value ("1", "1.0", 1, 1.0
        # and true are one level), others by their exact text.
        self.numeric = _are_numbers(categories)
        self.codes: dict[Any, float] = {}
        for code, level in enumerate(categories):
            self.codes.setdefault(
                level if self.numeric else read_text(level), float(code)
            )
        for missing in (None, *MISSING_LEVELS):
            self.codes.setdefault(missing, math.nan)

    def cell(self, value: Any) -> float | None:
        """Return the position of a cell's level, NaN if missing, None if unknown."""
        try:
            return self.codes[value]
        except (KeyError, TypeError):
            pass
        if not isinstance(value, _SINGLE):
            return None
        if value != value:
            return math.nan
        if self.numeric:
            return self._find_number(value) if isinstance(value, str) else None
        if isinstance(value, bool):
            lower = str(value).lower()
            return self.codes.get(str(value), self.codes.get(lower))
        return self.codes.get(read_text(value))

    def _find_number(self, text: str) -> float | None:
        text = text.strip(_SPACE)
        if text in MISSING_LEVELS:
            return math.nan
        number = _parse_exactly(text)
        if number is None:
            return None
        return math.nan if number != number else self.codes.get(number)


def missing_among(categories: Sequence[Label]) -> Callable[[str], bool]:
    """Whether a text that is none of the levels is a missing value in their column.

    Any other is a level that training did not have.
    """
    if not _are_numbers(categories):
        return MISSING_LEVELS.__contains__
    no_level = _Levels(())
    return lambda text: no_level.cell(text) is not None


def _are_numbers(categories: Sequence[Label]) -> bool:
    return all(isinstance(level, int | float) for level in categories)


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    # With one name itemgetter gives the bare value.
    return lambda record: tuple(record[name] for name in names)


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array([], column.type) for column in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def read_number(value: Any) -> float | None:
    """Return the number in a numeric cell, NaN if missing, None if it has none."""
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return float(value)
        text = value.strip(_SPACE)
        return math.nan if text in _MISSING_NUMBERS else _parse(text)
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None


def _parse(text: str) -> float | None:
    """Read a number: a decimal literal, a percent sign behind it dropped, or a word."""
    literal = text.removesuffix("%")
    if _NUMBER.fullmatch(literal):
        return float(literal)
    if _NAN.fullmatch(literal):
        return math.nan
    return _WORDS.get(text.lower())


def _parse_exactly(text: str) -> int | float | None:
    """Read a number like `_parse`, but a 64-bit integer without rounding."""
    if _INTEGER.fullmatch(text) and -(2**63) <= (whole := int(text)) < 2**64:
        return whole
    return _parse(text)


def read_text(value: Any) -> str | None:
    """Return a cell as text, "" if missing, None if it is no single value.

    Numbers and booleans are spelled as Python and pandas' to_csv spell them.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, _SINGLE) else None


def _cast(texts: pa.Array) -> NDArray[np.float64] | None:
    """Read texts as numbers the fast way; None when one of them needs `read_number`."""
    trimmed = pc.ascii_trim(texts, characters=_SPACE)
    missing = pc.is_in(trimmed, value_set=_MISSING_ARRAY)
    try:
        numbers = pc.if_else(missing, None, trimmed).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


def _is_not_whole(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    whole = (values == np.trunc(values)) & (np.abs(values) <= _LARGEST_WHOLE)
    return np.asarray(~(whole | np.isnan(values)))


def _is_out(values: NDArray[np.float64], low: int | None) -> NDArray[np.bool_]:
    """Which numbers are infinite, or not above `low`; missing ones are neither."""
    is_out = np.isinf(values)
    return np.asarray(is_out if low is None else is_out | (values <= low))


def _shown(value: Any) -> str:
    """Return a cell as messages show it."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else type(value).__name__
