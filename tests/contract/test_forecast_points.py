"""From where forecasts are made: forecast points in all spellings, and whole ranges."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.contract.test_forecast_errors import HISTORY, refused
from tests.contract.test_forecasts import at, lines_of, rows_of
from tests.forecasts import as_csv

LAYOUTS = ("legacy", "serverless", "time series")
# What datarobot-predict sends when its user names no dates.
EVERYTHING = {
    "predictionsStartDate": "1900-01-01T00:00:00.000000Z",
    "predictionsEndDate": "2262-04-11T23:47:16.854775+00:00",
}
LATEST = 60


@pytest.fixture(scope="session")
def long_sales(forecasters):
    """The last sixty days of sales; no target is missing, and then 7 days to come."""
    return forecasters["sales"].request(history=LATEST)


# ---- Forecast points


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "spelling",
    [
        *("2008-10-20", "2008-10-20T00:00:00", "2008-10-20T00:00:00Z"),
        *("2008-10-20T00:00:00+00:00", "2008-10-20 00:00:00", "20081020"),
        *("2008-10-20T00:00:00.000000Z", "2008-10-20T02:00:00+02:00"),
        *("2008-10-19T19:30:00.000-04:30", "2008-10-20T00:00Z"),
        # Between two steps it is the one before.
        *("2008-10-20T23:59:59", "2008-10-20T01:30:00.5Z"),
    ],
)
def test_every_spelling_of_a_forecast_point(forecast, long_sales, layout, spelling):
    answer = forecast(
        "sales", as_csv(long_sales), query={"forecastPoint": spelling}, layout=layout
    )
    rows = rows_of(answer)
    assert {row["forecastPoint"] for row in rows} == {"2008-10-20T00:00:00Z"}
    assert [row["rowId"] for row in rows] == list(range(54, 61))
    assert [row["timestamp"][:10] for row in rows] == [
        f"2008-10-{day}" for day in range(21, 28)
    ]


@pytest.mark.parametrize(
    "query",
    [
        "forecastPoint=2008-10-20T00:00:00+00:00",
        "forecastPoint=2008-10-20T00:00:00%2B00:00",
        "forecastPoint=2008-10-20+00:00:00",
        "forecastPoint=2008-10-20%2000:00:00+00:00",
    ],
)
def test_a_plus_may_be_left_unescaped(forecast, long_sales, query):
    rows = rows_of(forecast("sales", as_csv(long_sales), query=query))
    assert {row["forecastPoint"] for row in rows} == {"2008-10-20T00:00:00Z"}


def test_later_targets_are_not_looked_at(forecast, long_sales):
    point = {"forecastPoint": "2008-10-20"}
    expected = rows_of(forecast("sales", as_csv(long_sales), query=point))
    blanked = [
        {**row, "sales": "" if number > 53 else row["sales"]}
        for number, row in enumerate(long_sales)
    ]
    assert rows_of(forecast("sales", as_csv(blanked))) == expected


def test_recursion_does_not_look_at_later_targets(forecast, forecasters):
    rows = forecasters["jobs"].request(ahead=0, history=22)
    point = {"forecastPoint": "1955-12-01"}
    told = rows_of(forecast("jobs", as_csv(rows), query=point))
    for row in rows:
        if row["month"] > "1955-12-01":
            row["jobs"] = ""
    assert rows_of(forecast("jobs", as_csv(rows))) == told


def test_the_newest_row_with_a_target_is_the_forecast_point(forecast, long_sales):
    rows = rows_of(forecast("sales", as_csv(long_sales)))
    assert {row["forecastPoint"] for row in rows} == {"2008-10-26T00:00:00Z"}


def test_a_point_between_hours_is_the_step_before(forecast, forecasters):
    each = forecasters["onnx-power"]
    rows = each.request()
    point = each.time(rows[11])
    expected = rows_of(forecast("onnx-power", as_csv(rows)))
    for later in (timedelta(minutes=1), timedelta(hours=1, minutes=59)):
        query = {"forecastPoint": (point + later).isoformat()}
        assert rows_of(forecast("onnx-power", as_csv(rows), query=query)) == expected


def test_a_point_without_a_row_is_one_all_the_same(forecast, forecasters):
    each = forecasters["sales"]
    rows = each.request(history=37)
    known, query = rows[36], {"forecastPoint": "2008-10-25"}
    # What is predicted seven days later would be differenced with the one that lacks.
    del rows[35], rows[41]
    found = rows_of(forecast("sales", as_csv(rows), query=query))
    assert {row["forecastPoint"] for row in found} == {"2008-10-25T00:00:00Z"}
    assert len(found) == 6
    # Without a target at the point or after it, lags are of another time.
    rows[35] = {**known, "sales": ""}
    answer = forecast("sales", as_csv(rows), query=query)
    assert refused(answer) == HISTORY.format("35 day(s)")


def test_a_series_without_a_target_is_refused(forecast, forecasters):
    each = forecasters["stores"]
    rows = each.request()
    told = rows_of(forecast("stores", as_csv(rows)))
    assert len({row["seriesId"] for row in told}) > 1
    target, last = each.spec.target, rows[-1]["store"]
    blank = [{**row, target: ""} if row["store"] == last else row for row in rows]
    assert "historical values" in refused(forecast("stores", as_csv(blank)))


@pytest.mark.parametrize(
    "point", ["2008-08-01", "1900-01-01", "0001-01-01", "0001-01-01T00:00:00+00:00"]
)
def test_a_point_before_the_history_is_refused(forecast, long_sales, point):
    answer = forecast("sales", as_csv(long_sales), query={"forecastPoint": point})
    assert refused(answer) == HISTORY.format("35 day(s)")


def test_a_point_with_too_little_history_is_refused(forecast, long_sales):
    body = as_csv(long_sales)
    # The rows begin on 2008-08-28.
    enough = rows_of(forecast("sales", body, query={"forecastPoint": "2008-10-01"}))
    assert enough[0]["rowId"] == 35
    answer = forecast("sales", body, query={"forecastPoint": "2008-09-30"})
    assert refused(answer) == HISTORY.format("35 day(s)")


@pytest.mark.parametrize(
    ("point", "shown", "first", "last"),
    [
        ("2008-11-02", "11/02/08", "11/03/08", "11/09/08"),
        ("2100-01-01", "01/01/00", "01/02/00", "01/08/00"),
        ("9999-12-20", "12/20/99", "12/21/99", "12/27/99"),
    ],
)
def test_a_point_after_all_rows_is_refused(
    forecast, long_sales, point, shown, first, last
):
    answer = forecast("sales", as_csv(long_sales), query={"forecastPoint": point})
    assert refused(answer) == (
        f"Based on the forecast point ({shown}), there are no rows to predict that fall"
        f" inside of the forecast window ({first} to {last}). Try adjusting the"
        " forecast point to an earlier date or appending new future rows to the data."
    )


@pytest.mark.parametrize(
    "point",
    [
        *("9999-12-31", "9999-12-31T23:59:59.999999Z", "9999-12-31T00:00:00-00:00"),
        *("0001-01-01T00:00:00Z", "0001-01-01T23:59:59+23:59"),
    ],
)
def test_points_at_the_ends_of_time_are_refused(forecast, forecasters, point):
    for name, each in forecasters.items():
        body = as_csv(each.request())
        answer = forecast(name, body, query={"forecastPoint": point})
        message = refused(answer)
        assert message.startswith(("Based on the forecast", "The following errors"))


@pytest.mark.parametrize(
    "point", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+23:59"]
)
def test_points_beyond_the_ends_of_time_are_no_dates(forecast, long_sales, point):
    answer = forecast("sales", as_csv(long_sales), query={"forecastPoint": point})
    assert refused(answer) == {
        "forecastPoint": f"Invalid RFC 3339 datetime string: {point}"
    }


# ---- Ranges


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_range_tells_every_distance_from_every_point(forecast, long_sales, layout):
    answer = forecast("sales", as_csv(long_sales), query=EVERYTHING, layout=layout)
    rows = rows_of(answer)
    # Of the points from 2008-10-01 on the first has seven distances.
    told = [(row["rowId"], row["forecastDistance"]) for row in rows]
    last = LATEST - 1
    assert told == [
        (number, distance)
        for number in range(35, LATEST + 7)
        for distance in range(1, 8)
        if 34 <= number - distance <= last
    ]
    for row in rows:
        ahead = at(row) - at(row, "forecastPoint")
        assert ahead == timedelta(days=row["forecastDistance"])


@pytest.mark.parametrize(
    "name",
    [
        *("sales", "stores", "passengers", "weather", "jobs", "visits"),
        *("by-distance", "onnx-power"),
    ],
)
def test_a_range_tells_what_each_of_its_points_tells(forecast, forecasters, name):
    each = forecasters[name]
    rows = each.request(history=each.spec.history + 6)
    body = as_csv(rows)
    in_range = rows_of(forecast(name, body, query=EVERYTHING))
    points = sorted({row["forecastPoint"] for row in in_range})
    assert len(points) == 7
    one_by_one = [
        row
        for point in points
        for row in rows_of(forecast(name, body, query={"forecastPoint": point}))
    ]

    def key(row):
        return row["rowId"], row["forecastDistance"]

    assert sorted(in_range, key=key) == sorted(one_by_one, key=key)


def test_a_range_of_rows_counts_places(forecast, forecasters):
    each = forecasters["visits"]
    rows = each.request(history=7)
    found = rows_of(forecast("visits", as_csv(rows), query=EVERYTHING))
    assert [(row["rowId"], row["forecastDistance"]) for row in found] == [
        *((5, 1), (6, 1), (6, 2), (7, 1), (7, 2), (8, 2)),
    ]
    for row in found:
        origin = rows[row["rowId"] - row["forecastDistance"]]
        assert at(row, "forecastPoint") == each.time(origin)


def test_a_range_comes_by_series_then_time_then_distance(forecast, forecasters):
    each = forecasters["stores"]
    rows = each.request(history=16)
    rows.sort(key=lambda row: (row["day"], row["store"]))
    found = rows_of(forecast("stores", as_csv(rows), query=EVERYTHING))
    told = [(row["seriesId"], at(row), row["forecastDistance"]) for row in found]
    first_seen = list(dict.fromkeys(row["store"] for row in rows))
    assert told == sorted(told, key=lambda key: (first_seen.index(key[0]), *key[1:]))


def test_a_range_starts_with_and_ends_before(forecast, long_sales):
    query = {
        "predictionsStartDate": "2008-10-20T00:00:00Z",
        "predictionsEndDate": "2008-10-22T00:00:00Z",
    }
    rows = rows_of(forecast("sales", as_csv(long_sales), query=query))
    assert sorted({row["timestamp"][:10] for row in rows}) == [
        *("2008-10-20", "2008-10-21"),
    ]
    assert len(rows) == 14


def test_a_range_may_have_an_unescaped_plus(forecast, long_sales):
    body = as_csv(long_sales)
    query = (
        "predictionsStartDate=1900-01-01T00:00:00.000000Z"
        "&predictionsEndDate=2262-04-11T23:47:16.854775+00:00"
    )
    expected = forecast("sales", body, query=EVERYTHING).data
    assert forecast("sales", body, query=query).data == expected
    days = {"predictionsStartDate": "1900-01-01", "predictionsEndDate": "2263-01-01"}
    assert forecast("sales", body, query=days).data == expected


def test_series_of_a_range_may_lack_history(forecast, forecasters):
    each = forecasters["stores"]
    rows = each.request()
    short = [row for row in rows if row["store"] != "007" or row["day"] > "2021-03-10"]
    assert len(short) < len(rows)
    found = rows_of(forecast("stores", as_csv(short), query=EVERYTHING))
    assert {row["seriesId"] for row in found} == {"north", '12, "b"'}


def test_a_range_leaves_out_what_cannot_be_undone(forecast, long_sales):
    rows = [dict(row) for row in long_sales]
    rows[45]["sales"] = ""
    found = rows_of(forecast("sales", as_csv(rows), query=EVERYTHING))
    targets = {row["rowId"] for row in found}
    # 52 has no baseline; what comes a week before a row is all that is needed.
    assert 52 not in targets
    assert targets == set(range(35, 67)) - {52}


def test_a_range_without_any_history_is_refused(forecast, forecasters):
    each = forecasters["sales"]
    answer = forecast("sales", as_csv(each.request(history=34)), query=EVERYTHING)
    assert refused(answer) == HISTORY.format("35 day(s)")


def test_a_range_without_rows_is_refused(forecast, long_sales):
    query = {"predictionsStartDate": "2010-01-01", "predictionsEndDate": "2010-01-02"}
    answer = forecast("sales", as_csv(long_sales), query=query)
    assert refused(answer) == "No valid output rows"


def test_a_range_needs_what_is_known_in_advance(forecast, long_sales):
    rows = [dict(row) for row in long_sales]
    rows[40]["promo"] = ""
    answer = forecast("sales", as_csv(rows), query=EVERYTHING)
    assert "features have missing values in the forecast window: promo." in (
        refused(answer)
    )
    relaxed = {**EVERYTHING, "relaxKnownInAdvanceFeaturesCheck": "True"}
    expected = len(rows_of(forecast("sales", as_csv(long_sales), query=EVERYTHING)))
    assert len(rows_of(forecast("sales", as_csv(rows), query=relaxed))) == expected


def test_a_range_in_csv_tells_the_same(forecast, long_sales):
    body = as_csv(long_sales)
    rows = rows_of(forecast("sales", body, query=EVERYTHING))
    lines = lines_of(
        forecast("sales", body, query=EVERYTHING, headers={"Accept": "text/csv"})
    )
    assert [
        (
            line["FORECAST_POINT"],
            line["Time"],
            float(line["sales (actual)_PREDICTION"]),
        )
        for line in lines
    ] == [(row["forecastPoint"], row["timestamp"], row["prediction"]) for row in rows]


def test_passthrough_of_a_range_repeats_the_row(forecast, long_sales):
    query = {**EVERYTHING, "passthroughColumns": "Time"}
    for row in rows_of(forecast("sales", as_csv(long_sales), query=query)):
        sent = long_sales[row["rowId"]]["Time"]
        assert row["passthroughValues"] == {"Time": sent}
        assert datetime.strptime(sent, "%m/%d/%y") == at(row)


def test_a_long_range_in_parts_tells_the_same(forecast, forecasters, monkeypatch):
    body = as_csv(forecasters["stores"].request(history=60))
    whole = forecast("stores", body, query=EVERYTHING).data
    assert len(json.loads(whole)["data"]) > 400
    monkeypatch.setattr("app.timeseries.answering._MOST_ROWS", 7)
    assert forecast("stores", body, query=EVERYTHING).data == whole


def test_a_range_that_waits_for_a_slot_tells_the_same(
    forecast, serve_forecasts, forecasters
):
    body = as_csv(forecasters["stores"].request(history=60))
    expected = forecast("stores", body, query=EVERYTHING).data
    # Of its rows each distance counts as a body.
    caller = serve_forecasts(bulk_body=len(body) * 3 - 1)
    assert caller("stores", body, query=EVERYTHING).data == expected
