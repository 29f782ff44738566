"""Every address of the server as OpenAPI: what it takes, answers and refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from schemas import predictions, rows
from schemas.arguments import PredictionArgumentsSchema
from schemas.openapi_batch import paths as batch_paths
from schemas.openapi_changes import paths as change_paths
from schemas.openapi_management import paths as management_paths
from schemas.openapi_parts import OF_A_MODEL, TOKEN, headers_of, refusal
from schemas.openapi_unstructured import paths as unstructured_paths

Operation = dict[str, Any]

_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
_TEXT: Final = {"type": "string"}
_FORM: Final = {
    "type": "object",
    "minProperties": 1,
    "description": "A field or a file for each input: one row.",
}
# The parts of paths, and headers of requests, by name.
_PLACES: Final[dict[str, dict[str, Any]]] = {
    "deploymentId": {"schema": _ID},
    "projectId": {
        "schema": _ID,
        "description": "The deployment's project_id, else its own id.",
    },
    "modelId": {
        "schema": _ID,
        "description": "The deployment's project_model_id, else its model's id.",
    },
    "name": {"schema": _TEXT},
}
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "datarobot-key": {
        "name": "datarobot-key",
        "in": "header",
        "required": False,
        "description": "Required where the server asks for one.",
        "schema": _TEXT,
    },
    "Content-Encoding": {
        "name": "Content-Encoding",
        "in": "header",
        "required": False,
        "description": "How the body is compressed.",
        "schema": {"type": "string", "enum": ["gzip", "bz2"]},
    },
}
PREDICTION_REFUSALS: Final = {
    400: "The body cannot be read, or not be forecast from; an argument is no date.",
    401: "No token, or one that is not known; or the datarobot-key is missing.",
    404: "There is no such deployment, or the token's user may not see it.",
    405: "The address does not answer this method.",
    406: "Neither JSON nor CSV is accepted.",
    408: "The request's body did not arrive in time.",
    413: "The request or its answer is over a limit.",
    415: "The body is of a type, an encoding or a charset that is not read.",
    422: "An argument is refused, or the rows cannot be scored as they are.",
    429: "The deployment was asked more often than it may be.",
    480: "A humility rule of the deployment refuses the rows.",
    500: "The server met an error of its own.",
    503: "The server is busy or not ready, or the model cannot be loaded.",
    504: "The request took longer than the server allows.",
}
_PAGE_REFUSALS: Final = {
    404: "There is no such page.",
    405: PREDICTION_REFUSALS[405],
    500: PREDICTION_REFUSALS[500],
    503: "The server is not ready.",
}
_ROWS_PAGE_REFUSALS: Final = (400, 401, 403, 404, 405, 500, 503)


def paths() -> dict[str, dict[str, Operation]]:
    """Each path's operations by method, with schemas as apispec takes them."""
    return {
        **_prediction_paths(),
        **unstructured_paths(_HEADERS),
        **_rows_paths(),
        **management_paths(),
        **batch_paths(),
        **change_paths(),
        **_page_paths(),
    }


def _prediction_paths() -> dict[str, dict[str, Operation]]:
    old = "/predApi/v1.0"
    of_project = f"{old}/{{projectId}}/{{modelId}}"
    of_deployment = f"{old}/deployments/{{deploymentId}}"
    addresses = {
        f"{of_deployment}/predictions": "Predictions",
        f"{of_deployment}/predictionExplanations": (
            "Predictions, with three explanations unless the request says how many"
        ),
        f"{of_deployment}/timeSeriesPredictions": "Forecasts of time series",
        f"{of_project}/predict": "Predictions, the deployment under older ids",
        f"{of_project}/timeSeriesPredict": "Forecasts of time series, likewise",
        f"{of_project}/predictionExplanations": (
            "Predictions with three explanations, likewise"
        ),
        f"{of_project}/reasonCodesPredictions": (
            "The same, and rows call the explanations reasonCodes"
        ),
    }
    found = {
        path: _prediction(path, summary, ["datarobot-key"])
        for path, summary in addresses.items()
    }
    path = "/api/v2/deployments/{deploymentId}/predictions"
    return {path: _prediction(path, "Predictions", []), **found}


def _prediction(path: str, summary: str, keys: Sequence[str]) -> dict[str, Operation]:
    names = [name for name in _PLACES if f"{{{name}}}" in path]
    declared = PredictionArgumentsSchema._declared_fields.values()
    # Of the document's components, as apispec refers to them.
    arguments = [str(field.data_key) for field in declared]
    headers = [*keys, "Content-Encoding"]
    refused = {
        status: {"$ref": f"#/components/responses/refused-{status}"}
        for status in PREDICTION_REFUSALS
    }
    return {
        "post": {
            "summary": summary,
            "tags": ["predictions"],
            "security": TOKEN,
            "parameters": [
                *(_place(name) for name in names),
                *(_HEADERS[name] for name in headers),
                *arguments,
            ],
            "requestBody": _prediction_body(),
            "responses": {200: _predicted(), **refused},
        }
    }


def _prediction_body() -> dict[str, Any]:
    row = {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    table = {"schema": {"type": "string", "description": "A header, then rows."}}
    file = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {
                "type": "string",
                "contentMediaType": "application/octet-stream",
                "description": "JSON if its type or its name says so, else CSV.",
            }
        },
    }
    return {
        "required": True,
        "content": {
            "text/csv": table,
            "application/json": {
                "schema": {"anyOf": [{"type": "array", "items": row}, row]}
            },
            "multipart/form-data": {"schema": file},
            "text/plain": table,
            "application/octet-stream": table,
        },
    }


def _predicted() -> dict[str, Any]:
    return {
        "description": "The rows' predictions, as JSON or, if asked for, as CSV.",
        "headers": headers_of(*OF_A_MODEL, "Vary"),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Response"}},
            "text/csv": {"schema": _TEXT},
        },
    }


def _rows_paths() -> dict[str, dict[str, Operation]]:
    own = "/deployment/{deploymentId}"
    forward = {
        "summary": "Rows of named inputs to rows of named outputs",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": rows.RowsRequest},
                "multipart/form-data": {"schema": _FORM},
                "application/x-www-form-urlencoded": {"schema": _FORM},
            },
        },
        "responses": _or_refused(
            {
                "description": "The rows' outputs; of a form those of its row alone.",
                "headers": headers_of(*OF_A_MODEL, "Vary"),
                "content": {
                    "application/json": {
                        "schema": {
                            "anyOf": [
                                {"$ref": "#/components/schemas/RowsAnswer"},
                                {"type": "object"},
                            ]
                        }
                    }
                },
            },
            rows.CODES,
        ),
    }
    asked = _or_refused(
        _answered("The facts.", rows.DeploymentFacts), _ROWS_PAGE_REFUSALS
    )
    document = _or_refused(
        _answered("The document, of the deployment's own names.", {"type": "object"}),
        _ROWS_PAGE_REFUSALS,
    )
    return {
        f"{own}/forward": {"post": _of_rows(forward)},
        own: {
            "get": _of_rows(
                {"summary": "What it takes and answers", "responses": asked}
            )
        },
        f"{own}/openapi.json": {
            "get": _of_rows({"summary": "The same as OpenAPI", "responses": document})
        },
    }


def _of_rows(operation: Operation) -> Operation:
    place = [_place("deploymentId")]
    return {**operation, "tags": ["rows"], "security": TOKEN, "parameters": place}


def _or_refused(
    response: dict[str, Any], statuses: Iterable[int]
) -> dict[int, dict[str, Any]]:
    refused = {
        status: {"$ref": f"#/components/responses/rows-refused-{status}"}
        for status in statuses
    }
    return {200: response, **refused}


def _page_paths() -> dict[str, dict[str, Operation]]:
    pong = _page("pong", _answered("pong", _said("response", "pong")))
    ready = _page(
        "Whether the server is ready",
        _answered("The deployed models are loaded.", _said("status", "ready")),
        503,
    )
    # Whoever watches a server asks again anyway.
    del ready["responses"][503]["headers"]["Retry-After"]
    return {
        "/ping": {"get": pong},
        "/predApi/v1.0/ping": {"get": pong},
        "/healthz": {
            "get": _page(
                "Whether the process answers", _answered("yes", _said("status", "ok"))
            )
        },
        "/readyz": {"get": ready},
        "/metrics": {
            "get": _page(
                "For monitoring on the same machine",
                _answered("Metrics in Prometheus's form.", _TEXT, "text/plain"),
                404,
            )
        },
        "/openapi.json": {
            "get": _page(
                "This document",
                _answered("The document.", {"type": "object"}),
            )
        },
        "/docs": {
            "get": _page(
                "This document, to read", _answered("A page.", _TEXT, "text/html")
            )
        },
        "/docs/{name}": {
            "get": {
                **_page("What the page consists of", _file(), 404),
                "parameters": [_place("name")],
            }
        },
    }


def _page(summary: str, response: dict[str, Any], *statuses: int) -> Operation:
    refused = {
        status: refusal(status, _PAGE_REFUSALS[status], predictions.ErrorResponse)
        for status in sorted({*statuses, 405, 500})
    }
    return {
        "summary": summary,
        "tags": ["server"],
        "responses": {200: response, **refused},
    }


def _answered(
    description: str, schema: Any, media_type: str = "application/json"
) -> dict[str, Any]:
    return {
        "description": description,
        "headers": headers_of(),
        "content": {media_type: {"schema": schema}},
    }


def _file() -> dict[str, Any]:
    types = ("text/css", "text/javascript", "image/png")
    content = {each: {"schema": _TEXT} for each in types}
    return {"description": "The file.", "headers": headers_of(), "content": content}


def _said(key: str, word: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [key],
        "properties": {key: {"const": word}},
        "additionalProperties": False,
    }


def _place(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, **_PLACES[name]}
