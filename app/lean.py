"""Keeps pandas out of the serving processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType


def settle_pyarrow_without_pandas() -> None:
    """Let pyarrow find that there is no pandas; it asks once in a process.

    It would import an installed pandas, 0.2 s and 30 MB in every worker, the first
    time that it makes an array. Requests have no use for it. Where something else
    imports pandas later, as the libraries for explanations do, that works as ever.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        import pyarrow

        pyarrow.array([0.0])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden:
    """An import finder that finds no pandas."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not imported when serving", name=name)
