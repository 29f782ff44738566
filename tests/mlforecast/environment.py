"""The environment that mlforecast has to itself."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def mlforecast_python():
    """Its Python, which must be there when tests count; else the test is skipped."""
    venv = ROOT / os.environ.get("MLFORECAST_VENV", ".venv-mlforecast")
    if not (venv / "bin" / "python").exists():
        missing = (
            pytest.fail if {"CI", "MLFORECAST_VENV"} & {*os.environ} else pytest.skip
        )
        missing(f"{venv} is not there: make test makes it")
    return venv / "bin" / "python"
