"""An input as it comes, made the one CSV that jobs are scored from, piece by piece.

That is UTF-8 with commas, `"` around cells where they need it, and a header. Nothing
here holds more of an input than a few pieces and the record that it is in.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import secrets
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import IO, Final

from app.batch.cutting import cut_one
from app.batch.spec import CsvSettings
from app.csv_records import cut, read_header
from app.errors import AppError, BodyTooLarge, BodyUnreadable, NoDataToPredict

# No record is longer, in bytes or characters: a quote that is never closed would make
# one of all that follows it.
MOST_RECORD: Final = 16 * 2**20
_STEP: Final = 2**20
# A carriage return at the end may be the first half of a newline.
_LINE: Final = re.compile(r"[^\r\n]*+(?:\r\n|\r(?!\Z)|\n)")
_ROWS_AT_ONCE: Final = 1000
_NEWLINES: Final = b"\r\n"


class InputRefused(AppError):
    """What was sent is no CSV that a job could be scored from."""


class PartIncomplete(InputRefused):
    """A part of an input does not end where a row does.

    Clients that announce a length in characters send so many bytes, and cut off what
    is behind them.
    """

    def __init__(self) -> None:
        super().__init__(
            "The part does not end with the newline that its rows end with: it was cut"
            " off on its way, as by clients that count characters instead of bytes"
        )


def normalised(
    pieces: Iterable[bytes],
    settings: CsvSettings,
    codec: str,
    most_columns: int,
    *,
    is_part: bool = False,
) -> Iterator[bytes]:
    """The input as it is kept.

    pieces: what was sent, cut anywhere.
    codec: Python's name of `settings.encoding`.
    is_part: others follow; it may lack rows, and has to end with a newline.

    Raises InputRefused, PartIncomplete, BodyTooLarge for too many columns,
    NoDataToPredict for an input without rows, after pieces without them; and what the
    pieces raise as they come.
    """
    if codec == "utf_8" and (settings.delimiter, settings.quotechar) == (",", '"'):
        yield from _checked(pieces, most_columns, is_part)
    else:
        yield from _rewritten(pieces, settings, codec, most_columns, is_part)


def capped(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The same pieces; raises BodyTooLarge for more bytes than `most`."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise BodyTooLarge(f"The input is larger than {most} bytes")
        yield piece


def joined(parts: Iterable[IO[bytes]], most_columns: int) -> Iterator[bytes]:
    """Parts that were made by `normalised`, in their order, as one input.

    Raises InputRefused for a part with another header, NoDataToPredict if none has
    rows.
    """
    first: list[str] = []
    has_rows = False
    last = b""
    for number, part in enumerate(parts):
        head, rest = _cut_head(part)
        names = _names(head, most_columns)
        if number == 0:
            first = names
            yield head
        elif names != first:
            raise InputRefused(f"Part {number} has another header than part 0")
        if last == b"\r" and rest.startswith(b"\n"):
            # Else both were one newline, and the empty row between them gone.
            yield b"\n"
        for piece in chain([rest], iter(partial(part.read, _STEP), b"")):
            has_rows = has_rows or _holds_rows(piece, len(first))
            last = piece[-1:] or last
            yield piece
    if not has_rows:
        raise NoDataToPredict


def _cut_head(part: IO[bytes]) -> tuple[bytes, bytes]:
    """The header's record, and what was read beyond it."""
    data = b""
    while piece := part.read(_STEP):
        data += piece
        if end := cut_one(data, False):
            return data[:end], data[end:]
    return data, b""


def _names(head: bytes, most_columns: int) -> list[str]:
    """The columns of a header; raises InputRefused and BodyTooLarge."""
    try:
        # With a record behind it, which the reader wants to see.
        return read_header(head + b"0\n", most_columns)[0]
    except BodyUnreadable as error:
        raise InputRefused(str(error)) from None


def _cut(data: bytes, limit: int) -> int:
    """See `csv_records.cut`; raises InputRefused."""
    try:
        return cut(data, limit)
    except BodyUnreadable as error:
        raise InputRefused(str(error)) from None


def _holds_rows(data: bytes, columns: int) -> bool:
    # In a file of one column an empty line is a row.
    return bool(data if columns == 1 else data.strip(_NEWLINES))


def _checked(
    pieces: Iterable[bytes], most_columns: int, is_part: bool
) -> Iterator[bytes]:
    """The pieces as they are, once they are known to be UTF-8 and CSV."""
    columns = 0
    has_rows = False
    newline = last = b""
    for block in _blocks(_utf8(pieces)):
        last = (last + block)[-2:]
        if not columns:
            block = block.lstrip(_NEWLINES)
            end = cut_one(block, True) if block else 0
            if not end:
                continue
            head = block[:end].rstrip(_NEWLINES)
            newline = block[len(head) : end]
            names = _names(head + b"\n", most_columns)
            columns = len(names)
            yield head + b"\n"
            block = block[end:]
        has_rows = has_rows or _holds_rows(block, columns)
        yield block
    if not columns or not (has_rows or is_part):
        raise NoDataToPredict
    if is_part and not (newline and last.endswith(newline)):
        raise PartIncomplete
    if not last.endswith((b"\n", b"\r")):
        yield b"\n"


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut where records end. Raises InputRefused and BodyUnreadable."""
    held = b""
    wanted = _STEP
    for piece in pieces:
        held += piece
        if len(held) <= wanted:
            continue
        # The last byte may be the first half of a newline.
        end = _cut(held, len(held) - 1)
        if not end:
            _check_record(len(held))
            wanted = 2 * len(held)
            continue
        yield held[:end]
        held, wanted = held[end:], _STEP
    if held:
        _cut(held, len(held))
        yield held


def _check_record(size: int) -> None:
    if size > MOST_RECORD:
        raise InputRefused(
            f"The CSV has a record of more than {MOST_RECORD} bytes: a quote may never"
            " be closed"
        )


def _utf8(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, without a byte order mark. Raises InputRefused."""
    decoder = codecs.getincrementaldecoder("utf_8")()
    start: bytes | None = b""
    is_whole = True
    for position, piece in _placed(pieces):
        if not (is_whole and piece.isascii()):
            _decode(decoder, piece, position, "utf_8")
            is_whole = not decoder.getstate()[0]
        if start is not None:
            start += piece
            if len(start) < len(codecs.BOM_UTF8):
                continue
            piece, start = start.removeprefix(codecs.BOM_UTF8), None
        yield piece
    _decode(decoder, b"", None, "utf_8")
    if start:
        yield start


def _placed(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each piece with the number of bytes before it."""
    position = 0
    for piece in pieces:
        yield position, piece
        position += len(piece)


def _decode(
    decoder: codecs.IncrementalDecoder, piece: bytes, position: int | None, codec: str
) -> str:
    """position: bytes before the piece; None at the end."""
    held = len(decoder.getstate()[0])
    try:
        return decoder.decode(piece, final=position is None)
    except UnicodeError as error:
        name = codec.replace("_", "-").upper()
        if position is None:
            text = f"The input is not valid {name}: it ends within a character"
        else:
            first = error.start if isinstance(error, UnicodeDecodeError) else held
            place = position - held + first
            text = f"The input is not valid {name}: byte {place} cannot be decoded"
        raise InputRefused(text) from None


def _rewritten(
    pieces: Iterable[bytes],
    settings: CsvSettings,
    codec: str,
    most_columns: int,
    is_part: bool,
) -> Iterator[bytes]:
    """The rows of another dialect, written anew."""
    source = _Lines(_texts(pieces, codec))
    delimiter = "\t" if settings.delimiter == "tab" else settings.delimiter
    rows = source.rows(delimiter, settings.quotechar)
    header = next((row for row in rows if row), None)
    if header is None:
        raise NoDataToPredict
    names = _names(_written([header]), most_columns)
    yield _written([header])
    if len(names) == 1:
        rows = (row or [""] for row in rows)
    else:
        rows = filter(None, rows)
    has_rows = is_part
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        has_rows = True
        yield _written(some)
    if not has_rows:
        raise NoDataToPredict
    if is_part and not source.ends_as_it_began:
        raise PartIncomplete


def _written(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    # With a newline of \n alone it would leave a cell of \r without quotes.
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError:
        raise InputRefused("The input has characters that no text has") from None


def _texts(pieces: Iterable[bytes], codec: str) -> Iterator[str]:
    """The input's text, without a byte order mark. Raises InputRefused."""
    decoder = codecs.getincrementaldecoder(codec)()
    is_first = True
    for position, piece in _placed(pieces):
        text = _decode(decoder, piece, position, codec)
        if is_first and text:
            text, is_first = text.removeprefix("\ufeff"), False
        yield text
    yield _decode(decoder, b"", None, codec)


class _Lines:
    """The lines of a text, and what Python's CSV reader makes of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self._since = 0
        self._first = self._last = ""
        # What no input ends with; a quote that is open there swallows it.
        self._end = secrets.token_hex(16)

    @property
    def ends_as_it_began(self) -> bool:
        """Whether the last line ends with the first one's newline."""
        return bool(self._first) and self._first == self._last

    def rows(self, delimiter: str, quotechar: str) -> Iterator[list[str]]:
        """Each row's cells; none of an empty line. Raises InputRefused."""
        # It is a cell, of whatever dialect.
        self._end = self._end.replace(delimiter, "").replace(quotechar, "")
        try:
            # The reader takes no cell of more than `csv.field_size_limit()` characters.
            for row in csv.reader(self, delimiter=delimiter, quotechar=quotechar):
                self._since = 0
                if row == [self._end]:
                    return
                yield row
        except csv.Error as error:
            raise InputRefused(f"The CSV cannot be read: {error}") from None
        raise InputRefused("The CSV is not complete: a quote is never closed")

    def __iter__(self) -> Iterator[str]:
        held = ""
        for text in self._texts:
            held += text
            end = 0
            # Matched where the last one ended: to search would try every place.
            while found := _LINE.match(held, end):
                end = found.end()
                yield self._told(found.group())
            held = held[end:]
            _check_record(len(held))
        if held:
            yield self._told(held)
        yield self._end

    def _told(self, line: str) -> str:
        self._since += len(line)
        _check_record(self._since)
        ending = line[len(line.rstrip("\r\n")) :]
        self._first = self._first or ending
        self._last = ending
        return line
