"""CSV in UTF-8, read in blocks: records as texts, or as Arrow's typed columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from app.errors import BodyTooLarge, BodyUnreadable, NoDataToPredict
from backends.features import MISSING_NUMBERS

Ints = NDArray[np.int64]

# One CSV record, as Arrow's reader and Python's see it: a quote opens a quoted field at
# the start of a field only; elsewhere it is a character like any other.
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_RECORD_PATTERN = (
    rb'(?:[^"\r\n]++|(?<![^,\r\n])' + _QUOTED + rb"(?:," + _QUOTED + rb")*+"
    rb'|(?<=[^,\r\n])"[^,\r\n]*+)*+'
)
_RECORD = re.compile(_RECORD_PATTERN)
_RECORDS = re.compile(rb"(?:" + _RECORD_PATTERN + rb"(?:\r\n?|\n))*+")
_NEWLINE = ord("\n")
_NEWLINES = re.compile(rb"[\r\n]*+")


def read_header(data: bytes, most_columns: int) -> tuple[list[str], int]:
    """Return the column names and where the record after them starts.

    Raises NoDataToPredict if there is no record after them, BodyUnreadable,
    BodyTooLarge.
    """
    start = _match_end(_NEWLINES, data, 0, len(data))
    end = _end_of_record(data, start)
    names = _split_header(data[start:end], most_columns)
    start = min(_after(data, end), len(data))
    # In a file of one column an empty line is a record.
    blank = start if len(names) == 1 else _match_end(_NEWLINES, data, start, len(data))
    if blank == len(data):
        raise NoDataToPredict
    return names, start


def cut(data: bytes, limit: int) -> int:
    """Where the last record ends that does so within `limit` bytes; 0 for none.

    data: from the beginning of a record on; where it ends within the limit, so does
        the CSV. Raises BodyUnreadable for a quote that is never closed there.
    """
    find_cut = _cut_quoted if b'"' in data else _cut_plain
    return find_cut(data, 0, limit)


def end_of_first(data: bytes) -> int:
    """Where what follows the first record begins; 0 if that is not ended here."""
    end = _match_end(_RECORD, data, 0, len(data))
    return _after(data, end) if data[end : end + 1] in (b"\r", b"\n") else 0


def spans(data: bytes, columns: int) -> Iterator[tuple[int, int]]:
    """Where each record begins and the next one may; data: whole records.

    columns: of one column an empty line is a record.
    """
    start = 0
    while start < len(data):
        end = _end_of_record(data, start)
        after = min(_after(data, end), len(data))
        if end > start or columns == 1:
            yield start, after
        start = after


def bounds(data: bytes, columns: int) -> tuple[Ints, Ints]:
    """The same as `spans`, as arrays: int64 (n,) where records begin, and end."""
    if not data or b'"' in data or b"\r" in data or columns == 1:
        found = np.array([*spans(data, columns)], np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE) + 1
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1])
    is_record = characters[starts] != _NEWLINE
    return starts[is_record], ends[is_record]


def count_records(data: bytes, columns: int) -> int:
    """How many records there are; see `spans`."""
    if b'"' in data:
        return sum(1 for _ in spans(data, columns))
    lines = data.splitlines()
    return len(lines) if columns == 1 else len(lines) - lines.count(b"")


def _split_header(header: bytes, most_columns: int) -> list[str]:
    # Before names are made of it: a header can be as long as a body.
    if header.count(b",") >= most_columns:
        if re.sub(_QUOTED, b"", header).count(b",") >= most_columns:
            raise BodyTooLarge(f"The body has more than {most_columns} columns")
    try:
        return next(csv.reader(io.StringIO(header.decode(), newline="")), [])
    except csv.Error as error:
        raise BodyUnreadable(f"The header of the CSV body: {error}") from error


def read_records(
    data: bytes, start: int, names: list[str], first_row: int = 0
) -> list[dict[str, str]]:
    """Read all records from `start` on as texts by column name.

    first_row: number of the first of them, for messages. Raises BodyUnreadable.
    """
    _cut_quoted(data, start, len(data))
    records = []
    for fields in csv.reader(io.StringIO(data[start:].decode(), newline="")):
        if len(fields) == len(names):
            records.append(dict(zip(names, fields, strict=True)))
        elif fields:
            _refuse_ragged(first_row + len(records), len(fields), len(names))
        elif len(names) == 1:
            records.append({names[0]: ""})
    return records


def read_batches(
    data: bytes,
    start: int,
    names: list[str],
    *,
    numbers: Collection[str],
    texts: Collection[str],
    repeated: Collection[str] = (),
    missing: Collection[str] = MISSING_NUMBERS,
    block_bytes: int,
    first_row: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Read the records from `start` on, about `block_bytes` at a time.

    numbers: columns wanted as float64; all of them come as string from the first
        block on in which one has a cell that Arrow reads neither as a number nor as
        one of `missing`.
    texts: columns wanted as string, none of them in `numbers`.
    first_row: number of the first record, for messages.

    Raises BodyUnreadable.
    """
    has_quotes = data.find(b'"', start) >= 0
    reader = _ArrowReader(names, numbers, texts, repeated, missing, has_quotes)
    reader.rows = first_row
    buffer = pa.py_buffer(data)
    for begin, end in _blocks(data, start, block_bytes, has_quotes):
        yield from reader.read(buffer.slice(begin, end - begin))


def _end_of_record(data: bytes, start: int) -> int:
    """Return the position of the newline that ends the record, or of the end."""
    end = _match_end(_RECORD, data, start, len(data))
    if data[end : end + 1] == b'"':
        raise BodyUnreadable(
            f"The CSV body is not complete: the quote at byte {end} is never closed"
        )
    return end


def _match_end(pattern: re.Pattern[bytes], data: bytes, start: int, limit: int) -> int:
    match = pattern.match(data, start, limit)
    return match.end() if match else start


def _blocks(
    data: bytes, start: int, block_bytes: int, has_quotes: bool
) -> Iterator[tuple[int, int]]:
    """Cut between records about every `block_bytes`; yields start and end."""
    find_cut = _cut_quoted if has_quotes else _cut_plain
    size = block_bytes
    while start < len(data):
        end = find_cut(data, start, start + size)
        if end == start:
            # A record longer than that; by multiples the whole work stays linear.
            size *= 4
            continue
        yield start, end
        start, size = end, block_bytes


def _cut_plain(data: bytes, start: int, limit: int) -> int:
    if limit >= len(data):
        return len(data)
    newline = max(data.rfind(b"\n", start, limit), data.rfind(b"\r", start, limit))
    return _after(data, newline) if newline >= 0 else start


def _cut_quoted(data: bytes, start: int, limit: int) -> int:
    end = _match_end(_RECORDS, data, start, limit)
    if limit >= len(data):
        return _end_of_record(data, end)
    return _after(data, end - 1) if end > start else start


def _after(data: bytes, newline: int) -> int:
    """Return where a line begins, given the position of the newline before it."""
    return newline + 2 if data[newline : newline + 2] == b"\r\n" else newline + 1


def _refuse_ragged(row: int, fields: int, expected: int) -> NoReturn:
    raise BodyUnreadable(
        f"Row {row} of the CSV body has {fields} fields, the header has {expected}"
    )


class _ArrowReader:
    """Reads blocks of records, one after the other."""

    def __init__(
        self,
        names: list[str],
        numbers: Collection[str],
        texts: Collection[str],
        repeated: Collection[str],
        missing: Collection[str],
        has_quotes: bool,
    ) -> None:
        self.names = names
        self.missing = list(missing)
        self.numbers = frozenset(numbers)
        self.repeated = frozenset(repeated)
        self.included = [*numbers, *texts, *repeated]
        self.has_quotes = has_quotes
        self.rows = 0

    def read(self, block: pa.Buffer) -> list[pa.RecordBatch]:
        """Return no batch for empty lines, else one."""
        ragged: list[pyarrow.csv.InvalidRow] = []
        try:
            batches = self._parse(block, ragged)
        except pa.ArrowInvalid as error:
            if ragged:
                row = self.rows + ragged[0].number - 1
                _refuse_ragged(row, ragged[0].actual_columns, len(self.names))
            if not self.numbers:
                raise BodyUnreadable(f"The CSV body: {error}") from error
            # Which cell it was, the decoder finds in the texts: it knows more ways to
            # write a number.
            self.numbers = frozenset()
            return self.read(block)
        self.rows += sum(map(len, batches))
        return batches

    def _type(self, name: str) -> pa.DataType:
        if name in self.numbers:
            return pa.float64()
        if name in self.repeated:
            return pa.dictionary(pa.int32(), pa.string())
        return pa.string()

    def _parse(
        self, block: pa.Buffer, ragged: list[pyarrow.csv.InvalidRow]
    ) -> list[pa.RecordBatch]:
        def keep(row: pyarrow.csv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        if bytes(memoryview(block)[:3]) == codecs.BOM_UTF8:
            # Arrow drops one wherever it begins to read; in a row it is a character.
            block = pa.py_buffer(codecs.BOM_UTF8 + block.to_pybytes())
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=block.size + 1, column_names=self.names
            ),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=self.has_quotes,
                ignore_empty_lines=len(self.names) > 1,
                invalid_row_handler=keep,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=self.included,
                column_types={name: self._type(name) for name in self.included},
                null_values=self.missing,
                strings_can_be_null=False,
            ),
        )
        batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
        return batches
