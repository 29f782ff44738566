"""Has the tree engine's compiled code ready before anything is scored."""

from __future__ import annotations

from pathlib import Path


def prepare_kernels(folder: str | Path) -> None:
    """Load the kernels from their folder, or compile them and leave them there.

    A folder that cannot be written is not used, with a warning in the log.
    """
    # numba takes 0.3 s to import: not before it is needed.
    from backends.trees import kernels

    kernels.prepare(Path(folder))
