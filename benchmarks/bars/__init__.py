"""The bars, each measured by a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.report import Outcome
    from benchmarks.workspace import Workspace

BARS = {
    "P1": "benchmarks.bars.cpu_time",
    "P2": "benchmarks.bars.throughput",
    "P3": "benchmarks.bars.trees",
    "P4": "benchmarks.bars.large_bodies",
    "P5": "benchmarks.bars.shap_values",
    "P6": "benchmarks.bars.xemp",
    "P7": "benchmarks.bars.forecasts",
    "P8": "benchmarks.bars.memory",
    "P9": "benchmarks.bars.start",
}


def measure(name: str) -> Callable[[Workspace], Outcome]:
    """What measures a bar. Its module loads now, so that a run loads only its own."""
    measured: Callable[[Workspace], Outcome] = import_module(BARS[name]).measure
    return measured
