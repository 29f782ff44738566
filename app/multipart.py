"""The parts of a multipart/form-data body."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
)

from app.errors import BodyTooLarge, BodyUnreadable

# What is handed to the reader at a time, in bytes.
_STEP = 262_144
_MOST_PARTS = 1_000

Read = TypeVar("Read")


def read_parts(body: bytes, boundary: str) -> Iterator[tuple[File | Field, bytes]]:
    """Yield the headers and the content of each part that is complete.

    Raises BodyUnreadable, and BodyTooLarge for parts or heads without end.
    """
    return read_with(partial(_parts, body), boundary)


def read_with(
    parse: Callable[[bytes], Iterator[Read]], boundary: str
) -> Iterator[Read]:
    """Yield what a reader of the parts between boundaries yields.

    parse: gets the boundary. Raises BodyUnreadable, and BodyTooLarge for parts or
    heads without end.
    """
    if not boundary:
        raise BodyUnreadable("The Content-Type of the multipart body has no boundary")
    try:
        yield from parse(boundary.encode("ascii"))
    except RequestEntityTooLarge as error:
        raise BodyTooLarge("The body has too many parts, or too long heads") from error
    except ValueError as error:
        raise BodyUnreadable("The body is not valid multipart/form-data") from error


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[File | Field, bytes]]:
    reader = MultipartDecoder(
        boundary,
        # Bounds the headers of a part, not its content.
        max_form_memory_size=4 * _STEP,
        max_parts=_MOST_PARTS,
    )
    part: File | Field | None = None
    content = io.BytesIO()
    for start in range(0, len(body), _STEP):
        reader.receive_data(body[start : start + _STEP])
        while not isinstance(event := reader.next_event(), NeedData):
            if isinstance(event, File | Field):
                part, content = event, io.BytesIO()
            elif isinstance(event, Data) and part is not None:
                content.write(event.data)
                if not event.more_data:
                    yield part, content.getvalue()
    # Raises ValueError where the last boundary is missing.
    reader.receive_data(None)
    while not isinstance(reader.next_event(), Epilogue | NeedData):
        pass
