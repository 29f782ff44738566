"""JSON compared by its text: 2.0 is not 2, and the order of keys counts."""

from __future__ import annotations

import json
import re

# A JSON string, or blanks between tokens.
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')


def compact(text: str) -> str:
    """JSON without the blanks between its tokens."""
    return _TOKEN.sub(lambda found: found[1] or "", text)


def value_text(text: str, start: int) -> str:
    """The JSON value that begins at a place in a text, as it stands there."""
    while text[start].isspace():
        start += 1
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end]
