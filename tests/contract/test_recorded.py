"""Documented and recorded answers, written again from their own numbers.

They lie beside the repository, where there is a folder for them; nothing of them is
part of the project.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter, csv_columns
from app.scoring import Predictions
from backends.features import Columns
from backends.model import Feature, Label, Model, Task
from tests.contract.spelling import compact, value_text

CONTRACT = Path(__file__).parents[3] / "shared" / "contract"
pytestmark = pytest.mark.skipif(
    not CONTRACT.is_dir(), reason="the recorded answers are not on this machine"
)

# Enough to keep a documented value of 1.997631915e-16.
DECIMALS = 25


def model_of(
    task: Task,
    target: str,
    labels: tuple[Label, ...] = (),
    positive: Label | None = None,
) -> Model:
    return Model(
        "0" * 24,
        "m",
        "onnx",
        "m.onnx",
        task,
        target,
        (Feature("x", "numeric"),),
        labels=labels,
        positive_label=positive,
    )


def documents(*numbers: str) -> Iterator[str]:
    for number in numbers:
        for path in CONTRACT.glob(f"documents/{number}_*.txt"):
            yield path.read_text(encoding="utf-8")


def samples(*numbers: str) -> list[str]:
    """Every answer printed in documents, as it stands there."""
    return [
        value_text(text, found.start())
        for text in documents(*numbers)
        for found in re.finditer(r'\{\s*"data"', text)
    ]


def recorded(name: str) -> list[dict[str, Any]]:
    text = (CONTRACT / "recorded" / name).read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["data"]
    return rows


def task_of(row: dict[str, Any]) -> Task:
    if isinstance(row["prediction"], str):
        return "multiclass"
    return "binary" if len(row["predictionValues"]) == 2 else "regression"


def answer_to(rows: list[dict[str, Any]]) -> tuple[Answer, Predictions]:
    """What would have to be written, told from the answer itself."""
    first = rows[0]
    task = task_of(first)
    labels = tuple(each["label"] for each in first["predictionValues"])
    target = labels[0] if task == "regression" else "y"
    if task == "regression":
        labels = ()
    if task == "binary":
        labels = (0, 1)
    values = np.array(
        [[each["value"] for each in row["predictionValues"]] for row in rows]
    )
    threshold = first.get("predictionThreshold", 0.5)
    outliers = [row.get("isOutlierPrediction") for row in rows]
    model = model_of(task, str(target), labels, 1 if task == "binary" else None)
    answer = Answer(
        model,
        threshold=threshold,
        decimals=DECIMALS,
        with_outliers=outliers[0] is not None,
        approval=first.get("deploymentApprovalStatus"),
        passthrough=tuple(first.get("passthroughValues", ())),
    )
    predictions = Predictions(
        values[:, :1] if task == "binary" else values,
        positive=values[:, 0] > threshold,
        outliers=None if outliers[0] is None else np.array(outliers),
    )
    return answer, predictions


def written(rows: list[dict[str, Any]]) -> str:
    answer, predictions = answer_to(rows)
    passthrough = {
        name: [row["passthroughValues"][name] for row in rows]
        for name in answer.passthrough
    }
    if answer.model.task == "binary":
        # Printed values are rounded; what is left of 1 is rounded again.
        answer = Answer(**{**fields(answer), "decimals": 10})
    writer = JsonWriter(answer)
    body = (
        writer.head
        + writer.rows(predictions, chunk(predictions, passthrough))
        + writer.foot
    )
    return body.decode()


def chunk(predictions: Predictions, passthrough: dict[str, list[Any]]) -> Chunk:
    return Chunk(0, Columns(np.empty((len(predictions), 1))), passthrough)


def fields(answer: Answer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in answer.__slots__}


def test_every_documented_sample_is_found():
    assert [
        task_of(json.loads(each)["data"][0]) for each in samples("000", "001")
    ] == 2 * [*("regression", "binary", "regression", "multiclass")]


@pytest.mark.parametrize("position", range(8))
def test_documented_sample_is_written_as_printed(position):
    sample = samples("000", "001")[position]
    assert written(json.loads(sample)["data"]) == compact(sample)


@pytest.mark.parametrize(
    "name",
    [
        "regression.json",
        "regression_price.json",
        "iris.json",
        "titanic_binary_passthrough.json",
        "lendingclub_binary_2022.json",
        "10kDiabetes_5explanations.json",
        "10kDiabetes_mixed_explanations.json",
    ],
)
def test_recorded_rows_are_written_with_the_same_content(name):
    rows = recorded(name)
    for row in rows:
        # Explanations are another kind of answer.
        row.pop("predictionExplanations", None)
    ours = json.loads(written(rows))["data"]
    if "predictionThreshold" not in rows[0]:
        for row in ours:
            row.pop("predictionThreshold", None)
    # To Python 1 == 1.0: labels were spelled 1, 1.0 and 0.0 over the years.
    assert ours == rows


@pytest.mark.parametrize(
    "name",
    [
        "regression.json",
        "regression_price.json",
        "iris.json",
        "titanic_binary_passthrough.json",
        "10kDiabetes_5explanations.json",
    ],
)
def test_recorded_rows_have_the_same_order_of_keys(name):
    # Answers of 2022 are in another order, that of no documented sample.
    rows = recorded(name)
    theirs = [key for key in rows[0] if key != "predictionExplanations"]
    ours = json.loads(written(rows))["data"][0]
    assert [key for key in ours if key in theirs] == theirs
    assert [*ours["predictionValues"][0]] == [*rows[0]["predictionValues"][0]]


def test_recorded_binary_csv_is_written_byte_for_byte():
    text = (CONTRACT / "recorded/afd_batch_predicted.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    values = np.array([[float(row["BadLoan_Yes_PREDICTION"])] for row in rows])
    model = model_of("binary", "BadLoan", ("No", "Yes"), "Yes")
    writer = CsvWriter(Answer(model, approval="APPROVED"))
    predictions = Predictions(values, positive=values[:, 0] > 0.5)
    body = writer.rows(predictions, chunk(predictions, {}))
    assert (writer.head + body).decode() == text


def test_recorded_csv_with_its_own_threshold_is_written_alike():
    path = CONTRACT / "recorded/churn_batch_explanations_merged.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    target = "Churn_Value"
    values = np.array([[float(row[f"{target}_1_PREDICTION"])] for row in rows])
    threshold = float(rows[0]["THRESHOLD"])
    writer = CsvWriter(
        Answer(model_of("binary", target, (0, 1), 1), threshold=threshold)
    )
    predictions = Predictions(values, positive=values[:, 0] > threshold)
    body = writer.rows(predictions, chunk(predictions, {}))
    ours = list(csv.DictReader(io.StringIO((writer.head + body).decode())))
    assert [{name: row[name] for name in ours[0]} for row in rows] == ours


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("batch_binary_threshold03.txt", model_of("binary", "is_bad", (0, 1), 1)),
        ("batch_xemp_columns.txt", model_of("binary", "is_bad", (0, 1), 1)),
        (
            "batch_binary_boolean_target_xemp.txt",
            model_of("binary", "no_show", (False, True), True),
        ),
        (
            "batch_multiclass_columns.txt",
            model_of(
                "multiclass",
                "target_str",
                (
                    *("LAYING", "SITTING", "STANDING", "WALKING"),
                    *("WALKING_DOWNSTAIRS", "WALKING_UPSTAIRS"),
                ),
            ),
        ),
    ],
)
def test_recorded_csv_header_is_ours(name, model):
    text = (CONTRACT / "recorded" / name).read_text(encoding="utf-8")
    names = r"\w+_PREDICTION|THRESHOLD|POSITIVE_CLASS|DEPLOYMENT_APPROVAL_STATUS"
    theirs = list(dict.fromkeys(re.findall(rf"\b(?:{names})\b", text)))
    assert theirs == csv_columns(Answer(model, approval="APPROVED"))
