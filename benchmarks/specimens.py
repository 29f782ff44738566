"""The models that every bar is measured with, and rows for them, all made up.

a: binary, 50 columns of which 12 categorical, 500 trees × 31 leaves.
b: regression, 30 numeric columns, 1000 trees × 31 leaves.

`python -m benchmarks.specimens FOLDER` trains them: in a process of its own, because
LightGBM keeps the number of threads that it was trained with.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

TARGET = "target"
_TRAINING_ROWS = 10_000
_LEAVES = 31
# As many digits as measured data have; 190,000 rows of model b are 50 MB.
_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class Specimen:
    """What a test model is made of.

    missing: share of missing cells in every second column.
    """

    name: str
    objective: str
    numeric: int
    categorical: int
    trees: int
    missing: float

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric columns."""
        return [f"x{position:02d}" for position in range(self.numeric)]

    @property
    def levels(self) -> dict[str, list[str]]:
        """Names of the categorical columns, with 4 to 48 levels each."""
        return {
            f"c{position:02d}": [
                f"level {code:02d}" for code in range(4 * (position + 1))
            ]
            for position in range(self.categorical)
        }

    def frame(self, rows: int, seed: int) -> pd.DataFrame:
        """Rows without target; the same seed makes the same rows."""
        random = np.random.default_rng(seed)
        columns: dict[str, Any] = {}
        for position, name in enumerate(self.numbers):
            values = random.normal(size=rows).round(_DECIMALS)
            if position % 2:
                values[random.random(rows) < self.missing] = np.nan
            columns[name] = values
        for name, levels in self.levels.items():
            codes = random.integers(0, len(levels), rows).astype(np.int8)
            codes[random.random(rows) < self.missing] = -1
            columns[name] = pd.Categorical.from_codes(codes, pd.Index(levels))
        return pd.DataFrame(columns)

    def target(self, frame: pd.DataFrame, seed: int) -> NDArray[Any]:
        """float64 or 0 and 1 (n_rows,): uneven enough for trees to keep splitting."""
        random = np.random.default_rng(seed)
        numbers = frame[self.numbers].fillna(0.0).to_numpy()
        score = (np.sin(numbers * 2.0) * random.normal(size=self.numeric)).sum(axis=1)
        score += (numbers[:, ::2] * numbers[:, 1::2]).sum(axis=1)
        for name in self.levels:
            effects = random.normal(size=len(self.levels[name]) + 1)
            score += effects[frame[name].cat.codes]
        score += random.normal(size=len(frame))
        if self.objective == "binary":
            return np.asarray(score > np.median(score), np.int64)
        return np.asarray(score)

    def train(self, folder: Path) -> None:
        """Write NAME.txt, NAME-next.txt (one tree less) and NAME.parquet."""
        frame = self.frame(_TRAINING_ROWS, seed=1)
        target = self.target(frame, seed=2)
        parameters = {
            "objective": self.objective,
            "num_leaves": _LEAVES,
            "min_data_in_leaf": 20,
            "learning_rate": 0.05,
            "deterministic": True,
            "force_row_wise": True,
            "seed": 3,
            "verbosity": -1,
        }
        booster = lgb.train(parameters, lgb.Dataset(frame, target), self.trees)
        _check_shape(booster, self)
        frame.assign(**{TARGET: target}).to_parquet(folder / f"{self.name}.parquet")
        booster.save_model(folder / f"{self.name}-next.txt", self.trees - 1)
        booster.save_model(folder / f"{self.name}.txt")


A = Specimen("a", "binary", numeric=38, categorical=12, trees=500, missing=0.05)
B = Specimen("b", "regression", numeric=30, categorical=0, trees=1000, missing=0.0)
SPECIMENS = {specimen.name: specimen for specimen in (A, B)}


def _check_shape(booster: lgb.Booster, specimen: Specimen) -> None:
    trees = booster.model_to_string().count(f"\nnum_leaves={_LEAVES}\n")
    if trees != specimen.trees:
        raise RuntimeError(f"model {specimen.name} has only {trees} full trees")


def json_rows(frame: pd.DataFrame) -> list[bytes]:
    """Each row as a JSON request body: an array of one record, missing as null."""
    return [orjson.dumps([record]) for record in _records(frame)]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {str(name): value for name, value in record.items()}
        for record in plain.to_dict("records")
    ]


def csv_body(frame: pd.DataFrame) -> bytes:
    """The rows with a header line; missing cells are empty, nothing is quoted."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    out = io.BytesIO()
    csv.write_csv(table, out, csv.WriteOptions(quoting_style="none"))
    return out.getvalue()


def body_of(specimen: Specimen, size: int, seed: int) -> tuple[bytes, int]:
    """A CSV body of at most `size` bytes, of whole lines, and its number of rows."""
    sample = len(csv_body(specimen.frame(1000, seed)))
    frame = specimen.frame(int(size / sample * 1020), seed)
    body = csv_body(frame)
    body = body[: body.rindex(b"\n", 0, min(size, len(body)) + 1) + 1]
    return body, body.count(b"\n") - 1


def main(folder: str) -> None:
    """Train both."""
    for specimen in SPECIMENS.values():
        specimen.train(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
