"""Train the example models: penguins measured at Palmer Station, Antarctica.

`sex`: LightGBM, binary, with categories and missing values.
`species`: ONNX, multiclass, one input for each column, texts among them.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import pandas as pd
from palmerpenguins import load_penguins
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def train(folder: Path) -> None:
    """Write model files and their training data to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    penguins = load_penguins().drop(columns="year")
    _sex(penguins, folder)
    _species(penguins, folder)


def _sex(penguins: pd.DataFrame, folder: Path) -> None:
    data = penguins.dropna(subset=["sex"])
    data.to_csv(folder / "sex.csv", index=False)
    features = data.drop(columns="sex")
    features = features.astype({"species": "category", "island": "category"})
    booster = lgb.train(
        {
            "objective": "binary",
            "num_leaves": 8,
            "min_data_in_leaf": 10,
            "learning_rate": 0.1,
            "seed": 1,
            "deterministic": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        lgb.Dataset(features, (data["sex"] == "male").astype(int)),
        num_boost_round=100,
    )
    booster.save_model(folder / "sex.txt")


def _species(penguins: pd.DataFrame, folder: Path) -> None:
    data = penguins.fillna({"sex": ""})
    data.to_csv(folder / "species.csv", index=False)
    texts = ["island", "sex"]
    pipeline: Pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), texts),
            (SimpleImputer(), MEASURES),
        ),
        GradientBoostingClassifier(n_estimators=30, max_depth=3, random_state=1),
    )
    features = data[texts + MEASURES].astype(dict.fromkeys(MEASURES, "float32"))
    pipeline.fit(features, data["species"])
    inputs = [(name, StringTensorType([None, 1])) for name in texts]
    inputs += [(name, FloatTensorType([None, 1])) for name in MEASURES]
    graph = to_onnx(
        pipeline, initial_types=inputs, options={"zipmap": False}, target_opset=18
    )
    (folder / "species.onnx").write_bytes(graph.SerializeToString())
