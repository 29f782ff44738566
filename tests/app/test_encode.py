"""Predictions to JSON and CSV bytes."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter, json_labels
from app.errors import OutputColumnsClash
from app.scoring import Predictions
from backends.features import Columns
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


def chunk(predictions, first_row=0, passthrough=None):
    columns = Columns(np.empty((len(predictions), 1)))
    return Chunk(first_row, columns, passthrough or {})


def answer_json(answer, predictions, first_row=0, passthrough=None):
    writer = JsonWriter(answer)
    body = writer.rows(predictions, chunk(predictions, first_row, passthrough))
    return json.loads(writer.head + body + writer.foot)["data"]


def answer_csv(answer, predictions, passthrough=None):
    writer = CsvWriter(answer)
    text = (
        writer.head + writer.rows(predictions, chunk(predictions, 0, passthrough))
    ).decode()
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


def looks():
    """Answers with every option, of models whose names are hard to write."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    texts |= st.sampled_from(["%", "%b", "%%d", "100 %", '"', "\\", "é"])
    models = st.one_of(
        st.builds(lambda a: model("binary", (f"{a}0", f"{a}1"), f"{a}1"), texts),
        texts.map(lambda a: replace(REGRESSION, target=a)),
        st.lists(texts, min_size=2, max_size=4, unique=True).map(
            lambda labels: model("multiclass", tuple(labels))
        ),
    )
    return st.builds(
        Answer,
        models,
        threshold=st.floats(0, 1),
        decimals=st.integers(0, 20),
        named_labels=st.booleans(),
        with_outliers=st.booleans(),
        approval=st.none() | texts,
        passthrough=st.lists(texts, max_size=2, unique=True),
    )


@st.composite
def answered(draw):
    """An answer with predictions for it, and what is passed through."""
    answer = draw(looks())
    classes = len(answer.model.labels) if answer.model.task == "multiclass" else 1
    # Few rows and many are turned into text by other functions.
    count = draw(st.sampled_from([1, 2, 40]))
    seed = np.random.default_rng(draw(st.integers(0, 99)))
    values = seed.normal(size=(count, classes)) * 10.0 ** seed.integers(-9, 9)
    if answer.model.task == "binary":
        values = seed.random((count, 1))
    return (
        answer,
        Predictions(
            values,
            values[:, 0] > answer.threshold if answer.model.task == "binary" else None,
            values[:, 0] > 0.5
            if answer.model.task == "regression" and answer.with_outliers
            else None,
        ),
        {
            name: draw(st.lists(PASSED, min_size=count, max_size=count))
            for name in answer.passthrough
        },
    )


PASSED = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["%b", "é"])


def plain_row(answer, predictions, passthrough, row):
    """A row's object, made the slow way."""
    values = predictions.values[row].tolist()
    if answer.model.task == "binary":
        values.append(1.0 - values[0])
    values = [round(value, answer.decimals) + 0.0 for value in values]
    labels = json_labels(answer.model, named=answer.named_labels)
    made = {}
    if answer.model.task == "binary":
        made["predictionThreshold"] = answer.threshold
        made["prediction"] = labels[0 if predictions.positive[row] else 1]
    elif answer.model.task == "multiclass":
        made["prediction"] = labels[int(predictions.values[row].argmax())]
    else:
        made["prediction"] = values[0]
    made["rowId"] = row
    if predictions.outliers is not None:
        flag = bool(predictions.outliers[row])
        made = {"isOutlierPrediction": flag, "rowId": row, "prediction": values[0]}
    pairs = zip(values, labels, strict=True)
    made = {
        "predictionValues": [{"value": v, "label": label} for v, label in pairs],
        **made,
    }
    if passthrough:
        made["passthroughValues"] = {
            name: cells[row] for name, cells in passthrough.items()
        }
    if answer.approval is not None:
        made["deploymentApprovalStatus"] = answer.approval
    return made


@given(answered())
def test_rows_are_written_as_plain_objects_are(given):
    answer, predictions, passthrough = given
    rows = [
        orjson.dumps(plain_row(answer, predictions, passthrough, row))
        for row in range(len(predictions))
    ]
    found = JsonWriter(answer).rows(predictions, chunk(predictions, 0, passthrough))
    assert found == b",".join(rows)


def part(flags, row):
    return None if flags is None else flags[row : row + 1]


@pytest.mark.parametrize("kind", [JsonWriter, CsvWriter])
@given(given=answered())
def test_a_row_is_written_alone_as_among_others(kind, given):
    answer, predictions, passthrough = given
    try:
        writer = kind(answer)
    except OutputColumnsClash:
        return
    alone = []
    for row in range(len(predictions)):
        one = Predictions(
            predictions.values[row : row + 1],
            part(predictions.positive, row),
            part(predictions.outliers, row),
        )
        passed = {name: cells[row : row + 1] for name, cells in passthrough.items()}
        alone.append(writer.rows(one, chunk(one, 7 + row, passed)))
    together = writer.rows(predictions, chunk(predictions, 7, passthrough))
    assert together == writer.separator.join(alone)
