"""Batch jobs of time series as client programs ask for them."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from app.batch.running import Runner
from app.blueprints import batch
from tests.api_client import api_of
from tests.contract.test_forecast_clients import frame_of

# What clients send, and from how many forecast points the answer is.
PYTHON = {"type": "forecast", "relaxKnownInAdvanceFeaturesCheck": True}
POINT = {"type": "forecast", "forecastPoint": "2008-10-24T00:00:00"}
DATAROBOTX = {"forecastPoint": "2008-10-24T00:00:00.000000Z", "type": "forecast"}
HISTORY = {"type": "historical"}
RANGE = {
    "type": "historical",
    "predictionsStartDate": "1990-01-01T00:00:00",
    "predictionsEndDate": "2200-01-01T00:00:00+00:00",
}


@pytest.fixture
def scored(forecast, monkeypatch):
    """The output of a job for the end of a time series."""
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    api = api_of(forecast)
    runner = Runner(forecast.services.config, lambda: False)

    def score(frame, **asked):
        data = {
            "deploymentId": forecast.site.deployments["sales"],
            "intakeSettings": {"type": "localFile"},
            "outputSettings": {"type": "localFile"},
            **asked,
        }
        job = api.ask("POST", "batchPredictions/", data)
        assert job.status == 202, job.body
        links = job.json["links"]
        body = frame.to_csv(index=False).encode()
        sent = api.ask("PUT", links["csvUpload"], body=body, Content_Type="text/csv")
        assert sent.status == 202
        while runner.run_next():
            pass
        told = api.get(links["self"])
        assert told["status"] == "COMPLETED", told
        answer = api.ask("GET", told["links"]["download"])
        return pd.read_csv(io.BytesIO(answer.body))

    yield score
    runner.close()


@pytest.mark.parametrize(
    ("settings", "points"),
    [(None, 1), (PYTHON, 1), (POINT, 1), (DATAROBOTX, 1), (HISTORY, 3), (RANGE, 3)],
)
def test_forecasts(scored, forecasters, settings, points):
    asked = {"timeseriesSettings": settings} if settings else {}
    found = scored(frame_of(forecasters["sales"]), maxExplanations=0, **asked)
    assert list(found.columns) == [
        *("FORECAST_POINT", "Time", "FORECAST_DISTANCE", "sales (actual)_PREDICTION"),
    ]
    assert found["FORECAST_POINT"].nunique() == points
    if settings in (POINT, DATAROBOTX):
        assert set(found["FORECAST_POINT"]) == {"2008-10-24T00:00:00Z"}


def test_forecasts_are_those_of_a_request(scored, forecast, forecasters):
    frame = frame_of(forecasters["sales"])
    body = frame.to_csv(index=False).encode()
    wanted = forecast("sales", body, headers={"Accept": "text/csv"})
    found = scored(frame)
    pd.testing.assert_frame_equal(found, pd.read_csv(io.BytesIO(wanted.data)))
