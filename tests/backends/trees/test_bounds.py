"""No model and no row make the compiled code read past the end of an array."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# Tests of equality with the most kinds of trees.
EQUALITY = "any_shape or all_sizes or one_leaf"


def test_nothing_reads_past_an_end() -> None:
    """Runs tests once more with numba's bounds checking, which raises IndexError."""
    found = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-k", f"bounds_checked or {EQUALITY}"),
            *(HERE / "bounds_checked.py", HERE / "test_equality.py"),
        ],
        cwd=ROOT,
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-5000:] + found.stderr[-2000:]
