"""Small real models, deployed once a session, and clients that ask for predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.config import Config
from app.factory import create_app
from app.services import Services
from app.store.records import DeploymentSettings
from backends import bundle
from backends.model import Feature, Label, Model, Task

# Before anything imports onnxruntime: it turns the library's telemetry off.
from backends.onnx import open_session
from backends.onnx_features import features_for
from backends.onnx_graph import inspect, write_served

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


def features_of(frame: pd.DataFrame) -> tuple[Feature, ...]:
    features = []
    for name, column in frame.items():
        if column.dtype == "category":
            levels = tuple(column.cat.categories.tolist())
            features.append(Feature(str(name), "categorical", categories=levels))
        else:
            features.append(Feature(str(name), "numeric"))
    return tuple(features)


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
    **card: Any,
) -> Specimen:
    """An ONNX bundle of a fitted scikit-learn estimator that takes one matrix."""
    from skl2onnx import to_onnx

    folder.mkdir()
    source = folder.with_suffix(".onnx")
    sample = frame.to_numpy(np.float32)[:1]
    source.write_bytes(to_onnx(fitted, sample).SerializeToString())
    graph = inspect(source)
    write_served(source, folder / "model.onnx", graph)
    model = bundle.write(
        folder,
        Model(
            id="",
            name=target,
            format="onnx",
            file="model.onnx",
            task=task,
            target=target,
            features=features_for(graph, list(frame.columns)),
            labels=graph.labels,
            positive_label=graph.labels[1] if task == "binary" else None,
            output=graph.output,
            input_names=graph.input_names,
            **card,
        ),
    )
    session = open_session(source)

    def score(rows: pd.DataFrame) -> np.ndarray:
        feed = {graph.input_names[0]: rows.to_numpy(np.float32)}
        answers = session.run(None, feed)
        if task == "regression":
            return np.asarray(answers[0], np.float64).reshape(-1, 1)
        # ZipMap's answer: for each row a dictionary from label to probability.
        values = np.array(
            [[each[label] for label in graph.labels] for each in answers[1]]
        )
        return values[:, 1:].astype(np.float64) if task == "binary" else values

    return Specimen(folder, model, frame, score)


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Specimen]:
    """Bundles by name: each task in both formats, labels of texts and of numbers."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression

    base = tmp_path_factory.mktemp("bundles")
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


@dataclass(frozen=True)
class Site:
    """A state folder with users, their tokens and a deployment for each specimen.

    tokens: by user's name. users: name to id. deployments: by specimen's name, all
    ann's; `external` has no model and `disabled` is off.
    """

    home: Path
    users: Mapping[str, str]
    tokens: Mapping[str, str]
    deployments: Mapping[str, str]


@pytest.fixture(scope="session")
def site(
    specimens: Mapping[str, Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    services = Services(Config(home=tmp_path_factory.mktemp("home")))
    store = services.store
    store.migrate()
    users = {
        name: store.add_user(name, admin=name == "root").id
        for name in ("ann@example.com", "bob", "root")
    }
    deployments = {}
    for name, specimen in specimens.items():
        services.bundles.put(specimen.folder, specimen.model.id)
        store.add_model(specimen.model, "ann@example.com", 1)
        deployments[name] = store.create_deployment(
            name, "ann@example.com", specimen.model.id
        ).id
    external = store.create_deployment("external", "ann@example.com", None)
    disabled = store.create_deployment(
        "disabled", "ann@example.com", specimens["churn"].model.id
    )
    store.set_enabled(disabled.id, False)
    tokens = {name: store.create_token(name)[1] for name in users}
    services.close()
    return Site(
        services.config.home,
        users,
        tokens,
        {**deployments, "external": external.id, "disabled": disabled.id},
    )


class Caller:
    """Asks one application for predictions, as ann unless told otherwise."""

    LAYOUTS = {
        "legacy": "/predApi/v1.0/deployments/{}/predictions",
        "serverless": "/api/v2/deployments/{}/predictions",
    }

    def __init__(self, services: Services, client: FlaskClient, site: Site) -> None:
        self.services = services
        self.client = client
        self.site = site

    def __call__(
        self,
        deployment: str,
        body: Any = b"",
        content_type: str | None = "text/csv",
        *,
        query: str | Mapping[str, Any] = "",
        headers: Mapping[str, str] | None = None,
        layout: str = "legacy",
    ) -> TestResponse:
        """POST a body; deployment: a name of the site, or an id.

        A body that can be read from is sent in chunks, without its length.
        """
        deployment_id = self.site.deployments.get(deployment, deployment)
        token = self.site.tokens["ann@example.com"]
        given = {"Authorization": f"Bearer {token}", **(headers or {})}
        sent = {"data": body}
        if hasattr(body, "read"):
            sent = {"input_stream": body}
            given["Transfer-Encoding"] = "chunked"
        return self.client.post(
            self.LAYOUTS[layout].format(deployment_id),
            **sent,
            content_type=content_type,
            query_string=query,
            headers={name: value for name, value in given.items() if value},
        )

    def deploy(self, name: str, **changes: Any) -> str:
        """One more deployment of a specimen; its settings and threshold by name."""
        store = self.services.store
        first = store.deployment(self.site.deployments[name])
        threshold = changes.pop("threshold", None)
        settings = DeploymentSettings().changed(changes)
        deployment = store.create_deployment(
            f"{name} again",
            "ann@example.com",
            first.model_id,
            threshold=threshold,
            settings=settings,
        )
        self.services.refresh()
        return deployment.id


@pytest.fixture(scope="session")
def app(site: Site) -> Iterator[Flask]:
    app = create_app(Config(home=site.home))
    app.extensions["foretell"].refresh()
    yield app
    app.extensions["foretell"].close()


@pytest.fixture(scope="session")
def services(app: Flask) -> Services:
    """What the application runs on; refresh() takes up changes of the store."""
    services: Services = app.extensions["foretell"]
    return services


@pytest.fixture(scope="session")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def predict(services: Services, client: FlaskClient, site: Site) -> Caller:
    return Caller(services, client, site)


@pytest.fixture
def serve(site: Site) -> Iterator[Callable[..., Caller]]:
    """Callers of applications with other settings, over the same state folder."""
    made = []

    def make(**settings: Any) -> Caller:
        app = create_app(Config(home=site.home, **settings))
        services: Services = app.extensions["foretell"]
        made.append(services)
        services.refresh()
        return Caller(services, app.test_client(), site)

    yield make
    for services in made:
        services.close()
