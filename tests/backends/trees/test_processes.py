"""What a process that scores has loaded, compiled and started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.trees import from_lightgbm
from backends.trees.engine import Engine
from tests.backends.trees import models

ROOT = Path(__file__).parents[3]

# Scores as a worker does, and tells what that took.
_SCORE = """
import sys
from pathlib import Path
from numba.core import event
import numpy as np
from backends.trees import kernel_cache
from backends.trees.engine import Engine

folder, tables = map(Path, sys.argv[1:])
with event.install_recorder("numba:compile") as preparing:
    kernel_cache.prepare(folder)
with event.install_recorder("numba:compile") as scoring:
    engine = Engine.open(tables)
    for matrix in (np.zeros((1, 8)), np.zeros((100, 8)), np.zeros((0, 8))):
        read_only = matrix.copy()
        read_only.flags.writeable = False
        for each in (matrix, read_only, np.asfortranarray(matrix)):
            engine.score(each)
            engine.score(each, raw=True)
print(len(preparing.buffer), len(scoring.buffer))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(Path("/proc/self/status").read_text().partition("Threads:")[2].split()[0])
print(Path("/proc/self/maps").read_text())
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    Engine(from_lightgbm.read(models.trained("multiclass").text)).write(folder)
    return folder


@pytest.fixture(scope="module")
def told(kernels: Path, tables: Path) -> list[str]:
    """Compilations, modules and threads of a process that scored, and its maps."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCORE, kernels, tables],
        cwd=ROOT,
        # The linear algebra that numba and numpy load has threads of its own.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split("\n", 3)


def test_kept_kernels_are_not_compiled_again(told: list[str]) -> None:
    assert told[0].split()[0] == "0"


def test_nothing_compiles_while_scoring(told: list[str]) -> None:
    assert told[0].split()[1] == "0"


def test_scoring_imports_no_training_library(told: list[str]) -> None:
    refused = {"lightgbm", "onnx", "onnxruntime", "pandas", "pyarrow", "shap"}
    assert not refused & set(told[1].split())


def test_scoring_starts_no_threads(told: list[str]) -> None:
    assert told[2] == "1"


@pytest.mark.parametrize(
    "library", ["libgomp", "libomp", "libiomp", "omppool", "tbbpool", "workqueue"]
)
def test_scoring_loads_no_threading_layer(told: list[str], library: str) -> None:
    assert "numba" in told[3]
    assert library not in told[3]
