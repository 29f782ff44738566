"""Broken, odd and hostile forecast requests: told why, in the envelope, never a 500."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import predictions
from tests.contract.effort import effort
from tests.contract.test_fuzz import anything, mutations
from tests.forecasts import as_csv, as_json

REFUSED = {400, 413, 422}
NAMES = (
    *("sales", "stores", "passengers", "weather", "jobs", "visits", "by-distance"),
    "onnx-power",
)
REGRESSION = predictions.TimeSeriesRegressionRow()
BINARY = predictions.TimeSeriesBinaryRow()
MULTICLASS = predictions.TimeSeriesMulticlassRow()
thorough = effort(60)
names = st.sampled_from(NAMES)
accepts = st.sampled_from(["", "text/csv"])


def check(answer, refused=REFUSED) -> None:
    """An answer is whole, and a refusal says why in its envelope."""
    assert answer.status_code == 200 or answer.status_code in refused, answer.data
    kind = answer.headers["Content-Type"]
    if answer.status_code != 200:
        assert kind == "application/json"
        assert answer.data.isascii()
        body = json.loads(answer.data)
        assert list(body) == ["message"]
        assert body["message"]
        assert isinstance(body["message"], str | dict)
        return
    body = answer.data
    if answer.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if kind != "application/json":
        lines = list(csv.reader(io.StringIO(body.decode(), newline="")))
        assert len({len(line) for line in lines}) == 1
        assert len(lines) > 1
        return
    rows = json.loads(body, parse_constant=lambda word: pytest.fail(word))["data"]
    assert rows
    told = {(row["rowId"], row["forecastDistance"]) for row in rows}
    assert len(told) == len(rows)
    for row in rows:
        schema = schema_of(row)
        assert schema.validate(row) == {}
        assert list(row) == [name for name in schema.fields if name in row]
        assert row["forecastDistance"] > 0
        assert row["forecastPoint"] < row["timestamp"]
        assert all(math.isfinite(each["value"]) for each in row["predictionValues"])


def schema_of(row):
    """What the row has to look like."""
    if "predictionThreshold" in row:
        return BINARY
    return MULTICLASS if isinstance(row["prediction"], str) else REGRESSION


@pytest.fixture(scope="session")
def forecaster(forecasters):
    """A model by its name, as a function: they are much to print."""
    return forecasters.__getitem__


@pytest.fixture(scope="session")
def bodies(forecasters):
    """A good request by its deployment's name, in CSV and JSON, as a function."""
    found = {}
    for name, each in forecasters.items():
        columns = each.spec.columns.values()
        numbers = [column.name for column in columns if column.kind == "numeric"]
        found[name] = as_csv(each.request()), as_json(each.request(), numbers)
    return found.__getitem__


def sent(forecast, name, body, query="", accept="", kind="text/csv"):
    answer = forecast(name, body, kind, query=query, headers={"Accept": accept})
    check(answer)
    return answer


DATES = [
    *("", "0001-01-01", "9999-12-31", "2262-04-11", "2262-04-12", "1900-01-01"),
    *("1899-12-31", "2021-02-29", "2021-3-1", "12/31/99", "02/30/08", "OCT-27"),
    *("2021-03-01T00:00:00Z", "٢٠٢١-٠٣-٠١", " 2021-03-01", "0", "1e9", "-1"),
    *("31.12.9999", "01.01.1900", "2262-04-11 23:47", "1900-01-01 00:00", "000101"),
    *("\ud800", "x" * 5000, "2021-03-01\0", "%Y", "\N{SNOWMAN}"),
]
POINTS = [
    *("", "0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z"),
    *("9999-12-31T23:59:59-23:59", "1900-01-01T00:00:00.000000Z", "now", "20210320"),
    *("2262-04-11T23:47:16.854775+00:00", "2262-04-11T23:47:16.854775 00:00"),
    *("2008-10-26", "2021-03-21T12:00:00", "1955-12-01", "2020-04-27", "2008-W43-7"),
    *("1960-12-31T23:59:59", "2022-04-05T08:00", "2008-10-26T24:00:00", "\0", "٣"),
]
points = st.sampled_from(POINTS) | st.datetimes(
    timezones=st.none() | st.timezones()
).map(lambda each: each.isoformat())
arguments = st.fixed_dictionaries(
    {},
    optional={
        "forecastPoint": points,
        "predictionsStartDate": points,
        "predictionsEndDate": points,
        "relaxKnownInAdvanceFeaturesCheck": st.sampled_from(
            ["true", "True", "0", "", "f", "maybe"]
        ),
        "passthroughColumnsSet": st.sampled_from(["all", ""]),
        "passthroughColumns": st.sampled_from(["day", "sales", "größe", ""]),
        "decimalsNumber": st.sampled_from(["0", "3", "400", "-1", "x"]),
        "predictionWarningEnabled": st.sampled_from(["1", "no"]),
        "maxExplanations": st.sampled_from(["0", "2", "99", "all", "-1"]),
        "explanationAlgorithm": st.sampled_from(["xemp", "shap"]),
        "thresholdLow": st.sampled_from(["0.3", "100", "nan"]),
        "explanationNumTopClasses": st.sampled_from(["2", "11"]),
        "excludeAdjustedPredictions": st.just("false"),
        "wd": st.just("1"),
    },
)


@thorough
@given(names, arguments, st.booleans(), accepts, st.data())
def test_any_arguments_are_answered(
    forecast, bodies, name, query, csv_sent, accept, data
):
    layout = data.draw(st.sampled_from(["legacy", "serverless", "time series"]))
    in_csv, in_json = bodies(name)
    answer = forecast(
        name,
        in_csv if csv_sent else in_json,
        "text/csv" if csv_sent else "application/json",
        query=urlencode(query, errors="replace"),
        headers={"Accept": accept},
        layout=layout,
    )
    check(answer)


EVERYTHING = (
    "predictionsStartDate=1900-01-01T00:00:00.000000Z"
    "&predictionsEndDate=2262-04-11T23:47:16.854775+00:00"
)
QUERIES = st.sampled_from(
    [
        *("", EVERYTHING, "maxExplanations=2", "explanationAlgorithm=shap"),
        *("passthroughColumnsSet=all", "relaxKnownInAdvanceFeaturesCheck=true"),
        f"{EVERYTHING}&relaxKnownInAdvanceFeaturesCheck=true",
        "forecastPoint=2021-03-18&relaxKnownInAdvanceFeaturesCheck=true",
    ]
)


@thorough
@given(names, st.data(), QUERIES, accepts)
def test_mutated_csv_is_forecast_or_refused(
    forecast, bodies, name, data, query, accept
):
    body = data.draw(mutations(bodies(name)[0]))
    sent(forecast, name, body, query, accept)


@thorough
@given(names, st.data(), QUERIES, accepts)
def test_mutated_json_is_forecast_or_refused(
    forecast, bodies, name, data, query, accept
):
    body = data.draw(mutations(bodies(name)[1]))
    sent(forecast, name, body, query, accept, "application/json")


# An edit of a table: of which row, which column, and what.
CELLS = [
    *("", "1e308", "-1e308", "1e-320", "inf", "-inf", "nan", "-0", "1e999", "0", "-1"),
    *("?", "null", "NA", "17%", "9" * 400, "true", "low", "7", "007", "high", "dry"),
    *DATES,
]
edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "double", "drop", "swap", "move"]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.sampled_from(CELLS) | st.text(max_size=6),
    ),
    min_size=1,
    max_size=5,
)


def edited(rows: list[dict[str, Any]], wanted) -> list[dict[str, Any]]:
    """Rows with cells replaced, and themselves doubled, dropped or exchanged."""
    for kind, one, other, cell in wanted:
        if not rows:
            break
        row, second = one % len(rows), other % len(rows)
        column = list(rows[row])[other % len(rows[row])]
        if kind == "set":
            rows[row] = {**rows[row], column: cell}
        elif kind == "double":
            rows.insert(second, dict(rows[row]))
        elif kind == "drop":
            del rows[row]
        elif kind == "swap":
            rows[row], rows[second] = rows[second], rows[row]
        else:
            rows[row] = {**rows[row], column: rows[second][column]}
    return rows


@thorough
@given(names, edits, QUERIES, accepts, st.integers(0, 6))
def test_edited_tables_are_forecast_or_refused(
    forecast, forecaster, name, edits, query, accept, more
):
    each = forecaster(name)
    rows = edited(each.request(history=each.spec.history + more), edits)
    if rows:
        sent(forecast, name, as_csv(rows), query, accept)


@pytest.fixture(scope="session")
def lenient(forecast):
    """Deployments that take what they can."""
    settings = {
        "invalid_numbers": "missing",
        "allow_partial_history": True,
        "original_format_timestamp": True,
        "approval_workflow": True,
    }
    return {name: forecast.deploy(name, **settings) for name in NAMES}


@thorough
@given(names, edits, QUERIES, st.lists(anything, max_size=3), st.data())
def test_any_values_of_json_are_forecast_or_refused(
    forecast, forecaster, lenient, name, edits, query, values, data
):
    each = forecaster(name)
    rows = edited(each.request(), edits)
    for value in values:
        if rows:
            row = data.draw(st.integers(0, len(rows) - 1))
            column = data.draw(st.sampled_from(list(rows[row])))
            rows[row] = {**rows[row], column: value}
    body = json.dumps(rows)
    sent(forecast, lenient[name], body, query, kind="application/json")


@thorough
@given(names, edits, QUERIES)
def test_csv_and_json_are_forecast_alike(forecast, forecaster, name, edits, query):
    rows = edited(forecaster(name).request(), edits)
    text = json.dumps(rows)
    # What Python writes no CSV of, or leaves without quotes that it needs.
    if not rows or any(each in text for each in ("\\ud", "\\u0000", "\\r")):
        return
    in_csv = forecast(name, as_csv(rows), query=query)
    in_json = forecast(name, text, "application/json", query=query)
    check(in_csv)
    assert in_json.data == in_csv.data


series_ids = st.one_of(
    st.text(max_size=20),
    st.integers(),
    # JSON has no way to tell of an infinite one.
    st.floats(allow_infinity=False),
    st.booleans(),
    st.sampled_from(["x" * 9999, 10**400, -0.0, 1e300, "\ud800", '"', "a,b\n"]),
)


@thorough
@given(series_ids, accepts)
@example(10**400, "text/csv")
def test_any_series_id_is_told_as_it_was_sent(forecast, forecaster, value, accept):
    rows = forecaster("stores").request(series=["north"])
    body = json.dumps([{**row, "store": value} for row in rows])
    answer = sent(forecast, "stores", body, "", accept, "application/json")
    # JSON's numbers beyond 64 bits may be read as floats.
    is_long = isinstance(value, int) and not -(2**63) <= value < 2**64
    if answer.status_code == 200 and not accept and not is_long:
        for row in answer.get_json()["data"]:
            assert row["seriesId"] == value


@thorough
@given(names, st.lists(st.sampled_from(DATES), min_size=1, max_size=4), QUERIES)
def test_odd_dates_are_forecast_or_refused(forecast, forecaster, name, dates, query):
    each = forecaster(name)
    rows = each.request()
    for place, date in enumerate(dates):
        row = place * 5 % len(rows)
        rows[row] = {**rows[row], each.spec.datetime_column: date}
    sent(forecast, name, json.dumps(rows), query, kind="application/json")


shapes = st.one_of(
    anything.map(json.dumps).map(str.encode),
    st.binary(max_size=100),
    st.sampled_from(
        [
            *(b"", b"[]", b"{}", b"[{}]", b"null", b"0", b'"a"', b"[[]]", b"[1,{}]"),
            *(b"Time\n", b"\n", b",", b"Time,sales\n1", b'"', b"\xff\xfe", b"\0"),
            *(b"[" * 5000, b'{"data": []}', b'{"Time": ["10/26/08"]}', b"NaN"),
        ]
    ),
)


@thorough
@given(
    names,
    shapes,
    st.sampled_from(["text/csv", "application/json", "", "multipart/form-data"]),
    QUERIES,
)
def test_bodies_of_any_shape_are_refused(forecast, name, body, kind, query):
    sent(forecast, name, body, query, kind=kind)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values", [("1.7e308",), ("-1.7e308", "1.7e308"), ("0", "1.7e308"), ("5e-324",)]
)
@pytest.mark.parametrize(
    "query", ["", "maxExplanations=3", "explanationAlgorithm=shap"]
)
def test_numbers_may_be_as_large_as_they_can(forecast, forecaster, name, values, query):
    each = forecaster(name)
    rows = each.request()
    numeric = [one.name for one in each.spec.columns.values() if one.kind == "numeric"]
    for number, row in enumerate(rows):
        for column in numeric:
            if row[column]:
                row[column] = values[number % len(values)]
    sent(forecast, name, as_csv(rows), query)
