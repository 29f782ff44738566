"""Has numba keep a kernel's compiled code in one folder, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache


class KernelFiles(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache of one function, in a folder that is there.

    The folder's name must tell what the code is made from. numba's own choice falls
    back on `__pycache__` or the user's cache when a folder cannot be written to, and
    finds code there that is older than what the function calls.
    """

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._impl_class = partial(_Files, folder=folder)
        super().__init__(function)


class _Files(CompileResultCacheImpl):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._locator = _Folder(folder)
        self._filename_base = function.__name__


class _Folder:
    """What numba asks about the place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_cache_path(self) -> str:
        return str(self._folder)

    def ensure_cache_path(self) -> None:
        pass

    def get_source_stamp(self) -> None:
        pass
