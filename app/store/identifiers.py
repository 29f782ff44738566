"""Identifiers: how they are made, and what form they have."""

from __future__ import annotations

import re
import secrets
from typing import Final

from app.store.errors import InvalidId

# The form of every identifier.
ID: Final = re.compile(r"[0-9a-f]{24}")


def new_id() -> str:
    """24 random lower-case hexadecimal digits."""
    return secrets.token_hex(12)


def check_id(text: str) -> str:
    """The text, when it has the form of an identifier; raises InvalidId."""
    if not ID.fullmatch(text):
        raise InvalidId(text)
    return text
