"""Requests made up from a description of the routes: documented answers only."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis import checks
from werkzeug import Response

from tests.contract.effort import effort
from tests.specimens import deployment_id

MESSAGE = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "message": {
            "oneOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "string"},
                },
            ]
        }
    },
}
VALUE = {
    "type": "object",
    "required": ["value", "label"],
    "additionalProperties": False,
    "properties": {
        "value": {"type": "number"},
        "label": {"type": ["string", "integer"]},
    },
}
EXPLANATION = {
    "type": "object",
    "required": ["featureValue", "strength", "feature", "qualitativeStrength", "label"],
    "additionalProperties": False,
    "properties": {
        "featureValue": {"type": ["number", "string", "null"]},
        "strength": {"type": "number"},
        "feature": {"type": "string"},
        "qualitativeStrength": {
            "enum": ["---", "--", "-", "<-", "<+", "+", "++", "+++", None]
        },
        "label": {"type": ["string", "integer"]},
    },
}
ROW = {
    "type": "object",
    "required": ["predictionValues", "prediction", "rowId"],
    "additionalProperties": False,
    "properties": {
        "predictionValues": {"type": "array", "minItems": 1, "items": VALUE},
        "predictionThreshold": {"type": "number"},
        "prediction": {"type": ["number", "string"]},
        "rowId": {"type": "integer", "minimum": 0},
        "isOutlierPrediction": {"type": "boolean"},
        "passthroughValues": {"type": "object"},
        "predictionExplanations": {"type": "array", "items": EXPLANATION},
        "reasonCodes": {"type": "array", "items": EXPLANATION},
        "shapExplanationsMetadata": {
            "type": "object",
            "required": ["warnings", "remainingTotal", "baseValue"],
            "additionalProperties": False,
            "properties": {
                "warnings": {"type": ["array", "null"]},
                "remainingTotal": {"type": "number"},
                "baseValue": {"type": "number"},
            },
        },
    },
}
ANSWER = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {"data": {"type": "array", "minItems": 1, "items": ROW}},
}
PROJECT = "5" * 24
TEXT = {"schema": {"type": "string"}}


def header(kind: str, pattern: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": kind}
    if pattern:
        schema["pattern"] = pattern
    return {"required": True, "schema": schema}


EVERY_ANSWER = {
    "X-DataRobot-Execution-Time": header("number"),
    "X-DataRobot-Request-ID": header("string", "^[0-9a-f]{32}$"),
}
REFUSED = {
    str(status): {
        "description": "refused",
        "headers": EVERY_ANSWER,
        "content": {"application/json": {"schema": MESSAGE}},
    }
    for status in (400, 401, 404, 405, 406, 413, 415, 422)
}
PREDICTED = {
    "description": "predictions",
    "headers": {
        **EVERY_ANSWER,
        "X-DataRobot-Model-Id": header("string", "^[0-9a-f]{24}$"),
        "X-DataRobot-Model-Cache-Hit": header("string", "^(true|false)$"),
    },
    "content": {"application/json": {"schema": ANSWER}, "text/csv": TEXT},
}


def query(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def repeated(name: str) -> dict[str, Any]:
    items = {"type": "string", "enum": ["tenure", "plan", "größe", "THRESHOLD"]}
    schema = {"type": "array", "maxItems": 3, "items": items}
    return {"name": name, "in": "query", "explode": True, "schema": schema}


def place(name: str, known: list[str]) -> dict[str, Any]:
    """A part of the path: one that leads somewhere, or any other."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {
            "anyOf": [
                {"type": "string", "enum": known},
                {"type": "string", "minLength": 1, "maxLength": 30},
            ]
        },
    }


def described(deployment_ids: list[str], features: dict[str, Any]) -> dict[str, Any]:
    """The routes as an OpenAPI description; features: name to JSON schema."""
    row = {"type": "object", "required": list(features), "properties": features}
    rows = {"type": "array", "items": row}
    cell = {"anyOf": [{"type": ["number", "string", "boolean", "null", "array"]}]}
    anything = {
        "type": "array",
        "items": {
            "type": "object",
            **{"properties": {name: cell for name in features}},
        },
    }
    file = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string"}},
    }
    predict = {
        "parameters": [
            repeated("passthroughColumns"),
            query("passthroughColumnsSet", type="string", enum=["all"]),
            query("decimalsNumber", type="integer", minimum=0, maximum=40),
            query("predictionWarningEnabled", type="boolean"),
            query("maxExplanations", type="integer", minimum=0, maximum=200),
            query("maxCodes", type="integer", minimum=0, maximum=3),
            query("explanationAlgorithm", type="string", enum=["xemp", "shap"]),
            query("thresholdLow", type="number"),
            query("thresholdHigh", type="number"),
            query("explanationNumTopClasses", type="integer", minimum=1, maximum=10),
            query("excludeAdjustedPredictions", type="boolean"),
            query("maxNgramExplanations", type="integer", minimum=0),
            {
                "name": "Accept",
                "in": "header",
                "schema": {
                    "type": "string",
                    "enum": ["application/json", "text/csv", "*/*", "image/png"],
                },
            },
        ],
        "requestBody": {
            "content": {
                "application/json": {"schema": {"anyOf": [rows, row, anything]}},
                "text/plain": TEXT,
                "multipart/form-data": {"schema": file},
                "application/octet-stream": TEXT,
            }
        },
        "responses": {"200": PREDICTED, **REFUSED},
        "security": [{"token": []}],
    }
    deployed = {
        "parameters": [place("deploymentId", deployment_ids)],
        "post": predict,
    }
    modelled = {
        "parameters": [
            place("projectId", [PROJECT, deployment_ids[0]]),
            place("modelId", [PROJECT]),
        ],
        "post": predict,
    }
    asked = {
        "responses": {
            "200": {
                "description": "yes",
                "headers": EVERY_ANSWER,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "405": REFUSED["405"],
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "predictions", "version": "1"},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}
        },
        "paths": {
            "/predApi/v1.0/deployments/{deploymentId}/predictions": deployed,
            "/predApi/v1.0/deployments/{deploymentId}/predictionExplanations": deployed,
            "/api/v2/deployments/{deploymentId}/predictions": deployed,
            "/predApi/v1.0/{projectId}/{modelId}/predict": modelled,
            "/predApi/v1.0/{projectId}/{modelId}/predictionExplanations": modelled,
            "/predApi/v1.0/{projectId}/{modelId}/reasonCodesPredictions": modelled,
            "/predApi/v1.0/ping": {"get": asked},
            "/ping": {"get": asked},
            "/healthz": {"get": asked},
        },
    }


NUMBER = {"type": ["number", "null"]}
LEVEL = {"type": ["string", "number", "null", "boolean"]}
DESCRIPTION = described(
    [deployment_id(name) for name in ("churn", "price", "external", "disabled")],
    {
        "tenure": NUMBER,
        "monthly charge": NUMBER,
        "contract": LEVEL,
        "region": LEVEL,
        "plan": LEVEL,
        "senior": LEVEL,
    },
)


class Answering:
    """The description when it is loaded, the application when the tests run."""

    def __init__(self) -> None:
        self.application: Any = Response(
            json.dumps(DESCRIPTION), content_type="application/json"
        )

    def __call__(self, environ: Any, start: Any) -> Any:
        return self.application(environ, start)


answering = Answering()
schema = schemathesis.openapi.from_wsgi("/openapi.json", answering)


@pytest.fixture(autouse=True)
def asked_in_this_process(app: Flask, of_a_project: str) -> None:
    answering.application = app


@pytest.fixture(scope="session")
def of_a_project(predict) -> str:
    """A deployment with older ids."""
    ids = {"project_id": PROJECT, "project_model_id": PROJECT}
    deployment: str = predict.deploy("churn", **ids)
    return deployment


# A body that fits the description may still hold no row that a model can score, and
# one that does not may hold some.
UNTOLD = [checks.negative_data_rejection, checks.positive_data_acceptance]


@schema.parametrize()
@effort(60)
def test_only_documented_answers(case, site):
    token = site.tokens["ann@example.com"]
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"}, excluded_checks=UNTOLD
    )
