"""Has the tree engine's compiled code ready before anything is scored."""

from __future__ import annotations

import logging
from pathlib import Path

# More than there are kernels.
_ATTEMPTS = 4

log = logging.getLogger(__name__)


def prepare_kernels(folder: str | Path) -> None:
    """Load the kernels from their folder, or compile them and leave them there.

    A folder that cannot be written is not used, with a warning in the log.
    """
    # numba takes 0.3 s to import: not before it is needed.
    from backends.trees import kernels

    for _ in range(_ATTEMPTS):
        try:
            kernels.prepare(Path(folder))
            return
        except OSError as error:
            # A full disk: the kernel is compiled, only not kept, and the next is due.
            log.warning("compiled kernels cannot be kept: %s", error)
