"""A model card is read back as it was written, or refused by the key that is wrong."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.model import Feature, InvalidModelCard, Model

MODEL = Model(
    id="0" * 24,
    name="Churn",
    format="lightgbm",
    file="model.txt",
    task="binary",
    target="churned",
    features=(
        Feature("x", "numeric"),
        Feature("zone", "categorical", categories=(1, 2.5)),
        Feature("note", "text", dtype="string", missing="empty"),
    ),
    labels=("no", "yes"),
    positive_label="yes",
    versions={"lightgbm": "4.7.0"},
)


def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(MODEL.to_json()))
    return found


def test_card_survives_json() -> None:
    assert Model.from_json(card(), MODEL.id) == MODEL


def test_other_label_is_the_negative_one() -> None:
    assert MODEL.negative_label == "no"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, "unknown key 'nmae'"),
        ({"name": None}, "name"),
        ({"file": "../model.txt"}, "file"),
        ({"file": ".hidden"}, "file"),
        ({"task": "ranking"}, "task"),
        ({"task": ["binary"]}, "task"),
        ({"labels": ["no"]}, "labels"),
        ({"labels": ["yes", "yes"]}, "labels"),
        ({"labels": [["no"], ["yes"]]}, "labels"),
        ({"labels": 5}, "not iterable"),
        ({"task": "regression"}, "labels"),
        ({"positive_label": "maybe"}, "positive_label"),
        ({"threshold": "0.5"}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"prediction_bounds": [2, 1]}, "prediction_bounds"),
        ({"prediction_bounds": [1]}, "model.json"),
        ({"output": 1}, "output"),
        ({"input_names": [1]}, "input_names"),
        ({"versions": []}, "versions"),
        ({"versions": {"x": 1}}, "versions"),
        ({"features": []}, "features"),
        ({"features": [1]}, "model.json"),
        ({"features": [{"name": "x"}]}, "kind"),
        ({"features": [{"name": "x", "kind": "numeric"}] * 2}, "features"),
        ({"features": [{"name": "x", "kind": "date"}]}, "features: 'x'"),
        ({"features": [{"name": "x", "kind": "categorical"}]}, "features: 'x'"),
        ({"features": [{"name": ["x"], "kind": "numeric"}]}, "features"),
        ({"features": [{"name": "x", "kind": "numeric", "code": ""}]}, "'code'"),
    ],
)
def test_wrong_key_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModelCard, match=message):
        Model.from_json(card() | change, MODEL.id)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(MODEL.to_json())), value=JSON)
def test_any_value_is_read_or_refused(key: str, value: object) -> None:
    changed = copy.deepcopy(card()) | {key: value}
    try:
        model = Model.from_json(changed, MODEL.id)
    except InvalidModelCard:
        return
    assert Model.from_json(model.to_json(), MODEL.id) == model


@given(
    key=st.sampled_from(["name", "kind", "dtype", "categories", "missing"]), value=JSON
)
def test_any_feature_is_read_or_refused(key: str, value: object) -> None:
    changed = card()
    changed["features"][1][key] = value
    try:
        model = Model.from_json(changed, MODEL.id)
    except InvalidModelCard:
        return
    assert Model.from_json(model.to_json(), MODEL.id) == model


COUNTS: dict[str, Any] = {
    "task": "regression",
    "labels": [],
    "positive_label": None,
    "offset": "grade",
    "exposure": "years",
    "link": "log",
}


def test_card_with_offset_and_exposure_survives_json() -> None:
    model = Model.from_json(card() | COUNTS, MODEL.id)
    assert (model.offset, model.exposure, model.link) == ("grade", "years", "log")
    assert Model.from_json(model.to_json(), MODEL.id) == model
    assert model.columns == ("x", "zone", "note", "grade", "years")


def test_card_without_them_has_no_such_keys() -> None:
    # Older releases refuse keys that they do not know.
    assert not {"offset", "exposure", "link"} & set(card())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 1}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"exposure": "churned"}, "exposure"),
        ({"exposure": "grade"}, "exposure"),
        ({"exposure": ["years"]}, "exposure"),
        ({"link": "identity"}, "exposure"),
        ({"link": "logit", "exposure": None}, "link"),
        ({"link": None}, "link"),
        ({"link": ["log"]}, "link"),
        ({"offset": None, "exposure": None}, "link"),
        ({"task": "multiclass", "labels": ["a", "b"], "exposure": None}, "link"),
        ({"format": "onnx"}, "format"),
    ],
)
def test_offset_and_exposure_that_cannot_be_are_named(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModelCard, match=f"model.json: {message} is not valid"):
        Model.from_json(card() | COUNTS | change, MODEL.id)


BY_DISTANCE: dict[str, Any] = {
    "features": [
        {"name": "y (lag 0)", "kind": "numeric"},
        {"name": "Forecast Distance", "kind": "numeric", "dtype": "int64"},
    ],
    "file": "model-2.txt",
    "models": {"10": "model-10.txt", "2": "model-2.txt"},
    "time_series": {"version": 1, "target": "y", "features": [{"op": "lag"}]},
}


def test_card_of_a_time_series_survives_json() -> None:
    model = Model.from_json(card() | BY_DISTANCE, MODEL.id)
    assert model.time_series == BY_DISTANCE["time_series"]
    assert list(model.files.items()) == [(2, "model-2.txt"), (10, "model-10.txt")]
    # The bundle has its checksums under this name.
    assert "files" not in model.to_json()
    assert Model.from_json(model.to_json(), MODEL.id) == model


def test_card_without_a_time_series_has_no_such_keys() -> None:
    assert not {"time_series", "models", "files"} & set(card())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_series": []}, "time_series is not valid"),
        ({"time_series": "y"}, "time_series is not valid"),
        ({"models": []}, "model.json"),
        ({"models": {"0": "a"}}, "'0' is no forecast distance"),
        ({"models": {"1.0": "a"}}, "'1.0' is no forecast distance"),
        ({"models": {"02": "a"}}, "'02' is no forecast distance"),
        ({"models": {"2": 7}}, "models is not valid"),
        ({"models": {"2": "../a"}}, "models is not valid"),
        ({"models": {"2": "model-2.txt", "3": "model-2.txt"}}, "models is not valid"),
        ({"models": {"2": "model-3.txt"}}, "file is not valid"),
        ({"features": BY_DISTANCE["features"][:1]}, "features is not valid"),
        (
            {
                "features": [
                    *BY_DISTANCE["features"],
                    {"name": "a", "kind": "categorical", "categories": [1]},
                ]
            },
            "features is not valid",
        ),
    ],
)
def test_time_series_that_cannot_be_is_named(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModelCard, match=message):
        Model.from_json(card() | BY_DISTANCE | change, MODEL.id)


def test_time_series_takes_no_offset() -> None:
    changed = card() | COUNTS | {"time_series": {}}
    with pytest.raises(InvalidModelCard, match="time_series is not valid"):
        Model.from_json(changed, MODEL.id)


@given(key=st.sampled_from(["time_series", "models", "file", "features"]), value=JSON)
def test_any_value_of_a_time_series_is_read_or_refused(key: str, value: object) -> None:
    changed = copy.deepcopy(card()) | BY_DISTANCE | {key: value}
    try:
        model = Model.from_json(changed, MODEL.id)
    except InvalidModelCard:
        return
    assert Model.from_json(model.to_json(), MODEL.id) == model
