"""Forecasts to JSON and CSV bytes."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.errors import OutputColumnsClash
from app.explaining import Explanations, Mismatch
from app.explanation_columns import Told
from app.scoring import Predictions
from app.timeseries.chunk import ForecastChunk
from app.timeseries.writer import (
    ForecastAnswer,
    ForecastCsvWriter,
    ForecastJsonWriter,
    forecast_columns,
)
from backends.explanations.strength import SYMBOLS
from backends.features import Columns
from backends.humility import (
    Humbled,
    NoOperation,
    Override,
    Rule,
    UncertainPrediction,
)
from backends.model import Feature, Model
from schemas import predictions as rows

RECORDED = Path(__file__).parents[4] / "shared" / "contract" / "recorded"

LAST = "sales (1st lag)"
SHOP = "shop (categorical)"
FEATURES = (
    Feature(LAST, "numeric"),
    Feature(SHOP, "categorical", categories=("north", "south")),
)


def model(task, target="sales", labels=(), positive=None):
    return Model(
        *("0" * 24, "m", "lightgbm", "model.txt", task, target),
        features=FEATURES,
        labels=labels,
        positive_label=positive,
    )


REGRESSION = ForecastAnswer(model("regression"), "day")
# The positive class is the one that stands first in documented answers.
BINARY = ForecastAnswer(model("binary", "level", ("high", "low"), "low"), "month")
MULTICLASS = ForecastAnswer(model("multiclass", "size", (1, 2, 3)), "day")
TASKS = [REGRESSION, BINARY, MULTICLASS]
SCHEMAS = {
    "regression": rows.TimeSeriesRegressionRow,
    "binary": rows.TimeSeriesBinaryRow,
    "multiclass": rows.TimeSeriesMulticlassRow,
}


def chunk_of(count=1, **given):
    """Rows 35, 36, … of a request, one day, two days, … after a forecast point."""
    steps = np.arange(1, count + 1)
    matrix = np.column_stack([steps * 1.5, np.resize([0.0, 1.0, np.nan], count)])
    point = np.datetime64("2013-12-20", "us")
    day = np.timedelta64(1, "D")
    usual = ForecastChunk(
        columns=Columns(matrix),
        row_ids=34 + steps,
        series=None,
        forecast_points=np.full(count, point),
        timestamps=point + steps * day,
        distances=steps,
        originals=[f"12/{20 + step}/13" for step in steps],
        passthrough={},
        cells={SHOP: np.resize(["north", "south", None], count).tolist()},
    )
    return replace(usual, **given)


def predicted(answer, count=1, **more):
    task = answer.model.task
    if task == "regression":
        return Predictions(np.linspace(2.3353628422, 9, count)[:, None], **more)
    if task == "multiclass":
        values = np.resize([[0.2, 0.7, 0.1], [0.5, 0.25, 0.25]], (count, 3))
        return Predictions(values, **more)
    values = np.resize([0.515882395449, 0.25], count)[:, None]
    return Predictions(values, values[:, 0] > answer.threshold, **more)


def in_json(answer, predictions, chunk):
    writer = ForecastJsonWriter(answer)
    body = writer.rows(predictions, chunk)
    return json.loads(writer.head + body + writer.foot)["data"]


def in_csv(answer, predictions, chunk):
    writer = ForecastCsvWriter(answer)
    text = writer.head + writer.rows(predictions, chunk) + writer.foot
    return list(csv.DictReader(io.StringIO(text.decode())))


def with_all(answer, count, *, is_shap=False, **told):
    """Everything that a row can tell: answer, predictions and chunk."""
    task = answer.model.task
    is_number = task == "regression"
    answer = replace(
        answer,
        series_column="shop",
        with_originals=True,
        interval=80 if is_number else None,
        with_outliers=is_number,
        approval="PENDING",
        passthrough=("id %b", "note"),
        humility=[Rule("a" * 24, "r", UncertainPrediction(0, 1), NoOperation())],
        told=Told(1, is_shap=is_shap, **told),
    )
    nothing = np.zeros((count, 1, 1))
    places = nothing.astype(np.intp)
    found = Explanations(
        np.ones(count, bool),
        places[..., 0],
        places,
        nothing + 0.5,
        symbols=None if is_shap else places,
        base=np.arange(count) * 1.0 if is_shap else None,
        remaining=np.full(count, 0.25) if is_shap else None,
    )
    predictions = predicted(
        answer,
        count,
        outliers=np.arange(count) % 2 == 1 if is_number else None,
        humbled=Humbled(np.arange(count)[None] % 2 == 0, np.full(count, -1)),
        explanations=found,
    )
    chunk = chunk_of(
        count,
        series=np.resize(["north", "south"], count).tolist(),
        intervals=np.column_stack([np.arange(count), np.arange(count) + 0.5])
        if is_number
        else None,
        passthrough={"id %b": list(range(count)), "note": ['a,"b"'] * count},
    )
    return answer, predictions, chunk


# ---- Rows in JSON


def test_row_of_regression_is_the_documented_one():
    [row] = in_json(REGRESSION, predicted(REGRESSION), chunk_of())
    assert json.dumps(row) == (
        '{"seriesId": null, "forecastPoint": "2013-12-20T00:00:00Z", "rowId": 35,'
        ' "timestamp": "2013-12-21T00:00:00.000000Z", "predictionValues":'
        ' [{"value": 2.3353628422, "label": "sales (actual)"}],'
        ' "forecastDistance": 1, "prediction": 2.3353628422}'
    )


def test_row_of_two_classes_is_the_documented_one():
    chunk = chunk_of(
        row_ids=np.array([147]),
        forecast_points=np.array(["1961-02-01"], "datetime64[us]"),
        timestamps=np.array(["1961-04-01"], "datetime64[us]"),
        distances=np.array([2]),
    )
    [row] = in_json(BINARY, predicted(BINARY), chunk)
    assert json.dumps(row) == (
        '{"rowId": 147, "prediction": "low", "predictionThreshold": 0.5,'
        ' "predictionValues": [{"label": "low", "value": 0.5158823954},'
        ' {"label": "high", "value": 0.4841176046}],'
        ' "timestamp": "1961-04-01T00:00:00.000000Z", "forecastDistance": 2,'
        ' "forecastPoint": "1961-02-01T00:00:00Z", "seriesId": null}'
    )


def test_row_of_many_classes_has_their_names_and_no_threshold():
    [row] = in_json(MULTICLASS, predicted(MULTICLASS), chunk_of())
    assert json.dumps(row) == (
        '{"rowId": 35, "prediction": "2", "predictionValues":'
        ' [{"label": "1", "value": 0.2}, {"label": "2", "value": 0.7},'
        ' {"label": "3", "value": 0.1}],'
        ' "timestamp": "2013-12-21T00:00:00.000000Z", "forecastDistance": 1,'
        ' "forecastPoint": "2013-12-20T00:00:00Z", "seriesId": null}'
    )


def test_numeric_classes_are_told_by_name():
    answer = ForecastAnswer(model("binary", "rain", (0, 1), 1), "day", threshold=0.3)
    found = in_json(answer, predicted(answer, 2), chunk_of(2))
    labels = [[each["label"] for each in row["predictionValues"]] for row in found]
    assert labels == [["1", "0"]] * 2
    assert [row["prediction"] for row in found] == ["1", "0"]
    assert {row["predictionThreshold"] for row in found} == {0.3}


@pytest.mark.parametrize("answer", TASKS)
@pytest.mark.parametrize("key", ["predictionExplanations", "reasonCodes"])
@pytest.mark.parametrize("count", [1, 3, 50])
def test_rows_keep_to_their_schema_and_its_order(answer, key, count):
    answer, predictions, chunk = with_all(answer, count, key=key)
    schema = SCHEMAS[answer.model.task]()
    found = in_json(answer, predictions, chunk)
    assert len(found) == count
    for row in found:
        assert schema.validate(row) == {}
        assert list(row) == [name for name in schema.fields if name in row]
    other = {"predictionExplanations", "reasonCodes"} - {key}
    shap = {"shapExplanationsMetadata"}
    assert schema.fields.keys() - found[0].keys() == other | (shap & {*schema.fields})


@pytest.mark.parametrize("answer", [REGRESSION, BINARY])
def test_rows_with_shap_keep_to_their_schema_and_its_order(answer):
    schema = SCHEMAS[answer.model.task]()
    for row in in_json(*with_all(answer, 3, is_shap=True)):
        assert schema.validate(row) == {}
        assert list(row) == [name for name in schema.fields if name in row]
        assert "shapExplanationsMetadata" in row


@pytest.mark.parametrize("answer", TASKS)
def test_nothing_is_told_that_is_not_asked_for(answer):
    # A chunk may know more than an answer tells.
    [row] = in_json(answer, predicted(answer), chunk_of())
    assert SCHEMAS[answer.model.task]().validate(row) == {}
    assert len(row) == (8 if answer is BINARY else 7)


def test_cells_of_a_row_stand_under_its_own_keys():
    answer, predictions, chunk = with_all(REGRESSION, 40)
    found = in_json(answer, predictions, chunk)
    for place, row in enumerate(found):
        assert row["rowId"] == 35 + place
        assert row["seriesId"] == ("north", "south")[place % 2]
        assert row["forecastDistance"] == 1 + place
        assert row["originalFormatTimestamp"] == f"12/{21 + place}/13"
        assert row["isOutlierPrediction"] is (place % 2 == 1)
        assert row["deploymentApprovalStatus"] == "PENDING"
        interval = {"low": float(place), "high": place + 0.5}
        assert row["predictionIntervals"] == {"80": interval}
        assert row["passthroughValues"] == {"id %b": place, "note": 'a,"b"'}
        assert ("humility" in row) is (place % 2 == 0)
        assert row["predictionExplanations"] == [
            {
                "featureValue": (place + 1) * 1.5,
                "strength": 0.5,
                "feature": LAST,
                "qualitativeStrength": SYMBOLS[0],
                "label": "sales (actual)",
            }
        ]
    assert [row["prediction"] for row in found] == [
        round(value, 10) for value in np.linspace(2.3353628422, 9, 40).tolist()
    ]


@pytest.mark.parametrize("form", [list, pa.array])
def test_texts_may_come_in_arrays(form):
    answer = replace(REGRESSION, series_column="shop", with_originals=True)
    answer = replace(answer, passthrough=("note",))
    chunk = chunk_of(
        2,
        series=form(["007", "é"]),
        originals=form(["1/1", "1/2"]),
        passthrough={"note": form(["x", None])},
    )
    found = in_json(answer, predicted(answer, 2), chunk)
    assert [row["seriesId"] for row in found] == ["007", "é"]
    assert [row["originalFormatTimestamp"] for row in found] == ["1/1", "1/2"]
    assert [row["passthroughValues"]["note"] for row in found] == ["x", None]
    lines = in_csv(answer, predicted(answer, 2), chunk)
    assert [line["shop"] for line in lines] == ["007", "é"]
    assert [line["note"] for line in lines] == ["x", ""]


def test_series_ids_keep_their_types():
    series = [1, 1.0, True, "1", 2**53 + 1, None, 1]
    answer = replace(REGRESSION, series_column="shop")
    chunk = chunk_of(7, series=series)
    found = [row["seriesId"] for row in in_json(answer, predicted(answer, 7), chunk)]
    assert list(map(repr, found)) == list(map(repr, series))
    lines = in_csv(answer, predicted(answer, 7), chunk)
    cells = ["1", "1.0", "True", "1", "9007199254740993", "", "1"]
    assert [line["shop"] for line in lines] == cells


def test_moments_are_told_to_the_second_and_to_the_microsecond():
    moments = ["2020-02-29T23:59:59.000001", "1900-01-01", "2262-04-11T12:30:00.5"]
    times = np.array(moments, "datetime64[us]")
    chunk = chunk_of(3, timestamps=times, forecast_points=times[::-1])
    for found in (
        [
            (row["forecastPoint"], row["timestamp"])
            for row in in_json(REGRESSION, predicted(REGRESSION, 3), chunk)
        ],
        [
            (line["FORECAST_POINT"], line["day"])
            for line in in_csv(REGRESSION, predicted(REGRESSION, 3), chunk)
        ],
    ):
        assert found == [
            ("2262-04-11T12:30:00Z", "2020-02-29T23:59:59.000001Z"),
            ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00.000000Z"),
            ("2020-02-29T23:59:59Z", "2262-04-11T12:30:00.500000Z"),
        ]


def test_numbers_are_rounded():
    answer = replace(REGRESSION, decimals=2, interval=95)
    chunk = chunk_of(intervals=np.array([[1 / 3, 2 / 3]]))
    [row] = in_json(answer, Predictions(np.array([[1.006]])), chunk)
    assert row["prediction"] == row["predictionValues"][0]["value"] == 1.01
    assert row["predictionIntervals"] == {"95": {"low": 0.33, "high": 0.67}}
    [line] = in_csv(answer, Predictions(np.array([[1.006]])), chunk)
    assert line["sales (actual)_PREDICTION"] == "1.01"
    assert line["PREDICTION_95_PERCENTILE_LOW"] == "0.33"
    assert line["PREDICTION_95_PERCENTILE_HIGH"] == "0.67"


@pytest.mark.parametrize("count", [1, 40])
def test_bound_that_is_no_number_is_null_and_an_empty_cell(count):
    answer = replace(REGRESSION, interval=80)
    chunk = chunk_of(count, intervals=np.tile([np.nan, np.inf], (count, 1)))
    for row in in_json(answer, predicted(answer, count), chunk):
        assert row["predictionIntervals"] == {"80": {"low": None, "high": None}}
    for line in in_csv(answer, predicted(answer, count), chunk):
        assert line["PREDICTION_80_PERCENTILE_LOW"] == ""
        assert line["PREDICTION_80_PERCENTILE_HIGH"] == ""


def test_chunks_are_joined_by_the_separator():
    writer = ForecastJsonWriter(REGRESSION)
    part = writer.rows(predicted(REGRESSION, 2), chunk_of(2))
    text = writer.head + writer.separator.join([part, part]) + writer.foot
    assert [row["rowId"] for row in json.loads(text)["data"]] == [35, 36, 35, 36]


def test_constant_texts_may_hold_percent_signs():
    target, name = "10 %b", "100 %d"
    answer = ForecastAnswer(
        model("binary", target, ("no", name), name), "day", passthrough=("% s",)
    )
    chunk = chunk_of(passthrough={"% s": ["%b"]})
    [row] = in_json(answer, predicted(answer), chunk)
    assert row["prediction"] == name
    assert row["passthroughValues"] == {"% s": "%b"}
    answer = ForecastAnswer(model("regression", target), "day", approval="PENDING")
    [row] = in_json(answer, predicted(answer), chunk_of())
    assert row["predictionValues"][0]["label"] == "10 %b (actual)"


# ---- Explanations


def xemp(count, features, told):
    shape = (count, 1, told)
    return Explanations(
        np.ones(count, bool),
        np.zeros((count, 1), np.intp),
        np.broadcast_to(np.array(features), shape),
        np.broadcast_to(0.5 ** np.arange(told), shape),
        symbols=np.full(shape, len(SYMBOLS) - 1),
    )


def test_levels_of_derived_features_are_shown_in_explanations():
    answer = replace(REGRESSION, told=Told(2))
    predictions = predicted(answer, 3, explanations=xemp(3, [1, 0], 2))
    found = in_json(answer, predictions, chunk_of(3))
    items = [row["predictionExplanations"] for row in found]
    assert [each[0]["featureValue"] for each in items] == ["north", "south", None]
    assert [each[1]["featureValue"] for each in items] == [1.5, 3, 4.5]
    lines = in_csv(answer, predictions, chunk_of(3))
    values = [line["EXPLANATION_1_ACTUAL_VALUE"] for line in lines]
    assert values == ["north", "south", ""]
    assert {line["EXPLANATION_2_FEATURE_NAME"] for line in lines} == {LAST}


@pytest.mark.parametrize(
    ("answer", "label"),
    [(REGRESSION, "sales (actual)"), (BINARY, "low"), (MULTICLASS, "1")],
)
def test_explanations_are_labelled_as_predictions_are(answer, label):
    answer = replace(answer, told=Told(1))
    predictions = predicted(answer, explanations=xemp(1, [0], 1))
    [row] = in_json(answer, predictions, chunk_of())
    assert [each["label"] for each in row["predictionExplanations"]] == [label]


def test_shap_values_have_the_base_of_their_row():
    answer, predictions, chunk = with_all(REGRESSION, 3, is_shap=True)
    metadata = [
        row["shapExplanationsMetadata"] for row in in_json(answer, predictions, chunk)
    ]
    assert metadata == [
        {"warnings": None, "remainingTotal": 0.25, "baseValue": base}
        for base in (0.0, 1.0, 2.0)
    ]
    lines = in_csv(answer, predictions, chunk)
    assert [line["SHAP_BASE_VALUE"] for line in lines] == ["0.0", "1.0", "2.0"]
    assert [line["SHAP_REMAINING_TOTAL"] for line in lines] == ["0.25"] * 3


def test_shap_values_of_the_model_itself_are_marked():
    answer, predictions, chunk = with_all(
        REGRESSION, 2, is_shap=True, in_model_space=True
    )
    found = replace(predictions.explanations, mismatch=Mismatch(0.002, 1))
    predictions = replace(predictions, explanations=found)
    for row in in_json(answer, predictions, chunk):
        assert rows.TimeSeriesRegressionRow().validate(row) == {}
        metadata = row["shapExplanationsMetadata"]
        assert list(metadata) == ["warnings", "remainingTotal", "baseValue", "space"]
        assert metadata["space"] == "model"


# ---- Humility


@pytest.mark.parametrize(
    ("answer", "value", "said"),
    [
        (REGRESSION, 7.123, 7.12),
        (BINARY, "high", "high"),
        (MULTICLASS, 3, "3"),
    ],
)
def test_rule_puts_its_value_in_the_place_of_a_prediction(answer, value, said):
    trigger = UncertainPrediction(0, 1)
    rule = Rule("b" * 24, "Doubtful", trigger, Override(value))
    answer = replace(answer, humility=[rule], decimals=2)
    humbled = Humbled(np.array([[False, True]]), np.array([-1, 0]))
    predictions = predicted(answer, 2, humbled=humbled)
    own, changed = in_json(answer, predictions, chunk_of(2))
    assert own["prediction"] != said and "humility" not in own
    assert changed["prediction"] == said
    told = {"ruleId": "b" * 24, "triggered": True, "ruleName": "Doubtful"}
    assert changed["humility"] == [told]
    own, changed = in_csv(answer, predictions, chunk_of(2))
    column = f"{answer.target}_PREDICTION"
    assert own[column] != changed[column] == str(said)


# ---- CSV


def test_columns_of_one_series_begin_with_the_forecast_point():
    assert forecast_columns(REGRESSION) == [
        *("FORECAST_POINT", "day", "FORECAST_DISTANCE", "sales (actual)_PREDICTION")
    ]


def test_columns_stand_in_the_recorded_order():
    answer, predictions, chunk = with_all(REGRESSION, 2)
    head = ForecastCsvWriter(answer).head.decode().strip().split(",")
    assert head == [
        *("shop", "FORECAST_POINT", "day", "FORECAST_DISTANCE"),
        "sales (actual)_PREDICTION",
        *("PREDICTION_80_PERCENTILE_LOW", "PREDICTION_80_PERCENTILE_HIGH"),
        "IS_OUTLIER_PREDICTION",
        *("EXPLANATION_1_FEATURE_NAME", "EXPLANATION_1_STRENGTH"),
        *("EXPLANATION_1_ACTUAL_VALUE", "EXPLANATION_1_QUALITATIVE_STRENGTH"),
        "DEPLOYMENT_APPROVAL_STATUS",
        *("id %b", "note"),
    ]
    lines = in_csv(answer, predictions, chunk)
    assert list(lines[1].values()) == [
        *("south", "2013-12-20T00:00:00Z", "2013-12-22T00:00:00.000000Z", "2"),
        *("9.0", "1.0", "1.5", "True", LAST, "0.5", "3", SYMBOLS[0]),
        *("PENDING", "1", 'a,"b"'),
    ]


def test_classes_have_their_columns():
    assert forecast_columns(BINARY) == [
        *("FORECAST_POINT", "month", "FORECAST_DISTANCE"),
        *("level (actual)_low_PREDICTION", "level (actual)_high_PREDICTION"),
        *("level (actual)_PREDICTION", "THRESHOLD", "POSITIVE_CLASS"),
    ]
    [line] = in_csv(BINARY, predicted(BINARY), chunk_of())
    assert list(line.values())[3:] == [
        *("0.5158823954", "0.4841176046", "low", "0.5", "low")
    ]
    assert forecast_columns(MULTICLASS)[3:] == [
        *("size (actual)_1_PREDICTION", "size (actual)_2_PREDICTION"),
        *("size (actual)_3_PREDICTION", "size (actual)_PREDICTION"),
    ]
    [line] = in_csv(MULTICLASS, predicted(MULTICLASS), chunk_of())
    assert list(line.values())[3:] == ["0.2", "0.7", "0.1", "2"]


def test_csv_ends_each_line():
    writer = ForecastCsvWriter(REGRESSION)
    part = writer.rows(predicted(REGRESSION), chunk_of())
    assert part == b"2013-12-20T00:00:00Z,2013-12-21T00:00:00.000000Z,1,2.3353628422\n"


@pytest.mark.parametrize("name", ["shop", "day", "FORECAST_DISTANCE"])
def test_column_that_the_answer_has_cannot_be_passed_through(name):
    names = ("id", name)
    answer = replace(REGRESSION, series_column="shop", passthrough=names, named=names)
    with pytest.raises(OutputColumnsClash):
        ForecastCsvWriter(answer)
    # JSON keeps what is passed through apart.
    chunk = chunk_of(series=["a"], passthrough={"id": [1], name: ["x"]})
    [row] = in_json(answer, predicted(answer), chunk)
    assert row["passthroughValues"] == {"id": 1, name: "x"}


def test_all_columns_are_those_that_the_answer_does_not_have():
    names = ("day", "id", "shop", "sales")
    answer = replace(REGRESSION, series_column="shop", passthrough=names)
    chunk = chunk_of(series=["a"], passthrough={name: [name] for name in names})
    [line] = in_csv(answer, predicted(answer), chunk)
    assert answer.csv_passthrough == ["id", "sales"]
    assert list(line)[-3:] == ["sales (actual)_PREDICTION", "id", "sales"]
    assert list(line.values())[-2:] == ["id", "sales"]
    [row] = in_json(answer, predicted(answer), chunk)
    assert row["passthroughValues"] == {name: name for name in names}
    with pytest.raises(OutputColumnsClash):
        ForecastCsvWriter(replace(answer, passthrough=(*names, "FORECAST_POINT")))


# ---- Recorded answers


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not on this machine"
)
def test_recorded_rows_of_one_series_are_written_with_the_same_content():
    text = (RECORDED / "ts_single_series_2022.json").read_text(encoding="utf-8")
    theirs = json.loads(text)["data"]

    def column(key):
        return [row[key] for row in theirs]

    def moments(key):
        return np.array([each.rstrip("Z") for each in column(key)], "datetime64[us]")

    answer = ForecastAnswer(model("regression", "Sales"), "Date", approval="APPROVED")
    chunk = chunk_of(
        len(theirs),
        row_ids=np.array(column("rowId")),
        forecast_points=moments("forecastPoint"),
        timestamps=moments("timestamp"),
        distances=np.array(column("forecastDistance")),
    )
    predictions = Predictions(np.array(column("prediction"))[:, None])
    assert in_json(answer, predictions, chunk) == theirs


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not on this machine"
)
@pytest.mark.parametrize(
    ("name", "series", "time", "target"),
    [
        (
            "batch_ts_classic_columns.txt",
            "Symbol__y",
            "date_time__y",
            "TradeVolume_sum",
        ),
        ("batch_ts_multiseries_passthrough.txt", "STORE_SKU", "DATE", "UNITS"),
    ],
)
def test_recorded_columns_are_ours_in_their_order(name, series, time, target):
    answer = ForecastAnswer(
        model("regression", target), time, series_column=series, approval="APPROVED"
    )
    text = (RECORDED / name).read_text(encoding="utf-8")
    places = [text.index(column) for column in forecast_columns(answer)]
    assert places == sorted(places)
