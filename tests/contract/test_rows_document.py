"""The documented request of the rows API, and recorded answers, in their shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.config import Config
from app.factory import create_app
from app.services import Services
from backends.tensors.answers import RowWriter
from backends.tensors.spec import Field, TensorSpec
from tests.conftest import Caller, Site

JSON = "application/json"
FOUR_ROWS = b"""{
    "rows": [
        {"Type": "animal", "Sound": "miaow", "Size": 0.4},
        {"Type": "animal", "Sound": "woof", "Size": 1.2},
        {"Type": "vehicle", "Sound": "tchoo", "Size": 80},
        {"Type": "vehicle", "Sound": "vroom", "Size": 3.2}
    ]
}"""
RECORDED = Path(__file__).parents[3] / "shared" / "contract" / "recorded"


@pytest.fixture(scope="module")
def weights() -> pd.DataFrame:
    """Animals and vehicles, how they sound, how large they are, what they weigh."""
    rng = np.random.default_rng(4)
    kinds = [
        ("animal", "miaow", 0.4, 3),
        ("animal", "woof", 1.0, 20),
        ("vehicle", "tchoo", 80, 900_000),
        ("vehicle", "vroom", 3.5, 1_500),
    ]
    chosen = [kinds[each] for each in rng.integers(0, 4, 400)]
    frame = pd.DataFrame(chosen, columns=["Type", "Sound", "Size", "Weight"])
    grown = rng.uniform(0.7, 1.3, len(frame))
    frame[["Size", "Weight"]] = frame[["Size", "Weight"]].mul(grown, axis=0).round(3)
    return frame


@pytest.fixture(scope="module")
def booster(weights: pd.DataFrame) -> lightgbm.Booster:
    features = weights.drop(columns="Weight")
    features = features.astype({"Type": "category", "Sound": "category"})
    settings = {"objective": "regression", "num_leaves": 8, "verbosity": -1}
    return lightgbm.train(
        {**settings, "num_threads": 1, "min_data_per_group": 1},
        lightgbm.Dataset(features, weights["Weight"]),
        num_boost_round=20,
    )


@pytest.fixture(scope="module")
def zoo(
    weights: pd.DataFrame,
    booster: lightgbm.Booster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Caller]:
    """A server that the command line filled from the model's file and its data."""
    folder = tmp_path_factory.mktemp("zoo")
    weights.to_csv(folder / "data.csv", index=False)
    booster.save_model(folder / "model.txt")
    runner = CliRunner(env={"FORETELL_HOME": str(folder / "home")})

    def run(*arguments: str) -> str:
        result = runner.invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    data = ("--data", str(folder / "data.csv"), "--target", "Weight")
    bundle = str(folder / "bundle")
    run("package", str(folder / "model.txt"), *data, "--out", bundle)
    run("user", "add", "ann@example.com", "--admin")
    deployment_id = run("deploy", bundle, "--label", "zoo")
    token = run("token", "create", "--deployment", deployment_id).splitlines()[0]
    app = create_app(Config(home=folder / "home"))
    services: Services = app.extensions["foretell"]
    services.refresh()
    site = Site(folder / "home", {}, {"ann@example.com": token}, {"zoo": deployment_id})
    yield Caller(services, app.test_client(), site)
    services.close()


def test_four_rows_get_the_answer_of_the_document(zoo, weights, booster):
    answer = zoo("zoo", FOUR_ROWS, JSON, layout="rows")
    assert answer.status_code == 200
    numbers = rb"[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?"
    row = rb'{"Weight":N}'
    assert re.sub(numbers, b"N", answer.data) == b'{"rows":[' + b",".join([row] * 4) + (
        b"]}"
    )
    frame = pd.DataFrame(json.loads(FOUR_ROWS)["rows"])
    for name in ("Type", "Sound"):
        levels = sorted(weights[name].unique())
        frame[name] = pd.Categorical(frame[name], categories=levels)
    found = [row["Weight"] for row in json.loads(answer.data)["rows"]]
    assert found == booster.predict(frame, num_threads=1).tolist()


def test_line_breaks_are_not_needed(zoo):
    compact = json.dumps(json.loads(FOUR_ROWS), separators=(",", ":")).encode()
    with_breaks = zoo("zoo", FOUR_ROWS, JSON, layout="rows")
    assert zoo("zoo", compact, JSON, layout="rows").data == with_breaks.data


def test_content_types_are_those_of_the_document(zoo):
    answer = zoo("zoo", FOUR_ROWS, JSON, layout="rows")
    assert answer.headers["Content-Type"] == JSON


def writer(name: str, *labels: str) -> RowWriter:
    kind = "categorical" if labels else "numeric"
    field = Field(name, kind, "x", (len(labels) or 1,), labels)
    return RowWriter(TensorSpec((), (field,)), tensor_json=True)


def test_numbers_are_written_as_recorded_ones_are():
    values = np.array([[204714.05], [298926.44], [37.7944], [37.922215]], np.float32)
    rows = writer("medianHouseValue").rows({"medianHouseValue": values})
    texts = [b"204714.05", b"298926.44", b"37.7944", b"37.922215"]
    assert rows == [b'{"medianHouseValue":%s}' % text for text in texts]


def test_scores_are_written_as_recorded_ones_are():
    values = np.array([[1.1729013e-12, 0.99999976, 5.0e-1]], np.float32)
    [row] = writer("Number", "0", "1", "2").rows({"Number": values})
    assert row == b'{"Number":{"0":1.1729013e-12,"1":0.99999976,"2":0.5}}'


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not on this machine"
)
@pytest.mark.parametrize(
    "name", ["housing_image_numeric", "housing_numeric", "mnist_categorical"]
)
def test_recorded_answers_are_written_again(name):
    recorded = json.loads((RECORDED / f"peltarion_{name}.json").read_bytes())
    [output] = recorded["rows"][0]
    values = [row[output] for row in recorded["rows"]]
    labels = tuple(values[0]) if isinstance(values[0], dict) else ()
    numbers = [list(each.values()) if labels else [each] for each in values]
    rows = writer(output, *labels).rows({output: np.array(numbers, np.float32)})
    assert [json.loads(row) for row in rows] == recorded["rows"]
