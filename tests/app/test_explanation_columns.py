"""Explanations as they are written, from made-up strengths."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter
from app.explaining import Explanations, Mismatch
from app.explanation_columns import Told
from app.scoring import Predictions
from backends.explanations.strength import SYMBOLS
from backends.features import Columns
from backends.model import Feature, Model
from schemas import predictions as rows

FEATURES = (
    Feature("age", "numeric"),
    Feature('se"x, %b', "categorical", categories=("m", "f", "NA")),
    Feature("note", "text", dtype="string", missing="empty"),
    Feature("plan", "categorical", categories=(1, 2)),
)
SEX = FEATURES[1].name


def model(task, labels=(), positive=None):
    return Model(
        *("0" * 24, "m", "onnx", "m.onnx", task, "y"),
        FEATURES,
        labels=labels,
        positive_label=positive,
    )


BINARY = model("binary", ("no", "yes"), "yes")
REGRESSION = model("regression")
MULTICLASS = model("multiclass", ("S", "M", "L"))


def chunk(records, *, arrow=False):
    """Rows of which every cell is a text, or as JSON has it."""
    codes = {"m": 0.0, "f": 1.0, "NA": 2.0, 1: 0.0, "1": 0.0, "2": 1.0}
    matrix = np.array(
        [
            [
                np.nan if (age := record["age"]) is None else float(age),
                codes.get(record[SEX], np.nan),
                np.nan,
                codes.get(record["plan"], np.nan),
            ]
            for record in records
        ]
    )
    cells = {name: [r[name] for r in records] for name in (SEX, "note", "plan")}
    if arrow:
        cells = {name: pa.array(values, pa.string()) for name, values in cells.items()}
    return Chunk(0, Columns(matrix), {}, cells)


def explanations(features, strengths=None, *, explained=None, classes=None, **more):
    """features: of each row, class and item."""
    features = np.array(features, np.intp)
    if strengths is None:
        # The first counts most.
        strengths = np.broadcast_to(
            0.5 ** np.arange(1, features.shape[2] + 1), features.shape
        )
    return Explanations(
        np.ones(len(features), bool) if explained is None else np.array(explained),
        np.zeros(features.shape[:2], np.intp)
        if classes is None
        else np.array(classes, np.intp),
        features,
        np.array(strengths, np.float64),
        **more,
    )


def xemp(features, strengths=None, **more):
    found = explanations(features, strengths, **more)
    signs = np.where(found.strengths > 0, len(SYMBOLS) - 1, 0)
    return replace(found, symbols=signs)


def shap(features, strengths=None, remaining=0.0, base=0.25, **more):
    found = explanations(features, strengths, **more)
    base, remaining = (np.resize(each, len(features)) for each in (base, remaining))
    return replace(found, base=base, remaining=remaining)


def predictions(model, found, values=None):
    count = len(found.explained)
    if values is None:
        classes = len(model.labels) if model.task == "multiclass" else 1
        values = np.full((count, classes), 0.75)
    return Predictions(
        values,
        positive=values[:, 0] > 0.5 if model.task == "binary" else None,
        explanations=found,
    )


def in_json(answer, found, sent):
    writer = JsonWriter(answer)
    body = writer.rows(predictions(answer.model, found), sent)
    return json.loads(writer.head + body + writer.foot)["data"]


def in_csv(answer, found, sent):
    writer = CsvWriter(answer)
    text = writer.head + writer.rows(predictions(answer.model, found), sent)
    return list(csv.DictReader(io.StringIO(text.decode())))


ROW = {"age": 62.0, SEX: "m", "note": "hi", "plan": "2"}


def test_items_are_the_documented_ones():
    answer = Answer(BINARY, told=Told(2))
    [row] = in_json(answer, xemp([[[1, 0]]], [[[-0.6706725349, 0.25]]]), chunk([ROW]))
    assert json.dumps(row["predictionExplanations"]) == json.dumps(
        [
            {
                "featureValue": "m",
                "strength": -0.6706725349,
                "feature": SEX,
                "qualitativeStrength": "---",
                "label": 1,
            },
            {
                "featureValue": 62,
                "strength": 0.25,
                "feature": "age",
                "qualitativeStrength": "+++",
                "label": 1,
            },
        ]
    )
    assert list(row)[-1] == "predictionExplanations"
    assert rows.BinaryRow().validate(row) == {}


def test_shap_rows_are_the_documented_ones():
    answer = Answer(BINARY, told=Told(2, is_shap=True), approval="APPROVED")
    found = shap([[[2, 3]]], [[[0.0534648234, -0.0490243586]]], -0.089668474, 0.3964)
    [row] = in_json(answer, found, chunk([ROW]))
    assert json.dumps(row) == json.dumps(
        {
            "deploymentApprovalStatus": "APPROVED",
            "prediction": 1,
            "predictionExplanations": [
                {
                    "featureValue": "hi",
                    "strength": 0.0534648234,
                    "qualitativeStrength": None,
                    "feature": "note",
                    "label": 1,
                },
                {
                    "featureValue": "2",
                    "strength": -0.0490243586,
                    "qualitativeStrength": None,
                    "feature": "plan",
                    "label": 1,
                },
            ],
            "rowId": 0,
            "predictionValues": [
                {"value": 0.75, "label": 1},
                {"value": 0.25, "label": 0},
            ],
            "predictionThreshold": 0.5,
            "shapExplanationsMetadata": {
                "warnings": None,
                "remainingTotal": -0.089668474,
                "baseValue": 0.3964,
            },
        }
    )


@pytest.mark.parametrize("with_outliers", [False, True])
@pytest.mark.parametrize("task", [BINARY, REGRESSION])
def test_shap_rows_keep_to_their_schema_and_its_order(task, with_outliers):
    flags = with_outliers and task is REGRESSION
    answer = Answer(
        task,
        told=Told(1, is_shap=True),
        approval="PENDING",
        with_outliers=flags,
        passthrough=["id %b"],
    )
    found = shap([[[0]], [[1]]], mismatch=Mismatch(0.002, 3))
    scored = predictions(task, found)
    if flags:
        scored = replace(scored, outliers=np.array([True, False]))
    sent = replace(chunk([ROW, ROW]), passthrough={"id %b": ["a", "b"]})
    body = JsonWriter(answer).rows(scored, sent)
    for number, row in enumerate(json.loads(b"[" + body + b"]")):
        assert rows.ShapRow().validate(row) == {}
        assert list(row) == [name for name in rows.ShapRow().fields if name in row]
        assert row["rowId"] == number
        assert row["passthroughValues"] == {"id %b": "ab"[number]}
        assert row["predictionValues"][0]["value"] == 0.75
        assert row.get("isOutlierPrediction") == (
            [True, False][number] if flags else None
        )
        assert row["shapExplanationsMetadata"]["warnings"] == [
            {"maxNormalizedMismatch": 0.002, "mismatchRowCount": 3}
        ]


@pytest.mark.parametrize("key", ["predictionExplanations", "reasonCodes", "%b"])
def test_key_is_the_address_own(key):
    answer = Answer(REGRESSION, told=Told(1, key=key))
    [row] = in_json(answer, xemp([[[0]]]), chunk([ROW]))
    assert list(row)[-1] == key
    assert row[key][0]["label"] == "y"


@pytest.mark.parametrize(
    ("feature", "sent", "value", "cell"),
    [
        ("age", 62.0, 62, "62"),
        ("age", 9.6875, 9.6875, "9.6875"),
        ("age", 0.12345678912345, 0.12345678912345, "0.12345678912345"),
        ("age", None, None, ""),
        ("age", np.inf, None, ""),
        (SEX, "m", "m", "m"),
        (SEX, "NA", "NA", "NA"),
        (SEX, " 60 months", " 60 months", " 60 months"),
        (SEX, "", None, ""),
        (SEX, "null", None, ""),
        (SEX, " ", " ", " "),
        (SEX, " null", " null", " null"),
        (SEX, "nan", "nan", "nan"),
        (SEX, None, None, ""),
        (SEX, np.nan, None, ""),
        ("plan", "2", "2", "2"),
        ("plan", 1, "1", "1"),
        ("plan", True, "True", "True"),
        ("plan", " ", None, ""),
        ("plan", " null", None, ""),
        ("plan", "nan", None, ""),
        ("plan", " seven", " seven", " seven"),
        ("plan", 7.5, "7.5", "7.5"),
        ("note", 'say "hi", %b\n', 'say "hi", %b\n', 'say "hi", %b\n'),
        ("note", "null", "null", "null"),
        ("note", "", None, ""),
        ("note", 723, "723", "723"),
        ("note", " ", " ", " "),
    ],
)
def test_feature_values_are_those_sent(feature, sent, value, cell):
    position = [each.name for each in FEATURES].index(feature)
    found = xemp([[[position]]])
    rows_sent = chunk([{**ROW, feature: sent}])
    answer = Answer(REGRESSION, told=Told(1))
    [row] = in_json(answer, found, rows_sent)
    told = row["predictionExplanations"][0]["featureValue"]
    assert (told, type(told)) == (value, type(value))
    [line] = in_csv(answer, found, rows_sent)
    assert line["EXPLANATION_1_ACTUAL_VALUE"] == cell
    assert line["EXPLANATION_1_FEATURE_NAME"] == feature


def test_csv_columns_stand_in_the_recorded_order():
    answer = Answer(
        BINARY,
        told=Told(2),
        approval="APPROVED",
        passthrough=["id"],
        with_outliers=True,
    )
    head = CsvWriter(answer).head.decode().strip().split(",")
    assert head == [
        *("y_yes_PREDICTION", "y_no_PREDICTION", "y_PREDICTION"),
        *("THRESHOLD", "POSITIVE_CLASS", "IS_OUTLIER_PREDICTION"),
        *("EXPLANATION_1_FEATURE_NAME", "EXPLANATION_1_STRENGTH"),
        *("EXPLANATION_1_ACTUAL_VALUE", "EXPLANATION_1_QUALITATIVE_STRENGTH"),
        *("EXPLANATION_2_FEATURE_NAME", "EXPLANATION_2_STRENGTH"),
        *("EXPLANATION_2_ACTUAL_VALUE", "EXPLANATION_2_QUALITATIVE_STRENGTH"),
        *("DEPLOYMENT_APPROVAL_STATUS", "id"),
    ]


def test_shap_columns_stand_behind_the_explanations():
    answer = Answer(REGRESSION, told=Told(1, is_shap=True), approval="APPROVED")
    found = shap([[[0]], [[1]]], [[[0.00006508710004]], [[-2]]], 0.5, 1 / 3)
    assert in_csv(answer, found, chunk([ROW, ROW]))[0] == {
        "y_PREDICTION": "0.75",
        "EXPLANATION_1_FEATURE_NAME": "age",
        "EXPLANATION_1_STRENGTH": "6.50871e-05",
        "EXPLANATION_1_ACTUAL_VALUE": "62",
        "EXPLANATION_1_QUALITATIVE_STRENGTH": "",
        "SHAP_BASE_VALUE": "0.3333333333",
        "SHAP_REMAINING_TOTAL": "0.5",
        "DEPLOYMENT_APPROVAL_STATUS": "APPROVED",
    }
    head = CsvWriter(answer).head.decode().strip().split(",")
    assert head[-3:] == [
        *("SHAP_BASE_VALUE", "SHAP_REMAINING_TOTAL", "DEPLOYMENT_APPROVAL_STATUS")
    ]


def test_classes_have_their_items_one_after_the_other():
    answer = Answer(MULTICLASS, told=Told(2, classes=2))
    found = xemp([[[0, 1], [2, 0]]], classes=[[2, 0]])
    [row] = in_json(answer, found, chunk([ROW]))
    told = [(each["label"], each["feature"]) for each in row["predictionExplanations"]]
    assert told == [("L", "age"), ("L", SEX), ("S", "note"), ("S", "age")]
    assert rows.MulticlassRow().validate(row) == {}
    [line] = in_csv(answer, found, chunk([ROW]))
    assert [*line][4:] == [
        f"CLASS_{number}{name}"
        for number in (1, 2)
        for name in [
            "",
            *(
                f"_EXPLANATION_{item}_{part}"
                for item in (1, 2)
                for part in (
                    *("FEATURE_NAME", "STRENGTH"),
                    *("ACTUAL_VALUE", "QUALITATIVE_STRENGTH"),
                )
            ),
        ]
    ]
    assert (line["CLASS_1"], line["CLASS_2"]) == ("L", "S")
    assert line["CLASS_2_EXPLANATION_1_FEATURE_NAME"] == "note"


@pytest.mark.parametrize("task", [BINARY, MULTICLASS])
@pytest.mark.parametrize(
    "explained", [[True, False, True], [False, False, False], [False, True, False]]
)
def test_rows_that_are_not_explained_have_none(task, explained):
    answer = Answer(task, told=Told(2))
    found = xemp([[[0, 1]]] * 3, explained=explained)
    sent = chunk([{**ROW, "age": float(age)} for age in range(3)])
    for number, row in enumerate(in_json(answer, found, sent)):
        told = row["predictionExplanations"]
        assert [each["featureValue"] for each in told] == (
            [number, "m"] if explained[number] else []
        )
    for number, line in enumerate(in_csv(answer, found, sent)):
        cells = [cell for name, cell in line.items() if name[:5] in ("EXPLA", "CLASS")]
        assert all(cells) == any(cells) == explained[number]


def test_models_with_nothing_to_tell_have_empty_lists():
    answer = Answer(BINARY, told=Told(0))
    found = xemp(np.empty((2, 1, 0)))
    told = [
        row["predictionExplanations"]
        for row in in_json(answer, found, chunk([ROW] * 2))
    ]
    assert told == [[], []]
    assert "EXPLANATION" not in CsvWriter(answer).head.decode()
    assert len(in_csv(answer, found, chunk([ROW] * 2))) == 2


def test_numbers_are_rounded_like_predictions():
    answer = Answer(REGRESSION, told=Told(1, is_shap=True), decimals=2)
    [row] = in_json(answer, shap([[[0]]], [[[1 / 3]]], 2 / 3, 0.125), chunk([ROW]))
    assert row["predictionExplanations"][0]["strength"] == 0.33
    metadata = row["shapExplanationsMetadata"]
    assert (metadata["remainingTotal"], metadata["baseValue"]) == (0.67, 0.12)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_every_row_has_the_base_of_its_own(count):
    base = np.linspace(1 / 3, 2.0, count)
    found = shap([[[0]]] * count, remaining=0.5, base=base)
    answer = Answer(REGRESSION, told=Told(1, is_shap=True))
    sent = chunk([ROW] * count)
    expected = [round(each, 10) for each in base.tolist()]
    metadata = [row["shapExplanationsMetadata"] for row in in_json(answer, found, sent)]
    assert [each["baseValue"] for each in metadata] == expected
    columns = in_csv(answer, found, sent)
    assert [float(row["SHAP_BASE_VALUE"]) for row in columns] == expected


@pytest.mark.parametrize("count", [1, 3, 50])
def test_columns_of_texts_are_read_alike_from_lists_and_arrays(count):
    sent = [
        {"age": float(row), SEX: ["m", None, "x"][row % 3], "note": "é", "plan": "2"}
        for row in range(count)
    ]
    found = xemp(np.array([[[0, 1, 2, 3]], [[3, 1, 0, 2]]] * count)[:count])
    answer = Answer(BINARY, told=Told(4))
    for write in (in_json, in_csv):
        assert write(answer, found, chunk(sent)) == write(
            answer, found, chunk(sent, arrow=True)
        )


@st.composite
def explained_rows(draw):
    """An answer, rows and explanations of them."""
    task = draw(st.sampled_from([BINARY, REGRESSION, MULTICLASS]))
    is_shap = task is not MULTICLASS and draw(st.booleans())
    classes = draw(st.integers(1, 3)) if task is MULTICLASS else 1
    count = draw(st.sampled_from([1, 2, 40]))
    told = Told(draw(st.integers(0, 4)), classes, is_shap=is_shap)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (count, classes, told.features)
    chosen = random.permuted(np.tile(np.arange(4), (count, classes, 1)), axis=2)
    found = (shap if is_shap else xemp)(
        chosen[..., : told.features],
        random.normal(size=shape),
        explained=np.ones(count, bool) if is_shap else random.random(count) < 0.7,
        classes=random.permuted(np.tile(np.arange(3), (count, 1)), axis=1)[:, :classes]
        if task is MULTICLASS
        else None,
    )
    sent = [
        {
            "age": float(random.choice([1, 2.5, -0.0])),
            SEX: str(random.choice(["m", "", "%b", 'a"'])),
            "note": str(random.choice(["", "two words", "ü"])),
            "plan": str(random.choice(["1", "9"])),
        }
        for _ in range(count)
    ]
    return Answer(task, told=told), found, sent


def slow_items(answer, found, sent, row):
    """A row's items, one at a time."""
    if not found.explained[row]:
        return []
    items = []
    for group in range(answer.told.classes):
        for item in range(answer.told.features):
            feature = FEATURES[found.features[row, group, item]].name
            label = {"binary": 1, "regression": "y"}.get(answer.model.task)
            if label is None:
                label = answer.model.labels[found.classes[row, group]]
            symbol = None
            if found.symbols is not None:
                symbol = SYMBOLS[found.symbols[row, group, item]]
            items.append(
                {
                    "featureValue": sent[row][feature]
                    if sent[row][feature] != ""
                    else None,
                    "strength": round(found.strengths[row, group, item], 10),
                    "feature": feature,
                    "qualitativeStrength": symbol,
                    "label": label,
                }
            )
    return items


@given(explained_rows())
def test_items_are_written_as_plain_objects_are(made):
    answer, found, sent = made
    written = in_json(answer, found, chunk(sent))
    for row, told in enumerate(written):
        assert told["predictionExplanations"] == slow_items(answer, found, sent, row)


@given(explained_rows())
def test_csv_tells_what_json_does(made):
    answer, found, sent = made
    if not answer.told.features:
        return
    lines = in_csv(answer, found, chunk(sent))
    for row, line in zip(in_json(answer, found, chunk(sent)), lines, strict=True):
        cells = [cell for name, cell in line.items() if "EXPLANATION_" in name]
        told = [
            (item["feature"], item["strength"], item["featureValue"])
            for item in row["predictionExplanations"]
        ]
        quads = list(zip(*[iter(cells)] * 4, strict=True))
        read = [
            (name, float(strength), value or None)
            for name, strength, value, _ in quads
            if name
        ]
        assert [(n, s, None if v is None else str(v)) for n, s, v in told] == read
        if answer.told.is_shap:
            metadata = row["shapExplanationsMetadata"]
            assert float(line["SHAP_BASE_VALUE"]) == metadata["baseValue"]
            assert float(line["SHAP_REMAINING_TOTAL"]) == metadata["remainingTotal"]
