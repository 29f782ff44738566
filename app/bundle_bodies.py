"""A bundle out of a request's body as it comes, never as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
)

from app.body import MULTIPART, read_content_type
from app.errors import BodyUnreadable, UnsupportedMediaType
from app.multipart import read_with

# Of a body that is the tar itself. Clients send the last two by default.
_TARS = frozenset(
    {
        *("application/x-tar", "application/tar", "application/octet-stream"),
        *("binary/octet-stream", ""),
    }
)
_FIELD = "file"
# What is handed to the reader at a time, in bytes.
_STEP = 65_536
# Bundles come with little beside them.
_MOST_PARTS = 100


def bundle_bytes(
    body: Iterator[bytes], content_type: str, content_encoding: str | None
) -> Iterator[bytes]:
    """The bytes of a tar: the body itself, or the field `file` of a form.

    Raises UnsupportedMediaType, BodyUnreadable, BodyTooLarge for parts without end,
    and what `body` raises.
    """
    if (content_encoding or "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("A bundle is sent without Content-Encoding")
    media_type, _, boundary = read_content_type(content_type)
    if media_type == MULTIPART:
        return read_with(partial(_parts, body), boundary)
    if media_type not in _TARS:
        raise UnsupportedMediaType(
            f"Content-Type {media_type[:100]!r} is not supported: send a bundle's tar"
            " as application/x-tar, or as the field 'file' of multipart/form-data"
        )
    return body


def _parts(body: Iterator[bytes], boundary: bytes) -> Iterator[bytes]:
    reader = MultipartDecoder(
        boundary,
        # Bounds the headers of a part, not its content.
        max_form_memory_size=4 * _STEP,
        max_parts=_MOST_PARTS,
    )
    is_file, found = False, 0
    for data in body:
        for start in range(0, len(data), _STEP):
            reader.receive_data(data[start : start + _STEP])
            while not isinstance(event := reader.next_event(), NeedData | Epilogue):
                if isinstance(event, File | Field):
                    is_file = event.name == _FIELD
                    found += is_file
                    if found > 1:
                        raise BodyUnreadable("The form has two fields 'file'")
                elif isinstance(event, Data) and is_file:
                    yield event.data
    # Raises ValueError where the last boundary is missing.
    reader.receive_data(None)
    while not isinstance(reader.next_event(), Epilogue | NeedData):
        pass
    if not found:
        raise BodyUnreadable("The multipart body has no complete part named 'file'")
