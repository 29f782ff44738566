"""What came out: a table for people, JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

Good = Literal["<=", ">="]

LIBRARIES = (
    "foretell",
    "flask",
    "gunicorn",
    "lightgbm",
    "numba",
    "numpy",
    "orjson",
    "pandas",
    "pyarrow",
)


# Widths of the table's columns.
_NAME = 68
_FIGURE = 14


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison of a bar.

    ratio: what was measured, in the unit of `bar`; good: which way is better.
    bar: None where nothing is wanted, and the figure is shown for comparison.
    """

    name: str
    ratio: float
    good: Good
    bar: float | None
    unit: str = "×"
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the bar is reached; exactly on it counts, and so does having none."""
        if self.bar is None:
            return True
        return self.ratio <= self.bar if self.good == "<=" else self.ratio >= self.bar

    @property
    def strain(self) -> float:
        """How much of the bar is used: above 1 it is missed. Parts compare by it."""
        if self.bar is None:
            return -1.0
        over, under = (
            (self.ratio, self.bar) if self.good == "<=" else (self.bar, self.ratio)
        )
        if over == 0:
            return 0.0
        return over / under if under else float("inf")

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "ratio": self.ratio,
            "good": self.good,
            "bar": self.bar,
            "unit": self.unit,
            "met": None if self.bar is None else self.met,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measured bar: what it is about and its parts.

    omp: the OMP setting of each side; engine: what scored the rows.
    """

    what: str
    omp: str
    engine: str
    parts: Sequence[Part]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> Part:
        """The part nearest to its bar, or furthest beyond it."""
        return max(self.parts, key=lambda part: part.strain)

    @property
    def met(self) -> bool:
        """Whether every part reaches its bar."""
        return all(part.met for part in self.parts)

    def to_json(self, machine: Mapping[str, str]) -> dict[str, Any]:
        """As plain data, the worst part's ratio at the top."""
        worst = self.worst
        return {
            "ratio": worst.ratio,
            "good": worst.good,
            "bar": worst.bar,
            "unit": worst.unit,
            "met": self.met,
            "worst": worst.name,
            "what": self.what,
            "omp": self.omp,
            "engine": self.engine,
            "machine": dict(machine),
            "parts": [part.to_json() for part in self.parts],
            **self.details,
        }


def machine() -> dict[str, str]:
    """What the figures were measured on, and with."""
    load = os.getloadavg()[0]
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} cores of {_cpu()}",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{load:.2f}",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def heading(machine: Mapping[str, str]) -> str:
    """The lines above the table."""
    facts = " · ".join(f"{name} {value}" for name, value in machine.items())
    return (
        f"{facts}\n"
        "Clients and servers share these cores. Medians over paired rounds, the sides\n"
        "in turn, changing rows. = is the worst of a bar's parts.\n"
    )


def table(outcomes: Mapping[str, Outcome]) -> str:
    """The bars and their parts as aligned lines."""
    lines = [f"{'bar':<5}{'':<{_NAME}}{'measured':>{_FIGURE}}   wanted"]
    for name, outcome in outcomes.items():
        head = f"= {outcome.what}"
        lines.append("")
        lines.append(f"{name:<5}" + _line(head, outcome.worst, met=outcome.met))
        lines += [
            f"{'':<5}" + _line(f"  {part.name}", part, met=part.met)
            for part in outcome.parts
        ]
        lines.append(f"{'':<7}{outcome.omp}; {outcome.engine}")
        lines += [f"{'':<7}{text}" for text in notes(outcome)]
    return "\n".join(lines)


def notes(outcome: Outcome) -> list[str]:
    """What is printed but not judged."""
    shown = outcome.details.get("notes", [])
    return [str(text) for text in shown]


def _line(name: str, part: Part, *, met: bool) -> str:
    measured = f"{_number(part.ratio)} {part.unit}"
    if part.bar is None:
        return f"{name:<{_NAME}}{measured:>{_FIGURE}}   no bar"
    sign = "≤" if part.good == "<=" else "≥"
    wanted = f"{sign} {part.bar:g} {part.unit}"
    verdict = "met" if met else "MISSED"
    return f"{name:<{_NAME}}{measured:>{_FIGURE}}   {wanted:<{_FIGURE}}{verdict}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
