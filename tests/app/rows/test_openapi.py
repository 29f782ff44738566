"""A deployment's own document: valid, true, and as Peltarion's client reads it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app.rows.openapi import PATH, document
from backends.model import Feature
from backends.tensors.spec import Field, TensorSpec
from tests.app.rows.test_description import SPEC, deployment_of, model_of, tensor_model
from tests.contract.effort import effort

ODD = ("$ref", "a/b", "~0", 'say "hi"', "größe ☃", "rows", "", "{x}", "properties")
NUMBERS = (Field("n", "numeric", "n"),)


def told(model, **settings):
    found = document(deployment_of(model, **settings), model, "http://a.example")
    # As clients get it.
    return json.loads(json.dumps(found))


def schemas_of(model, **settings):
    return told(model, **settings)["components"]["schemas"]


def is_input(model, name, value, **settings):
    schema = schemas_of(model, **settings)["input-row"]["properties"][name]
    return Draft202012Validator(schema).is_valid(value)


def tensors(*inputs, outputs=NUMBERS):
    return tensor_model(TensorSpec(inputs, outputs))


def is_answer(output, value, **settings):
    model = tensors(*NUMBERS, outputs=(output,))
    schema = schemas_of(model, **settings)["output-row"]
    return Draft202012Validator(schema).is_valid({output.name: value})


def client_reads(found):
    """What sidekick 0.3.1 takes from a document: TensorJSON, inputs, outputs."""
    path = found["paths"]["/deployment/{deploymentId}/forward"]
    schemas = found["components"]["schemas"]
    inputs = schemas["input-row"]["properties"]
    outputs = schemas["output-row-batch"]["properties"]["rows"]["properties"]

    def specs(properties):
        return {
            name: (each["x-peltarion"]["type"], each["x-peltarion"]["shape"])
            for name, each in properties.items()
        }

    return path["x-peltarion-tensorjson"], specs(inputs), specs(outputs)


@pytest.mark.parametrize(
    "name", ["churn", "price", "plan", "grade", "onnx-parcel", "onnx-iris"]
)
def test_documents_of_columns_are_valid(specimens, name):
    validate(told(specimens[name].model))
    validate(told(specimens[name].model, unknown_categories="error"))


@pytest.mark.parametrize("tensor_json", [True, False])
def test_documents_of_tensors_are_valid(tensor_json):
    validate(told(tensor_model(), tensor_json=tensor_json, rows_per_request=3))


def test_names_may_be_any_text():
    features = [Feature(name, "numeric") for name in ODD]
    for task in ({}, {"task": "multiclass", "labels": ODD}):
        for target in ("$ref", "rows", "a/b"):
            found = told(model_of(features, target=target, **task))
            validate(found)
            schema = found["components"]["schemas"]["input-row"]
            assert list(schema["properties"]) == schema["required"] == list(ODD)


@effort(30)
@given(
    names=st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True),
    label=st.text(max_size=20),
)
def test_document_of_any_names_is_valid(names, label):
    model = model_of(
        [
            Feature(name, "categorical", categories=(label, "b" + label))
            for name in names
        ],
        task="binary",
        target=names[0],
        labels=(label, label + "x"),
        positive_label=label,
    )
    found = document(deployment_of(model, label=label), model, "http://a.example")
    validate(found)
    assert list(client_reads(found)[1]) == names


def test_client_reads_columns(specimens):
    model = specimens["churn"].model
    tensor_json, inputs, outputs = client_reads(told(model))
    assert tensor_json is True
    assert list(inputs) == list(model.columns)
    assert inputs["tenure"] == ("numeric", [1])
    # It would demand a dictionary for a class.
    assert inputs["contract"] == ("text", [1])
    assert outputs == {"Churn": ("categorical", [2])}


def test_client_reads_tensors():
    _, inputs, outputs = client_reads(told(tensor_model()))
    assert inputs == {
        "photo": ("image", [8, 6, 1]),
        "size": ("numeric", [1]),
        "steps": ("numeric", [-1, 3]),
        "kind": ("text", [1]),
    }
    assert outputs == {"digit": ("categorical", [2]), "mask": ("numeric", [8, 6])}


def test_older_clients_find_the_older_place():
    found = told(tensor_model(), tensor_json=False)
    assert found["paths"][PATH]["x-peltarion-tensorjson"] is False
    for each in found["components"]["schemas"]["input-row"]["properties"].values():
        assert each["extensions"] == {"x-peltarion": each["x-peltarion"]}


def test_path_takes_no_other_deployment():
    found = told(tensor_model())
    assert list(found["paths"]) == ["/deployment/{deploymentId}/forward"]
    [place] = found["paths"][PATH]["parameters"]
    assert (place["name"], place["schema"]["enum"]) == ("deploymentId", ["a" * 24])
    assert found["servers"] == [{"url": "http://a.example"}]


def test_limit_of_rows_is_told():
    rows = schemas_of(tensor_model(), rows_per_request=3)["input-row-batch"]
    assert rows["properties"]["rows"]["maxItems"] == 3
    rows = schemas_of(tensor_model())["input-row-batch"]
    assert "maxItems" not in rows["properties"]["rows"]


def test_null_stands_where_a_value_may_be_missing():
    model = model_of(
        [
            Feature("gap", "numeric"),
            Feature("whole", "numeric", "int64", missing="error"),
            Feature("words", "text", "string", missing="empty"),
            Feature("all words", "text", "string", missing="error"),
            Feature("level", "categorical", categories=("a",)),
            Feature("code", "categorical", "int64", categories=("a",), missing="error"),
        ],
    )
    takes = {name: is_input(model, name, None) for name in model.columns}
    assert takes == {
        "gap": True,
        "whole": False,
        "words": True,
        "all words": False,
        "level": True,
        "code": False,
    }
    assert is_input(model, "words", "") and not is_input(model, "all words", "")
    assert not is_input(model, "whole", 0.5)


def test_offset_and_exposure_may_not_be_missing(insurance):
    model = insurance["costs"].model
    assert not is_input(model, "grade", None)
    assert not is_input(model, "years", None)
    assert not is_input(model, "years", 0) and is_input(model, "years", 0.5)


@pytest.mark.parametrize(
    ("levels", "known", "unknown"),
    [
        (("a", "b"), ["a", None], ["c", 1]),
        ((1, 2), [1, "2", None], [3, "x"]),
        ((False, True), [True, "False", None], ["x"]),
    ],
)
def test_unknown_levels_are_taken_or_not(levels, known, unknown):
    model = model_of([Feature("level", "categorical", categories=levels)])
    for value in known:
        assert is_input(model, "level", value)
        assert is_input(model, "level", value, unknown_categories="error")
    assert is_input(model, "level", unknown[0])
    for value in unknown:
        assert not is_input(model, "level", value, unknown_categories="error")


def npy_url(array):
    file = io.BytesIO()
    np.save(file, array)
    data = base64.b64encode(file.getvalue()).decode()
    return f"data:application/x.peltarion.npy;base64,{data}"


def test_arrays_are_sent_in_three_ways():
    model = tensors(Field("t", "numeric", "t", (2, 3)))
    for value in (
        [[1, 2, 3], [4, 5, 6.5]],
        {"shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]},
        npy_url(np.zeros((2, 3), np.float32)),
    ):
        assert is_input(model, "t", value)
    for value in (
        *([[1, 2], [3, 4]], [1, 2, 3], [[1, 2, 3], [4, 5, None]], 1, "x", None),
        {"shape": [3, 2], "data": [1, 2, 3, 4, 5, 6]},
        {"shape": [2, 3], "data": [1]},
        {"shape": [2, 3]},
    ):
        assert not is_input(model, "t", value)


def test_open_axes_have_any_size():
    model = tensors(Field("t", "numeric", "t", (None, 2)))
    assert is_input(model, "t", [[1, 2], [3, 4], [5, 6]])
    assert is_input(model, "t", {"shape": [1, 2], "data": [1, 2]})
    assert not is_input(model, "t", []) and not is_input(model, "t", [[1]])


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        (Field("v", "numeric", "t"), [1, -1e300], ["1", None, [1], True]),
        (Field("v", "numeric", "t", dtype="uint8"), [0, 255], [-1, 256, 0.5]),
        (Field("v", "numeric", "t", dtype="int64"), [-(2**63)], [2**63, 0.5, True]),
        (Field("v", "numeric", "t", dtype="bool"), [True, 0], [2, 0.5, "true"]),
        (Field("v", "numeric", "t", (2,), dtype="int8"), [[1, -128]], [[1, 128]]),
        (Field("v", "binary", "t"), [True, 0, 1.0], [2, "yes", None]),
        (Field("v", "text", "t"), ["", "a"], [1, None]),
        (Field("v", "categorical", "t", labels=("a", "1")), ["a", "1"], ["b", 1]),
        (
            Field("v", "image", "t", (8, 6, 1), picture=SPEC.inputs[0].picture),
            ["data:image/png;base64,AA=="],
            ["AA==", "data:text/plain;base64,AA==", None],
        ),
    ],
)
def test_single_inputs_are_what_they_are(field, right, wrong):
    model = tensors(field)
    assert all(is_input(model, "v", value) for value in right)
    assert not any(is_input(model, "v", value) for value in wrong)


def test_answers_have_exactly_the_classes():
    output = Field("o", "categorical", "t", (2,), labels=("0", "größe"))
    assert is_answer(output, {"0": 0.25, "größe": 0.75})
    assert not is_answer(output, {"0": 0.25})
    assert not is_answer(output, {"0": 0.25, "größe": 0.75, "x": 0})


def test_arrays_are_answered_as_the_deployment_says():
    output = Field("o", "numeric", "t", (2,))
    listed, url = {"shape": [2], "data": [1, 2]}, npy_url(np.zeros(2))
    assert is_answer(output, listed) and not is_answer(output, url)
    assert is_answer(output, url, tensor_json=False)
    assert not is_answer(output, listed, tensor_json=False)


@pytest.mark.parametrize(
    ("dtype", "right", "wrong"),
    [("float16", 0.5, True), ("int32", 1, 0.5), ("bool", 1, True)],
)
def test_answered_numbers_are_of_their_type(dtype, right, wrong):
    for shape in ((1,), (2,)):
        output = Field("o", "numeric", "t", shape, dtype=dtype)
        values = [
            each if shape == (1,) else {"shape": [2], "data": [each] * 2}
            for each in (right, wrong)
        ]
        assert [is_answer(output, value) for value in values] == [True, False]


def test_form_may_have_other_fields():
    form = schemas_of(tensors(*NUMBERS))["input-form"]
    assert Draft202012Validator(form).is_valid({"n": 1, "of another input": "x"})
    assert not Draft202012Validator(form).is_valid({"of another input": "x"})


def test_forms_take_files_for_pictures():
    post = told(tensor_model())["paths"][PATH]["post"]
    content = post["requestBody"]["content"]
    assert set(content) == {
        *("application/json", "multipart/form-data"),
        "application/x-www-form-urlencoded",
    }
    encoding = content["multipart/form-data"]["encoding"]
    assert list(encoding) == ["photo"]
    assert "image/webp" in encoding["photo"]["contentType"]
