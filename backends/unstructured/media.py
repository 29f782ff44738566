"""Media types, as requests and answers name them."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

BYTES: Final = "application/octet-stream"
JSON: Final = "application/json"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
TEXT: Final = "text/plain"

# Longer than any that means something.
_LONGEST: Final = 200
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}", re.ASCII)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})\"?", re.I)


@dataclass(frozen=True, slots=True)
class Content:
    """A body and what it is said to be.

    kind: media type in lower case, without its parameters. charset: as it is named
    there; None where it is not. declared: the header as it is sent.
    """

    data: bytes
    declared: str = BYTES
    kind: str = BYTES
    charset: str | None = None

    @classmethod
    def of(cls, data: bytes, header: str | None) -> Content:
        """header: Content-Type; without one that is understood the body is bytes."""
        declared = (header or "").strip()
        kind = declared.partition(";")[0].strip().lower()
        if len(declared) > _LONGEST or not is_media_type(kind):
            return cls(data)
        found = _CHARSET.search(declared)
        return cls(data, declared, kind, found[1] if found else None)

    @property
    def is_text(self) -> bool:
        """Whether it is text, as hooks are handed it."""
        return self.kind.startswith("text/") or self.kind == JSON

    @property
    def codec(self) -> str:
        """Python's name of the charset; UTF-8 where there is none that it knows."""
        return codec(self.charset)


def is_media_type(text: str) -> bool:
    """Whether a header may hold it as a media type without parameters."""
    return len(text) <= _LONGEST and _MEDIA_TYPE.fullmatch(text) is not None


def codec(charset: str | None) -> str:
    """Python's name of a charset of texts; UTF-8 where there is none that it knows."""
    try:
        found = codecs.lookup(charset or "utf-8")
    except (LookupError, ValueError):
        return "utf-8"
    # Others make bytes of bytes: base64, zip.
    return found.name if getattr(found, "_is_text_encoding", True) else "utf-8"
