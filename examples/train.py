"""Train the example models.

Of penguins, measured at Palmer Station, Antarctica:
`sex`: LightGBM, binary, with categories and missing values.
`species`: ONNX, multiclass, one input for each column, texts among them.

Of people in work, counted by the US Bureau of Labor Statistics:
`employment`: LightGBM, forecasts of several monthly time series.

Of handwritten digits, by `digits.py`:
`digits`: ONNX, a picture to a score for each digit.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import pandas as pd
import vega_datasets
from palmerpenguins import load_penguins
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from backends.timeseries import load_spec, training_frame
from examples.digits import train_digits

SPEC = Path(__file__).with_name("employment.json")
INDUSTRIES = [
    *("mining_and_logging", "construction", "manufacturing", "retail_trade"),
    *("information", "financial_activities", "leisure_and_hospitality", "government"),
]
# When people were hired to count all others.
CENSUS = ("2010-03-01", "2010-09-01")
MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def train(folder: Path) -> None:
    """Write model files and their training data to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    penguins = load_penguins().drop(columns="year")
    _sex(penguins, folder)
    _species(penguins, folder)
    _employment(folder)
    train_digits(folder)


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


def _employment(folder: Path) -> None:
    months = pd.read_csv(vega_datasets.data.us_employment.filepath)
    people = months.melt("month", INDUSTRIES, "industry", "employees")
    people["census"] = people["month"].between(*CENSUS).astype(int)
    people = people[["industry", "month", "employees", "census"]]
    people.to_csv(folder / "employment.csv", index=False)
    _employment_request(people, folder)
    features, y, _ = training_frame(people, load_spec(SPEC))
    booster = lgb.train(
        {
            "objective": "regression",
            "num_leaves": 15,
            "learning_rate": 0.05,
            "seed": 1,
            "deterministic": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        lgb.Dataset(features, y, categorical_feature=["industry (actual)"]),
        num_boost_round=100,
    )
    booster.save_model(folder / "employment.txt")


def _employment_request(people: pd.DataFrame, folder: Path) -> None:
    """Two industries: two years that were, and the half year that is to be forecast."""
    parts = []
    for industry in ("construction", "government"):
        known = people[people["industry"] == industry].tail(24)
        months = pd.date_range(known["month"].iloc[-1], periods=7, freq="MS")[1:]
        ahead = {
            "industry": industry,
            "month": months.strftime("%Y-%m-%d"),
            "census": 0,
        }
        parts += [known, pd.DataFrame(ahead)]
    pd.concat(parts).to_csv(folder / "employment-request.csv", index=False)
