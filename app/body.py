"""Request body, as it comes, to UTF-8 bytes of a known kind: CSV or JSON."""

from __future__ import annotations

import bz2
import codecs
import encodings
import encodings.aliases
import io
import pkgutil
import time
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, Protocol

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Field, File

from app.config import Config
from app.errors import (
    BodyTooLarge,
    BodyUnreadable,
    DeadlineExceeded,
    NoDataToPredict,
    UnsupportedMediaType,
)
from app.multipart import read_parts

Kind = Literal["csv", "json"]

# What is read, inflated and decoded at a time, in bytes.
_STEP = 262_144
# A body may always inflate to this many bytes, however small it is.
_FREE_INFLATION = 1_048_576
# Concatenated gzip or bz2 streams; each costs time, even an empty one.
_MOST_STREAMS = 10_000


class Stream(Protocol):
    """What is read from: WSGI's input."""

    def read(self, size: int, /) -> bytes: ...


def read_body(
    stream: Stream,
    *,
    content_length: int | None,
    content_encoding: str | None,
    limits: Config,
    deadline: float,
) -> bytes:
    """Read a request's body and inflate it.

    content_length: None when the body is sent in chunks.
    deadline: in seconds of time.monotonic().

    Raises UnsupportedMediaType for an encoding that is not known, BodyTooLarge,
    BodyUnreadable, NoDataToPredict for an empty body, DeadlineExceeded; what the
    stream raises when it times out passes through.
    """
    encoding = decompressor_of(content_encoding)
    sent = _read(stream, content_length, limits, deadline)
    body = sent if encoding is None else _inflate(sent, encoding, limits, deadline)
    if not body:
        raise NoDataToPredict
    return body


def decompressor_of(header: str | None) -> Decompressor | None:
    """What a Content-Encoding is undone with; None for none.

    Raises UnsupportedMediaType for one that is not known.
    """
    if not header:
        return None
    names = [name.strip().lower() for name in header.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _DECOMPRESSORS:
        shown = header[:100]
        raise UnsupportedMediaType(
            f"Content-Encoding {shown!r} is not supported: send gzip, bz2 or none"
        )
    return _DECOMPRESSORS[names[0]]


def _read(
    stream: Stream, content_length: int | None, limits: Config, deadline: float
) -> bytes:
    if content_length is not None and content_length > limits.max_body:
        raise _too_many_bytes(limits)
    # One byte more tells a body of the largest size from one that goes on.
    end = limits.max_body + 1 if content_length is None else content_length
    body = io.BytesIO()
    while (size := body.tell()) < end:
        if time.monotonic() > deadline:
            raise DeadlineExceeded
        try:
            data = stream.read(min(_STEP, end - size))
        except TimeoutError:
            raise
        except OSError as error:
            raise BodyUnreadable("The body ends before it is complete") from error
        if not data:
            break
        body.write(data)
    if content_length is None:
        if size > limits.max_body:
            raise _too_many_bytes(limits)
    elif size < content_length:
        raise BodyUnreadable(
            f"The body ends after {size} of the {content_length} bytes announced"
        )
    return body.getvalue()


def _too_many_bytes(limits: Config) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limits.max_body} bytes")


class Inflater(Protocol):
    """One compressed stream being read, as `bz2.BZ2Decompressor` does it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


Decompressor = Callable[[], Inflater]


class _GzipInflater:
    """zlib's way to read a gzip stream, with the interface of bz2's."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._stream.unconsumed_tail
        inflated = self._stream.decompress(tail + data if tail else data, max_length)
        # With a full output more may come without further input.
        self.needs_input = len(inflated) < max_length
        return inflated


_DECOMPRESSORS: dict[str, Decompressor] = {
    "gzip": _GzipInflater,
    "x-gzip": _GzipInflater,
    "bz2": bz2.BZ2Decompressor,
    "bzip2": bz2.BZ2Decompressor,
    "x-bzip2": bz2.BZ2Decompressor,
}


def _inflate(
    sent: bytes, decompressor: Decompressor, limits: Config, deadline: float
) -> bytes:
    most = max(_FREE_INFLATION, limits.max_inflation * len(sent))
    body = io.BytesIO()
    try:
        for data in _inflated(sent, decompressor):
            if time.monotonic() > deadline:
                raise DeadlineExceeded
            body.write(data)
            if body.tell() > limits.max_body:
                raise _too_many_bytes(limits)
            if body.tell() > most:
                raise BodyTooLarge(
                    f"The body inflates to more than {limits.max_inflation} times"
                    " what was sent"
                )
    except (zlib.error, OSError, EOFError) as error:
        raise BodyUnreadable("The compressed body is damaged") from error
    return body.getvalue()


def _inflated(sent: bytes, decompressor: Decompressor) -> Iterator[bytes]:
    """Yield what the concatenated streams hold, a step at a time."""
    position = streams = 0
    while position < len(sent):
        streams += 1
        if streams > _MOST_STREAMS:
            raise BodyTooLarge(f"The body has over {_MOST_STREAMS} compressed streams")
        stream = decompressor()
        while not stream.eof:
            data = b""
            if stream.needs_input:
                data = sent[position : position + _STEP]
                position += len(data)
                if not data:
                    raise EOFError
            yield stream.decompress(data, _STEP)
        position -= len(stream.unused_data)


# Types that clients send by default, with whatever they send.
_UNTOLD = frozenset(
    (
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
        # What browsers on Windows call a CSV file.
        "application/vnd.ms-excel",
    )
)
MULTIPART = "multipart/form-data"
_TEXT_CODECS = frozenset(
    module.name for module in pkgutil.iter_modules(encodings.__path__)
) - {
    *("idna", "punycode", "undefined"),
    # These read escapes, a language rather than an encoding.
    *("unicode_escape", "raw_unicode_escape"),
}


def unwrap(body: bytes, content_type: str) -> tuple[Kind, bytes]:
    """Return what the rows are written in, and the rows as valid UTF-8.

    The rows of a multipart body are those of its first part named "file". Without a
    type that says otherwise, rows are CSV in UTF-8.

    Raises UnsupportedMediaType, BodyUnreadable, BodyTooLarge for parts without end,
    NoDataToPredict.
    """
    media_type, codec, boundary = read_content_type(content_type)
    if media_type == MULTIPART:
        part, body = _file_part(body, boundary)
        head = part.headers.get("Content-Type", "")
        media_type, inner_codec, _ = read_content_type(head)
        codec = inner_codec or codec
        if media_type in _UNTOLD and isinstance(part, File):
            media_type = part.filename.lower().rpartition(".")[2]
            media_type = media_type if media_type == "json" else ""
    kind = _kind(media_type)
    data = to_utf8(body, codec or "utf_8")
    if not data or data.isspace():
        raise NoDataToPredict
    return kind, data


# Clients repeat themselves, and reading a header takes as long as decoding a row.
@lru_cache(maxsize=128)
def read_content_type(header: str) -> tuple[str, str | None, str]:
    """Return the type, the codec of its charset if it has one, and its boundary.

    Raises UnsupportedMediaType for a charset that is not known.
    """
    media_type, parameters = parse_options_header(header)
    charset = parameters.get("charset")
    codec = text_codec(charset) if charset else None
    return media_type.strip().lower(), codec, parameters.get("boundary", "")


def _kind(media_type: str) -> Kind:
    if media_type in _UNTOLD:
        return "csv"
    if "json" in media_type:
        return "json"
    if media_type.startswith("text/") or "csv" in media_type:
        return "csv"
    raise UnsupportedMediaType(
        f"Content-Type {media_type[:100]!r} is not supported: send CSV (text/csv) or"
        " JSON (application/json)"
    )


def text_codec(charset: str) -> str:
    """Python's name of a text's encoding; raises UnsupportedMediaType."""
    key = encodings.normalize_encoding(charset[:100]).lower()
    codec = encodings.aliases.aliases.get(key, key)
    # codecs.lookup() remembers each name for ever, so it is asked for known ones only.
    try:
        is_known = codec in _TEXT_CODECS and codecs.lookup(codec)._is_text_encoding
    except LookupError:
        is_known = False
    if not is_known:
        raise UnsupportedMediaType(f"charset {charset[:100]!r} is not supported")
    return codec


def _file_part(body: bytes, boundary: str) -> tuple[File | Field, bytes]:
    """Return the headers and the content of the first part that is named "file"."""
    for part, content in read_parts(body, boundary):
        if part.name == "file":
            return part, content
    raise BodyUnreadable("The multipart body has no complete part named 'file'")


def to_utf8(data: bytes, codec: str) -> bytes:
    """Return text in an encoding as valid UTF-8 without a byte order mark.

    codec: as `read_content_type` names it. Raises BodyUnreadable.
    """
    if codec == "utf_8":
        if not data.isascii():
            for _ in _decoded(data, codec):
                pass
        return data.removeprefix(codecs.BOM_UTF8)
    try:
        texts = [text.encode() for text in _decoded(data, codec)]
    except UnicodeEncodeError as error:
        raise BodyUnreadable(f"The body is not valid {_shown(codec)}") from error
    return b"".join(texts).removeprefix(codecs.BOM_UTF8)


def _decoded(data: bytes, codec: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)()
    for start in range(0, len(data), _STEP):
        end = start + _STEP
        held = len(decoder.getstate()[0])
        try:
            yield decoder.decode(data[start:end], final=end >= len(data))
        except UnicodeError as error:
            first = error.start if isinstance(error, UnicodeDecodeError) else held
            raise BodyUnreadable(
                f"The body is not valid {_shown(codec)}: byte {start - held + first}"
                " cannot be decoded"
            ) from error


def _shown(codec: str) -> str:
    return codec.replace("_", "-").upper()
