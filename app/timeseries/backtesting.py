"""Trains a model again as its file says, on parts of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
from lightgbm.basic import LightGBMError
from numpy.typing import NDArray

from app.config import Config
from app.timeseries.spec_models import model_paths
from backends import sandbox
from backends.lightgbm_text import LightGBMFile
from backends.timeseries.intervals import (
    BACKTESTS,
    Backtests,
    IntervalsUnavailable,
    Predict,
    backtest_panel,
)
from backends.timeseries.spec import Spec
from backends.timeseries.training import panel_of_table

Floats = NDArray[np.float64]

# What the number of trees says instead, what belongs to the machine and the files of
# the training that was, and the categorical features, which the trees tell too.
_NOT_KEPT = (
    *("num_iterations", "early_stopping_round", "metric", "categorical_feature"),
    *("data", "valid", "input_model", "output_model", "output_result", "task"),
    *("machines", "machine_list_filename", "local_listen_port", "time_out"),
    *("header", "label_column", "weight_column", "group_column", "ignore_column"),
)
# Files of the data scientist's, of which the model has the names only.
_FILES = ("forcedsplits_filename", "forcedbins_filename")

_IN_PYTHON = (
    "Backtest it in Python where it is trained, with"
    " backends.timeseries.intervals.backtest(spec, frame, fit)"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a LightGBM text model says of its training.

    parameters: as its file has them. trees: of the model, whatever stopped it.
    categorical: positions of the features whose codes are no numbers.

    Sample weights, and what a function of the user's own did, are not in the file.
    """

    parameters: Mapping[str, Any]
    trees: int
    categorical: tuple[int, ...]

    def train(self, matrix: Floats, y: Floats) -> Predict:
        """Train on other rows. Raises IntervalsUnavailable if LightGBM does not."""
        is_row_wise = bool(self.parameters.get("force_row_wise"))
        parameters = {
            **self.parameters,
            # On a machine that has other work, threads that wait for one another make
            # small trainings ten times slower.
            "num_threads": 1,
            "verbosity": -1,
            "device_type": "cpu",
            "tree_learner": "serial",
            "num_machines": 1,
            # The same rows make the same trees.
            "deterministic": True,
            "force_row_wise": is_row_wise,
            "force_col_wise": not is_row_wise,
        }
        data = lightgbm.Dataset(
            matrix, y, params=parameters, categorical_feature=[*self.categorical]
        )
        try:
            booster = lightgbm.train(parameters, data, num_boost_round=self.trees)
        except LightGBMError as error:
            raise IntervalsUnavailable(
                f"LightGBM does not train on a part of the data: {error}"
            ) from error
        return lambda rows: booster.predict(rows, num_threads=1)


def read_recipe(path: Path, features: int, config: Config) -> Recipe:
    """Read how a model was trained.

    features: how many the spec has.

    Raises IntervalsUnavailable for what cannot be trained again, ModelFileRejected,
    OSError.
    """
    with path.open("rb") as file:
        is_lightgbm = file.read(4) == b"tree"
    if not is_lightgbm:
        raise IntervalsUnavailable(
            f"{path.name} does not say how it was trained: only a LightGBM text model"
            f" is trained again here. {_IN_PYTHON}"
        )
    facts = sandbox.run(
        "app.model_file:inspect_text",
        str(path.resolve()),
        seconds=config.model_seconds,
        memory=config.model_memory,
    )
    file_says = LightGBMFile.from_json(facts)
    if len(file_says.feature_names) != features:
        raise IntervalsUnavailable(
            f"{path.name} takes {len(file_says.feature_names)} features, and the spec"
            f" has {features}"
        )
    parameters = dict(lightgbm.Booster(model_file=path).params)
    if parameters.get("objective", "custom") in ("custom", "none"):
        raise IntervalsUnavailable(
            f"{path.name} was trained with an objective of its author's own, which is"
            f" not in the file. {_IN_PYTHON}"
        )
    if given := [name for name in _FILES if parameters.get(name)]:
        raise IntervalsUnavailable(
            f"{path.name} was trained with a file of splits or bins, {given[0]}, of"
            f" which it has the name only. {_IN_PYTHON}"
        )
    kept = {name: value for name, value in parameters.items() if name not in _NOT_KEPT}
    return Recipe(
        kept, file_says.trees // max(file_says.outputs, 1), file_says.categorical
    )


def backtest_files(
    spec: Spec,
    model: Path,
    table: pa.Table,
    config: Config,
    *,
    backtests: int = BACKTESTS,
    steps: int | None = None,
) -> Backtests:
    """Backtest the models of a spec; see `intervals.backtest`.

    model: see `model_paths`. table: the data, with the target.

    Raises IntervalsUnavailable, ModelFileRejected, ForecastRefused, DataError, OSError.
    """
    width = len(spec.features)
    recipes = {
        distance: read_recipe(path, width, config)
        for distance, path in model_paths(spec, model).items()
    }

    def train(distance: int | None, matrix: Floats, y: Floats) -> Predict:
        return recipes[distance].train(matrix, y)

    panel = panel_of_table(table, spec)
    return backtest_panel(panel, train, backtests=backtests, steps=steps)
