"""Texts that people give: what can be kept of them, and what is refused."""

from __future__ import annotations

import re

from app.store.errors import InvalidName

# PostgreSQL keeps no NUL, and neither database half a surrogate pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# What breaks the lines of lists and logs; other scripts' spaces and joiners do not.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether both databases can keep the text."""
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """The text, with a mark in the place of what a database cannot keep."""
    return _UNSTORABLE.sub("\ufffd", text)


def check_user_name(name: str) -> None:
    """Raises InvalidName."""
    check_name(name, "A user name")
    if ":" in name:
        # Basic authorization is `name:token`, split at the first colon.
        raise InvalidName("A user name has no colon")


def check_name(name: str, what: str) -> None:
    """what: whose name it is, as the refusal begins. Raises InvalidName."""
    if not name or name != name.strip():
        raise InvalidName(f"{what} is not empty and has no space at its ends")
    if _CONTROL.search(name):
        raise InvalidName(f"{what} has no control characters")
    if len(name) > 256:
        raise InvalidName(f"{what} has at most 256 characters")


def check_description(text: str | None) -> str | None:
    """The text, None where nothing is said; raises InvalidName."""
    if text and (len(text) > 10_000 or not is_storable(text)):
        raise InvalidName(
            "A description has at most 10000 characters, none of them broken"
        )
    return text or None
