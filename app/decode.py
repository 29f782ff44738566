"""Request body to typed columns, chunk by chunk."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NoReturn

import orjson
import pyarrow as pa
import pyarrow.csv

from app.body import read_body, unwrap
from app.config import Config
from app.errors import (
    BodyTooLarge,
    BodyUnreadable,
    DuplicateColumns,
    NoDataToPredict,
    PassthroughColumnsMissing,
)
from backends.features import MISSING_NUMBERS, Columns, Decoder

__all__ = ["Chunk", "read_body", "read_rows"]

# A chunk comes of about so many bytes of body and has at most so many cells. Larger
# ones are not faster, and other requests wait while a piece of JSON is parsed.
_CHUNK_BYTES = 1_048_576
_CHUNK_CELLS = 1_048_576
# Up to so many bytes of CSV, Arrow's fixed cost is above that of Python's reader.
_SMALL_CSV = 8_192


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a request, decoded.

    first_row: number of the first of them in the request, from 0.
    passthrough: column name to the values as they were sent, one for each row: the
        texts of CSV cells, the values of JSON cells (None where there is no such key).
    """

    first_row: int
    columns: Columns
    passthrough: Mapping[str, Sequence[Any] | pa.Array]


def read_rows(
    body: bytes,
    content_type: str | None,
    decoder: Decoder,
    *,
    passthrough: tuple[str, ...] | Literal["all"] = (),
    association_id: str | None = None,
    limits: Config,
    refuse_unknown: bool = False,
    refuse_invalid: bool = True,
) -> Iterator[Chunk]:
    """Decode a request's body for one model; yields one chunk at least.

    passthrough: names of columns whose raw values are wanted.
    association_id: a column whose raw values are wanted as well, if it is there.

    Raises, when the first chunk is asked for, what is wrong with the body as a whole
    and its header: UnsupportedMediaType, BodyUnreadable, NoDataToPredict,
    DuplicateColumns, BodyTooLarge, PassthroughColumnsMissing, DataError; then and
    later, what is wrong with rows: DataError, BodyUnreadable, BodyTooLarge. That a
    column is in none of the records of a large JSON body is known at the end only.
    """
    kind, data = unwrap(body, content_type or "")
    request = Wanted(
        decoder, passthrough, association_id, limits, refuse_unknown, refuse_invalid
    )
    yield from (read_csv if kind == "csv" else _read_json)(data, request)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of the rows; see `read_rows`."""

    decoder: Decoder
    passthrough: tuple[str, ...] | Literal["all"]
    association_id: str | None
    limits: Config
    refuse_unknown: bool
    refuse_invalid: bool

    def check_columns(self, names: Mapping[str, None]) -> None:
        """Raise PassthroughColumnsMissing or DataError for columns not in the data."""
        if self.passthrough != "all":
            missing = [name for name in self.passthrough if name not in names]
            if missing:
                # The documented text is that of a Python 2 list.
                listed = ", ".join(f"u{ascii(name)}" for name in missing)
                raise PassthroughColumnsMissing(
                    "passthroughColumns do not match columns, columns expected but"
                    f" not found: [{listed}]"
                )
        self.decoder.check_columns(names)

    def passed_through(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the names of the columns to pass through, given those of the data."""
        if self.passthrough == "all":
            return tuple(names)
        own = self.association_id
        if own is None or own not in names or own in self.passthrough:
            return self.passthrough
        return (own, *self.passthrough)

    def records_chunk(
        self,
        records: Sequence[Mapping[str, Any]],
        first_row: int,
        passed: Iterable[str],
    ) -> Chunk:
        # That each column is in some record is checked over all records.
        columns = self.decoder.from_records(
            records,
            complete=False,
            first_row=first_row,
            refuse_unknown=self.refuse_unknown,
            refuse_invalid=self.refuse_invalid,
        )
        values = {name: [record.get(name) for record in records] for name in passed}
        return Chunk(first_row, columns, values)

    def batch_chunk(
        self, batch: pa.RecordBatch, first_row: int, passed: Iterable[str]
    ) -> Chunk:
        columns = self.decoder.from_batch(
            batch,
            first_row=first_row,
            refuse_unknown=self.refuse_unknown,
            refuse_invalid=self.refuse_invalid,
        )
        return Chunk(first_row, columns, {name: batch.column(name) for name in passed})


# One CSV record, as Arrow's reader and Python's see it: a quote opens a quoted field at
# the start of a field only; elsewhere it is a character like any other.
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_RECORD_PATTERN = (
    rb'(?:[^"\r\n]++|(?<![^,\r\n])' + _QUOTED + rb"(?:," + _QUOTED + rb")*+"
    rb'|(?<=[^,\r\n])"[^,\r\n]*+)*+'
)
_RECORD = re.compile(_RECORD_PATTERN)
_RECORDS = re.compile(rb"(?:" + _RECORD_PATTERN + rb"(?:\r\n?|\n))*+")
_NEWLINES = re.compile(rb"[\r\n]*+")


def read_csv(data: bytes, request: Wanted) -> Iterator[Chunk]:
    """Decode CSV, UTF-8 without a byte order mark; a file mapped into memory will do.

    Raises what `read_rows` raises.
    """
    names, start = _read_header(data, request.limits)
    # In a file of one column an empty line is a row.
    blank = start if len(names) == 1 else _match_end(_NEWLINES, data, start, len(data))
    if blank == len(data):
        raise NoDataToPredict
    request.check_columns(dict.fromkeys(names))
    read = _read_small if len(data) <= _SMALL_CSV else _read_large
    for chunk in read(data, start, names, request):
        _check_size(
            chunk.first_row + len(chunk.columns), "rows", request.limits.max_rows
        )
        yield chunk


def _read_header(data: bytes, limits: Config) -> tuple[list[str], int]:
    """Return the column names and where the record after them starts."""
    start = _match_end(_NEWLINES, data, 0, len(data))
    end = _end_of_record(data, start)
    header = data[start:end]
    # Before names are made of it: a header can be as long as a body.
    if header.count(b",") >= limits.max_columns:
        commas = re.sub(_QUOTED, b"", header).count(b",")
        _check_size(commas + 1, "columns", limits.max_columns)
    try:
        names = next(csv.reader(io.StringIO(header.decode(), newline="")))
    except csv.Error as error:
        raise BodyUnreadable(f"The header of the CSV body: {error}") from error
    _refuse_repeated(names)
    return names, _after(data, end) if end < len(data) else end


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


def _blocks(data: bytes, start: int, has_quotes: bool) -> Iterator[tuple[int, int]]:
    """Cut records into blocks of about a chunk's size; yields start and end."""
    find_cut = _cut_quoted if has_quotes else _cut_plain
    size = _CHUNK_BYTES
    while start < len(data):
        end = find_cut(data, start, start + size)
        if end == start:
            # A record longer than that; by multiples the whole work stays linear.
            size *= 4
            continue
        yield start, end
        start, size = end, _CHUNK_BYTES


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


def _read_small(
    data: bytes, start: int, names: list[str], request: Wanted
) -> Iterator[Chunk]:
    _cut_quoted(data, start, len(data))
    records = []
    for fields in csv.reader(io.StringIO(data[start:].decode(), newline="")):
        if len(fields) == len(names):
            records.append(dict(zip(names, fields, strict=True)))
        elif fields:
            _refuse_ragged(len(records), len(fields), len(names))
        elif len(names) == 1:
            records.append({names[0]: ""})
    yield request.records_chunk(records, 0, request.passed_through(names))


def _read_large(
    data: bytes, start: int, names: list[str], request: Wanted
) -> Iterator[Chunk]:
    passed = request.passed_through(names)
    has_quotes = data.find(b'"', start) >= 0
    reader = _ArrowReader(names, request.decoder, passed, has_quotes)
    buffer = pa.py_buffer(data)
    first_row = 0
    for begin, end in _blocks(data, start, has_quotes):
        for batch in reader.read(buffer.slice(begin, end - begin), first_row):
            yield request.batch_chunk(batch, first_row, passed)
            first_row += len(batch)


def _refuse_ragged(row: int, fields: int, expected: int) -> NoReturn:
    raise BodyUnreadable(
        f"Row {row} of the CSV body has {fields} fields, the header has {expected}"
    )


class _ArrowReader:
    """Reads blocks of CSV records into the columns that are needed."""

    def __init__(
        self,
        names: list[str],
        decoder: Decoder,
        passed: tuple[str, ...],
        has_quotes: bool,
    ) -> None:
        self.names = names
        self.has_quotes = has_quotes
        features = [feature.name for feature in decoder.features]
        self.included = list(dict.fromkeys((*features, *passed)))
        # A number that is passed through as well is wanted as it was written.
        self.numbers = {
            feature.name
            for feature in decoder.features
            if feature.kind == "numeric" and feature.name not in passed
        }

    def read(self, block: pa.Buffer, first_row: int) -> list[pa.RecordBatch]:
        """Return no batch for empty lines, else one.

        Raises BodyUnreadable if a record has more or fewer fields than the header.
        """
        ragged: list[pyarrow.csv.InvalidRow] = []
        try:
            return self._parse(block, ragged)
        except pa.ArrowInvalid as error:
            if ragged:
                row = first_row + ragged[0].number - 1
                _refuse_ragged(row, ragged[0].actual_columns, len(self.names))
            if not self.numbers:
                raise BodyUnreadable(f"The CSV body: {error}") from error
            # A text that Arrow does not read as a number: from here on the decoder
            # looks at the texts, by the rules of which Arrow knows a part.
            self.numbers = set()
            return self.read(block, first_row)

    def _parse(
        self, block: pa.Buffer, ragged: list[pyarrow.csv.InvalidRow]
    ) -> list[pa.RecordBatch]:
        def keep(row: pyarrow.csv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

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
                column_types={
                    name: pa.float64() if name in self.numbers else pa.string()
                    for name in self.included
                },
                null_values=MISSING_NUMBERS,
                strings_can_be_null=False,
            ),
        )
        batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
        return batches


# Rows in JSON: an array that is empty or begins with an object, or one object.
# Columns by name, or rows under a key, begin with an array or object in the object.
_JSON_OPENING = re.compile(
    rb"[ \t\n\r]*+(?:(\[)[ \t\n\r]*+[{\]]"
    rb'|\{(?![ \t\n\r]*+"[^"\\]*+"[ \t\n\r]*+:[ \t\n\r]*+[\[{]))'
)
_JSON_CUT = re.compile(rb"\}[ \t\n\r]*+,[ \t\n\r]*+(?=\{)")
# What Python's reader takes and orjson does not: tokens that are not JSON, numbers
# beyond a float, halves of surrogate pairs.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONG_INTEGER = re.compile(rb"[0-9]{19}")
_BEYOND_ORJSON = re.compile(
    rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{309}|" + _SURROGATE.pattern
)
_ROWS_EXPECTED = "an array of row objects is expected"


def _read_json(data: bytes, request: Wanted) -> Iterator[Chunk]:
    # In the order in which they first appear.
    names: dict[str, None] = {}
    is_complete = len(data) <= _CHUNK_BYTES
    if request.passthrough == "all" and not is_complete:
        # The answer begins with the first record, and the last one may bring a column.
        for records in _json_pieces(data):
            _add_names(names, records, request.limits)
        is_complete = True
    most = max(1, _CHUNK_CELLS // max(1, len(request.decoder.features)))
    first_row = 0
    passed: tuple[str, ...] | None = None
    for records in _json_pieces(data):
        _add_names(names, records, request.limits)
        _check_size(first_row + len(records), "rows", request.limits.max_rows)
        if is_complete and records:
            request.check_columns(names)
        if passed is None:
            passed = request.passed_through(names)
        for start in range(0, len(records), most):
            part = records[start : start + most]
            yield request.records_chunk(part, first_row, passed)
            first_row += len(part)
    if first_row == 0:
        raise NoDataToPredict
    if not is_complete:
        request.check_columns(names)


def _add_names(
    names: dict[str, None], records: list[dict[str, Any]], limits: Config
) -> None:
    names.update(dict.fromkeys(chain.from_iterable(records)))
    _check_size(len(names), "columns", limits.max_columns)


def _json_pieces(data: bytes) -> Iterator[list[dict[str, Any]]]:
    """Parse an array's objects, about a chunk's bytes at a time.

    The array is cut where one object seems to end and another to begin. If that is
    inside a string or another value, the piece before it does not parse, and it is cut
    further on.
    """
    opening = _JSON_OPENING.match(data)
    if opening is None:
        raise BodyUnreadable(f"The JSON body holds no rows: {_ROWS_EXPECTED}")
    if opening[1] is None:
        yield [_single_row(_parse(data, 0))]
        return
    start, size = opening.end(1), _CHUNK_BYTES
    while cut := _JSON_CUT.search(data, start + size):
        try:
            records = _parse(b"[" + data[start : cut.start() + 1] + b"]", start - 1)
        except BodyUnreadable:
            # By multiples the whole work stays linear.
            size *= 2
            continue
        yield _checked_rows(records)
        start, size = cut.end(), _CHUNK_BYTES
    yield _checked_rows(_parse(b"[" + data[start:], start - 1))


def _single_row(value: dict[str, Any]) -> dict[str, Any]:
    # Columns by name, or rows under a key like "data", come as one object too.
    if any(isinstance(cell, dict | list) for cell in value.values()):
        raise BodyUnreadable(f"The JSON body is not a row: {_ROWS_EXPECTED}")
    return value


def _checked_rows(records: list[Any]) -> list[dict[str, Any]]:
    if not {dict}.issuperset(map(type, records)):
        raise BodyUnreadable(
            f"The JSON body holds other values than objects: {_ROWS_EXPECTED}"
        )
    return records


def _parse(text: bytes, offset: int) -> Any:
    """Parse JSON whose first byte is the body's byte `offset`.

    Beyond JSON it takes NaN, Infinity and -Infinity, as many clients write them, and
    numbers too large for a float. Raises DuplicateColumns if an object has a key
    twice, BodyUnreadable.
    """
    try:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            if not _BEYOND_ORJSON.search(text):
                raise
            value = _parse_slowly(text)
        if not _has_each_key_once(text, value):
            json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except json.JSONDecodeError as error:
        byte = offset + len(error.doc[: error.pos].encode())
        raise BodyUnreadable(
            f"The body is not valid JSON: {error.msg} at byte {byte}; {_ROWS_EXPECTED}"
        ) from error
    except RecursionError as error:
        raise BodyUnreadable("The JSON body is nested too deeply") from error
    return value


def _parse_slowly(text: bytes) -> Any:
    # Python's reader calls back for each integer, which is worth it for few texts.
    parse_int = _integer if _LONG_INTEGER.search(text) else None
    try:
        value = json.loads(text, parse_int=parse_int)
        if _SURROGATE.search(text):
            # Alone it is valid JSON, but no text that can be written again.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BodyUnreadable("The JSON body has a string that is no Unicode") from error
    return value


def _integer(digits: str) -> int | float:
    # As orjson reads it: a float beyond 64 bits.
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    return float(digits)


def _has_each_key_once(text: bytes, value: Any) -> bool:
    """Tell whether no object has a key twice, of which only the last would be left.

    False means that it is not known. Each key takes a colon, so a key that is lost
    takes one away: among keys, or in what is written again from the parsed value,
    which has all colons in strings as well unless one was escaped.
    """
    colons = text.count(b":")
    if isinstance(value, list) and {dict}.issuperset(map(type, value)):
        if colons == sum(map(len, value)):
            return True
    try:
        return b"\\u003" not in text and orjson.dumps(value).count(b":") == colons
    except orjson.JSONEncodeError:
        # Nested deeper than it writes.
        return False


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    _refuse_repeated([name for name, _ in pairs])


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    repeated = [name for name, times in Counter(names).items() if times > 1]
    listed = ", ".join(map(repr, repeated))
    raise DuplicateColumns(f"Columns stand more than once in the data: {listed}")


def _check_size(size: int, what: str, most: int) -> None:
    if size > most:
        raise BodyTooLarge(f"The body has more than {most} {what}")
