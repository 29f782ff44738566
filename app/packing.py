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


def answered(
    parts: list[bytes],
    media_type: str,
    environ: WSGIEnvironment,
    *,
    model_id: str,
    is_cached: bool,
    vary: str,
) -> tuple[list[tuple[str, str]], list[bytes]]:
    """Headers and parts of what a model has answered.

    is_cached: whether the model was loaded when it was asked.
    vary: the headers of requests that the answer depends on.
    """
    parts, encoding = _packed(parts, environ)
    headers = [
        ("Content-Type", media_type),
        ("Content-Length", str(sum(map(len, parts)))),
        ("X-DataRobot-Model-Cache-Hit", "true" if is_cached else "false"),
        ("X-DataRobot-Model-Id", model_id),
        ("Vary", vary),
        *encoding,
    ]
    return headers, parts


def _packed(
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
