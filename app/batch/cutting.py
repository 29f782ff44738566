"""A CSV file in parts: between records, at places that are the same each time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from app.csv_records import count_records, cut, end_of_first, read_header
from app.errors import BodyUnreadable, NoDataToPredict

PART_BYTES: Final = 4 * 2**20
# A quote that is never closed would make a record of the rest of the file.
MOST_RECORD_BYTES: Final = 64 * 2**20
_HEADER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Head:
    """A file's header.

    text: its record, ended. end: where the records begin.
    """

    names: tuple[str, ...]
    text: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some records of a file.

    number: among the parts that hold rows, from 0.
    start, end: bytes in the file.
    first_row: number of the first row in the file, from 0.
    """

    number: int
    start: int
    end: int
    first_row: int
    rows: int


def read_head(file: IO[bytes], most_columns: int) -> Head:
    """Read the header of a file, which may begin with a byte order mark.

    Raises NoDataToPredict if there is nothing behind it, BodyUnreadable, BodyTooLarge.
    """
    size = _HEADER_BYTES
    while True:
        file.seek(0)
        data = _read(file, size)
        mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        start = len(data) - len(data[mark:].lstrip(b"\r\n"))
        end = start + end_of_first(data[start:])
        # A newline's second half may be behind what was read.
        if start < end < len(data):
            break
        if len(data) < size:
            _refuse_without_rows(data[start:], most_columns)
            break
        if size >= MOST_RECORD_BYTES:
            raise BodyUnreadable(
                f"The header of the CSV body is longer than {MOST_RECORD_BYTES} bytes"
            )
        size *= 4
    text = data[start:end].rstrip(b"\r\n") + b"\n"
    # With a row, of whatever kind: that there is one is seen when parts are cut.
    names, _ = read_header(text + b"0\n", most_columns)
    return Head(tuple(names), text, end)


def _refuse_without_rows(data: bytes, most_columns: int) -> None:
    """Raise what is to be raised of a header that ends the file."""
    if not data.strip():
        raise NoDataToPredict
    read_header(data, most_columns)


def cut_one(data: bytes, is_all: bool) -> int:
    """Where the first record ends; 0 if it does not end here.

    is_all: whether nothing comes behind the data. Raises BodyUnreadable for a quote
    that is never closed.
    """
    if end := end_of_first(data):
        # A newline's second half may be behind the data.
        return end if end < len(data) or is_all else 0
    return cut(data, len(data)) if is_all else 0


def cut_parts(
    file: IO[bytes],
    head: Head,
    *,
    part_bytes: int = PART_BYTES,
    start: int | None = None,
    number: int = 0,
    first_row: int = 0,
) -> Iterator[Part]:
    """Cut the records into parts, from one that begins at `start` on.

    Parts depend on the file and `part_bytes` alone: whoever begins at the end of one
    meets those that come after it.

    Raises NoDataToPredict if there are none, and BodyUnreadable.
    """
    start = head.end if not start else start
    while True:
        end = _end(file, start, part_bytes)
        if end == start:
            break
        file.seek(start)
        rows = count_records(_read(file, end - start), len(head.names))
        if rows:
            yield Part(number, start, end, first_row, rows)
            number, first_row = number + 1, first_row + rows
        start = end
    if number == 0:
        raise NoDataToPredict


def whole(file: IO[bytes], head: Head, part_bytes: int = PART_BYTES) -> Part:
    """All records as one part; raises what `cut_parts` does."""
    rows, last = 0, head.end
    for part in cut_parts(file, head, part_bytes=part_bytes):
        rows, last = rows + part.rows, part.end
    return Part(0, head.end, last, 0, rows)


def _end(file: IO[bytes], start: int, size: int) -> int:
    """Where the part ends that begins at `start`; there, if it is the file's end."""
    while True:
        file.seek(start)
        data = _read(file, size + 1)
        if not data:
            return start
        is_last = len(data) <= size
        try:
            end = cut(data, len(data) if is_last else size)
        except BodyUnreadable:
            raise BodyUnreadable(
                "The CSV body is not complete: a quote behind byte"
                f" {start} is never closed"
            ) from None
        if end or is_last:
            return start + end
        if size >= MOST_RECORD_BYTES:
            raise BodyUnreadable(
                f"The record at byte {start} of the CSV body is longer than"
                f" {MOST_RECORD_BYTES} bytes: a quote may never be closed"
            )
        size *= 4


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes, or all that are left."""
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
