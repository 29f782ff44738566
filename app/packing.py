"""Answers as they are sent: compressed where the client takes it, in few writes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from werkzeug.http import parse_accept_header

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Each part of an answer is a write of its own; smaller answers are worth a copy.
_ONE_WRITE = 65_536
# Smaller answers grow, or gain nothing worth the time, when compressed.
_COMPRESS_FROM = 1400


def packed(
    parts: list[bytes], environ: WSGIEnvironment
) -> tuple[list[bytes], list[tuple[str, str]]]:
    """The parts as they are sent, and the header that says how they are packed."""
    encoding: list[tuple[str, str]] = []
    size = sum(map(len, parts))
    if size >= _COMPRESS_FROM and _accepts_gzip(
        environ.get("HTTP_ACCEPT_ENCODING", "")
    ):
        encoding = [("Content-Encoding", "gzip")]
        parts = list(_gzip(parts))
    if size < _ONE_WRITE:
        parts = [b"".join(parts)]
    return parts, encoding


@lru_cache(maxsize=256)
def _accepts_gzip(header: str) -> bool:
    return bool(parse_accept_header(header).quality("gzip"))


def _gzip(parts: Iterable[bytes]) -> Iterator[bytes]:
    # Level 1: the answer should not wait for its compression.
    compressor = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    for part in parts:
        yield compressor.compress(part)
    yield compressor.flush()
