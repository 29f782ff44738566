"""Cells of a column, as CSV, JSON or a table brings them: distinct values, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backends.features import read_number

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# The texts of CSV cells, the values of JSON cells, or numbers.
Cells: TypeAlias = "Sequence[Any] | pa.Array"

# What means that the target is not known. Where a history ends is not guessed from
# words that may mean anything.
MISSING_TARGETS = ("", "null", "NULL", "nan", "NaN")
_SPACE = " \t\n\r\v\f"


def is_missing(value: Any) -> bool:
    """Whether a timestamp or a series id is not there."""
    return value is None or value != value or value == ""


def distinct(cells: Cells) -> tuple[list[Any], Ints]:
    """The different values in the order of their first rows, and each row's."""
    if isinstance(cells, pa.Array):
        if pa.types.is_dictionary(cells.type) and cells.null_count:
            cells = cells.dictionary_decode()
        if not pa.types.is_dictionary(cells.type):
            # What is missing has a place too: None.
            cells = cells.dictionary_encode(null_encoding="encode")
        codes = cells.indices.to_numpy(zero_copy_only=False)
        return cells.dictionary.to_pylist(), codes.astype(np.int64)
    if {str}.issuperset(map(type, cells)):
        known: dict[str, int] = dict(zip(dict.fromkeys(cells), count(), strict=False))
        codes = np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))
        return list(known), codes
    places: dict[Any, int] = {}
    codes = np.empty(len(cells), np.int64)
    values: list[Any] = []
    for row, value in enumerate(cells):
        # 1, 1.0 and True are one key, and spelled apart; lists are none at all.
        key = (
            (type(value), value) if isinstance(value, str | int | float) else id(value)
        )
        place = places.setdefault(key, len(places))
        if place == len(values):
            values.append(value)
        codes[row] = place
    return values, codes


def numbers_of(cells: Cells) -> Floats | None:
    """Cells that are all numbers or missing; None if they have to be looked at."""
    if isinstance(cells, pa.Array):
        if pa.types.is_floating(cells.type) or pa.types.is_integer(cells.type):
            floats = cells.cast(pa.float64(), safe=False)
            return np.array(floats.to_numpy(zero_copy_only=False), np.float64)
        if not pa.types.is_string(cells.type):
            return None
        trimmed = pc.ascii_trim(cells, characters=_SPACE)
        missing = pc.is_in(trimmed, value_set=pa.array(MISSING_TARGETS))
        try:
            numbers = pc.if_else(missing, None, trimmed).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        if pc.any(pc.is_nan(numbers)).as_py():
            return None
        return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
    if {int, float, type(None)}.issuperset(map(type, cells)):
        try:
            return np.array(cells, np.float64)
        except OverflowError:
            return None
    return None


def first_odd(cells: Cells) -> int | None:
    """The first row whose number is none, though it was not missing; None: no row.

    Of CSV, Arrow reads more texts as NaN than those that mean a missing target, which
    it tells apart.
    """
    if not isinstance(cells, pa.Array) or not pa.types.is_floating(cells.type):
        return None
    odd = pc.is_nan(cells).fill_null(False)
    return int(pc.index(odd, True).as_py()) if pc.any(odd).as_py() else None


def target_number(value: Any) -> float | None:
    """The number in a target's cell, NaN if it is missing, None if it has none."""
    if isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return read_number(value)
    if value.strip(_SPACE) in MISSING_TARGETS:
        return np.nan
    number = read_number(value)
    # Other words for what is missing may as well be mistakes.
    return None if number is None or np.isnan(number) else number
