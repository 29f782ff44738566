"""What deployments are told to take and to answer."""

from __future__ import annotations

import datetime

import pytest

from app.errors import IsForecasting
from app.rows.description import Described, columns_of, facts, inputs_of, outputs_of
from app.store.records import Deployment
from app.store.settings import DeploymentSettings
from backends.model import Feature, Model
from backends.tensors import io_json
from backends.tensors.spec import Field, Picture, TensorSpec
from schemas.rows import DeploymentFacts
from tests.time_series import SALES

THEN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
PICTURE = Picture(8, 6, "L", mean=(0.0,), std=(1.0,))
SPEC = TensorSpec(
    inputs=(
        Field("photo", "image", "x", (8, 6, 1), picture=PICTURE),
        Field("size", "numeric", "s", dtype="int64"),
        Field("steps", "numeric", "t", (None, 3)),
        Field("kind", "categorical", "k", labels=("animal", "car")),
    ),
    outputs=(
        Field("digit", "categorical", "p", (2,), labels=("0", "1")),
        Field("mask", "numeric", "m", (8, 6)),
    ),
)


def model_of(features=(), **changes):
    card = dict(
        id="0" * 24,
        name="m",
        format="lightgbm",
        file="m.txt",
        task="regression",
        target="y",
        features=tuple(features),
    )
    return Model(**{**card, **changes})


def tensor_model(spec=SPEC):
    return model_of(task="tensors", target="", io=io_json.to_json(spec))


def deployment_of(model, *, enabled=True, label="ours", **settings):
    return Deployment(
        id="a" * 24,
        label=label,
        owner_id="b" * 24,
        model_id=model.id,
        threshold=None,
        enabled=enabled,
        settings=DeploymentSettings(**settings),
        created_at=THEN,
        updated_at=THEN,
        deployed_at=THEN,
    )


def test_inputs_of_columns_are_single_values(specimens):
    told = inputs_of(specimens["churn"].model)
    assert [each.name for each in told] == list(specimens["churn"].model.columns)
    assert {each.shape for each in told} == {(1,)}
    types = {each.name: each.type for each in told}
    assert types["tenure"] == "numeric" and types["contract"] == "categorical"
    labels = {each.name: each.labels for each in told}
    assert labels["senior"] == ("False", "True")
    assert labels["plan"] == ("1", "2", "3")


def test_columns_of_texts_are_texts(specimens):
    told = inputs_of(specimens["onnx-parcel"].model)
    assert [(each.name, each.type) for each in told] == [
        *(("colour", "text"), ("width", "numeric"), ("pieces", "numeric"))
    ]


def test_offset_and_exposure_are_inputs(insurance):
    model = insurance["costs"].model
    assert [each.name for each in inputs_of(model)] == ["age", "town", "grade", "years"]
    assert [each.missing for each in columns_of(model)][2:] == ["error"] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("price", Described("price", "numeric")),
        ("churn", Described("Churn", "categorical", (2,), ("No", "Yes"))),
        ("grade", Described("grade", "categorical", (3,), ("1", "3", "2"))),
    ],
)
def test_output_is_named_by_the_target(specimens, name, expected):
    assert outputs_of(specimens[name].model) == (expected,)


def test_tensors_are_told_as_their_card_says():
    model = tensor_model()
    assert inputs_of(model) == (
        Described("photo", "image", (8, 6, 1), dtype="float32"),
        Described("size", "numeric", dtype="int64"),
        Described("steps", "numeric", (None, 3), dtype="float32"),
        Described("kind", "categorical", (1,), ("animal", "car"), "float32"),
    )
    assert outputs_of(model) == (
        Described("digit", "categorical", (2,), ("0", "1"), "float32"),
        Described("mask", "numeric", (8, 6), dtype="float32"),
    )


@pytest.mark.parametrize("tell", [inputs_of, outputs_of])
def test_forecasts_are_not_made_of_rows(tell):
    with pytest.raises(IsForecasting):
        tell(model_of([Feature("x", "numeric")], time_series=SALES))


@pytest.mark.parametrize("name", ["churn", "price", "grade", "onnx-parcel"])
def test_facts_keep_to_their_schema(specimens, name):
    model = specimens[name].model
    page = facts(deployment_of(model), model, "http://a.example")
    assert DeploymentFacts().validate(page) == {}
    assert list(page) == list(DeploymentFacts().fields)
    assert page["model"] == {"id": model.id, "name": model.name}


def test_facts_tell_address_status_and_limits():
    model = tensor_model()
    limited = deployment_of(
        model, enabled=False, rows_per_request=5, requests_per_minute=60
    )
    page = facts(limited, model, "http://a.example")
    assert DeploymentFacts().validate(page) == {}
    own = f"http://a.example/deployment/{limited.id}"
    assert (page["url"], page["openapi"]) == (f"{own}/forward", f"{own}/openapi.json")
    assert page["status"] == "disabled"
    assert page["limits"] == {"rowsPerRequest": 5, "requestsPerMinute": 60}
    assert page["inputs"][2]["shape"] == [None, 3]
    free = facts(deployment_of(model), model, "")["limits"]
    assert free == {"rowsPerRequest": None, "requestsPerMinute": None}
