"""How many examples the property tests try."""

from __future__ import annotations

import os


def examples(usual: int) -> int:
    """The usual number, times TEST_EFFORT: `TEST_EFFORT=50 pytest tests/contract`."""
    return max(1, int(usual * float(os.environ.get("TEST_EFFORT", "1"))))
