"""The tree engine: ensembles as flat arrays, and compiled kernels that score them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("lightgbm", "llvmlite", "numba", "numpy", "onnxruntime")


@cache
def fingerprint() -> str:
    """Of the engine's sources, and of the libraries that its answers are proved by.

    Compiled models are named by it, so that no table and no proof outlives what it was
    made with. It is said here, where no compiled code is loaded.
    """
    digest = hashlib.sha256()
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
