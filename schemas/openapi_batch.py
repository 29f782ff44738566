"""Batch jobs as OpenAPI: what their addresses take, answer and refuse."""

from __future__ import annotations

from typing import Any, Final

from schemas.batch import ORDERS, STATUSES
from schemas.openapi_management import answered, managed, one
from schemas.openapi_parts import headers_of, refusal

Json = dict[str, Any]

_ROOT: Final = "/api/v2/batchPredictions/"
_JOB: Final = f"{_ROOT}{{jobId}}/"
_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["string", "null"]}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_SWITCH: Final = {"type": "boolean"}
_NUMBER: Final = {"type": "number"}
_NAMES: Final = {"type": "array", "items": {"type": "string", "minLength": 1}}
_OBJECT: Final = {"type": "object"}
_TIME: Final = {"type": "string", "format": "date-time"}
_OR_ALL: Final = {"anyOf": [_WHOLE, {"const": "all"}]}
_ERROR: Final = one(message=_TEXT)
_CSV: Final = {"text/csv": {"schema": _TEXT}}


def paths() -> dict[str, dict[str, Json]]:
    """Each path's operations by method."""
    accepted = answered("It is taken.", _OBJECT)
    upload = {"required": True, "content": _CSV}
    finalize = managed(_JOB, "Join the parts", {202: accepted}, refused=(413,))
    part = managed(
        f"{_JOB}csvUpload/part/{{number}}/",
        "A part of the input, with the header",
        {202: accepted},
        refused=(400, 408, 413, 415),
    )
    part["parameters"][1]["schema"] = {"type": "string", "pattern": "^[0-9]{1,6}$"}
    return {
        _ROOT: {"post": _create(), "get": _list()},
        _JOB: {
            "get": managed(_JOB, "A job", {200: answered("The job.", _job())}),
            "delete": managed(
                _JOB,
                "End a job; remove one that has ended",
                {
                    202: answered("It is aborted.", _job()),
                    204: {"description": "It is removed.", "headers": headers_of()},
                },
            ),
        },
        f"{_JOB}csvUpload/": {
            "put": _not_acceptable(
                {
                    **managed(
                        _JOB,
                        "The whole input",
                        {202: accepted},
                        refused=(400, 408, 413, 415),
                    ),
                    "requestBody": upload,
                }
            )
        },
        f"{_JOB}csvUpload/part/{{number}}/": {
            "put": _not_acceptable({**part, "requestBody": upload})
        },
        f"{_JOB}csvUpload/finalizeMultipart/": {"post": finalize},
        f"{_JOB}finalizeMultipart/": {"post": finalize},
        f"{_JOB}download/": {
            "get": _not_acceptable(managed(_JOB, "The output", {200: _output()}))
        },
    }


def _not_acceptable(operation: Json) -> Json:
    responses = {
        **operation["responses"],
        406: refusal(406, "Inputs and outputs are text/csv.", _ERROR),
    }
    return {**operation, "responses": responses}


def _create() -> Json:
    told = answered("The job.", _job())
    where = {"description": "The job's URL.", "required": True, "schema": _TEXT}
    told["headers"] = {**told["headers"], "Location": where}
    operation = managed(_ROOT, "Make a job", {202: told}, body=_spec())
    reason = "The deployment was asked more often than it may be."
    operation["responses"][429] = refusal(429, reason, _ERROR)
    return operation


def _list() -> Json:
    page = one(
        count=_WHOLE,
        data={"type": "array", "items": _job()},
        next=_MAYBE,
        previous=_MAYBE,
        totalCount=_WHOLE,
    )
    operation = managed(_ROOT, "The caller's jobs", {200: answered("A page.", page)})
    asked = {
        "status": {
            "type": "array",
            "items": {"type": "string", "enum": list(STATUSES)},
        },
        "deploymentId": _TEXT,
        "source": _TEXT,
        "orderBy": {"type": "string", "enum": list(ORDERS)},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "offset": _WHOLE,
    }
    operation["parameters"] = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in asked.items()
    ]
    return operation


def _output() -> Json:
    return {
        "description": "The rows, as they are scored.",
        "headers": headers_of(),
        "content": _CSV,
    }


def _job() -> Json:
    return one(
        id=_TEXT,
        status={"type": "string", "enum": list(STATUSES)},
        percentageCompleted={"type": "number", "minimum": 0, "maximum": 100},
        elapsedTimeSec=_WHOLE,
        links=one(self=_TEXT),
        jobSpec=one(numConcurrent=_WHOLE, deploymentId=_TEXT),
        statusDetails=_TEXT,
        created=_TIME,
        createdBy=one(userId=_TEXT, username=_MAYBE, fullName=_MAYBE),
        logs={"type": "array", "items": _TEXT},
        scoredRows=_WHOLE,
        failedRows=_WHOLE,
        skippedRows=_WHOLE,
        queuePosition={"type": ["integer", "null"]},
        queued=_SWITCH,
        source=_TEXT,
    )


def _spec() -> Json:
    """The body of a new job."""
    places = {"type": "object", "required": ["type"], "properties": {"type": _TEXT}}
    return {
        "type": "object",
        "required": ["deploymentId"],
        "properties": {
            "deploymentId": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
            "intakeSettings": places,
            "outputSettings": places,
            "csvSettings": {
                "type": "object",
                "properties": {
                    "delimiter": _TEXT,
                    "quotechar": {"type": "string", "minLength": 1, "maxLength": 1},
                    "encoding": _TEXT,
                },
            },
            "passthroughColumns": _NAMES,
            "passthroughColumnsSet": {"const": "all"},
            "maxExplanations": _OR_ALL,
            "explanationAlgorithm": {"type": "string", "enum": ["xemp", "shap"]},
            "explanationNumTopClasses": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10,
            },
            "explanationClassNames": _NAMES,
            "maxNgramExplanations": _OR_ALL,
            "thresholdHigh": _NUMBER,
            "thresholdLow": _NUMBER,
            "predictionThreshold": {"type": "number", "minimum": 0, "maximum": 1},
            "predictionWarningEnabled": _SWITCH,
            "includeProbabilities": _SWITCH,
            "includeProbabilitiesClasses": _NAMES,
            "includePredictionStatus": _SWITCH,
            "columnNamesRemapping": {"type": ["object", "array"]},
            "chunkSize": {
                "anyOf": [_WHOLE, {"enum": ["auto", "fixed", "dynamic"]}],
            },
            "numConcurrent": {"type": "integer", "minimum": 1, "maximum": 1000},
            "abortOnError": _SWITCH,
            "skipDriftTracking": _SWITCH,
            "disableRowLevelErrorHandling": _SWITCH,
            "timeseriesSettings": places,
            "predictionInstance": _OBJECT,
            "decimalsNumber": {"type": "integer", "minimum": 0, "maximum": 1000},
        },
    }
