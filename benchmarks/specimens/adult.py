"""Real data: who earns more than 50,000 dollars, from the census of 1994.

UCI Adult: Becker, B. & Kohavi, R. (1996), CC BY 4.0. The files are not part of the
project: adult_train.csv and adult_test.csv, with a header line, unknown cells empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.specimens.base import Specimen

FILES = ("adult_train.csv", "adult_test.csv")
_INCOME = "income"
_HIGH = ">50K"


def is_in(folder: Path) -> bool:
    """Whether both files lie there."""
    return all((folder / name).is_file() for name in FILES)


@dataclass(frozen=True)
class Adult(Specimen):
    """Binary, 6 numeric and 8 categorical columns, 300 trees × 31 leaves."""

    data: Path
    name: str = "adult"
    objective: str = "binary"
    classes: int = 1
    trees: int = 300
    leaves: int = 31
    fewest_in_a_leaf: int = 20
    bars: frozenset[str] = frozenset({"P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9"})

    @property
    def sources(self) -> Sequence[Path]:
        return [self.data / name for name in FILES]

    @property
    def numbers(self) -> Sequence[str]:
        return [str(name) for name in self._known if name not in self.levels]

    @cached_property
    def levels(self) -> Mapping[str, list[str]]:
        return {
            str(name): sorted(column.dropna().unique())
            for name, column in self._known.items()
            if not pd.api.types.is_numeric_dtype(column)
        }

    def frame(self, rows: int, seed: int) -> pd.DataFrame:
        """Test rows over and over, each time in another order."""
        random = np.random.default_rng(seed)
        passes = -(-rows // len(self._unseen))
        orders = [random.permutation(len(self._unseen)) for _ in range(passes)]
        order = np.concatenate(orders)[:rows]
        return self._unseen.take(order).reset_index(drop=True)

    def training(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        income = self._read(FILES[0])[_INCOME]
        return self._typed(self._known), (income == _HIGH).to_numpy().astype(np.int64)

    @cached_property
    def _known(self) -> pd.DataFrame:
        return self._read(FILES[0]).drop(columns=_INCOME)

    @cached_property
    def _unseen(self) -> pd.DataFrame:
        return self._typed(self._read(FILES[1]).drop(columns=_INCOME))

    def _read(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.data / name)

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Levels that no training row has are taken for missing."""
        return frame.assign(
            **{
                name: pd.Categorical.from_codes(
                    pd.Index(levels).get_indexer(pd.Index(frame[name])),
                    pd.Index(levels),
                )
                for name, levels in self.levels.items()
            }
        )
