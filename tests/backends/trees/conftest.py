"""Kernels, compiled once for all runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.trees import kernels


@pytest.fixture(scope="session", autouse=True)
def kernels_folder(pytestconfig: pytest.Config) -> Path:
    """The folder of machine code that this run uses; FORETELL_KERNELS names another."""
    named = os.environ.get("FORETELL_KERNELS")
    folder = Path(named) if named else Path(pytestconfig.cache.mkdir("kernels"))
    kernels.prepare(folder)
    return folder
