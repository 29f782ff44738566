"""Specimens whose rows and targets are made up.

a: binary, 50 columns of which 12 categorical, 500 trees × 31 leaves.
b: regression, 30 numeric columns, 1000 trees × 31 leaves.
The others show how the engine fares where trees or tables are large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.specimens.base import IN_PROCESS, Specimen

# As many digits as measured data have; 190,000 rows of model b are 50 MB.
_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class MadeUp(Specimen):
    """What a test model is made of.

    level_counts: of each categorical column.
    missing: share of missing cells in every second column.
    training_rows: enough for all trees to have all their leaves.
    """

    name: str
    objective: str
    numeric: int
    trees: int
    level_counts: tuple[int, ...] = ()
    missing: float = 0.0
    classes: int = 1
    leaves: int = 31
    training_rows: int = 10_000
    fewest_in_a_leaf: int = 20
    bars: frozenset[str] = frozenset({IN_PROCESS})

    @property
    def numbers(self) -> list[str]:
        return [f"x{position:02d}" for position in range(self.numeric)]

    @property
    def levels(self) -> dict[str, list[str]]:
        return {
            f"c{position:02d}": [f"level {code:02d}" for code in range(count)]
            for position, count in enumerate(self.level_counts)
        }

    def frame(self, rows: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        columns: dict[str, Any] = {}
        for position, name in enumerate(self.numbers):
            values = random.normal(size=rows).round(_DECIMALS)
            if position % 2:
                values[random.random(rows) < self.missing] = np.nan
            columns[name] = values
        for name, levels in self.levels.items():
            codes = random.integers(0, len(levels), rows).astype(np.int16)
            codes[random.random(rows) < self.missing] = -1
            columns[name] = pd.Categorical.from_codes(codes, pd.Index(levels))
        return pd.DataFrame(columns)

    def training(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        frame = self.frame(self.training_rows, seed=1)
        return frame, self._target(frame, seed=2)

    def _target(self, frame: pd.DataFrame, seed: int) -> NDArray[Any]:
        """float64 or classes (n_rows,): uneven enough for trees to keep splitting."""
        random = np.random.default_rng(seed)
        numbers = frame[self.numbers].fillna(0.0).to_numpy()
        score = (np.sin(numbers * 2.0) * random.normal(size=self.numeric)).sum(axis=1)
        score += (numbers[:, ::2] * numbers[:, 1::2]).sum(axis=1)
        for name in self.levels:
            effects = random.normal(size=len(self.levels[name]) + 1)
            score += effects[frame[name].cat.codes]
        score += random.normal(size=len(frame))
        if self.objective == "regression":
            return np.asarray(score)
        classes = 2 if self.objective == "binary" else self.classes
        cuts = np.quantile(score, np.arange(1, classes) / classes)
        return np.asarray(np.searchsorted(cuts, score), np.int64)


_EVERY_BAR = frozenset({"P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9"})

A = MadeUp(
    "a",
    "binary",
    numeric=38,
    trees=500,
    level_counts=tuple(range(4, 49, 4)),
    missing=0.05,
    bars=_EVERY_BAR,
)
B = MadeUp("b", "regression", numeric=30, trees=1000, bars=_EVERY_BAR)
LARGE_TREES = MadeUp(
    "255 leaves",
    "regression",
    numeric=30,
    trees=300,
    leaves=255,
    training_rows=20_000,
)
MANY_CLASSES = MadeUp(
    "100 classes",
    "multiclass",
    numeric=20,
    trees=2000,
    level_counts=(12, 40),
    classes=100,
    training_rows=20_000,
    fewest_in_a_leaf=5,
)
HUGE_TREES = MadeUp(
    "1000 leaves",
    "regression",
    numeric=30,
    trees=100,
    leaves=1000,
    training_rows=40_000,
)
MANY_LEVELS = MadeUp(
    "3000 levels",
    "regression",
    numeric=10,
    trees=300,
    level_counts=(3000, 3000),
    missing=0.02,
    training_rows=60_000,
)
MADE_UP = (A, B, LARGE_TREES, MANY_CLASSES, HUGE_TREES, MANY_LEVELS)
