"""Request body to typed columns, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.body import unwrap
from app.config import Config
from app.csv_records import read_batches, read_header, read_records
from app.errors import (
    AssociationIdMissing,
    BodyTooLarge,
    NoDataToPredict,
    PassthroughColumnsMissing,
)
from app.json_records import read_objects, refuse_repeated
from backends.features import MISSING_NUMBERS, Columns, Decoder

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
    cells: the same of the columns whose cells are wanted beside; numbers may have
        been read.
    """

    first_row: int
    columns: Columns
    passthrough: Mapping[str, Sequence[Any] | pa.Array]
    cells: Mapping[str, Sequence[Any] | pa.Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns)

    def parts(self, most: int) -> Iterator[Chunk]:
        """The same rows, so many at once at most."""
        count = len(self.columns)
        if count <= most:
            yield self
            return
        for start in range(0, count, most):
            rows = slice(start, min(start + most, count))
            yield Chunk(
                self.first_row + start,
                self.columns.take(np.arange(rows.start, rows.stop)),
                {name: values[rows] for name, values in self.passthrough.items()},
                {name: values[rows] for name, values in self.cells.items()},
            )


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
    wanted = Wanted(
        decoder, passthrough, association_id, limits, refuse_unknown, refuse_invalid
    )
    return read_wanted(body, content_type, wanted)


def read_wanted(
    body: bytes, content_type: str | None, wanted: Wanted
) -> Iterator[Chunk]:
    """Decode a request's body; see `read_rows`."""
    kind, data = unwrap(body, content_type or "")
    yield from (read_csv if kind == "csv" else _read_json)(data, wanted)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of the rows; see `read_rows`.

    shown: columns whose cells are wanted as they were sent.
    numbers: columns whose cells are wanted as float64, or else as they were sent.
    missing: texts that may be read as missing in columns of numbers.
    check: raises what is to be raised for the names of columns; None: DataError for
        features that are not among them.
    association_required: whether the rows must have that column.
    """

    decoder: Decoder
    passthrough: tuple[str, ...] | Literal["all"]
    association_id: str | None
    limits: Config
    refuse_unknown: bool
    refuse_invalid: bool
    shown: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING_NUMBERS
    check: Callable[[Mapping[str, None]], None] | None = None
    association_required: bool = False

    def check_columns(self, names: Mapping[str, None]) -> None:
        """Raise PassthroughColumnsMissing and AssociationIdMissing, then what `check`
        raises.
        """
        if self.passthrough != "all":
            missing = [name for name in self.passthrough if name not in names]
            if missing:
                # The documented text is that of a Python 2 list.
                listed = ", ".join(f"u{ascii(name)}" for name in missing)
                raise PassthroughColumnsMissing(
                    "passthroughColumns do not match columns, columns expected but"
                    f" not found: [{listed}]"
                )
        column = self.association_id
        if self.association_required and column is not None and column not in names:
            raise AssociationIdMissing(column)
        if self.check is None:
            self.decoder.check_columns(names.keys())
        else:
            self.check(names)

    @property
    def beside(self) -> tuple[str, ...]:
        """Columns whose cells are wanted beside those that are decoded."""
        return (*self.shown, *self.numbers)

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
        cells = {name: [record.get(name) for record in records] for name in self.beside}
        return Chunk(first_row, columns, values, cells)

    def batch_chunk(
        self, batch: pa.RecordBatch, first_row: int, passed: Iterable[str]
    ) -> Chunk:
        columns = self.decoder.from_batch(
            batch,
            first_row=first_row,
            refuse_unknown=self.refuse_unknown,
            refuse_invalid=self.refuse_invalid,
        )
        return Chunk(
            first_row,
            columns,
            {name: batch.column(name) for name in passed},
            {name: batch.column(name) for name in self.beside},
        )


def read_csv(data: bytes, wanted: Wanted, first_row: int = 0) -> Iterator[Chunk]:
    """Decode CSV, UTF-8 without a byte order mark; a file mapped into memory will do.

    first_row: number of the first row in what this is a part of.
    Raises what `read_rows` raises.
    """
    names, start = read_header(data, wanted.limits.max_columns)
    refuse_repeated(names)
    wanted.check_columns(dict.fromkeys(names))
    read = _read_small_csv if len(data) <= _SMALL_CSV else _read_large_csv
    for chunk in read(data, start, names, wanted, first_row):
        rows = chunk.first_row + len(chunk.columns)
        _check_size(rows, "rows", wanted.limits.max_rows)
        yield chunk


def _read_small_csv(
    data: bytes, start: int, names: list[str], wanted: Wanted, first_row: int
) -> Iterator[Chunk]:
    records = read_records(data, start, names, first_row)
    yield wanted.records_chunk(records, first_row, wanted.passed_through(names))


def _read_large_csv(
    data: bytes, start: int, names: list[str], wanted: Wanted, first_row: int
) -> Iterator[Chunk]:
    passed = wanted.passed_through(names)
    features = wanted.decoder.features
    # A number that is passed through as well is wanted as it was written.
    is_number = {
        feature.name: feature.kind == "numeric" and feature.name not in passed
        for feature in features
    }
    is_number |= {name: name not in passed for name in wanted.numbers}
    needed = dict.fromkeys((*is_number, *passed))
    repeated = [name for name in wanted.shown if name not in needed]
    batches = read_batches(
        data,
        start,
        names,
        numbers=[name for name in needed if is_number.get(name)],
        texts=[name for name in needed if not is_number.get(name)],
        repeated=repeated,
        missing=wanted.missing,
        block_bytes=_CHUNK_BYTES,
        first_row=first_row,
    )
    for batch in batches:
        yield wanted.batch_chunk(batch, first_row, passed)
        first_row += len(batch)


def _read_json(data: bytes, wanted: Wanted) -> Iterator[Chunk]:
    # In the order in which they first appear.
    names: dict[str, None] = {}
    is_complete = len(data) <= _CHUNK_BYTES
    if wanted.passthrough == "all" and not is_complete:
        # The answer begins with the first record, and the last one may bring a column.
        for records in read_objects(data, _CHUNK_BYTES):
            _add_names(names, records, wanted.limits)
        is_complete = True
    most = max(1, _CHUNK_CELLS // max(1, len(wanted.decoder.features)))
    first_row = 0
    passed: tuple[str, ...] | None = None
    for records in read_objects(data, _CHUNK_BYTES):
        _add_names(names, records, wanted.limits)
        _check_size(first_row + len(records), "rows", wanted.limits.max_rows)
        if is_complete and records:
            wanted.check_columns(names)
        if passed is None:
            passed = wanted.passed_through(names)
        for start in range(0, len(records), most):
            part = records[start : start + most]
            yield wanted.records_chunk(part, first_row, passed)
            first_row += len(part)
    if first_row == 0:
        raise NoDataToPredict
    if not is_complete:
        wanted.check_columns(names)


def _add_names(
    names: dict[str, None], records: list[dict[str, Any]], limits: Config
) -> None:
    for record in records:
        # In most bodies each record has the columns of the first.
        if not names.keys() >= record.keys():
            names.update(dict.fromkeys(record))
    _check_size(len(names), "columns", limits.max_columns)


def _check_size(size: int, what: str, most: int) -> None:
    if size > most:
        raise BodyTooLarge(f"The body has more than {most} {what}")
