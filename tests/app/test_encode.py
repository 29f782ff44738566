"""Predictions to JSON and CSV bytes."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.encode import (
    Answer,
    CsvWriter,
    JsonWriter,
    csv_cell,
    number_tokens,
    round_decimals,
)
from app.errors import OutputColumnsClash
from app.scoring import Predictions
from backends.model import Feature, Model
from schemas import predictions as rows

FEATURES = (Feature("x", "numeric"),)


def model(task, labels=(), positive=None):
    return Model(
        "0" * 24,
        "m",
        "lightgbm",
        "model.txt",
        task,
        "y",
        FEATURES,
        labels=labels,
        positive_label=positive,
    )


BINARY = model("binary", ("no", "yes"), "yes")
REGRESSION = model("regression")
MULTICLASS = model("multiclass", (1, 3, 2))


def answer_json(answer, predictions, first_row=0, passthrough=None):
    writer = JsonWriter(answer)
    body = writer.rows(predictions, first_row, passthrough or {})
    return json.loads(writer.head + body + writer.foot)["data"]


def answer_csv(answer, predictions, passthrough=None):
    writer = CsvWriter(answer)
    text = (writer.head + writer.rows(predictions, 0, passthrough or {})).decode()
    return list(csv.reader(io.StringIO(text)))


def column(*values):
    return np.array(values, np.float64).reshape(-1, 1)


def test_binary_row_is_the_documented_one():
    predictions = Predictions(column(0.27894507149), np.array([False]))
    [row] = answer_json(Answer(BINARY), predictions)
    assert json.dumps(row) == (
        '{"predictionValues": [{"value": 0.2789450715, "label": 1},'
        ' {"value": 0.7210549285, "label": 0}],'
        ' "predictionThreshold": 0.5, "prediction": 0, "rowId": 0}'
    )


def test_regression_row_is_the_documented_one():
    [row] = answer_json(Answer(REGRESSION), Predictions(column(6754486.5)))
    assert json.dumps(row) == (
        '{"predictionValues": [{"value": 6754486.5, "label": "y"}],'
        ' "prediction": 6754486.5, "rowId": 0}'
    )


def test_regression_row_with_a_warning_is_the_documented_one():
    predictions = Predictions(column(18.6948852), outliers=np.array([False]))
    [row] = answer_json(Answer(REGRESSION, with_outliers=True), predictions)
    assert json.dumps(row) == (
        '{"predictionValues": [{"value": 18.6948852, "label": "y"}],'
        ' "isOutlierPrediction": false, "rowId": 0, "prediction": 18.6948852}'
    )


def test_multiclass_labels_are_strings_in_the_models_order():
    values = np.array([[0.2, 0.7, 0.1]])
    [row] = answer_json(Answer(MULTICLASS), Predictions(values))
    assert json.dumps(row) == (
        '{"predictionValues": [{"value": 0.2, "label": "1"},'
        ' {"value": 0.7, "label": "3"}, {"value": 0.1, "label": "2"}],'
        ' "prediction": "3", "rowId": 0}'
    )


def test_labels_may_be_names():
    predictions = Predictions(column(0.9), np.array([True]))
    [row] = answer_json(Answer(BINARY, named_labels=True), predictions)
    assert [value["label"] for value in row["predictionValues"]] == ["yes", "no"]
    assert row["prediction"] == "yes"


def test_row_ids_go_on_from_chunk_to_chunk():
    found = answer_json(Answer(REGRESSION), Predictions(column(1, 2)), first_row=7)
    assert [row["rowId"] for row in found] == [7, 8]


def test_passthrough_keeps_texts_and_native_values():
    passthrough = {"id": pa.array(["01", 'a"b']), "n": [3317, None]}
    found = answer_json(Answer(REGRESSION), Predictions(column(1, 2)), 0, passthrough)
    assert [row["passthroughValues"] for row in found] == [
        {"id": "01", "n": 3317},
        {"id": 'a"b', "n": None},
    ]


def test_approval_status_comes_last():
    [row] = answer_json(Answer(REGRESSION, approval="PENDING"), Predictions(column(1)))
    assert list(row)[-1] == "deploymentApprovalStatus"


@pytest.mark.parametrize(
    ("answer", "predictions", "schema"),
    [
        (Answer(BINARY), Predictions(column(0.3), np.array([False])), rows.BinaryRow),
        (Answer(REGRESSION), Predictions(column(1)), rows.RegressionRow),
        (
            Answer(REGRESSION, with_outliers=True),
            Predictions(column(1), outliers=np.array([True])),
            rows.RegressionWarningRow,
        ),
        (Answer(MULTICLASS), Predictions(np.ones((1, 3))), rows.MulticlassRow),
    ],
)
def test_rows_keep_to_their_schema_and_its_order(answer, predictions, schema):
    [row] = answer_json(answer, predictions, 0, {"a": ["1"]})
    assert schema().validate(row) == {}
    declared = list(schema().fields)
    assert list(row) == [name for name in declared if name in row]


def test_binary_csv_has_the_recorded_columns():
    predictions = Predictions(column(0.2018676852, 0.9), np.array([False, True]))
    assert answer_csv(Answer(BINARY), predictions) == [
        ["y_yes_PREDICTION", "y_no_PREDICTION", "y_PREDICTION", "THRESHOLD"]
        + ["POSITIVE_CLASS"],
        ["0.2018676852", "0.7981323148", "no", "0.5", "yes"],
        ["0.9", "0.1", "yes", "0.5", "yes"],
    ]


def test_regression_csv_may_flag_outliers():
    predictions = Predictions(column(1.5), outliers=np.array([True]))
    assert answer_csv(Answer(REGRESSION, with_outliers=True), predictions) == [
        ["y_PREDICTION", "IS_OUTLIER_PREDICTION"],
        ["1.5", "True"],
    ]


def test_multiclass_csv_ends_with_the_label():
    predictions = Predictions(np.array([[0.2, 0.7, 0.1]]))
    assert answer_csv(Answer(MULTICLASS), predictions) == [
        ["y_1_PREDICTION", "y_3_PREDICTION", "y_2_PREDICTION", "y_PREDICTION"],
        ["0.2", "0.7", "0.1", "3"],
    ]


def test_passthrough_columns_come_last_in_csv():
    answer = Answer(REGRESSION, approval="APPROVED", passthrough=["a,b"])
    found = answer_csv(answer, Predictions(column(1)), {"a,b": ['x "y"\nz']})
    assert found == [
        ["y_PREDICTION", "DEPLOYMENT_APPROVAL_STATUS", "a,b"],
        ["1.0", "APPROVED", 'x "y"\nz'],
    ]


def test_passthrough_column_named_like_an_output_is_refused():
    with pytest.raises(OutputColumnsClash, match="y_PREDICTION"):
        CsvWriter(Answer(REGRESSION, passthrough=["y_PREDICTION"]))


def test_small_numbers_are_spelled_as_recorded():
    predictions = Predictions(column(6.50871e-05))
    assert answer_csv(Answer(REGRESSION), predictions)[1] == ["6.50871e-05"]


def test_small_threshold_is_spelled_like_other_numbers():
    predictions = Predictions(column(0.9), np.array([True]))
    assert answer_csv(Answer(BINARY, threshold=1e-5), predictions)[1][3] == "1e-05"


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, b""), (True, b"True"), (3, b"3"), (0.5, b"0.5"), ([1], b"[1]")],
)
def test_native_values_become_cells(value, cell):
    assert csv_cell(value) == cell


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=80), st.integers(0, 400))
@example([0.5, 1.5, 2.5, -0.5, 1e300, -0.0] * 10, 0)
@example([0.12345678905, 1e-11, 138180.79084123881, 2.0**52 + 1] * 10, 10)
def test_rounding_equals_pythons(values, decimals):
    rounded = round_decimals(np.array(values), decimals).tolist()
    expected = [round(value, min(decimals, 1100)) + 0.0 for value in values]
    assert rounded == expected
    assert not any(str(value) == "-0.0" for value in rounded)


@given(st.lists(finite, min_size=1, max_size=80))
def test_tokens_read_back_as_the_rounded_numbers(values):
    tokens = number_tokens(np.array(values), 10)
    assert [float(token) for token in tokens] == [round(v, 10) + 0.0 for v in values]
