"""Forecast requests as unmodified client programs send them."""

from __future__ import annotations

import gzip
import io
import json
from datetime import datetime
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest

KEY = "DR-key-1"


@pytest.fixture
def keyed(serve_forecasts):
    """A server that asks for the datarobot-key."""
    return serve_forecasts(datarobot_key=KEY)


def frame_of(forecaster):
    """A request in pandas: targets to come are NaN, numbers are numbers."""
    frame = pd.DataFrame(forecaster.request(history=forecaster.spec.history + 2))
    for name, column in forecaster.spec.columns.items():
        if column.kind == "numeric":
            frame[name] = pd.to_numeric(frame[name])
    return frame


def from_datarobot_predict(caller, name, frame, **arguments):
    """The client adds its own arguments, and hands the answer to pandas."""
    answer = caller(
        name,
        frame.to_csv(index=False).encode(),
        "text/csv",
        query=urlencode({"maxExplanations": 0, **arguments}),
        headers={
            "Authorization": f"Token {caller.site.tokens['ann@example.com']}",
            "datarobot-key": KEY,
            "Accept": "text/csv",
            "Accept-Encoding": "gzip, deflate",
        },
    )
    assert answer.status_code == 200, answer.data
    packed = answer.headers.get("Content-Encoding") == "gzip"
    body = gzip.decompress(answer.data) if packed else answer.data
    return pd.read_csv(io.BytesIO(body), encoding="utf-8")


def test_datarobot_predict_forecasts(keyed, forecasters):
    frame = frame_of(forecasters["sales"])
    newest = from_datarobot_predict(keyed, "sales", frame)
    assert list(newest.columns) == [
        *("FORECAST_POINT", "Time", "FORECAST_DISTANCE", "sales (actual)_PREDICTION"),
    ]
    assert newest["FORECAST_DISTANCE"].tolist() == list(range(1, 8))
    assert newest["sales (actual)_PREDICTION"].dtype == np.float64
    asked = from_datarobot_predict(
        keyed,
        "sales",
        frame,
        forecastPoint=datetime(2008, 10, 24).isoformat(),
        relaxKnownInAdvanceFeaturesCheck=True,
    )
    assert set(asked["FORECAST_POINT"]) == {"2008-10-24T00:00:00Z"}


@pytest.mark.parametrize("name", ["sales", "stores", "jobs"])
def test_datarobot_predict_forecasts_history(keyed, forecasters, name):
    frame = frame_of(forecasters[name])
    everything = from_datarobot_predict(
        keyed,
        name,
        frame,
        predictionsStartDate="1900-01-01T00:00:00.000000Z",
        predictionsEndDate="2262-04-11T23:47:16.854775+00:00",
        relaxKnownInAdvanceFeaturesCheck=False,
        passthroughColumnsSet="all",
    )
    assert everything["FORECAST_POINT"].nunique() == 3
    window = forecasters[name].spec.forecast_window
    assert everything["FORECAST_DISTANCE"].max() == window.end


def test_datarobotx_tells_several_series_from_one(keyed, forecasters):
    # By the first column: the forecast point, or the ids of series.
    one = from_datarobot_predict(keyed, "sales", frame_of(forecasters["sales"]))
    assert one.columns[0] == "FORECAST_POINT"
    several = from_datarobot_predict(keyed, "stores", frame_of(forecasters["stores"]))
    assert several.columns[0] == "store"
    assert set(several["store"]) == {"north", "007", '12, "b"'}


def test_records_with_tokens_for_missing_values(keyed, forecasters):
    frame = frame_of(forecasters["stores"])
    body = json.dumps(frame.to_dict("records"))
    assert "NaN" in body
    answer = keyed(
        "stores",
        body,
        "application/json",
        layout="time series",
        headers={"datarobot-key": KEY},
    )
    assert answer.status_code == 200, answer.data
    rows = answer.get_json()["data"]
    assert [row["forecastDistance"] for row in rows] == [1, 2, 3] * 3
    assert rows[0]["seriesId"] == "north"


def test_qlik_connector(keyed, forecasters):
    frame = frame_of(forecasters["sales"])
    answer = keyed(
        "sales",
        frame.to_csv(index=False).encode(),
        "text/csv; charset=UTF-8",
        query="forecastPoint=2008-10-25T00:00:00Z&passthroughColumns=promo&",
        layout="time series",
        headers={
            "Authorization": f"Token {keyed.site.tokens['ann@example.com']}",
            "datarobot-key": KEY,
        },
    )
    assert answer.status_code == 200, answer.data
    for row in answer.get_json()["data"]:
        assert isinstance(row["forecastDistance"], int)
        assert row["seriesId"] is None
        assert row["passthroughValues"] == {"promo": str(frame["promo"][row["rowId"]])}


def test_older_addresses_of_time_series_ask_for_the_key(keyed, forecasters):
    body = frame_of(forecasters["sales"]).to_csv(index=False).encode()
    answer = keyed("sales", body, layout="time series")
    assert answer.status_code == 401
    assert answer.get_json()["message"] == "The datarobot-key header is missing"
