"""Runs a function in a child process that may be killed.

A model file can be made to take any amount of time and memory, or to crash the
library that reads it. What parses one for the first time does so here: in a process
of its own with caps on time, memory and the size of files, an empty environment and
no input.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import IO, Any

from backends.base import ModelFileRejected

log = logging.getLogger(__name__)

# Largest answer, and largest file that the child may write unless it is told more.
_MAX_FILE = 64 * 2**20

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # onnxruntime reports model names to its maker unless told not to before its import.
    "ORT_DISABLE_TELEMETRY": "1",
}


# Time that Python and the imports may take before the function's own begins; they are
# the project's and only slow where the machine is.
_START_SECONDS = 30.0

# Time that a preparation may take, such as compiling kernels on a slow machine.
_PREPARE_SECONDS = 600.0

# Isolated mode does not know where the project lies.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from backends.sandbox import serve; serve(sys.argv[2])"
)

# What libraries say of it: the C++ exception's name, and the loader of libraries.
_NO_MEMORY = ("bad_alloc", "failed to map segment")

_SLOW = (signal.SIGALRM, signal.SIGXCPU)


def run(
    function: str,
    *arguments: Any,
    seconds: float,
    memory: int,
    file_bytes: int = _MAX_FILE,
    prepare: Sequence[Any] = (),
) -> Any:
    """Call a function of the project in a child process.

    function: "package.module:name".
    arguments: plain data, as JSON carries it; so is what it returns.
    seconds: time it may take, on the clock and of a processor.
    memory: bytes of address space that it may take beyond its imports.
    file_bytes: size of the largest file that it may write.
    prepare: a function and its arguments, called first; like imports, what it takes
        of time and memory does not count.

    Raises ModelFileRejected with the message of a ValueError that the function
    raised, or saying which cap it went beyond, or that it crashed.
    """
    request = json.dumps(
        [function, arguments, seconds, memory, file_bytes, list(prepare)]
    )
    patience = seconds + _START_SECONDS + (_PREPARE_SECONDS if prepare else 0.0)
    # Files, not pipes: a child that writes without end meets its cap on file size.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _PROGRAM, _root(), request],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=errors,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            status = child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if status:
            log.error("%s ended with %d: %s", function, status, _read(errors)[-4000:])
            raise _ended(status, seconds)
        return _answer(json.loads(_read(answer)), function, memory)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _ended(status: int, seconds: float) -> ModelFileRejected:
    """What to say of a child that gave no answer."""
    if -status in _SLOW:
        return ModelFileRejected(
            f"The model took more than the {seconds:g} seconds that it may"
            " (FORETELL_MODEL_SECONDS)"
        )
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return ModelFileRejected(f"The model crashed the process that read it ({name})")


def _answer(answer: dict[str, Any], function: str, memory: int) -> Any:
    if answer["kind"] == "result":
        return answer["value"]
    if answer["kind"] == "memory" or any(
        each in answer["value"] for each in _NO_MEMORY
    ):
        raise ModelFileRejected(
            f"The model took more than the {memory} bytes of memory that it may"
            " (FORETELL_MODEL_MEMORY)"
        )
    if answer["kind"] == "rejected":
        raise ModelFileRejected(answer["value"])
    log.error("%s failed: %s", function, answer["value"])
    *_, reason = answer["value"].strip().splitlines()
    raise ModelFileRejected(f"The model could not be read: {reason}")


def _root() -> str:
    return str(Path(__file__).resolve().parents[1])


def serve(request: str) -> None:
    """Be the child: import, take on the caps, call, answer."""
    function, arguments, seconds, memory, file_bytes, prepare = json.loads(request)
    # pyarrow would import pandas; nothing here needs it, and it takes 0.4 s.
    sys.meta_path.insert(0, _NoPandas())
    # Libraries print on the standard output; the answer goes where they cannot.
    output = os.dup(1)
    os.dup2(2, 1)
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_FSIZE, file_bytes)
    call = _imported(function)
    if prepare:
        _imported(prepare[0])(*prepare[1:])
    _cap(resource.RLIMIT_AS, _address_space() + memory)
    _cap(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    answer = json.dumps(_call(call, arguments)).encode()
    with os.fdopen(output, "wb") as file:
        file.write(answer)


def _imported(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


class _NoPandas(MetaPathFinder):
    """An import finder that finds no pandas."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("the sandbox has no pandas", name=fullname)


def _call(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"kind": "result", "value": function(*arguments)}
    except MemoryError:
        return {"kind": "memory", "value": ""}
    except ValueError as error:
        return {"kind": "rejected", "value": str(error)}
    except Exception:
        # Whatever a hostile file makes a parser raise, the parent shall hear of it.
        return {"kind": "failed", "value": traceback.format_exc()}


def _cap(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _address_space() -> int:
    """Bytes of address space that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
