"""Parquet to the CSV that jobs are scored from, and scored CSV to Parquet."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.csv

from app.batch.intake import InputRefused
from app.errors import BodyTooLarge, NoDataToPredict
from app.tokens import csv_cell, csv_lines

_CELLS_AT_ONCE: Final = 262_144
_ROWS_AT_ONCE: Final = 8_192
_GROUP_BYTES: Final = 32 * 2**20
# Of the columns of one row group, without compression.
_MOST_GROUP: Final = 2 * 2**30


def csv_pieces(
    file: IO[bytes],
    most_columns: int,
    *,
    formats: Mapping[str, str] | None = None,
    lower: Collection[str] = (),
) -> Iterator[bytes]:
    """The rows of a Parquet file as CSV with a header, some at a time.

    Cells are written so that they are read as the values that they were: numbers as
    Python spells them, nothing where there is none, moments as in ISO 8601.

    formats: columns whose moments are written in another way, as strftime's.
    lower: columns in which booleans are `true` and `false`, not `True` and `False`.

    Raises InputRefused for what is no Parquet of plain columns, BodyTooLarge and
    NoDataToPredict.
    """
    # What it brings is imported where there is such a file.
    from pyarrow import parquet

    try:
        # Else a column's pages would all be read at once.
        source = parquet.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
        names = _names(source, most_columns)
        spelled = [
            _spelled(field, (formats or {}).get(field.name), field.name in lower)
            for field in source.schema_arrow
        ]
        if source.metadata.num_rows == 0:
            raise NoDataToPredict
        yield csv_lines([[csv_cell(name)] for name in names])
        rows = min(_ROWS_AT_ONCE, max(1, _CELLS_AT_ONCE // len(names)))
        for batch in source.iter_batches(rows, use_threads=False):
            yield _lines(batch, spelled)
    # Python's moments end in the year 9999.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = " ".join(str(error).split())[:300]
        raise InputRefused(f"The Parquet file cannot be read: {text}") from error


def _names(source: Any, most_columns: int) -> list[str]:
    names = list(source.schema_arrow.names)
    if len(names) > most_columns:
        raise BodyTooLarge(f"The input has more than {most_columns} columns")
    if not names:
        raise NoDataToPredict
    metadata = source.metadata
    for number in range(metadata.num_row_groups):
        if metadata.row_group(number).total_byte_size > _MOST_GROUP:
            raise InputRefused(
                f"A row group of the Parquet file holds more than {_MOST_GROUP} bytes:"
                " write it with smaller ones"
            )
    return names


def _lines(batch: pa.RecordBatch, spelled: list[Callable[[Any], bytes]]) -> bytes:
    columns = [
        list(map(spell, _values(column)))
        for column, spell in zip(batch.columns, spelled, strict=True)
    ]
    if len(columns) == 1:
        # Else an empty cell would be an empty line.
        columns = [[cell or b'""' for cell in columns[0]]]
    return csv_lines(columns)


def _values(column: pa.Array) -> list[Any]:
    # Python has no nanoseconds; what would be lost is refused.
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz))
    elif pa.types.is_time64(column.type):
        column = column.cast(pa.time64("us"))
    values: list[Any] = column.to_pylist()
    return values


def _spelled(
    field: pa.Field, format: str | None, is_lower: bool
) -> Callable[[Any], bytes]:
    """From a column's values to cells. Raises InputRefused."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    for is_kind, spell in _SPELLED.items():
        if is_kind(kind):
            if is_lower and spell is _boolean:
                return lambda value: _boolean(value).lower()
            if format and spell is _moment:
                return lambda value: csv_cell(value and value.strftime(format))
            return spell
    raise InputRefused(
        f"The column {field.name!r} of the Parquet file holds {kind}, which is no"
        " single value that a model takes"
    )


def _number(value: float | None) -> bytes:
    # Also of narrower floats: as they are when they are made wider.
    return b"" if value is None or value != value else repr(value).encode()


def _whole(value: int | None) -> bytes:
    return b"" if value is None else b"%d" % value


def _boolean(value: bool | None) -> bytes:
    return b"" if value is None else str(value).encode()


def _decimal(value: Decimal | None) -> bytes:
    return b"" if value is None else format(value, "f").encode()


def _moment(value: datetime | date | time | None) -> bytes:
    return b"" if value is None else value.isoformat().encode()


_SPELLED: Final[Mapping[Callable[[pa.DataType], bool], Callable[[Any], bytes]]] = {
    pa.types.is_null: csv_cell,
    pa.types.is_string: csv_cell,
    pa.types.is_large_string: csv_cell,
    pa.types.is_string_view: csv_cell,
    pa.types.is_floating: _number,
    pa.types.is_integer: _whole,
    pa.types.is_boolean: _boolean,
    pa.types.is_decimal: _decimal,
    pa.types.is_timestamp: _moment,
    pa.types.is_date: _moment,
    pa.types.is_time: _moment,
}


def write(sink: IO[bytes], parts: Iterable[bytes], numbers: Collection[str]) -> None:
    """Write scored CSV as Parquet, some of it at a time.

    parts: CSV of whole records; the first begins with the header.
    numbers: columns of doubles; all others are strings. Empty cells are nulls.
    """
    from pyarrow import parquet

    names: list[str] | None = None
    writer = None
    held: list[pa.Table] = []
    for part in parts:
        table = read_texts(part, names)
        names = table.column_names
        table = _typed(table, numbers)
        if writer is None:
            writer = parquet.ParquetWriter(sink, table.schema)
        held.append(table)
        if sum(each.nbytes for each in held) >= _GROUP_BYTES:
            writer.write_table(pa.concat_tables(held))
            held = []
    if writer is not None:
        if held:
            writer.write_table(pa.concat_tables(held))
        writer.close()


def read_texts(data: bytes, names: list[str] | None) -> pa.Table:
    """CSV of whole records as columns of strings; names: None if they come first."""
    if data.startswith(codecs.BOM_UTF8):
        # Arrow drops one wherever it begins to read; in a cell it is a character.
        data = codecs.BOM_UTF8 + data
    options = pyarrow.csv.ReadOptions(
        use_threads=False, block_size=max(len(data), 1) + 1, column_names=names
    )
    parsing = pyarrow.csv.ParseOptions(
        newlines_in_values=True, ignore_empty_lines=False
    )
    if names is None:
        names = pyarrow.csv.open_csv(
            pa.BufferReader(data), read_options=options, parse_options=parsing
        ).schema.names
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=options,
        parse_options=parsing,
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _typed(table: pa.Table, numbers: Collection[str]) -> pa.Table:
    types = [
        pa.float64() if name in numbers else pa.string() for name in table.column_names
    ]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))
