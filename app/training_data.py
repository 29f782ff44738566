"""Training data as packaging reads it: by the rules that requests are read by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.config import Config
from app.decode import read_rows
from app.errors import AppError
from backends.features import MISSING_LEVELS, MISSING_NUMBERS, Decoder
from backends.model import Feature, Label

# What limits requests does not limit the file of a data scientist.
_LIMITS = dataclasses.replace(
    Config(), max_body=2**62, max_rows=2**62, max_columns=2**31
)

_LARGEST_WHOLE = 2**53


class TrainingDataRejected(AppError):
    """The data cannot be read or is not what the model was trained on."""


def read_table(path: Path) -> pa.Table:
    """Read a CSV or Parquet file.

    Returns columns of strings, float64, integers or booleans; those of a CSV file are
    strings, as they stand there.

    Raises TrainingDataRejected and OSError.
    """
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    table = _read_parquet(path) if is_parquet else _read_csv(path)
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingDataRejected(f"{path.name} has the column {twice[0]!r} twice")
    if not table.num_rows:
        raise TrainingDataRejected(f"{path.name} has no rows")
    return table


def _read_csv(path: Path) -> pa.Table:
    body = path.read_bytes()
    try:
        chunks = list(
            read_rows(body, "text/csv", Decoder(()), passthrough="all", limits=_LIMITS)
        )
    except AppError as error:
        raise TrainingDataRejected(f"{path.name}: {error}") from error
    tables = [
        pa.table(
            {
                name: pa.array(cells, pa.string()) if isinstance(cells, list) else cells
                for name, cells in chunk.passthrough.items()
            }
        )
        for chunk in chunks
    ]
    return pa.concat_tables(tables)


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TrainingDataRejected(
            f"{path.name} cannot be read as Parquet: {error}"
        ) from error
    # A table can be read for a few of its columns; those that have no cells, lists
    # say, matter only when the model takes them.
    columns = {name: _plain(table[name]) for name in table.column_names}
    return pa.table({name: each for name, each in columns.items() if each is not None})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column in one of the types that cells have; None if its values are no cells."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(pc.cast(column, kind.value_type))
    if pa.types.is_floating(kind):
        return pc.cast(column, pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return None
    return pc.cast(column, pa.string())


def take_columns(table: pa.Table, names: Iterable[str], *, what: str) -> pa.Table:
    """These columns, in this order.

    what: the file, for the message. Raises TrainingDataRejected naming what is missing.
    """
    names = list(names)
    if missing := [name for name in names if name not in table.column_names]:
        raise TrainingDataRejected(
            f"{what} has no column {', '.join(map(repr, missing))}; it has"
            f" {', '.join(map(repr, table.column_names))}"
        )
    return table.select(names)


def spread(rows: int) -> NDArray[np.intp]:
    """Row numbers in an order of which every beginning is spread over the whole file.

    The same in every run, and of any part of the file about as much as of any other,
    so that it does not matter how the file is sorted. (Fibonacci hashing.)
    """
    scattered = np.arange(rows, dtype=np.uint64) * np.uint64(11400714819323198485)
    return np.argsort(scattered, kind="stable")


def distinct_labels(column: pa.ChunkedArray) -> tuple[Label, ...]:
    """The distinct values of a target column, sorted; numbers and booleans as such."""
    values = pc.unique(column).to_pylist()
    present = [value for value in values if value is not None and value == value]
    return tuple(sorted(typed_labels([v for v in present if v not in MISSING_LEVELS])))


def typed_labels(values: Sequence[Label]) -> tuple[Label, ...]:
    """Labels as numbers or booleans if all of them are, else as texts; no gaps.

    A number without a fraction becomes an int, as class labels are written.
    """
    texts = {str(value).strip().lower() for value in values}
    if texts <= {"true", "false"}:
        truths = [str(value).strip().lower() == "true" for value in values]
        return tuple(dict.fromkeys(truths))
    numbers = _numbers(values)
    if numbers is None:
        return tuple(dict.fromkeys(str(value) for value in values))
    return tuple(dict.fromkeys(map(_shortest, numbers[~np.isnan(numbers)].tolist())))


def _numbers(values: Sequence[Label]) -> NDArray[np.float64] | None:
    """Labels as numbers; None if they are not all numbers."""
    if any(isinstance(value, str) and value.endswith("%") for value in values):
        return None
    decoder = Decoder((Feature("label", "numeric"),))
    records = [{"label": value} for value in values]
    columns = decoder.from_records(records, refuse_invalid=False)
    return None if columns.invalid_numbers else columns.matrix[:, 0]


def _shortest(number: float) -> int | float:
    whole = number.is_integer() and abs(number) <= _LARGEST_WHOLE
    return int(number) if whole else number


def encode_labels(
    column: pa.ChunkedArray, target: str, labels: Sequence[Label]
) -> NDArray[np.float64]:
    """The position of each row's class among the labels; NaN where it is missing.

    Raises TrainingDataRejected naming a value that is none of them.
    """
    feature = Feature(target, "categorical", categories=tuple(labels))
    if pa.types.is_string(column.type) and all(
        isinstance(x, int | float) for x in labels
    ):
        # What means a missing number is no class.
        absent = pc.is_in(column, value_set=pa.array(MISSING_NUMBERS))
        column = pc.if_else(absent, None, column)
    table = pa.table({target: column})
    decoder = Decoder((feature,))
    codes = decoder.from_table(table)
    if codes.unknown_categories:
        for value in pc.unique(column).to_pylist():
            found = decoder.from_records([{target: value}])
            if found.unknown_categories:
                raise TrainingDataRejected(
                    f"The target {target!r} holds {value!r}, which is none of the"
                    f" model's classes {', '.join(map(repr, labels))}: name the"
                    " classes in the model's order with --labels"
                )
    return codes.matrix[:, 0]
