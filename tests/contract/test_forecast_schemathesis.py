"""Forecast requests made up from a description: documented answers only."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import schemathesis
from werkzeug import Response

from backends.timeseries.clock import Clock
from backends.timeseries.dates import DateFormat
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from tests.contract.effort import effort
from tests.contract.test_schemathesis import (
    EXPLANATION,
    PREDICTED,
    REFUSED,
    TEXT,
    UNTOLD,
    VALUE,
    place,
    query,
)
from tests.specimens import deployment_id
from tests.time_series import PASSENGERS, SALES, STORES

MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
ROW = {
    "type": "object",
    "required": [
        *("seriesId", "forecastPoint", "rowId", "timestamp", "predictionValues"),
        *("forecastDistance", "prediction"),
    ],
    "additionalProperties": False,
    "properties": {
        "seriesId": {"type": ["string", "number", "boolean", "null"]},
        "forecastPoint": {"type": "string", "pattern": MOMENT + "Z$"},
        "rowId": {"type": "integer", "minimum": 0},
        "timestamp": {"type": "string", "pattern": MOMENT + r"\.\d{6}Z$"},
        "predictionValues": {"type": "array", "minItems": 1, "items": VALUE},
        "predictionThreshold": {"type": "number"},
        "forecastDistance": {"type": "integer", "minimum": 1},
        "prediction": {"type": ["number", "string"]},
        "isOutlierPrediction": {"type": "boolean"},
        "passthroughValues": {"type": "object"},
        "predictionExplanations": {"type": "array", "items": EXPLANATION},
        "shapExplanationsMetadata": {"type": "object"},
    },
}
ANSWER = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {"data": {"type": "array", "minItems": 1, "items": ROW}},
}
FORECAST = {
    **PREDICTED,
    "content": {"application/json": {"schema": ANSWER}, "text/csv": TEXT},
}


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


def instant(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": INSTANT}


def described() -> dict[str, Any]:
    """The addresses of forecasts as an OpenAPI description."""
    known = [request(each) for each in SPECS.values()]
    row = {"type": "object", "properties": dict.fromkeys(NAMES, CELL)}
    whole = {"type": "array", "enum": known}
    anything = {"type": "array", "maxItems": 5, "items": row}
    forecast = {
        "parameters": [
            instant("forecastPoint"),
            instant("predictionsStartDate"),
            instant("predictionsEndDate"),
            query("relaxKnownInAdvanceFeaturesCheck", type="boolean"),
            query("passthroughColumnsSet", type="string", enum=["all"]),
            query("decimalsNumber", type="integer", minimum=0, maximum=40),
            query("predictionWarningEnabled", type="boolean"),
            query("maxExplanations", type="integer", minimum=0, maximum=60),
            query("explanationAlgorithm", type="string", enum=["xemp", "shap"]),
        ],
        "requestBody": {
            "content": {
                "application/json": {"schema": {"anyOf": [whole, anything]}},
                "text/plain": TEXT,
            }
        },
        "responses": {"200": FORECAST, **REFUSED},
        "security": [{"token": []}],
    }
    deployments = [deployment_id(name) for name in SPECS]
    deployed = {
        "parameters": [place("deploymentId", deployments)],
        "post": forecast,
    }
    layouts = ("predApi/v1.0", "api/v2")
    paths = [f"/{each}/deployments/{{deploymentId}}/predictions" for each in layouts]
    paths.append("/predApi/v1.0/deployments/{deploymentId}/timeSeriesPredictions")
    return {
        "openapi": "3.1.0",
        "info": {"title": "forecasts", "version": "1"},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}
        },
        "paths": dict.fromkeys(paths, deployed),
    }


class Answering:
    """The description when it is loaded, the application when the tests run."""

    def __init__(self) -> None:
        self.application: Any = Response(
            json.dumps(described()), content_type="application/json"
        )

    def __call__(self, environ: Any, start: Any) -> Any:
        return self.application(environ, start)


answering = Answering()
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
