"""The addresses of unstructured predictions as OpenAPI."""

from __future__ import annotations

from typing import Any, Final

from schemas.openapi_parts import OF_A_MODEL, TOKEN, headers_of

_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
_ANY: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
# Rows are none here: nothing is negotiated, and no humility rule holds.
_STATUSES: Final = (*(400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504),)


def paths(headers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Both addresses. headers: those of requests that the server knows, by name."""
    end = "deployments/{deploymentId}/predictionsUnstructured"
    return {
        f"/api/v2/{end}": _operation([headers["Content-Encoding"]]),
        f"/predApi/v1.0/{end}": _operation(
            [headers["datarobot-key"], headers["Content-Encoding"]]
        ),
    }


def _operation(headers: list[dict[str, Any]]) -> dict[str, Any]:
    refused = {
        status: {"$ref": f"#/components/responses/refused-{status}"}
        for status in _STATUSES
    }
    place = {"name": "deploymentId", "in": "path", "required": True, "schema": _ID}
    return {
        "post": {
            "summary": "A body to an unstructured model, and its answer",
            "description": (
                "The body is handed to the model as it is, with its Content-Type. No"
                " query is accepted."
            ),
            "tags": ["unstructured"],
            "security": TOKEN,
            "parameters": [place, *headers],
            "requestBody": {"required": True, "content": _ANY},
            "responses": {200: _answered(), **refused},
        }
    }


def _answered() -> dict[str, Any]:
    return {
        "description": "What the model answers, with the Content-Type that it says.",
        "headers": headers_of(*OF_A_MODEL, "Vary"),
        "content": _ANY,
    }
