"""Documented and recorded explanations, written again from their own numbers.

They lie beside the repository, where there is a folder for them; nothing of them is
part of the project.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter
from app.explaining import Explanations
from app.explanation_columns import Told
from app.scoring import Predictions
from backends.explanations.strength import SYMBOLS
from backends.features import Columns
from backends.model import Feature, Label, Model, Task
from schemas import predictions as schemas
from tests.contract.spelling import compact, value_text

CONTRACT = Path(__file__).parents[3] / "shared" / "contract"
pytestmark = pytest.mark.skipif(
    not CONTRACT.is_dir(), reason="the recorded answers are not on this machine"
)

Row = dict[str, Any]


def samples() -> list[str]:
    """The answers printed in the document of explanations: XEMP, then SHAP."""
    [path] = CONTRACT.glob("documents/002_*.txt")
    text = path.read_text(encoding="utf-8")
    return [
        value_text(text, found.start()) for found in re.finditer(r'\{\s*"data"', text)
    ]


def recorded(name: str) -> list[Row]:
    text = (CONTRACT / "recorded" / name).read_text(encoding="utf-8")
    rows: list[Row] = json.loads(text)["data"]
    return rows


def told_of(row: Row) -> list[Row]:
    items: list[Row] = row["predictionExplanations"]
    return items


def model_of(
    features: tuple[Feature, ...],
    task: Task = "binary",
    target: str = "y",
    labels: tuple[Label, ...] = (0, 1),
) -> Model:
    return Model(
        *("0" * 24, "m", "onnx", "m.onnx", task, target),
        features,
        labels=labels,
        positive_label=labels[-1] if task == "binary" else None,
    )


def features_in(rows: list[Row]) -> tuple[Feature, ...]:
    """Numeric where every value told is a number or missing."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for item in told_of(row):
            values.setdefault(item["feature"], []).append(item["featureValue"])
    # A model has one feature at least, whether any is told of or not.
    return tuple(
        Feature(name, "text", dtype="string", missing="empty")
        if any(isinstance(value, str) for value in told)
        else Feature(name, "numeric")
        for name, told in (values or {"x": []}).items()
    )


def chunk_of(rows: list[Row], features: tuple[Feature, ...]) -> Chunk:
    """What was sent, as far as the answer tells."""
    sent = [
        {item["feature"]: item["featureValue"] for item in told_of(row)} for row in rows
    ]
    numbers = [
        [row.get(each.name) if each.kind == "numeric" else None for each in features]
        for row in sent
    ]
    cells = {
        each.name: [row.get(each.name) for row in sent]
        for each in features
        if each.kind != "numeric"
    }
    return Chunk(0, Columns(np.array(numbers, np.float64)), {}, cells)


def explanations_of(rows: list[Row], features: tuple[Feature, ...]) -> Explanations:
    names = [each.name for each in features]
    most = max(len(told_of(row)) for row in rows)
    shape = (len(rows), 1, most)
    positions, strengths = np.zeros(shape, np.intp), np.zeros(shape)
    signs = np.zeros(shape, np.intp)
    for number, row in enumerate(rows):
        for place, item in enumerate(told_of(row)):
            positions[number, 0, place] = names.index(item["feature"])
            strengths[number, 0, place] = item["strength"]
            if item["qualitativeStrength"] is not None:
                sign = SYMBOLS.index(item["qualitativeStrength"])
                signs[number, 0, place] = sign
    metadata = [row.get("shapExplanationsMetadata") for row in rows]
    is_shap = metadata[0] is not None
    return Explanations(
        np.array([bool(told_of(row)) for row in rows]),
        np.zeros((len(rows), 1), np.intp),
        positions,
        strengths,
        None if is_shap else signs,
        base=np.array([each["baseValue"] for each in metadata if each])
        if is_shap
        else None,
        remaining=np.array([each["remainingTotal"] for each in metadata if each])
        if is_shap
        else None,
    )


def written(rows: list[Row]) -> str:
    """The answer that its own numbers make; every row has as many explanations."""
    features = features_in(rows)
    found = explanations_of(rows, features)
    values = np.array([[row["predictionValues"][0]["value"]] for row in rows])
    threshold = rows[0].get("predictionThreshold", 0.5)
    answer = Answer(
        model_of(features),
        threshold=threshold,
        approval=rows[0].get("deploymentApprovalStatus"),
        told=Told(found.features.shape[2], is_shap=found.remaining is not None),
    )
    scored = Predictions(values, positive=values[:, 0] > threshold, explanations=found)
    writer = JsonWriter(answer)
    body = writer.head + writer.rows(scored, chunk_of(rows, features)) + writer.foot
    return body.decode()


def test_documented_xemp_sample_is_written_as_printed():
    sample = samples()[0]
    assert written(json.loads(sample)["data"]) == compact(sample)


def test_documented_shap_sample_is_written_with_its_keys_and_numbers():
    sample = samples()[1]
    # Its labels and its prediction are floats; those of the other sample are not.
    expected = re.sub(r'("label"|"prediction"):0\.0', r"\1:0", compact(sample))
    assert written(json.loads(sample)["data"]) == expected


@pytest.mark.parametrize("position", [0, 1])
def test_documented_samples_keep_to_their_schema(position):
    schema = [schemas.BinaryRow, schemas.ShapRow][position]()
    for row in json.loads(samples()[position])["data"]:
        assert schema.validate(row) == {}
        assert list(row) == [name for name in schema.fields if name in row]


def same_count(name: str) -> list[list[Row]]:
    """The recorded rows, those with as many explanations together."""
    groups: dict[int, list[Row]] = {}
    for row in recorded(name):
        groups.setdefault(len(told_of(row)), []).append(row)
    return list(groups.values())


RECORDED = ["10kDiabetes_5explanations.json", "10kDiabetes_mixed_explanations.json"]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_rows_are_written_with_the_same_content(name):
    for rows in same_count(name):
        ours = json.loads(written(rows))["data"]
        for number, (row, expected) in enumerate(zip(ours, rows, strict=True)):
            if "predictionThreshold" not in expected:
                row.pop("predictionThreshold")
            assert row == {**expected, "rowId": number}
            assert list(row) == list(expected)
            for item, recorded_item in zip(
                told_of(row), told_of(expected), strict=True
            ):
                assert list(item) == list(recorded_item)
                value = recorded_item["featureValue"]
                assert type(item["featureValue"]) is type(value)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_explanations_are_sorted_and_their_symbols_are_ours(name):
    for row in recorded(name):
        strengths = [item["strength"] for item in told_of(row)]
        assert strengths == sorted(strengths, key=abs, reverse=True)
        for item in told_of(row):
            place = SYMBOLS.index(item["qualitativeStrength"])
            assert (place >= len(SYMBOLS) // 2) == (item["strength"] > 0)
            assert item["label"] == 1


def parsed(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def test_recorded_csv_of_explanations_is_written_byte_for_byte():
    path = CONTRACT / "recorded" / "churn_batch_explanations_merged.csv"
    text = path.read_text(encoding="utf-8")
    lines = list(csv.DictReader(io.StringIO(text)))
    target, columns = "Churn_Value", [*lines[0]]
    start = columns.index(f"{target}_1_PREDICTION")
    rows = [recorded_row(line) for line in lines]
    features = features_in(rows)
    values = np.array([[float(line[f"{target}_1_PREDICTION"])] for line in lines])
    threshold = float(lines[0]["THRESHOLD"])
    found = explanations_of(rows, features)
    answer = Answer(
        model_of(features, target=target),
        threshold=threshold,
        approval="APPROVED",
        told=Told(5),
        passthrough=["Customer_ID_y"],
    )
    chunk = chunk_of(rows, features)
    passed = {"Customer_ID_y": [line["Customer_ID_y"] for line in lines]}
    scored = Predictions(values, positive=values[:, 0] > threshold, explanations=found)
    writer = CsvWriter(answer)
    body = writer.rows(scored, Chunk(0, chunk.columns, passed, chunk.cells))
    # The author put the rows that were sent in front of them.
    expected = [",".join(list(line.values())[start:]) for line in lines]
    ours = (writer.head + body).decode().splitlines()
    assert ours == [",".join(columns[start:]), *expected]


def recorded_row(line: dict[str, str]) -> Row:
    """A line's explanations as those of JSON."""
    items = []
    for number in range(1, 6):
        start = f"EXPLANATION_{number}"
        value = line[f"{start}_ACTUAL_VALUE"]
        number_told = parsed(value)
        items.append(
            {
                "feature": line[f"{start}_FEATURE_NAME"],
                "strength": float(line[f"{start}_STRENGTH"]),
                "featureValue": value if number_told is None else number_told,
                "qualitativeStrength": line[f"{start}_QUALITATIVE_STRENGTH"],
            }
        )
    return {"predictionExplanations": items}


@pytest.mark.parametrize(
    ("name", "count", "is_shap"),
    [
        ("batch_xemp_columns.txt", 3, False),
        ("batch_binary_boolean_target_xemp.txt", None, False),
        ("batch_regression_shap.txt", None, True),
    ],
)
def test_recorded_csv_columns_are_ours_in_their_order(name, count, is_shap):
    text = (CONTRACT / "recorded" / name).read_text(encoding="utf-8")
    words = r"EXPLANATION_\d+_[A-Z_]+[A-Z]|SHAP_[A-Z_]+[A-Z]|DEPLOYMENT_APPROVAL_STATUS"
    theirs = list(dict.fromkeys(re.findall(rf"\b(?:{words})\b", text)))
    told = sum(1 for each in theirs if each.endswith("_FEATURE_NAME"))
    assert told
    assert count in (None, told)
    task: Task = "regression" if is_shap else "binary"
    labels: tuple[Label, ...] = () if is_shap else (0, 1)
    model = model_of((Feature("x", "numeric"),), task, labels=labels)
    answer = Answer(model, approval="APPROVED", told=Told(told, is_shap=is_shap))
    ours = CsvWriter(answer).head.decode().strip().split(",")
    assert theirs == [each for each in ours if "PREDICTION" not in each][-len(theirs) :]
