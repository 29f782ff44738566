"""Bundles of models with one model file for each forecast distance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from app import golden
from backends import bundle, load
from backends.explanations import choosing
from backends.features import Decoder
from backends.model import Feature, Model, Task
from backends.onnx_graph import inspect
from tests.boosters import save_booster

TOWNS = ("Bern", "Oslo", "Rome")
DISTANCE = Feature("Forecast Distance", "numeric", dtype="int64", missing="error")
OBJECTIVES: dict[Task, str] = {
    "regression": "regression",
    "binary": "binary",
    "multiclass": "multiclass",
}


@dataclass(frozen=True)
class ByDistance:
    """A bundle, and the rows and boosters that it was made of.

    table: the features as a file has them, the distance last.
    boosters: by distance; they take the codes of towns as numbers.
    """

    folder: Path
    model: Model
    table: pa.Table
    boosters: dict[int, lightgbm.Booster]

    def expected(self, matrix: np.ndarray, **asked: Any) -> np.ndarray:
        """What the boosters answer, row by row: float64 (n_rows, k)."""
        answers = [
            np.atleast_1d(self.boosters[int(row[-1])].predict(row[None, :-1], **asked))
            for row in matrix
        ]
        return np.concatenate([each.reshape(1, -1) for each in answers])


def make_by_distance(
    folder: Path,
    format: str = "lightgbm",
    *,
    task: Task = "regression",
    distances: tuple[int, ...] = (1, 2, 10),
    rows: int = 240,
    linear: tuple[int, ...] = (),
) -> ByDistance:
    """Train a model for each distance; linear: those of linear trees."""
    random = np.random.default_rng(11)
    frame = pd.DataFrame({"x": random.normal(size=rows), "n": random.normal(size=rows)})
    frame["town"] = random.choice(TOWNS, rows)
    if not linear:
        frame.loc[random.random(rows) < 0.1, "x"] = np.nan
    frame["Forecast Distance"] = random.choice(distances, rows)
    codes = frame.assign(town=frame["town"].map(TOWNS.index).astype(float))
    lean = frame["x"].fillna(2) * 3 + (frame["town"] == "Rome") * 2 + frame["n"]
    folder.mkdir(parents=True)
    boosters, files = {}, {}
    for distance in distances:
        target = lean * np.sqrt(distance) + random.normal(0, 0.1, rows)
        boosters[distance] = _trained(
            codes.iloc[:, :-1], target, task, format, distance in linear
        )
        suffix = "txt" if format == "lightgbm" else format
        files[distance] = f"model-{distance}.{suffix}"
        save_booster(boosters[distance], folder / files[distance], format)
    graph = inspect(folder / files[distances[0]]) if format == "onnx" else None
    labels = {"regression": (), "binary": ("low", "high")}
    model = Model(
        id="",
        name="ahead",
        format=format,
        file=files[distances[0]],
        task=task,
        target="y",
        features=(
            Feature("x", "numeric"),
            Feature("n", "numeric"),
            Feature("town", "categorical", categories=TOWNS),
            DISTANCE,
        ),
        labels=labels.get(task, ("low", "middle", "high")),
        positive_label="high" if task == "binary" else None,
        output=graph.output if graph else None,
        input_names=graph.input_names if graph else (),
        files=files,
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = Decoder.of(model).from_table(table)
    # The distance is no feature of the models, and so has no exemplars.
    choosing.write(folder, model.features, columns, [3.0, 2.0, 1.0, 0.0])
    pq.write_table(table, folder / bundle.REFERENCE)
    golden.make(folder, load(folder, model), table, columns).write(folder)
    return ByDistance(folder, bundle.write(folder, model), table, boosters)


def _trained(
    codes: pd.DataFrame, target: pd.Series, task: Task, format: str, is_linear: bool
) -> lightgbm.Booster:
    parameters: dict[str, Any] = {
        "objective": OBJECTIVES[task],
        "num_leaves": 7,
        "verbosity": -1,
        "num_threads": 1,
        "min_data_per_group": 5,
        "linear_tree": is_linear,
    }
    if task == "binary":
        target = (target > target.median()).astype(int)
    if task == "multiclass":
        parameters["num_class"] = 3
        target = pd.qcut(target, 3, labels=False)
    categorical = [] if is_linear or format == "onnx" else ["town"]
    data = lightgbm.Dataset(
        codes, target, categorical_feature=categorical, params=parameters
    )
    return lightgbm.train(parameters, data, num_boost_round=8)
