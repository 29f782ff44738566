"""The body of a rows request: rows of JSON, or one row as the fields of a form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qsl

from werkzeug.sansio.multipart import Field, File

from app.body import MULTIPART, read_content_type, to_utf8
from app.errors import (
    BodyUnreadable,
    DuplicateColumns,
    JsonUnreadable,
    NoDataToPredict,
    UnsupportedMediaType,
)
from app.json_records import parse, read_objects
from app.multipart import read_parts
from backends.tensors.refusals import TypeMismatch
from backends.tensors.sent import Upload

Kind = Literal["rows", "row"]
Row = dict[str, Any]

# About so many bytes of JSON are parsed at a time.
_PIECE_BYTES = 1_048_576
_MOST_FIELDS = 10_000
_URLENCODED = "application/x-www-form-urlencoded"
_EXPECTED = '{"rows": [{name: value}]} is expected'
_BLANK = rb"[ \t\n\r]*+"
# Rows that can be parsed piece by piece: an array under the only key.
_HEAD = re.compile(_BLANK + rb"\{" + _BLANK + rb'"rows"' + _BLANK + b":" + _BLANK)
_FOOT = re.compile(rb"\][ \t\n\r]*\}[ \t\n\r]*\Z")
# What stands at the ends of a body: a boundary, brackets among blanks.
_END_BYTES = 256


def read(body: bytes, content_type: str | None) -> tuple[Kind, Iterator[list[Row]]]:
    """The rows of a body, some at a time, and whether they are rows or a single row.

    A value is what JSON has, the text of a form's field, or an Upload. Multipart is
    known by its boundary too, whatever its type says: the documented command line
    labels it as JSON.

    Raises UnsupportedMediaType at once; NoDataToPredict, JsonUnreadable, TypeMismatch,
    DuplicateColumns, BodyUnreadable and BodyTooLarge when rows are asked for.

    Source: "Structure of a prediction request"; the wire contract, section 12.
    """
    media_type, codec, boundary = read_content_type(content_type or "")
    if body[:_END_BYTES].lstrip().startswith(b"--"):
        return "row", _multipart(body, boundary or _boundary(body))
    if media_type == MULTIPART:
        return "row", _multipart(body, boundary)
    is_json = body.lstrip()[:1] == b"{"
    if media_type == _URLENCODED and not is_json:
        return "row", _urlencoded(body, codec or "utf_8")
    if not (is_json or media_type == "" or "json" in media_type):
        raise UnsupportedMediaType(
            f"Content-Type {media_type[:100]!r} is not supported: send"
            " application/json, or a form of one row"
        )
    return "rows", _json(body, codec or "utf_8")


def _json(body: bytes, codec: str) -> Iterator[list[Row]]:
    try:
        text = to_utf8(body, codec)
    except BodyUnreadable as error:
        raise JsonUnreadable(str(error)) from error
    head, foot = _HEAD.match(text), _FOOT.search(text, max(0, len(text) - _END_BYTES))
    if head is None or foot is None or text[head.end() : head.end() + 1] != b"[":
        yield _rows(text)
        return
    try:
        for piece in read_objects(text[head.end() : foot.start() + 1], _PIECE_BYTES):
            if not piece:
                raise NoDataToPredict
            yield piece
    except (BodyUnreadable, DuplicateColumns):
        # What is wrong with the body as a whole is told of the body as a whole.
        _rows(text)
        raise


def _rows(text: bytes) -> list[Row]:
    """All rows, parsed at once."""
    try:
        body = parse(text, 0, _EXPECTED)
    except BodyUnreadable as error:
        raise JsonUnreadable(str(error)) from error
    if not isinstance(body, dict) or "rows" not in body:
        raise TypeMismatch(f"The body has no rows: {_EXPECTED}")
    if others := [name for name in body if name != "rows"]:
        raise TypeMismatch(f"The body has the unknown key {others[0]!r}: {_EXPECTED}")
    rows = body["rows"]
    if not isinstance(rows, list):
        raise TypeMismatch(f"'rows' is no array: {_EXPECTED}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise TypeMismatch(f"row {number} is no object: {_EXPECTED}")
    if not rows:
        raise NoDataToPredict
    return rows


def _multipart(body: bytes, boundary: str) -> Iterator[list[Row]]:
    parts = [
        (part.name, _value(part, data)) for part, data in read_parts(body, boundary)
    ]
    yield [_form(parts)]


def _boundary(body: bytes) -> str:
    """What the first line of a multipart body says."""
    line = body[:_END_BYTES].lstrip()[2:].partition(b"\n")[0]
    return line.decode("ascii", "replace").rstrip()


def _value(part: File | Field, data: bytes) -> str | Upload:
    media_type, codec, _ = read_content_type(part.headers.get("Content-Type", ""))
    is_text = media_type.startswith("text/") or "json" in media_type
    if isinstance(part, File) or (media_type and not is_text):
        return Upload(data)
    return to_utf8(data, codec or "utf_8").decode()


def _urlencoded(body: bytes, codec: str) -> Iterator[list[Row]]:
    text = to_utf8(body, codec).decode()
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise BodyUnreadable("The body is no form of the type urlencoded") from error
    yield [_form(list(pairs))]


def _form(fields: list[tuple[str, Any]]) -> Row:
    if not fields:
        raise NoDataToPredict
    row = dict(fields)
    if len(row) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateColumns(f"The form has the field {twice!r} more than once")
    return row
