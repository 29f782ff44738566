"""What humility rules found, as it is told."""

import json

import numpy as np
import pytest

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter
from app.scoring import Predictions
from backends.features import Columns
from backends.humility import (
    Humbled,
    NoOperation,
    Override,
    Rule,
    UncertainPrediction,
)
from backends.model import Feature, Model
from schemas.predictions import BinaryRow

UNSURE = UncertainPrediction(0.4, 0.6)


def rule(number, action):
    return Rule(f"{number:024x}", f'rule "{number}" %b', UNSURE, action)


def model(task, labels=(), positive=None):
    features = (Feature("x", "numeric"),)
    return Model(
        *("0" * 24, "m", "onnx", "m.onnx", task, "y"),
        features,
        labels=labels,
        positive_label=positive,
    )


def humbled(triggered, overriding):
    return Humbled(np.array(triggered, bool), np.array(overriding, np.intp))


def predictions(values, found):
    array = np.array(values, np.float64).reshape(len(values), -1)
    return Predictions(array, positive=array[:, 0] > 0.5, humbled=found)


def chunk(count, passthrough=None):
    return Chunk(0, Columns(np.empty((count, 1))), passthrough or {})


def in_json(answer, scored):
    writer = JsonWriter(answer)
    body = writer.rows(scored, chunk(len(scored)))
    return json.loads(writer.head + body + writer.foot)["data"]


def in_csv(answer, scored):
    rows = CsvWriter(answer).rows(scored, chunk(len(scored)))
    return [line.split(",") for line in rows.decode().splitlines()]


BINARY = model("binary", ("no", "yes"), "yes")
RULES = (rule(1, NoOperation()), rule(2, Override("yes")), rule(3, Override("no")))
FOUND = humbled([[1, 0, 0], [0, 0, 1], [1, 0, 0]], [2, -1, 1])


def test_rows_list_the_rules_that_triggered_and_others_have_no_key():
    rows = in_json(Answer(BINARY, humility=RULES), predictions([0.9, 0.9, 0.1], FOUND))
    assert rows[0]["humility"] == [
        {
            "ruleId": f"{number:024x}",
            "triggered": True,
            "ruleName": f'rule "{number}" %b',
        }
        for number in (1, 3)
    ]
    assert "humility" not in rows[1]
    assert list(rows[2])[-1] == "humility"
    assert [each["ruleId"][-1] for each in rows[2]["humility"]] == ["2"]
    assert all(BinaryRow().validate(row) == {} for row in rows)


def test_override_replaces_the_prediction_and_nothing_else():
    answer = Answer(BINARY, humility=RULES)
    scored = predictions([0.9, 0.9, 0.1], FOUND)
    rows = in_json(answer, scored)
    assert [row["prediction"] for row in rows] == [0, 1, 1]
    assert [row["predictionValues"][0]["value"] for row in rows] == [0.9, 0.9, 0.1]
    assert in_csv(answer, scored) == [
        ["0.9", "0.1", "no", "0.5", "yes"],
        ["0.9", "0.1", "yes", "0.5", "yes"],
        ["0.1", "0.9", "yes", "0.5", "yes"],
    ]


def test_named_labels_are_overridden_by_name():
    answer = Answer(BINARY, named_labels=True, humility=RULES)
    rows = in_json(answer, predictions([0.9, 0.9, 0.1], FOUND))
    assert [row["prediction"] for row in rows] == ["no", "yes", "yes"]


@pytest.mark.parametrize(
    ("value", "written"), [(55, 55.0), (0.12345678911, 0.1234567891)]
)
def test_numbers_are_overridden_by_rounded_numbers(value, written):
    rules = (rule(1, Override(value)),)
    answer = Answer(model("regression"), humility=rules)
    scored = predictions([1.5, 2.5], humbled([[1, 0]], [0, -1]))
    rows = in_json(answer, scored)
    assert [row["prediction"] for row in rows] == [written, 2.5]
    assert rows[0]["predictionValues"] == [{"value": 1.5, "label": "y"}]
    assert in_csv(answer, scored) == [[str(written)], ["2.5"]]


@pytest.mark.parametrize("labels", [(1, 3, 2), ("1", "3", "2")])
def test_classes_are_overridden_as_strings(labels):
    rules = (rule(1, Override(labels[2])),)
    answer = Answer(model("multiclass", labels), humility=rules)
    scored = predictions([[0.1, 0.7, 0.2]] * 2, humbled([[1, 0]], [0, -1]))
    assert [row["prediction"] for row in in_json(answer, scored)] == ["2", "3"]
    assert [row[-1] for row in in_csv(answer, scored)] == ["2", "3"]


def test_rules_that_do_not_trigger_leave_the_answer_as_it_is():
    plain = predictions([0.9, 0.1], None)
    quiet = predictions([0.9, 0.1], humbled(np.zeros((3, 2)), [-1, -1]))
    with_rules = JsonWriter(Answer(BINARY, humility=RULES)).rows(quiet, chunk(2))
    assert with_rules == JsonWriter(Answer(BINARY)).rows(plain, chunk(2))
