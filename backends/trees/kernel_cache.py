"""Has the engine's compiled code ready: from a folder, or compiled and kept there."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

# What the compiled code is made from: numba itself looks at one file only.
_SOURCES = (
    *("asking.py", "bits.py", "contrast_kernels.py", "ensemble.py", "kernels.py"),
    *("path_sets.py", "quadrature.py", "shap_kernels.py", "tables.py"),
    *("transforms.py", "xemp_kernels.py"),
)

_DIGEST = "digest"
_INCOMPLETE = ".compiling-"

_preparing = threading.Lock()
log = logging.getLogger(__name__)


def prepare(folder: str | Path) -> None:
    """Load the compiled kernels from a folder, or compile them and keep them there.

    Later calls do nothing. After the first nothing is compiled any more: a call with
    arguments of other types raises TypeError. Before a fork, children share the code.
    What cannot be kept, or is damaged, is compiled anew; the log gets a warning.
    """
    with _preparing:
        if not all(kernel._can_compile for kernel, _ in _kernels()):
            return
        kept = Path(folder) / _fingerprint()
        if not _load(kept):
            _compile(kept)
        for kernel, _ in _kernels():
            kernel.disable_compile()


def _kernels() -> tuple[tuple[Any, Any], ...]:
    """Each kernel with its signature."""
    # numba takes 0.3 s to import: not before it is needed.
    from backends.trees import contrast_kernels, kernels, shap_kernels, xemp_kernels

    modules = (kernels, xemp_kernels, shap_kernels, contrast_kernels)
    return tuple(kernel for module in modules for kernel in module.KERNELS)


def _load(kept: Path) -> bool:
    """Whether the kernels are there as they were kept, and could be loaded."""
    try:
        if not kept.exists():
            return False
        if (kept / _DIGEST).read_text() == _digest(kept):
            _compile_in(kept)
            return True
        log.warning("compiled kernels in %s are damaged", kept)
    # numba unpickles what it kept, and LLVM reads it: what they raise is anything.
    except Exception:
        log.warning("compiled kernels in %s cannot be loaded", kept, exc_info=True)
    return False


def _compile(kept: Path) -> None:
    """Compile, and keep what came of it; complete and on the disk, or not at all."""
    log.info("compiling the tree engine's kernels, which takes a while")
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMPLETE, dir=kept.parent))
    except OSError as error:
        log.warning("compiled kernels cannot be kept: %s", error)
        _compile_in(None)
        return
    try:
        _compile_in(incoming)
        _publish(incoming, kept)
    except OSError as error:
        # A full disk, mostly.
        log.warning("compiled kernels cannot be kept: %s", error)
        _compile_in(None)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _compile_in(cache: Path | None) -> None:
    """Compile with a folder of numba's, which looks there first; None: without."""
    from numba.core.caching import NullCache

    from backends.trees.kernel_files import KernelFiles

    for kernel, signature in _kernels():
        kernel._cache = (
            NullCache() if cache is None else KernelFiles(kernel.py_func, cache)
        )
        kernel.compile(signature)


def _publish(incoming: Path, kept: Path) -> None:
    (incoming / _DIGEST).write_text(_digest(incoming))
    for path in [*incoming.rglob("*"), incoming]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    # A damaged one goes; one that another process has just made is as good as this.
    shutil.rmtree(kept, ignore_errors=True)
    incoming.rename(kept)


def _digest(cache: Path) -> str:
    """Of the files that numba keeps."""
    digest = hashlib.sha256()
    for path in sorted(cache.rglob("*.nb[ci]")):
        digest.update(f"{path.relative_to(cache)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _fingerprint() -> str:
    """Of the sources, of what compiles and runs them, and of the processor."""
    import llvmlite
    import numba
    from numba.core.registry import cpu_target

    digest = hashlib.sha256()
    of: list[Any] = [sys.version, numba.__version__, llvmlite.__version__]
    # The processor's name and all that it can do.
    of += [cpu_target.target_context.codegen().magic_tuple(), numba.config.BOUNDSCHECK]
    digest.update(repr(of).encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]
