"""What is refused of a forecast request: documented texts, and ours."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.contract.test_forecasts import rows_of
from tests.forecasts import as_csv

LAYOUTS = ("legacy", "serverless", "time series")

HISTORY = (
    "The following errors are found:\n • The prediction data must contain historical"
    " values spanning more than {} into the past. In addition, the target cannot have"
    " missing values or missing rows which are used for differencing"
)
KNOWN_IN_ADVANCE = (
    "The following known in advance features have missing values in the forecast"
    " window: {}. Provide the values, or pass relaxKnownInAdvanceFeaturesCheck=true."
)


def refused(answer, status=400):
    """The message of a refusal."""
    assert answer.status_code == status, answer.data
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.data.isascii()
    body = json.loads(answer.data)
    assert list(body) == ["message"]
    return body["message"]


class June(datetime):
    """The day of the documented example."""

    @classmethod
    def now(cls, tz=None):
        return cls(2019, 6, 24, tzinfo=tz)


# ---- The documented ones


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_rows_in_the_forecast_window(forecast, forecasters, layout):
    body = as_csv(forecasters["sales"].request(ahead=7)[:-7])
    assert refused(forecast("sales", body, layout=layout)) == (
        "Based on the forecast point (10/26/08), there are no rows to predict that fall"
        " inside of the forecast window (10/27/08 to 11/02/08). Try adjusting the"
        " forecast point to an earlier date or appending new future rows to the data."
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_without_history(forecast, forecasters, layout):
    body = as_csv(forecasters["sales"].request()[-1:])
    assert refused(forecast("sales", body, layout=layout)) == "No valid output rows"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "text/csv"),
        (b"", "application/json"),
        (b"", None),
        (b"Time,sales,promo,weather,temperature\n", "text/csv"),
        (b"[]", "application/json"),
    ],
)
def test_nothing_to_predict_on(forecast, body, kind):
    assert refused(forecast("sales", body, kind)) == "No valid output rows"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_date_of_another_format(forecast, forecasters, layout, monkeypatch):
    monkeypatch.setattr("backends.timeseries.panel_reader.datetime", June)
    rows = forecasters["sales"].request()
    rows[35]["Time"] = "OCT-27"
    rows[36]["Time"] = "OCT-28"
    assert refused(forecast("sales", as_csv(rows), layout=layout)) == (
        "The \"Time\" feature contains the value 'OCT-27', which does not match the"
        " original format %m/%d/%y (e.g., '06/24/19'). To upload this data, first"
        " correct the format in your prediction dataset and then try the import again."
        " Because some software automatically converts the format for display, it is"
        " best to check the actual format using a text editor."
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_too_short_a_history(forecast, forecasters, layout):
    body = as_csv(forecasters["sales"].request(history=34))
    answer = forecast("sales", body, layout=layout)
    assert refused(answer) == HISTORY.format("35 day(s)")


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("stores", "14 day(s)"),
        ("passengers", "12 month(s)"),
        ("weather", "9 day(s)"),
        # Differences widen the window of 3.
        ("jobs", "16 month(s)"),
        ("onnx-power", "24 hour(s)"),
        ("visits", "5 row(s)"),
    ],
)
def test_history_is_counted_in_the_models_units(forecast, forecasters, name, needed):
    each = forecasters[name]
    body = as_csv(each.request(history=each.spec.history - 1))
    assert refused(forecast(name, body)) == HISTORY.format(needed)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "name", ["forecastPoint", "predictionsStartDate", "predictionsEndDate"]
)
@pytest.mark.parametrize("value", ["", "tomorrow", "10/26/08", "2008-13-01"])
def test_no_date_and_time(forecast, forecasters, layout, name, value):
    body = as_csv(forecasters["sales"].request())
    answer = forecast("sales", body, query={name: value}, layout=layout)
    assert refused(answer) == {name: f"Invalid RFC 3339 datetime string: {value}"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", ["", "maybe", "f"])
def test_no_truth_value(forecast, forecasters, layout, value):
    body = as_csv(forecasters["sales"].request())
    query = {"relaxKnownInAdvanceFeaturesCheck": value}
    message = refused(forecast("sales", body, query=query, layout=layout), 422)
    assert message == {
        "relaxKnownInAdvanceFeaturesCheck": "value can't be converted to Bool"
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_unknown_deployment(forecast, forecasters, layout):
    body = as_csv(forecasters["sales"].request())
    answer = forecast("5e1f2a3b4c5d6e7f80910111", body, layout=layout)
    ann = forecast.site.users["ann@example.com"]
    assert refused(answer, 404) == (
        f"Deployment 5e1f2a3b4c5d6e7f80910111 cannot be found for user {ann}"
    )


@pytest.mark.parametrize("body", [b"", b"a,b\n1,2\n"])
def test_another_model_at_the_address_of_time_series(predict, body):
    message = (
        "Predictions on models that are not time series models are not supported on"
        " this endpoint. Please use the predict endpoint instead."
    )
    assert refused(predict("churn", body, layout="time series"), 422) == message
    for query in (
        "forecastPoint=2008-10-26",
        "predictionsStartDate=2008-10-26&predictionsEndDate=2008-10-27",
        "relaxKnownInAdvanceFeaturesCheck=false",
    ):
        assert refused(predict("churn", body, query=query), 422) == message


@pytest.mark.parametrize(
    "route",
    [
        "deployments/{0}/predictionExplanations",
        "{0}/{1}/predictionExplanations",
        "{0}/{1}/reasonCodesPredictions",
    ],
)
def test_a_time_series_at_the_older_addresses_of_explanations(
    forecast, forecasters, route
):
    each, site = forecasters["sales"], forecast.site
    answer = forecast.client.post(
        "/predApi/v1.0/" + route.format(site.deployments["sales"], each.model.id),
        data=as_csv(each.request()),
        headers={"Authorization": f"Bearer {site.tokens['ann@example.com']}"},
    )
    assert refused(answer, 422) == (
        "This endpoint does not support predictions on time series models. Please use"
        " the timeSeriesPredictions route instead."
    )


# ---- Columns and cells


def without(rows, *names):
    return [
        {name: cell for name, cell in row.items() if name not in names} for row in rows
    ]


def test_missing_columns_are_listed(forecast, forecasters):
    rows = forecasters["sales"].request()
    body = as_csv(without(rows, "Time", "sales"))
    assert refused(forecast("sales", body)) == "Missing column(s): Time, sales"
    stores = without(forecasters["stores"].request(), "store")
    assert refused(forecast("stores", as_csv(stores))) == "Missing column(s): store"
    records = json.dumps(without(rows, "promo", "temperature"))
    message = refused(forecast("sales", records, "application/json"))
    assert message == "Missing column(s): temperature, promo"


def test_known_in_advance_has_to_be_known(forecast, forecasters):
    rows = forecasters["sales"].request()
    rows[36]["promo"] = rows[37]["weather"] = ""
    message = KNOWN_IN_ADVANCE.format("promo, weather")
    assert refused(forecast("sales", as_csv(rows))) == message


@pytest.mark.parametrize("value", ["true", "True", "1", "yes", " on "])
def test_known_in_advance_may_be_missing_if_asked_for(forecast, forecasters, value):
    each = forecasters["sales"]
    rows = each.request()
    rows[36]["promo"] = ""
    query = {"relaxKnownInAdvanceFeaturesCheck": value}
    relaxed = rows_of(forecast("sales", as_csv(rows), query=query))
    full = rows_of(forecast("sales", as_csv(each.request())))
    assert relaxed[0] == full[0]
    assert len(relaxed) == 7


def test_known_in_advance_may_be_missing_in_history(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request()
    for row in rows[:35]:
        row["promo"] = row["weather"] = ""
    expected = forecast("sales", as_csv(each.request())).data
    assert forecast("sales", as_csv(rows)).data == expected


def test_recursion_needs_what_is_known_on_the_way(forecast, forecasters):
    rows = forecasters["jobs"].request()
    rows[17]["holidays"] = ""
    message = KNOWN_IN_ADVANCE.format("holidays")
    assert refused(forecast("jobs", as_csv(rows))) == message
    query = "relaxKnownInAdvanceFeaturesCheck=True"
    assert len(rows_of(forecast("jobs", as_csv(rows), query=query))) == 12


@pytest.mark.parametrize("cell", ["", None])
def test_a_row_has_a_time_and_a_series(forecast, forecasters, cell):
    for column in ("day", "store"):
        rows = forecasters["stores"].request()
        rows[3][column] = rows[7][column] = cell
        message = f'The "{column}" feature contains missing values (first at row 3).'
        records = json.dumps(rows)
        assert refused(forecast("stores", as_csv(rows))) == message
        assert refused(forecast("stores", records, "application/json")) == message


def test_a_timestamp_stands_once(forecast, forecasters):
    rows = forecasters["sales"].request()
    rows.append(dict(rows[17]))
    message = f"Duplicate timestamp {rows[17]['Time']} (row 42)."
    assert refused(forecast("sales", as_csv(rows))) == message


def test_a_timestamp_stands_once_in_each_series(forecast, forecasters):
    rows = forecasters["stores"].request()
    rows.append(dict(rows[20]))
    message = f'Duplicate timestamp {rows[20]["day"]} (row 51) in series "007".'
    assert refused(forecast("stores", as_csv(rows))) == message


def test_a_timestamp_stands_once_where_places_count(forecast, forecasters):
    rows = forecasters["visits"].request()
    rows.append(dict(rows[2]))
    message = f"Duplicate timestamp {rows[2]['day']} (row 7)."
    assert refused(forecast("visits", as_csv(rows))) == message


def test_one_month_has_one_row(forecast, forecasters):
    rows = forecasters["passengers"].request()
    rows.append({**rows[3], "Month": rows[3]["Month"][:-1] + "9"})
    message = f"Duplicate timestamp {rows[3]['Month'][:-1]}9 (row 15)."
    assert refused(forecast("passengers", as_csv(rows))) == message


@pytest.mark.parametrize("minutes", [1, 60])
def test_timestamps_are_whole_steps_apart(forecast, forecasters, minutes):
    each = forecasters["onnx-power"]
    rows = each.request()
    time = each.time(rows[9]) + timedelta(minutes=minutes)
    rows[9]["at"] = time.strftime(each.spec.datetime_format)
    assert refused(forecast("onnx-power", as_csv(rows))) == (
        f'The "at" feature is not regularly spaced: row 9 ({rows[9]["at"]}) is not a'
        " multiple of 2 hour(s) from the first row."
    )


def test_a_missing_row_in_history_is_a_missing_value(forecast, forecasters):
    rows = forecasters["sales"].request()
    del rows[20]
    found = rows_of(forecast("sales", as_csv(rows)))
    assert [row["rowId"] for row in found] == list(range(34, 41))


@pytest.mark.parametrize("lose", ["cell", "row"])
@pytest.mark.parametrize(("name", "needed"), [("sales", 30), ("jobs", 3)])
def test_differencing_needs_its_targets(forecast, forecasters, name, needed, lose):
    each = forecasters[name]
    rows = each.request()
    if lose == "cell":
        rows[needed][each.spec.target] = ""
    else:
        del rows[needed]
    units = {"sales": "35 day(s)", "jobs": "16 month(s)"}
    assert refused(forecast(name, as_csv(rows))) == HISTORY.format(units[name])


def test_one_short_series_fails_the_whole_request(forecast, forecasters):
    rows = forecasters["stores"].request()
    rows = rows[:17] + rows[20:]
    message = HISTORY.format("14 day(s)")
    assert refused(forecast("stores", as_csv(rows))) == message
    lenient = forecast.deploy("stores", allow_partial_history=True)
    found = rows_of(forecast(lenient, as_csv(rows)))
    assert len(found) == 9
    # Those that are long enough are predicted as before.
    whole = rows_of(forecast("stores", as_csv(forecasters["stores"].request())))
    for row in (*found, *whole):
        del row["rowId"]
    assert found[:3] + found[6:] == whole[:3] + whole[6:]


def test_partial_history_does_not_do_without_a_baseline(forecast, forecasters):
    lenient = forecast.deploy("stores", allow_partial_history=True)
    rows = forecasters["stores"].request(series=["north"])
    assert len(rows_of(forecast(lenient, as_csv(rows[7:])))) == 3
    message = HISTORY.format("14 day(s)")
    assert refused(forecast(lenient, as_csv(rows[8:]))) == message


@pytest.mark.parametrize(
    "value", ["n/a", "1,234", "NA", "inf", "0x12", "12 €", "-nan", "NAN"]
)
def test_a_target_is_a_number(forecast, forecasters, value):
    rows = forecasters["sales"].request()
    rows[4]["sales"] = value
    shown = "inf" if value == "inf" else f"'{value}'"
    lenient = forecast.deploy("sales", invalid_numbers="missing")
    for deployment in ("sales", lenient):
        assert refused(forecast(deployment, as_csv(rows))) == (
            f'The "sales" feature contains the value {shown} (row 4), which is not'
            " numeric."
        )


@pytest.mark.parametrize("value", ["", "null", "NULL", "nan", "NaN", " "])
def test_a_target_may_be_missing(forecast, forecasters, value):
    rows = forecasters["sales"].request()
    rows[4]["sales"] = ""
    expected = forecast("sales", as_csv(rows)).data
    rows[4]["sales"] = value
    for row in rows[35:]:
        row["sales"] = value
    assert forecast("sales", as_csv(rows)).data == expected


def test_a_target_has_a_logarithm(forecast, forecasters):
    rows = forecasters["sales"].request()
    rows[4]["sales"] = "-1"
    assert refused(forecast("sales", as_csv(rows))) == (
        'The "sales" feature contains the value -1.0 (row 4), whose logarithm the model'
        " takes: a number above -1 is expected."
    )


def test_a_forecast_is_a_finite_number(forecast, forecasters):
    rows = forecasters["jobs"].request(series=["shops"])
    for number, row in enumerate(rows[:16]):
        row["jobs"] = "1.7e308" if number % 2 else "-1.7e308"
    message = "row 16: the model's prediction is not a finite number"
    assert refused(forecast("jobs", as_csv(rows)), 422) == message


def test_a_target_is_one_of_the_classes(forecast, forecasters):
    rows = forecasters["passengers"].request()
    rows[4]["load"] = "Low"
    assert refused(forecast("passengers", as_csv(rows))) == (
        "The \"load\" feature contains the value 'Low' (row 4), which is none of the"
        " classes 'low', 'high'."
    )


def test_other_columns_hold_what_predictions_take(forecast, forecasters):
    rows = forecasters["sales"].request()
    rows[4]["temperature"] = "warm"
    message = "column 'temperature', row 4: a number is expected, not 'warm'"
    assert refused(forecast("sales", as_csv(rows)), 422) == message
    lenient = forecast.deploy("sales", invalid_numbers="missing")
    assert len(rows_of(forecast(lenient, as_csv(rows)))) == 7
    rows[4]["temperature"], rows[36]["weather"] = "", "hail"
    strict = forecast.deploy("sales", unknown_categories="error")
    message = "column 'weather', row 36: a known level is expected, not 'hail'"
    assert refused(forecast(strict, as_csv(rows)), 422) == message


@pytest.mark.parametrize("value", [[1], {"a": 1}])
@pytest.mark.parametrize("column", ["day", "store", "sold"])
def test_cells_are_no_arrays_or_objects(forecast, forecasters, column, value):
    rows = forecasters["stores"].request()
    rows[2][column] = value
    answer = forecast("stores", json.dumps(rows), "application/json")
    assert answer.status_code in (400, 422)
    assert "row 2" in refused(answer, answer.status_code)


@pytest.mark.parametrize("date", ["1899-12-31", "2262-04-12", "0001-01-01"])
def test_dates_lie_between_1900_and_2262(forecast, forecasters, date, monkeypatch):
    monkeypatch.setattr("backends.timeseries.panel_reader.datetime", June)
    rows = forecasters["stores"].request()
    rows[0]["day"] = date
    assert refused(forecast("stores", as_csv(rows))).startswith(
        f"The \"day\" feature contains the value '{date}', which does not match the"
        " original format %Y-%m-%d (e.g., '2019-06-24'). To upload"
    )


# ---- Arguments


def test_forecast_point_excludes_a_range(forecast, forecasters):
    body = as_csv(forecasters["sales"].request())
    query = {
        "forecastPoint": "2008-10-26",
        "predictionsStartDate": "2008-10-20",
        "predictionsEndDate": "2008-10-21",
    }
    assert refused(forecast("sales", body, query=query), 422) == (
        "forecastPoint cannot be used with predictionsStartDate and predictionsEndDate."
    )


@pytest.mark.parametrize("name", ["predictionsStartDate", "predictionsEndDate"])
def test_a_range_has_two_ends(forecast, forecasters, name):
    body = as_csv(forecasters["sales"].request())
    answer = forecast("sales", body, query={name: "2008-10-26"})
    assert refused(answer, 422) == (
        "predictionsStartDate and predictionsEndDate must be passed together."
    )


@pytest.mark.parametrize("end", ["2008-10-26T00:00:00Z", "2008-10-25"])
def test_a_range_ends_after_it_starts(forecast, forecasters, end):
    body = as_csv(forecasters["sales"].request())
    query = {"predictionsStartDate": "2008-10-26", "predictionsEndDate": end}
    assert refused(forecast("sales", body, query=query)) == (
        "predictionsStartDate must be before predictionsEndDate."
    )


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (
            "passthroughColumns=Name",
            400,
            "passthroughColumns do not match columns, columns expected but not found:"
            " [u'Name']",
        ),
        (
            "maxExplanations=x",
            422,
            "{'max_codes': DataError(value can't be converted to int)}",
        ),
        ("decimalsNumber=-1", 422, "'decimalsNumber': value is less than 0"),
        ("wd=1", 422, "'wd': wd is not allowed key"),
        (
            "thresholdHigh=x",
            422,
            "{'threshold_high': DataError(value can't be converted to float)}",
        ),
        (
            "explanationNumTopClasses=2",
            422,
            "{'explanation_num_top_classes': DataError(the model is regression, not"
            " multiclass)}",
        ),
    ],
)
def test_other_arguments_are_refused_as_of_predictions(
    forecast, forecasters, query, status, message
):
    body = as_csv(forecasters["sales"].request())
    assert refused(forecast("sales", body, query=query), status) == message


# ---- Limits


ALL_TIMES = {
    "predictionsStartDate": "1900-01-01T00:00:00.000000Z",
    "predictionsEndDate": "2262-04-11T23:47:16.854775+00:00",
}


def test_an_answer_has_room_for_so_many_forecasts(serve_forecasts, forecasters):
    caller = serve_forecasts(max_forecasts=9)
    each = forecasters["stores"]
    assert len(rows_of(caller("stores", as_csv(each.request())))) == 9
    body = as_csv(each.request(history=15))
    # Of each series, rows at distances 1 to 3 from the last two points but the ends.
    answer = caller("stores", body, query=ALL_TIMES)
    assert refused(answer, 413) == (
        "The answer would have 18 forecasts, more than 9: ask for fewer series or a"
        " shorter range at once"
    )
    caller = serve_forecasts(max_forecasts=8)
    assert refused(caller("stores", as_csv(each.request())), 413).startswith(
        "The answer would have 9 forecasts, more than 8: "
    )


def test_the_time_span_of_all_series_has_a_limit(serve_forecasts, forecasters):
    each = forecasters["stores"]
    body = as_csv(each.request())
    assert len(rows_of(serve_forecasts(max_steps=51)("stores", body))) == 9
    answer = serve_forecasts(max_steps=50)("stores", body)
    assert refused(answer, 413) == (
        "The time span of the data, 17 steps of 3 series, makes 51 cells, more than 50"
    )


def test_a_far_row_of_history_costs_nothing(serve_forecasts, forecasters):
    each = forecasters["onnx-power"]
    rows = each.request()
    rows.insert(0, {"at": "1900-01-01 01:00", "power": "1"})
    caller = serve_forecasts(max_steps=100)
    assert len(rows_of(caller("onnx-power", as_csv(rows)))) == 4
