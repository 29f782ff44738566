"""Explanations over HTTP: every model, both layouts, each way to send and to answer."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from urllib.parse import quote

import numpy as np
import pytest

from backends.explanations.strength import SYMBOLS
from backends.humility import (
    LowObservation,
    NoOperation,
    Override,
    Rule,
    ThrowError,
    UncertainPrediction,
)
from schemas import predictions as schemas

EXPLAINED = ["churn", "price", "plan", "grade"]
EXPLAINED += ["onnx-price", "onnx-parcel", "onnx-iris"]
ONE_SCORE = ["churn", "price", "onnx-price", "onnx-parcel"]
SHAP = "explanationAlgorithm=shap"
SCHEMAS = {
    "binary": schemas.BinaryRow,
    "regression": schemas.RegressionRow,
    "multiclass": schemas.MulticlassRow,
}


def csv_body(frame) -> bytes:
    body: bytes = frame.to_csv(index=False).encode()
    return body


def json_body(frame, features) -> bytes:
    """The cells of the CSV body, numbers as numbers."""
    numbers = {each.name for each in features if each.kind == "numeric"}
    records = [
        {
            name: (float(cell) if name in numbers else cell) if cell else None
            for name, cell in row.items()
        }
        for row in csv.DictReader(io.StringIO(csv_body(frame).decode(), newline=""))
    ]
    return json.dumps(records).encode()


def form(body: bytes) -> bytes:
    head = '--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.csv"'
    return f"{head}\r\n\r\n".encode() + body + b"\r\n--xyz--\r\n"


def rows(answer):
    assert answer.status_code == 200, answer.data
    return json.loads(answer.data)["data"]


def table(answer):
    assert answer.status_code == 200, answer.data
    return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))


def items(row):
    return row["predictionExplanations"]


@pytest.fixture(scope="module")
def frames(specimens):
    return {name: specimens[name].frame[:6] for name in EXPLAINED}


@pytest.fixture
def explain(predict, frames):
    """The rows of an explained specimen."""

    def explain(name, query, **more):
        body = csv_body(frames[name])
        return rows(predict(name, body, query=query, **more))

    return explain


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
@pytest.mark.parametrize("name", EXPLAINED)
def test_most_important_features_of_each_row_are_told(explain, specimens, name, layout):
    model = specimens[name].model
    plain = explain(name, "", layout=layout)
    found = explain(name, "maxExplanations=2", layout=layout)
    names = [feature.name for feature in model.features]
    for row, expected in zip(found, plain, strict=True):
        told = items(row)
        assert SCHEMAS[model.task]().validate(row) == {}
        assert list(row) == [*expected, "predictionExplanations"]
        assert {key: row[key] for key in expected} == expected
        assert len(told) == 2
        assert len({each["feature"] for each in told} & set(names)) == 2
        sizes = [abs(each["strength"]) for each in told]
        assert sizes == sorted(sizes, reverse=True)
        for each in told:
            signs = SYMBOLS[:4] if each["strength"] <= 0 else SYMBOLS[4:]
            assert each["qualitativeStrength"] in signs


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize("query", ["maxExplanations=50", SHAP])
def test_every_way_to_send_has_the_same_explanations(
    predict, specimens, frames, name, query
):
    if query == SHAP and name not in ONE_SCORE:
        return
    frame = frames[name]
    expected = rows(predict(name, csv_body(frame), query=query))
    many = int(9000 / len(csv_body(frame))) + 1
    lines = csv_body(frame).split(b"\n", 1)
    kind = "multipart/form-data; boundary=xyz"
    assert rows(predict(name, form(csv_body(frame)), kind, query=query)) == expected
    sent = gzip.compress(csv_body(frame))
    headers = {"Content-Encoding": "gzip"}
    assert rows(predict(name, sent, query=query, headers=headers)) == expected
    # Above some size CSV is read by another reader.
    large = rows(predict(name, lines[0] + b"\n" + lines[1] * many, query=query))
    for number, row in enumerate(large):
        assert row == {**expected[number % len(frame)], "rowId": number}
    body = json_body(frame, specimens[name].model.features)
    assert rows(predict(name, body, "application/json", query=query)) == expected


@pytest.mark.parametrize("name", EXPLAINED)
def test_csv_tells_what_json_does(predict, frames, name):
    body = csv_body(frames[name])
    for query in ("maxExplanations=3", f"{SHAP}&maxExplanations=2"):
        if "shap" in query and name not in ONE_SCORE:
            continue
        told = rows(predict(name, body, query=query))
        lines = table(predict(name, body, query=query, headers={"Accept": "text/csv"}))
        for row, line in zip(told, lines, strict=True):
            start = "CLASS_1_" if "CLASS_1" in line else ""
            for number, item in enumerate(items(row), 1):
                column = f"{start}EXPLANATION_{number}"
                value = item["featureValue"]
                assert line[f"{column}_FEATURE_NAME"] == item["feature"]
                assert float(line[f"{column}_STRENGTH"]) == item["strength"]
                assert line[f"{column}_QUALITATIVE_STRENGTH"] == (
                    item["qualitativeStrength"] or ""
                )
                assert line[f"{column}_ACTUAL_VALUE"] == (
                    "" if value is None else str(value)
                )
            if start:
                assert line["CLASS_1"] == items(row)[0]["label"] == row["prediction"]


@pytest.mark.parametrize("name", ONE_SCORE)
@pytest.mark.parametrize("most", ["0", "1", "2", "all"])
def test_shap_values_add_up(explain, specimens, name, most):
    model = specimens[name].model
    for row in explain(name, f"{SHAP}&maxExplanations={most}&decimalsNumber=15"):
        assert schemas.ShapRow().validate(row) == {}
        metadata = row["shapExplanationsMetadata"]
        told = sum(each["strength"] for each in items(row))
        whole = metadata["baseValue"] + told + metadata["remainingTotal"]
        value = row["predictionValues"][0]["value"]
        if model.task == "binary":
            value = math.log(value / (1 - value))
        assert whole == pytest.approx(value, rel=1e-6, abs=1e-6)
        expected = {"0": len(model.features), "all": len(model.features)}
        assert len(items(row)) == expected.get(most, int(most) if most != "all" else 0)
        assert metadata["warnings"] is None


@pytest.mark.parametrize("name", ["churn", "onnx-parcel"])
def test_shap_values_add_up_to_the_probability_where_a_deployment_says_so(
    predict, frames, name
):
    deployed = predict.deploy(name, shap_output="probability")
    answer = predict(
        deployed, csv_body(frames[name]), query=f"{SHAP}&maxExplanations=2"
    )
    for row in rows(answer):
        metadata = row["shapExplanationsMetadata"]
        told = sum(each["strength"] for each in items(row))
        whole = metadata["baseValue"] + told + metadata["remainingTotal"]
        assert whole == pytest.approx(row["predictionValues"][0]["value"], abs=1e-8)


def test_classes_are_explained_from_the_most_probable_down(explain):
    for row in explain("plan", "maxExplanations=2&explanationNumTopClasses=2"):
        values = sorted(row["predictionValues"], key=lambda each: -each["value"])
        labels = [each["label"] for each in values[:2]]
        assert [each["label"] for each in items(row)] == np.repeat(labels, 2).tolist()


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
def test_classes_are_explained_in_the_order_they_are_named(explain, layout):
    names = [quote("größer"), "S"]
    query = "maxExplanations=1&" + "&".join(
        f"explanationClassNames={name}" for name in names
    )
    for row in explain("plan", query, layout=layout):
        assert [each["label"] for each in items(row)] == ["größer", "S"]


def test_strengths_of_a_class_are_its_own_whoever_is_explained_beside_it(explain):
    alone = explain("plan", "maxExplanations=3&explanationClassNames=M")
    together = explain("plan", "maxExplanations=3&explanationNumTopClasses=3")
    for one, all_of_them in zip(alone, together, strict=True):
        own = [each for each in items(all_of_them) if each["label"] == "M"]
        assert items(one) == own


@pytest.mark.parametrize(
    ("thresholds", "is_told"),
    [
        ("thresholdLow=0.3", lambda p: p < 0.3),
        ("thresholdHigh=0.6", lambda p: p > 0.6),
        ("thresholdLow=0.3&thresholdHigh=0.6", lambda p: p < 0.3 or p > 0.6),
        ("thresholdLow=0&thresholdHigh=0", lambda p: True),
        ("thresholdLow=0&thresholdHigh=1", lambda p: False),
        ("", lambda p: True),
    ],
)
def test_thresholds_choose_rows(predict, specimens, thresholds, is_told):
    body = csv_body(specimens["churn"].frame[:60])
    query = f"maxExplanations=2&{thresholds}"
    told = rows(predict("churn", body, query=query))
    lines = table(predict("churn", body, query=query, headers={"Accept": "text/csv"}))
    for row, line in zip(told, lines, strict=True):
        expected = is_told(row["predictionValues"][0]["value"])
        assert bool(items(row)) == expected
        assert len(items(row)) == (2 if expected else 0)
        assert bool(line["EXPLANATION_1_FEATURE_NAME"]) == expected
        assert bool(line["EXPLANATION_2_STRENGTH"]) == expected


def test_thresholds_do_not_matter_to_shap(explain):
    query = f"{SHAP}&maxExplanations=2"
    told = explain("churn", f"{query}&thresholdLow=0&thresholdHigh=1")
    assert told == explain("churn", query)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("maxExplanations=0", None),
        ("maxCodes=0", None),
        ("maxCodes=2", 2),
        ("maxExplanations=1&maxCodes=4", 1),
        ("maxExplanations=50", 6),
        ("maxExplanations=1000000", 6),
        ("maxExplanations=2147483648", 6),
        ("maxExplanations=2&explanationAlgorithm=xemp", 2),
        ("maxExplanations=2&excludeAdjustedPredictions=true", 2),
        ("maxExplanations=2&maxNgramExplanations=all", 2),
        (f"{SHAP}&maxExplanations=0", 6),
        (f"{SHAP}&maxExplanations=all", 6),
        (f"{SHAP}&maxExplanations=1000000", 6),
        (SHAP, 6),
        ("explanationAlgorithm=SHAP", 6),
        ("maxExplanations=2&explanationAlgorithm=Xemp", 2),
    ],
)
def test_number_of_explanations(explain, query, count):
    for row in explain("churn", query):
        found = row.get("predictionExplanations")
        assert (None if found is None else len(found)) == count


def test_feature_values_are_told_as_they_were_sent(predict):
    records = [
        {
            "tenure": 12,
            "monthly charge": "17.56%",
            "contract": None,
            "region": " spaced ",
            "plan": 2,
            "senior": True,
        },
        {
            "tenure": None,
            "monthly charge": 1e-7,
            "contract": "Ten years",
            "region": "01",
            "plan": "2.0",
            "senior": "true",
        },
    ]
    answer = predict(
        "churn", json.dumps(records), "application/json", query="maxExplanations=6"
    )
    told = [
        {each["feature"]: each["featureValue"] for each in items(row)}
        for row in rows(answer)
    ]
    assert told[0] == {
        "tenure": 12,
        "monthly charge": 17.56,
        "contract": None,
        "region": " spaced ",
        "plan": "2",
        "senior": "True",
    }
    assert isinstance(told[0]["tenure"], int)
    assert told[1] == {
        "tenure": None,
        "monthly charge": 1e-7,
        "contract": "Ten years",
        "region": "01",
        "plan": "2.0",
        "senior": "true",
    }


@pytest.mark.parametrize("query", ["maxExplanations=2", f"{SHAP}&maxExplanations=2"])
def test_everything_else_stands_beside_explanations(predict, specimens, query):
    deployed = predict.deploy(
        "price",
        approval_workflow=True,
        prediction_warning_lower=-1e9,
        prediction_warning_upper=0,
        humility=(
            Rule("1" * 24, "always", UncertainPrediction(1e9, 1e10), Override(5)),
        ),
    )
    body = csv_body(specimens["price"].frame[:3])
    query += "&passthroughColumns=plan&predictionWarningEnabled=true"
    for row in rows(predict(deployed, body, query=query)):
        schema = schemas.ShapRow if "shap" in query else schemas.RegressionWarningRow
        assert schema().validate(row) == {}
        assert list(row) == [name for name in schema().fields if name in row]
        assert row["prediction"] == 5
        assert row["predictionValues"][0]["value"] != 5
        assert isinstance(row["isOutlierPrediction"], bool)
        assert row["humility"][0]["ruleName"] == "always"
        assert set(row["passthroughValues"]) == {"plan"}
        assert row["deploymentApprovalStatus"] == "APPROVED"
    for line in table(
        predict(deployed, body, query=query, headers={"Accept": "text/csv"})
    ):
        shap = ["SHAP_BASE_VALUE", "SHAP_REMAINING_TOTAL"] if "shap" in query else []
        columns = [*line]
        assert columns[:2] == ["price_PREDICTION", "IS_OUTLIER_PREDICTION"]
        assert columns[10:] == [*shap, "DEPLOYMENT_APPROVAL_STATUS", "plan"]
        assert line["price_PREDICTION"] == "5.0"


@pytest.mark.parametrize("query", ["", "maxExplanations=2"])
def test_texts_are_held_against_low_observation_rules(predict, specimens, query):
    frame = specimens["onnx-parcel"].frame[:4].reset_index(drop=True)
    frame["colour"] = ["red", "Red", "mauve", ""]
    listed = LowObservation("colour", ("red", "mauve"))
    deployed = predict.deploy(
        "onnx-parcel", humility=(Rule("1" * 24, "rare", listed, NoOperation()),)
    )
    found = rows(predict(deployed, csv_body(frame), query=query))
    assert ["humility" in row for row in found] == [False, True, False, True]


def test_error_of_a_humility_rule_is_the_whole_answer(predict, specimens):
    always = UncertainPrediction(0.0, 1.0)
    for action in (ThrowError(), ThrowError("No, not größer")):
        deployed = predict.deploy(
            "churn", humility=(Rule("1" * 24, "always", always, action),)
        )
        for query in ("", "maxExplanations=2"):
            for layout in ("legacy", "serverless"):
                body = csv_body(specimens["churn"].frame[:3])
                answer = predict(deployed, body, query=query, layout=layout)
                assert answer.status == "480 HUMILITY RULE"
                assert json.loads(answer.data) == {"message": action.message}
                assert answer.headers["Content-Type"] == "application/json"
    assert ThrowError().message == "Humility ReturnError action triggered."
