"""Forecasts over HTTP: the documented rows, and numbers found in a second way."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random
import re
from datetime import datetime, timedelta

import numpy as np
import pytest

from tests.forecasts import as_csv, as_json

LAYOUTS = ("legacy", "serverless", "time series")
# Answers are rounded to ten decimals.
ROUNDED = 6e-11

REGRESSION = [
    *("seriesId", "forecastPoint", "rowId", "timestamp", "predictionValues"),
    *("forecastDistance", "prediction"),
]
BINARY = [
    *("rowId", "prediction", "predictionThreshold", "predictionValues", "timestamp"),
    *("forecastDistance", "forecastPoint", "seriesId"),
]
MULTICLASS = [name for name in BINARY if name != "predictionThreshold"]


def rows_of(answer):
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.data
    if answer.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return json.loads(body)["data"]


def lines_of(answer):
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))


def at(row, name="timestamp"):
    return datetime.fromisoformat(row[name]).replace(tzinfo=None)


# ---- The documented rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_regression_rows_are_the_documented_ones(forecast, forecasters, layout):
    body = as_csv(forecasters["sales"].request())
    row = rows_of(forecast("sales", body, layout=layout))[0]
    assert list(row) == REGRESSION
    value = row["prediction"]
    assert row == {
        "seriesId": None,
        "forecastPoint": "2008-10-26T00:00:00Z",
        "rowId": 35,
        "timestamp": "2008-10-27T00:00:00.000000Z",
        "predictionValues": [{"value": value, "label": "sales (actual)"}],
        "forecastDistance": 1,
        "prediction": value,
    }
    assert list(row["predictionValues"][0]) == ["value", "label"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_binary_rows_are_the_documented_ones(forecast, forecasters, layout):
    # The document's history is of 145 months, of which the model looks at twelve.
    rows = forecasters["passengers"].request(history=145)
    found = rows_of(forecast("passengers", as_csv(rows), layout=layout))
    row = found[1]
    assert list(row) == BINARY
    assert list(row["predictionValues"][0]) == ["label", "value"]
    assert {name: row[name] for name in BINARY if "predict" not in name} == {
        "rowId": 146,
        "timestamp": "1961-03-01T00:00:00.000000Z",
        "forecastDistance": 2,
        "forecastPoint": "1961-01-01T00:00:00Z",
        "seriesId": None,
    }
    assert row["predictionThreshold"] == 0.5
    assert [each["label"] for each in row["predictionValues"]] == ["high", "low"]
    assert row["prediction"] in ("low", "high")


def test_multiclass_rows_name_the_likeliest_class(forecast, forecasters):
    for row in rows_of(forecast("weather", as_csv(forecasters["weather"].request()))):
        assert list(row) == MULTICLASS
        values = {each["label"]: each["value"] for each in row["predictionValues"]}
        assert list(values) == ["dry", "wet", "weiß"]
        assert row["prediction"] == max(values, key=values.get)


def test_an_older_address_of_a_project_forecasts(forecast, forecasters):
    each, site = forecasters["sales"], forecast.site
    answer = forecast.client.post(
        f"/predApi/v1.0/{site.deployments['sales']}/{each.model.id}/timeSeriesPredict",
        data=as_csv(each.request()),
        headers={"Authorization": f"Bearer {site.tokens['ann@example.com']}"},
    )
    assert answer.data == forecast("sales", as_csv(each.request())).data


def test_headers_are_those_of_predictions(forecast, forecasters):
    each = forecasters["sales"]
    answer = forecast("sales", as_csv(each.request()))
    assert answer.headers["X-DataRobot-Model-Id"] == each.model.id
    assert float(answer.headers["X-DataRobot-Execution-Time"]) > 0
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-DataRobot-Request-ID"])


# ---- CSV


COLUMNS = {
    "sales": ["sales (actual)_PREDICTION"],
    "stores": ["sold (actual)_PREDICTION"],
    "passengers": [
        *("load (actual)_high_PREDICTION", "load (actual)_low_PREDICTION"),
        *("load (actual)_PREDICTION", "THRESHOLD", "POSITIVE_CLASS"),
    ],
    "weather": [
        *("sky (actual)_dry_PREDICTION", "sky (actual)_wet_PREDICTION"),
        *("sky (actual)_weiß_PREDICTION", "sky (actual)_PREDICTION"),
    ],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_csv_tells_the_same_as_json(forecast, forecasters, name):
    each = forecasters[name]
    body = as_csv(each.request())
    rows = rows_of(forecast(name, body))
    lines = lines_of(forecast(name, body, headers={"Accept": "text/csv"}))
    series, time = each.spec.series_id_column, each.spec.datetime_column
    start = [] if series is None else [series]
    start += ["FORECAST_POINT", time, "FORECAST_DISTANCE"]
    assert list(lines[0]) == start + COLUMNS[name]
    for row, line in zip(rows, lines, strict=True):
        if series is not None:
            assert line[series] == row["seriesId"]
        assert line["FORECAST_POINT"] == row["forecastPoint"]
        assert line[time] == row["timestamp"]
        assert line["FORECAST_DISTANCE"] == str(row["forecastDistance"])
        assert line[f"{each.spec.target} (actual)_PREDICTION"] == str(row["prediction"])
        for value in row["predictionValues"]:
            name = f"{each.spec.target} (actual)_{value['label']}_PREDICTION"
            assert float(line.get(name, value["value"])) == value["value"]


# ---- The numbers


def test_logarithm_and_baseline_are_undone(forecast, forecasters):
    each = forecasters["sales"]
    known = {each.time(row): float(row["sales"]) for row in each.rows}
    said = each.answers()
    for row in rows_of(forecast("sales", as_csv(each.request()))):
        time = at(row)
        [answer] = said[None, time, row["forecastDistance"]]
        week_before = math.log1p(known[time - timedelta(days=7)])
        expected = math.expm1(answer + week_before)
        assert row["prediction"] == pytest.approx(expected, abs=ROUNDED)


@pytest.mark.parametrize("name", ["stores", "by-distance"])
def test_baseline_of_each_series_is_added(forecast, forecasters, name):
    each = forecasters[name]
    known = {(row["store"], each.time(row)): float(row["sold"]) for row in each.rows}
    said = each.answers()
    rows = rows_of(forecast(name, as_csv(each.request())))
    assert len(rows) == 9
    for row in rows:
        store, time = row["seriesId"], at(row)
        [answer] = said[store, time, row["forecastDistance"]]
        expected = answer + known[store, time - timedelta(days=7)]
        assert row["prediction"] == pytest.approx(expected, abs=ROUNDED)


@pytest.mark.parametrize("name", ["passengers", "weather"])
def test_probabilities_are_the_models(forecast, forecasters, name):
    each = forecasters[name]
    said = each.answers()
    rows = rows_of(forecast(name, as_csv(each.request())))
    assert len(rows) == 3
    for row in rows:
        expected = said[None, at(row), row["forecastDistance"]].tolist()
        if name == "passengers":
            expected.append(1 - expected[0])
        values = [value["value"] for value in row["predictionValues"]]
        assert values == pytest.approx(expected, abs=ROUNDED)


@pytest.mark.parametrize("name", ["visits", "onnx-power"])
def test_values_without_transforms_are_the_models(forecast, forecasters, name):
    each = forecasters[name]
    said = each.answers()
    rows = rows_of(forecast(name, as_csv(each.request())))
    assert len(rows) == each.spec.forecast_window.end
    # An ONNX graph computes in 32 bits.
    within = 1e-4 if name.startswith("onnx") else ROUNDED
    for row in rows:
        expected = said[None, at(row), row["forecastDistance"]].item()
        assert row["prediction"] == pytest.approx(expected, abs=within)


def test_recursion_feeds_back_what_it_predicted(forecast, forecasters):
    each = forecasters["jobs"]
    expected = []
    for sector, rows in each.series().items():
        values = [float(row["jobs"]) for row in rows[:-6]]
        for row in rows[-6:]:
            first = np.diff(values)
            second = first[12:] - first[:-12]
            derived = [second[-1], second[-3], np.mean(second[-2:])]
            derived += [float(row["holidays"]), each.time(row).month]
            answer = each.boosters[0].predict(np.array([derived])).item()
            values.append(answer + first[-12] + values[-1])
            expected.append((sector, each.time(row), values[-1]))
    found = rows_of(forecast("jobs", as_csv(each.request())))
    assert [(row["seriesId"], at(row)) for row in found] == [
        (sector, time) for sector, time, _ in expected
    ]
    assert [row["prediction"] for row in found] == pytest.approx(
        [value for _, _, value in expected], abs=1e-9
    )


def test_longer_history_changes_nothing(forecast, forecasters):
    for name, each in forecasters.items():
        short = rows_of(forecast(name, as_csv(each.request())))
        longer = each.request(history=each.spec.history + 20)
        long = rows_of(forecast(name, as_csv(longer)))
        for row in (*short, *long):
            del row["rowId"]
        assert short == long, name


# ---- Which rows are told, and in which order


def test_series_come_as_they_first_appear(forecast, forecasters):
    rows = forecasters["stores"].request()
    rows = [row for row in rows if row["store"] == "007"] + rows
    chosen = list({(row["store"], row["day"]): row for row in rows}.values())
    found = rows_of(forecast("stores", as_csv(chosen)))
    assert [(row["seriesId"], row["forecastDistance"]) for row in found] == [
        (store, distance)
        for store in ("007", "north", '12, "b"')
        for distance in (1, 2, 3)
    ]
    for row in found:
        sent = chosen[row["rowId"]]
        assert (sent["store"], sent["day"]) == (row["seriesId"], row["timestamp"][:10])


@pytest.mark.parametrize("name", ["sales", "stores", "jobs", "weather", "visits"])
def test_rows_may_come_in_any_order(forecast, forecasters, name):
    each = forecasters[name]
    rows = each.request(history=each.spec.history + 3)
    places = list(range(len(rows)))
    random.Random(1).shuffle(places)
    found = rows_of(forecast(name, as_csv(rows)))
    shuffled = rows_of(forecast(name, as_csv([rows[place] for place in places])))

    def key(row):
        return str(row["seriesId"]), row["forecastDistance"]

    for row in shuffled:
        row["rowId"] = places[row["rowId"]]
    assert sorted(shuffled, key=key) == sorted(found, key=key)


def test_rows_beyond_the_window_are_left_out(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request(ahead=12)
    found = rows_of(forecast("sales", as_csv(rows)))
    assert [row["forecastDistance"] for row in found] == list(range(1, 8))


def test_rows_that_are_not_there_are_not_made_up(forecast, forecasters):
    rows = forecasters["sales"].request()
    del rows[37]
    found = rows_of(forecast("sales", as_csv(rows[:-1])))
    assert [row["forecastDistance"] for row in found] == [1, 2, 4, 5, 6]


def test_blind_days_come_before_the_forecast_point(forecast, forecasters):
    each = forecasters["weather"]
    rows = each.request()
    newest = max(each.time(row) for row in rows if row["sky"])
    found = rows_of(forecast("weather", as_csv(rows)))
    assert {at(row, "forecastPoint") for row in found} == {newest + timedelta(days=2)}
    assert [at(row) for row in found] == [
        newest + timedelta(days=days) for days in (4, 5, 6)
    ]


def test_one_forecast_point_serves_all_series(forecast, forecasters):
    each = forecasters["stores"]
    rows = each.request(history=16)
    # Of one of them the last two days are not known.
    for row in [row for row in rows if row["store"] == "007" and row["sold"]][-2:]:
        row["sold"] = ""
    points = {row["forecastPoint"] for row in rows_of(forecast("stores", as_csv(rows)))}
    assert points == {"2021-03-21T00:00:00Z"}


def test_places_of_rows_are_the_steps(forecast, forecasters):
    each = forecasters["visits"]
    rows = each.request()
    found = rows_of(forecast("visits", as_csv(rows)))
    assert [(row["rowId"], at(row)) for row in found] == [
        (5, each.time(rows[5])),
        (6, each.time(rows[6])),
    ]
    assert at(found[0], "forecastPoint") == each.time(rows[4])


# ---- Bodies


def test_every_way_to_send_rows_is_answered_alike(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request()
    body = as_csv(rows)
    numbers = ("sales", "promo", "temperature")
    in_json = as_json(rows, numbers)
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        + body
        + b"\r\n--x--\r\n"
    )
    expected = forecast("sales", body).data
    for sent, kind, headers in (
        (body.replace(b"\n", b"\r\n"), "text/plain", {}),
        (as_csv([dict(reversed(row.items())) for row in rows]), "text/csv", {}),
        (as_csv([{"": "x", **row, "more": "y"} for row in rows]), "text/csv", {}),
        (b"\xef\xbb\xbf" + body, None, {}),
        (body.decode().encode("utf-16"), "text/csv; charset=utf-16", {}),
        (gzip.compress(body), "text/csv", {"Content-Encoding": "gzip"}),
        (in_json, "application/json", {}),
        (in_json.replace(b"null", b"NaN"), "application/json", {}),
        (gzip.compress(in_json), "text/json", {"Content-Encoding": "gzip"}),
        (as_json(rows, ()), "application/json", {}),
        (form, "multipart/form-data; boundary=x", {}),
        (io.BytesIO(body), "text/csv", {}),
    ):
        answer = forecast("sales", sent, kind, headers=headers)
        assert answer.data == expected, (kind, answer.data)


def test_full_precision_is_read_alike_from_csv_and_json(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request()
    rng = random.Random(2)
    for row in rows[:35]:
        row["sales"] = repr(float(row["sales"]) + rng.random())
        row["temperature"] = repr(float(row["temperature"]) * rng.random())
    in_json = as_json(rows, ("sales", "promo", "temperature"))
    answer = forecast("sales", in_json, "application/json")
    assert answer.data == forecast("sales", as_csv(rows)).data


def test_series_ids_are_told_as_they_were_sent(forecast, forecasters):
    rows = forecasters["stores"].request(series=["007", "north"])
    ids = {"007": 7, "north": 12.5}
    body = [{**row, "store": ids[row["store"]]} for row in rows]
    found = rows_of(forecast("stores", json.dumps(body), "application/json"))
    assert [row["seriesId"] for row in found] == [12.5] * 3 + [7] * 3
    texts = [{**row, "store": str(ids[row["store"]])} for row in rows]
    as_text = rows_of(forecast("stores", as_csv(texts)))
    assert [row["seriesId"] for row in as_text] == ["12.5"] * 3 + ["7"] * 3
    assert [row["prediction"] for row in as_text] == [
        row["prediction"] for row in found
    ]


def test_a_number_and_its_text_are_one_series(forecast, forecasters):
    rows = forecasters["stores"].request(series=["007"])
    body = [{**row, "store": 7 if place % 2 else "7"} for place, row in enumerate(rows)]
    found = rows_of(forecast("stores", json.dumps(body), "application/json"))
    assert [row["seriesId"] for row in found] == ["7"] * 3


def test_unknown_categories_and_series_are_missing_values(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request()
    unknown = [{**row, "weather": "hail"} for row in rows]
    missing = [{**row, "weather": ""} for row in rows]
    query = "relaxKnownInAdvanceFeaturesCheck=true"
    # A level that training did not have is no value that is missing.
    assert (
        forecast("sales", as_csv(unknown)).data
        == forecast("sales", as_csv(missing), query=query).data
    )
    assert forecast("sales", as_csv(missing)).status_code == 400
    stores = forecasters["stores"].request(series=["north"])
    renamed = [{**row, "store": "moon"} for row in stores]
    found = rows_of(forecast("stores", as_csv(renamed)))
    assert [row["seriesId"] for row in found] == ["moon"] * 3


# ---- Passthrough, decimals, the original spelling


def test_columns_are_passed_through(forecast, forecasters):
    rows = [
        {**row, "id": f"00{n}"} for n, row in enumerate(forecasters["sales"].request())
    ]
    query = "passthroughColumns=id&passthroughColumns=promo"
    found = rows_of(forecast("sales", as_csv(rows), query=query))
    for row in found:
        sent = rows[row["rowId"]]
        assert list(row)[-1] == "passthroughValues"
        assert row["passthroughValues"] == {"id": sent["id"], "promo": sent["promo"]}
    lines = lines_of(
        forecast("sales", as_csv(rows), query=query, headers={"Accept": "text/csv"})
    )
    assert list(lines[0])[-2:] == ["id", "promo"]
    assert [line["id"] for line in lines] == [f"00{n}" for n in range(35, 42)]


def test_values_of_json_are_passed_through_as_sent(forecast, forecasters):
    each = forecasters["stores"]
    rows = json.loads(as_json(each.request(), ("sold", "promo")))
    for number, row in enumerate(rows):
        row["more"] = [number, {"a": None}]
    found = rows_of(
        forecast(
            "stores",
            json.dumps(rows),
            "application/json",
            query="passthroughColumnsSet=all",
        )
    )
    for row in found:
        assert row["passthroughValues"] == rows[row["rowId"]]


def test_csv_of_all_columns_has_those_of_the_answer_once(forecast, forecasters):
    rows = forecasters["stores"].request()
    answer = forecast(
        "stores",
        as_csv(rows),
        query="passthroughColumnsSet=all",
        headers={"Accept": "text/csv"},
    )
    assert answer.data.decode().partition("\n")[0].split(",") == [
        *("store", "FORECAST_POINT", "day", "FORECAST_DISTANCE"),
        *("sold (actual)_PREDICTION", "sold", "promo"),
    ]


def test_an_own_column_asked_for_by_name_is_a_clash_in_csv(forecast, forecasters):
    answer = forecast(
        "stores",
        as_csv(forecasters["stores"].request()),
        query="passthroughColumns=store&passthroughColumns=day",
        headers={"Accept": "text/csv"},
    )
    assert answer.status_code == 422
    assert answer.get_json()["message"] == (
        "'passthroughColumns': the answer itself has columns named 'store', 'day'"
    )


def test_association_id_is_passed_through(forecast, forecasters):
    deployment = forecast.deploy("sales", association_id="promo")
    rows = rows_of(forecast(deployment, as_csv(forecasters["sales"].request())))
    assert all(list(row["passthroughValues"]) == ["promo"] for row in rows)


def test_rows_without_a_required_association_id_are_refused(forecast, forecasters):
    settings = {"association_id": "order", "association_required": True}
    deployment = forecast.deploy("sales", **settings)
    answer = forecast(deployment, as_csv(forecasters["sales"].request()))
    assert answer.status_code == 422
    assert "needs the column 'order'" in answer.json["message"]


def test_association_id_that_the_answer_tells_is_told_once(forecast, forecasters):
    deployment = forecast.deploy("stores", association_id="day")
    body = as_csv(forecasters["stores"].request())
    rows = rows_of(forecast(deployment, body))
    assert all(list(row["passthroughValues"]) == ["day"] for row in rows)
    plain = forecast("stores", body, headers={"Accept": "text/csv"})
    told = forecast(deployment, body, headers={"Accept": "text/csv"})
    assert told.data == plain.data


def test_decimals_are_cut(forecast, forecasters):
    each = forecasters["sales"]
    full = rows_of(forecast("sales", as_csv(each.request())))
    short = rows_of(forecast("sales", as_csv(each.request()), query="decimalsNumber=2"))
    assert [row["prediction"] for row in short] == [
        round(row["prediction"], 2) for row in full
    ]


def test_original_spelling_is_told_where_the_deployment_says_so(forecast, forecasters):
    deployment = forecast.deploy("sales", original_format_timestamp=True)
    rows = rows_of(forecast(deployment, as_csv(forecasters["sales"].request())))
    assert [row["originalFormatTimestamp"] for row in rows] == [
        *("10/27/08", "10/28/08", "10/29/08", "10/30/08", "10/31/08"),
        *("11/01/08", "11/02/08"),
    ]
    assert list(rows[0]) == [*REGRESSION, "originalFormatTimestamp"]


def test_approval_status_is_told_where_the_workflow_is_on(forecast, forecasters):
    deployment = forecast.deploy("stores", approval_workflow=True)
    body = as_csv(forecasters["stores"].request())
    rows = rows_of(forecast(deployment, body))
    assert {row["deploymentApprovalStatus"] for row in rows} == {"APPROVED"}
    lines = lines_of(forecast(deployment, body, headers={"Accept": "text/csv"}))
    assert list(lines[0])[-1] == "DEPLOYMENT_APPROVAL_STATUS"


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "high"), (1.0, "low")])
def test_threshold_chooses_the_class(forecast, forecasters, threshold, label):
    deployment = forecast.deploy("passengers", threshold=threshold)
    body = as_csv(forecasters["passengers"].request())
    rows = rows_of(forecast(deployment, body))
    assert {row["prediction"] for row in rows} == {label}
    assert {row["predictionThreshold"] for row in rows} == {threshold}
    lines = lines_of(forecast(deployment, body, headers={"Accept": "text/csv"}))
    assert {
        (line["load (actual)_PREDICTION"], line["POSITIVE_CLASS"]) for line in lines
    } == {(label, "high")}


# ---- Prediction intervals and warnings


def test_intervals_are_added_before_the_logarithm_is_undone(forecast, forecasters):
    each = forecasters["sales"]
    body = as_csv(each.request())
    deployment = forecast.deploy("sales", prediction_intervals=True)
    rows = rows_of(forecast(deployment, body))
    table = each.spec.intervals[80]
    for row in rows:
        assert list(row) == [*REGRESSION, "predictionIntervals"]
        [(size, found)] = row["predictionIntervals"].items()
        assert size == "80"
        low, high = table[row["forecastDistance"]]
        said = math.log1p(row["prediction"])
        assert found["low"] == pytest.approx(math.expm1(said + low), abs=1e-8)
        assert found["high"] == pytest.approx(math.expm1(said + high), abs=1e-8)
        assert list(found) == ["low", "high"]
    lines = lines_of(forecast(deployment, body, headers={"Accept": "text/csv"}))
    for row, line in zip(rows, lines, strict=True):
        found = row["predictionIntervals"]["80"]
        assert float(line["PREDICTION_80_PERCENTILE_LOW"]) == found["low"]
        assert float(line["PREDICTION_80_PERCENTILE_HIGH"]) == found["high"]
    assert list(lines[0])[-2:] == [
        *("PREDICTION_80_PERCENTILE_LOW", "PREDICTION_80_PERCENTILE_HIGH"),
    ]


def test_there_are_no_intervals_unless_the_deployment_says_so(forecast, forecasters):
    rows = rows_of(forecast("sales", as_csv(forecasters["sales"].request())))
    assert "predictionIntervals" not in rows[0]


def test_interval_that_is_no_number_is_refused(forecast, forecasters):
    deployment = forecast.deploy(
        "sales", prediction_intervals=True, prediction_interval_size=95
    )
    rows = forecasters["sales"].request()
    answer = forecast(deployment, as_csv(rows))
    assert answer.status_code == 422
    row = len(rows) - 5
    assert answer.get_json()["message"].startswith(f"row {row}: the model's prediction")
    (first, second) = rows_of(forecast(deployment, as_csv(rows[:-5])))
    for each in (first, second):
        bounds = each["predictionIntervals"]["95"]
        assert bounds["low"] < each["prediction"] < bounds["high"]


@pytest.mark.parametrize("name", ["sales", "stores", "passengers"])
def test_intervals_of_a_size_that_is_not_there_are_refused(forecast, forecasters, name):
    deployment = forecast.deploy(
        name, prediction_intervals=True, prediction_interval_size=42
    )
    answer = forecast(deployment, as_csv(forecasters[name].request()))
    assert answer.status_code == 422
    assert answer.get_json()["message"] == (
        "The deployment tells prediction intervals of 42 %, which its model does not"
        " have: set another prediction_interval_size, or deploy a model with intervals"
        " of that size"
    )


def test_predictions_outside_of_the_bounds_are_flagged(forecast, forecasters):
    deployment = forecast.deploy("sales", prediction_warning_upper=100.0)
    body = as_csv(forecasters["sales"].request())
    query = "predictionWarningEnabled=true"
    rows = rows_of(forecast(deployment, body, query=query))
    flags = [row["isOutlierPrediction"] for row in rows]
    assert flags == [not 60 <= row["prediction"] <= 100 for row in rows]
    assert len(set(flags)) == 2
    lines = lines_of(
        forecast(deployment, body, query=query, headers={"Accept": "text/csv"})
    )
    assert [line["IS_OUTLIER_PREDICTION"] for line in lines] == list(map(str, flags))
