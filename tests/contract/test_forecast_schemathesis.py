"""Forecast requests made up from the server's document: documented answers only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import schemathesis

from backends.timeseries.clock import Clock
from backends.timeseries.dates import DateFormat
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from tests.contract.effort import effort
from tests.contract.test_schemathesis import OF_CLASSES, UNTOLD, Answering, described
from tests.specimens import deployment_id
from tests.time_series import PASSENGERS, SALES, STORES


def request(spec: Spec) -> list[dict[str, Any]]:
    """Rows that the spec can be forecast from: its history, and what is to come."""
    clock = Clock.of(spec.time_unit, spec.time_step, np.array(["2008-09-01"], "M8[us]"))
    days = clock.times(np.arange(spec.history + spec.forecast_window.end))
    dates, rows = DateFormat(spec.datetime_format), []
    for number, day in enumerate(days):
        row: dict[str, Any] = {spec.datetime_column: dates.format(day)}
        if spec.series_id_column is not None:
            row[spec.series_id_column] = "north"
        for name, column in spec.columns.items():
            row[name] = (column.categories or (1 + number % 5,))[0]
        if number >= spec.history:
            row[spec.target] = None
        rows.append(row)
    return rows


SPECS = {
    name: load_spec(spec)
    for name, spec in (("sales", SALES), ("stores", STORES), ("passengers", PASSENGERS))
}
CELL = {"type": ["number", "string", "boolean", "null"]}
NAMES = sorted({name for each in SPECS.values() for name in request(each)[0]})
INSTANT = {
    "anyOf": [
        {
            "type": "string",
            "enum": ["2008-10-05", "2008-09-20T00:00:00Z", "1900-01-01"],
        },
        {"type": "string", "maxLength": 30},
    ]
}


LAYOUTS = (
    "/predApi/v1.0/deployments/{deploymentId}/predictions",
    "/predApi/v1.0/deployments/{deploymentId}/timeSeriesPredictions",
    "/api/v2/deployments/{deploymentId}/predictions",
)


def described_forecasts() -> dict[str, Any]:
    """The server's document of these addresses, with rows that can be forecast from."""
    known = [request(each) for each in SPECS.values()]
    row = {"type": "object", "properties": dict.fromkeys(NAMES, CELL)}
    whole = {"type": "array", "enum": known}
    anything = {"type": "array", "maxItems": 5, "items": row}
    document = described(
        {"deploymentId": [deployment_id(name) for name in SPECS]},
        NAMES,
        {"anyOf": [whole, anything]},
        [pd.DataFrame(each).to_csv(index=False) for each in known],
        ["passthroughColumns", "maxCodes", "maxNgramExplanations", *OF_CLASSES],
        LAYOUTS,
    )
    for name in ("forecastPoint", "predictionsStartDate", "predictionsEndDate"):
        document["components"]["parameters"][name]["schema"] = INSTANT
    return document


answering = Answering(described_forecasts())
schema = schemathesis.openapi.from_wsgi("/openapi.json", answering)


@pytest.fixture(autouse=True)
def asked_in_this_process(forecast) -> None:
    answering.application = forecast.client.application


@pytest.mark.parametrize("name", SPECS)
def test_rows_of_the_description_are_forecast(forecast, name):
    body = json.dumps(request(SPECS[name]))
    answer = forecast(name, body, "application/json")
    assert answer.status_code == 200, answer.data


@schema.parametrize()
@effort(60)
def test_only_documented_answers(case, forecast_site):
    token = forecast_site.tokens["ann@example.com"]
    # A forecast is long enough to be compressed.
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    case.call_and_validate(headers=headers, excluded_checks=UNTOLD)
