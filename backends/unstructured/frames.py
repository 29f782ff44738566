"""The messages between a server and the process of a hook.

A message is a head of JSON and a body. In front of both stand their lengths, and the
mark that the server made for this exchange: what else is written there, by whatever
the hook does, is no answer.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

MARK: Final = 16
PREFIX: Final = struct.Struct(f">{MARK}sIQ")
# Heads hold names and reasons; the rest is body.
LONGEST_HEAD: Final = 65_536
# Headers of a request and reasons of a failure are cut to fit.
LONGEST_TEXT: Final = 500


class NoMessage(ValueError):
    """What was read is no message of this exchange."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands in front: the sizes of head and body."""

    head: int
    body: int


def begin(mark: bytes, head: dict[str, Any], body: int) -> bytes:
    """Prefix and head of a message. body: how many bytes come behind."""
    text = json.dumps(head).encode()
    return PREFIX.pack(mark, len(text), body) + text


def read_prefix(data: bytes, mark: bytes | None) -> tuple[bytes, Prefix]:
    """The mark and the sizes. mark: what is expected; None: any.

    Raises NoMessage.
    """
    found, head, body = PREFIX.unpack(data)
    if mark is not None and found != mark:
        raise NoMessage("another mark is there")
    if head > LONGEST_HEAD:
        raise NoMessage("the head is too long")
    return found, Prefix(head, body)


def read_head(data: bytes) -> dict[str, Any]:
    """Raises NoMessage."""
    try:
        head = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoMessage("the head is not JSON") from error
    if not isinstance(head, dict):
        raise NoMessage("the head is no object")
    return head
