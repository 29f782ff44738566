"""What all specimens have in common: rows, a target, a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

TARGET = "target"

# Measured in this process; every other bar needs a deployment.
IN_PROCESS = "P3"


class Specimen(ABC):
    """A test model and the rows that it is asked about.

    trees: of the model, over all classes; leaves: of each tree.
    bars: names of those that it takes part in.
    """

    name: str
    objective: str
    classes: int
    trees: int
    leaves: int
    fewest_in_a_leaf: int
    bars: frozenset[str]

    @property
    def is_deployed(self) -> bool:
        """Whether any of its bars asks a server."""
        return bool(self.bars - {IN_PROCESS})

    @property
    def sources(self) -> Sequence[Path]:
        """Files that its rows come from."""
        return ()

    @property
    @abstractmethod
    def numbers(self) -> Sequence[str]:
        """Names of the numeric columns."""

    @property
    @abstractmethod
    def levels(self) -> Mapping[str, list[str]]:
        """Names of the categorical columns, with their levels."""

    @abstractmethod
    def frame(self, rows: int, seed: int) -> pd.DataFrame:
        """Rows without target; the same seed makes the same rows."""

    @abstractmethod
    def training(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Rows to train with, and their target: float64, or classes from 0 on."""

    def train(self, folder: Path) -> None:
        """Write model.txt; for bars with a server data.parquet and next.txt as well.

        next.txt is the model but for its last iteration.
        """
        frame, target = self.training()
        dataset = lgb.Dataset(frame, target)
        iterations = self.trees // self.classes
        booster = lgb.train(self._parameters(), dataset, iterations)
        self._check_shape(booster)
        if self.is_deployed:
            frame.assign(**{TARGET: target}).to_parquet(folder / "data.parquet")
            booster.save_model(folder / "next.txt", iterations - 1)
        booster.save_model(folder / "model.txt")

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": self.objective,
            "num_class": self.classes,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.fewest_in_a_leaf,
            "learning_rate": 0.05,
            "deterministic": True,
            "force_row_wise": True,
            "seed": 3,
            "verbosity": -1,
        }

    def _check_shape(self, booster: lgb.Booster) -> None:
        full = booster.model_to_string().count(f"\nnum_leaves={self.leaves}\n")
        if full != self.trees:
            raise RuntimeError(f"model {self.name} has only {full} full trees")


def matrix(frame: pd.DataFrame) -> NDArray[np.float64]:
    """float64 (n_rows, n_columns): categories as LightGBM numbers them, missing NaN."""
    columns = [
        column.cat.codes.astype(np.float64).where(column.notna())
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column
        for _, column in frame.items()
    ]
    return np.column_stack(columns).astype(np.float64)
