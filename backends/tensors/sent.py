"""What clients send contents in: data URLs, and files of forms."""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from dataclasses import dataclass

import numpy as np

from backends.strict_json import shown
from backends.tensors.refusals import DataUrlInvalid

_SCHEME = "data:"
# Far above any media type with its parameters.
_LONGEST_HEAD = 1000
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_SPACE = b" \t\n\r\f"
# Each byte to its value as a hexadecimal digit, or to what is none.
_NO_DIGIT = 16
_DIGITS = bytes(
    "0123456789abcdef".find(chr(byte).lower()) % (_NO_DIGIT + 1) for byte in range(256)
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a form."""

    data: bytes


def is_data_url(text: str) -> bool:
    """Whether a text says that it is one; it may still be broken."""
    return text[: len(_SCHEME)].lower() == _SCHEME


def read_data_url(text: str) -> tuple[str, bytes]:
    """Media type, in lower case and without its parameters, and content.

    Base64 is of the standard alphabet; as browsers do, lines may be wrapped in it, its
    padding may be left out, and any of it may be escaped with a percent sign.

    Raises DataUrlInvalid.

    Source: RFC 2397; Fetch, "data: URLs".
    """
    if not is_data_url(text):
        raise DataUrlInvalid(f"a data URL is expected, not {shown(text)}")
    comma = text.find(",", 0, _LONGEST_HEAD)
    if comma < 0:
        raise DataUrlInvalid(
            f"no comma is among the first {_LONGEST_HEAD} characters of the data URL"
        )
    media_type, *parameters = text[len(_SCHEME) : comma].split(";")
    content = _unescape(_encode(text[comma + 1 :]))
    if parameters and parameters[-1].strip().lower() == "base64":
        content = _decode(content)
    return _check_media_type(media_type.strip().lower()), content


def write_data_url(media_type: str, data: bytes) -> str:
    """The data URL, in base64, of some content."""
    return f"{_SCHEME}{media_type};base64,{b64encode(data).decode('ascii')}"


def _check_media_type(media_type: str) -> str:
    if not media_type:
        return "text/plain"
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise DataUrlInvalid(f"the data URL has no media type: {shown(media_type)}")
    return media_type


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataUrlInvalid(
            "the data URL has characters that no text may have"
        ) from error


def _unescape(data: bytes) -> bytes:
    """Replace %41 by A and so on; a percent sign before anything else stays.

    As arrays: millions of escapes are not to become millions of objects.
    """
    if b"%" not in data:
        return data
    codes = np.frombuffer(data, np.uint8)
    digits = np.frombuffer(data.translate(_DIGITS), np.uint8)
    high, low = digits[1:-1], digits[2:]
    begins = (codes[:-2] == ord("%")) & (high < _NO_DIGIT) & (low < _NO_DIGIT)
    result = codes.copy()
    result[:-2][begins] = high[begins] * 16 + low[begins]
    kept = np.ones(len(codes), np.bool_)
    kept[1:-1] &= ~begins
    kept[2:] &= ~begins
    return result[kept].tobytes()


def _decode(content: bytes) -> bytes:
    content = content.translate(None, _SPACE)
    if not content.endswith(b"="):
        content += b"=" * (-len(content) % 4)
    # The decoder itself takes padding that completes nothing.
    if len(content) % 4 or content.endswith(b"==="):
        raise DataUrlInvalid("the base64 of the data URL is cut off, or padded wrongly")
    try:
        return binascii.a2b_base64(content, strict_mode=True)
    except binascii.Error as error:
        raise DataUrlInvalid("the data URL is not in base64, as it says") from error
