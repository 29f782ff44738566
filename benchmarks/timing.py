"""How figures are made: sides in turn, medians, percentiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

Measured = TypeVar("Measured")

ROUNDS = 5

# Quick calls are made over and over until they took so long.
_SECONDS = 0.3


def interleave(
    sides: Mapping[str, Callable[[], Measured]], rounds: int = ROUNDS
) -> dict[str, list[Measured]]:
    """Measure every side once a round, so that all see the same quiet and noise.

    The order turns around from round to round: neither side is always first.
    """
    results: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(sides[name]())
    return results


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call, all threads of this process together.

    Other processes that want the same cores do not count, and a second thread does not
    make a call look quicker.
    """
    passes, seconds, begun = 0, 0.0, time.process_time()
    while passes == 0 or seconds < _SECONDS:
        call()
        passes += 1
        seconds = time.process_time() - begun
    return seconds / passes


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median of the rounds' ratios: what slows a whole round down cancels out."""
    return median(a / b for a, b in zip(over, under, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0–1) of the values do not exceed.

    Raises ValueError if there is none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    # Nearest rank; the rounding keeps 0.99 × 100 = 99.00000000000001 at rank 99.
    rank = -int(-round(share * len(ordered), 9) // 1)
    return ordered[max(rank, 1) - 1]
