"""Small real models in bundles, each with what it answers outside of the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from app.compilation import read_ensemble
from app.store.compiled import CompiledModels
from backends import bundle
from backends.compiled import TREES, Verdict, library
from backends.compiled import write as write_verdict
from backends.explanations.choosing import write as write_exemplars
from backends.features import Decoder
from backends.model import Feature, Label, Model, Task

# Before anything imports onnxruntime: it turns the library's telemetry off.
from backends.onnx import open_session
from backends.onnx_features import features_for
from backends.onnx_graph import inspect, write_served
from backends.trees.engine import Engine
from backends.trees.ensemble import NotCovered
from backends.trees.explainer import Explainer

SEED = 7


@dataclass(frozen=True)
class Specimen:
    """A bundle, and what its model answers outside of the server.

    frame: training data, in the dtypes that the training library takes.
    score: such a frame → float64 (n_rows, k) as the training library answers it, or
        a session run by hand; binary k = 1, the positive label's probability.
    """

    folder: Path
    model: Model
    frame: pd.DataFrame
    score: Callable[[pd.DataFrame], np.ndarray]


def customers(rows: int) -> pd.DataFrame:
    """Numbers with gaps, and categories of texts, numbers and booleans."""
    rng = np.random.default_rng(SEED)
    regions = ["Nord, Süd", "01", "1", "NA", " spaced ", 'say "hi"']
    frame = pd.DataFrame(
        {
            "tenure": rng.integers(0, 72, rows).astype(float),
            "monthly charge": np.round(rng.normal(60, 25, rows), 2),
            "contract": rng.choice(["Month-to-Month", "One year", "Two year"], rows),
            "region": rng.choice(regions, rows),
            "plan": rng.choice([1, 2, 3], rows),
            "senior": rng.choice([False, True], rows),
        }
    )
    for column in ("contract", "region", "plan", "senior"):
        frame[column] = frame[column].astype("category")
    for column in ("tenure", "contract", "region"):
        frame.loc[rng.random(rows) < 0.1, column] = np.nan
    return frame


def leaning(frame: pd.DataFrame) -> np.ndarray:
    """A number for each row that every column, level and gap has a part in."""
    rng = np.random.default_rng(SEED)
    known = frame["contract"].cat.codes + frame["region"].cat.codes * 3 % 7
    known += frame["plan"].cat.codes / 2 - frame["senior"].cat.codes
    tenure = frame["tenure"].fillna(200)
    charge = frame["monthly charge"] / 20
    return np.asarray(charge + known - tenure / 15 + rng.normal(0, 0.5, len(frame)))


def flowers(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    names = ["sepal length", "sepal width", "pétale"]
    return pd.DataFrame(rng.normal(size=(rows, 3)), columns=names)


def parcels(rows: int) -> pd.DataFrame:
    """Columns of a type each: texts, small floats, whole numbers."""
    rng = np.random.default_rng(SEED)
    return pd.DataFrame(
        {
            "colour": rng.choice(["red", "01", "grün, hell", ""], rows).astype(object),
            "width": rng.normal(size=rows).astype(np.float32),
            "pieces": rng.integers(0, 9, rows),
        }
    )


def features_of(frame: pd.DataFrame) -> tuple[Feature, ...]:
    features = []
    for name, column in frame.items():
        if column.dtype == "category":
            levels = tuple(column.cat.categories.tolist())
            features.append(Feature(str(name), "categorical", categories=levels))
        else:
            features.append(Feature(str(name), "numeric"))
    return tuple(features)


def write_materials(
    folder: Path, features: Sequence[Feature], frame: pd.DataFrame
) -> None:
    """Exemplars and reference rows, as packaging writes them.

    Of two features the first counts for the one of greater impact.
    """
    table = pa.table(
        {
            name: column.astype(object)
            .where(column.notna(), None)
            .map(str, na_action="ignore")
            if feature.kind != "numeric"
            else column.astype(float)
            for feature, (name, column) in zip(features, frame.items(), strict=True)
        }
    )
    pq.write_table(table, folder / bundle.REFERENCE)
    impact = [float(position) for position in range(len(features), 0, -1)]
    rows = Decoder(features).from_table(table)
    write_exemplars(folder, features, rows, impact)


def boosted(
    folder: Path,
    task: Task,
    target: str,
    frame: pd.DataFrame,
    values: np.ndarray,
    labels: tuple[Label, ...] = (),
    **card: Any,
) -> Specimen:
    """A LightGBM bundle; values: class numbers, or the target itself."""
    objective: dict[str, Any] = {"objective": task}
    if task == "multiclass":
        objective["num_class"] = len(labels)
    booster = lightgbm.train(
        {
            **objective,
            "num_leaves": 15,
            "min_data_in_leaf": 3,
            "min_data_per_group": 1,
            "cat_smooth": 1,
            "seed": SEED,
            "deterministic": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        lightgbm.Dataset(frame, values),
        num_boost_round=25,
    )
    folder.mkdir()
    booster.save_model(folder / "model.txt")
    write_materials(folder, features_of(frame), frame)
    model = bundle.write(
        folder,
        Model(
            id="",
            name=target,
            format="lightgbm",
            file="model.txt",
            task=task,
            target=target,
            features=features_of(frame),
            labels=labels,
            positive_label=labels[1] if task == "binary" else None,
            **card,
        ),
    )

    def score(rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(booster.predict(rows, num_threads=1)).reshape(len(rows), -1)

    return Specimen(folder, model, frame, score)


def exported(
    folder: Path,
    task: Task,
    target: str,
    frame: pd.DataFrame,
    fitted: Any,
    *,
    explained: bool = True,
    **card: Any,
) -> Specimen:
    """An ONNX bundle of a fitted scikit-learn estimator.

    frame: float64, and the graph takes one matrix; else it takes a column each.
    explained: whether the bundle has what explanations are made with.
    """
    from skl2onnx import to_onnx

    folder.mkdir()
    source = folder.with_suffix(".onnx")
    is_matrix = all(dtype == np.float64 for dtype in frame.dtypes)
    sample = frame.to_numpy(np.float32) if is_matrix else frame
    source.write_bytes(to_onnx(fitted, sample[:1]).SerializeToString())
    graph = inspect(source)
    write_served(source, folder / "model.onnx", graph)
    features = features_for(graph, list(frame.columns))
    if explained:
        write_materials(folder, features, frame)
    model = bundle.write(
        folder,
        Model(
            id="",
            name=target,
            format="onnx",
            file="model.onnx",
            task=task,
            target=target,
            features=features,
            labels=graph.labels,
            positive_label=graph.labels[1] if task == "binary" else None,
            output=graph.output,
            input_names=graph.input_names,
            **card,
        ),
    )
    session = open_session(source)

    def score(rows: pd.DataFrame) -> np.ndarray:
        if is_matrix:
            feed = {graph.input_names[0]: rows.to_numpy(np.float32)}
        else:
            feed = {name: rows[[name]].to_numpy() for name in graph.input_names}
        answers = session.run(None, feed)
        if task == "regression":
            return np.asarray(answers[0], np.float64).reshape(-1, 1)
        # ZipMap's answer: for each row a dictionary from label to probability.
        values = np.array(
            [[each[label] for label in graph.labels] for each in answers[1]]
        )
        return values[:, 1:].astype(np.float64) if task == "binary" else values

    return Specimen(folder, model, frame, score)


def compile_specimen(specimen: Specimen, compiled: CompiledModels) -> None:
    """Make the compiled folder of a deployed specimen, without its proof."""
    model = specimen.model

    def fill(folder: Path) -> None:
        write_verdict(folder, model.id, build(specimen.folder, model, folder))

    compiled.put(model.id, fill, unless=Path.exists)


def build(source: Path, model: Model, folder: Path) -> Verdict:
    """Write the model of a bundle as arrays, if the engine covers it."""
    try:
        ensemble = read_ensemble(source, model)
        Engine(ensemble).write(folder)
        Explainer(ensemble).write(folder)
    except NotCovered as error:
        return Verdict(library(model.format), "not covered", str(error))
    return Verdict(TREES)


def deployment_id(name: str) -> str:
    """The id that the deployment of this name has in every run."""
    return hashlib.sha256(name.encode()).hexdigest()[:24]


def make_specimens(base: Path) -> dict[str, Specimen]:
    """Bundles by name: each task in both formats, labels of texts and of numbers."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    boxes = parcels(200)
    is_fragile = np.where(
        boxes["colour"] == "red", boxes["width"] > 0, boxes["pieces"] > 4
    )
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        ("passthrough", ["width", "pieces"]),
    )
    people, petals = customers(400), flowers(200)
    lean = leaning(people)
    bent = petals.to_numpy() @ [1.0, -2.0, 0.5]
    thirds = np.digitize(lean, np.quantile(lean, [1 / 3, 2 / 3]))
    return {
        "churn": boosted(
            base / "churn",
            "binary",
            "Churn",
            people,
            (lean > np.median(lean)).astype(int),
            ("No", "Yes"),
            threshold=0.4,
        ),
        "price": boosted(
            base / "price",
            "regression",
            "price",
            people,
            lean * 100,
            prediction_bounds=(100.0, 1000.0),
        ),
        "plan": boosted(
            base / "plan", "multiclass", "size", people, thirds, ("S", "M", "größer")
        ),
        "grade": boosted(
            base / "grade", "multiclass", "grade", people, thirds, (1, 3, 2)
        ),
        "onnx-price": exported(
            base / "onnx-price",
            "regression",
            "cost",
            petals,
            LinearRegression().fit(petals.to_numpy(), bent),
            prediction_bounds=(-3.0, 3.0),
        ),
        "onnx-risk": exported(
            base / "onnx-risk",
            "binary",
            "risk",
            petals,
            LogisticRegression().fit(petals.to_numpy(), (bent > 0).astype(int)),
            explained=False,
        ),
        "onnx-parcel": exported(
            base / "onnx-parcel",
            "binary",
            "fragile",
            boxes,
            make_pipeline(encoded, LogisticRegression()).fit(
                boxes, np.where(is_fragile, "yes", "no")
            ),
        ),
        "onnx-iris": exported(
            base / "onnx-iris",
            "multiclass",
            "species",
            petals,
            RandomForestClassifier(5, max_depth=4, random_state=SEED).fit(
                petals.to_numpy(),
                np.array(["setosa", "versicolor", "virginica"])[
                    np.digitize(bent, [-1, 1])
                ],
            ),
        ),
    }
