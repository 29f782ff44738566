"""What is installed: the versions, and whether the libraries of models load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from typing import Any

from app.doctor.findings import Finding, Problem

_PACKAGES = (
    "foretell",
    "gunicorn",
    "flask",
    "sqlalchemy",
    "numpy",
    "pillow",
    "pyarrow",
    "numba",
    "lightgbm",
    "onnxruntime",
    "fsspec",
    "dask",
    "distributed",
)

_CHILD_SECONDS = 60


def versions() -> Finding:
    """Of the system and of the packages; one that is not installed is a problem."""
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    problems = []
    for name in _PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(
                Problem(f"{name} is not installed", "install foretell again")
            )
    return Finding("versions", facts, problems)


# In a process of its own: a library that is broken may crash the one that loads it.
_LOAD = {
    "lightgbm": """
from backends.base import ModelFileRejected
from backends.lightgbm import Booster
try:
    Booster(b"tree\\n")
except ModelFileRejected:
    pass
""",
    "onnx": """
import os
import backends.onnx
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1", "telemetry is on"
written = [os.path.join(*each) for each in os.walk(os.environ["HOME"]) if each[2]]
assert not written, f"telemetry is on: it wrote {written}"
""",
}


def _loading(format: str) -> str:
    return _LOAD.get(format, f"import backends; backends.backend_class({format!r})")


def library(format: str) -> Finding:
    """Load the library that a format needs as a worker does."""
    with tempfile.TemporaryDirectory() as home:
        # An empty home: onnxruntime's telemetry would leave files there.
        environ = {**os.environ, "HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)}
        for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
            environ.pop(name, None)
        child = subprocess.run(
            [sys.executable, "-P", "-B", "-c", _loading(format)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=_CHILD_SECONDS,
        )
    said = child.stderr.strip().splitlines()
    facts: dict[str, Any] = {"loads": child.returncode == 0}
    if format == "onnx":
        facts["telemetry"] = "off" if child.returncode == 0 else "unknown"
    if child.returncode == 0:
        return Finding(format, facts)
    reason = said[-1] if said else f"it ended with {child.returncode}"
    problem = Problem(f"{format} models cannot be loaded: {reason}", _remedy(reason))
    return Finding(format, facts, [problem])


def _remedy(reason: str) -> str:
    if "libgomp" in reason:
        return "install libgomp: apt-get install libgomp1, or dnf install libgomp"
    return "install foretell again, with its pinned versions"
