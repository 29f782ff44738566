"""What every OpenAPI document here tells alike: headers, tokens, refusals."""

from __future__ import annotations

from typing import Any, Final

from schemas.rows import CODES

VERSION: Final = "3.1.0"

# On every answer of the server.
EVERY_ANSWER: Final[dict[str, Any]] = {
    "X-DataRobot-Execution-Time": {
        "description": "Milliseconds that the server took.",
        "required": True,
        "schema": {"type": "number", "minimum": 0},
    },
    "X-DataRobot-Request-ID": {
        "description": "The request's id, also in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    **{
        f"Access-Control-{name}": {
            "description": "For clients in a browser.",
            "required": True,
            "schema": {"type": "string"},
        }
        for name in (
            *("Allow-Methods", "Allow-Credentials", "Expose-Headers"),
            "Allow-Headers",
        )
    },
}
# On answers of a model.
OF_A_MODEL: Final[dict[str, Any]] = {
    "X-DataRobot-Model-Id": {
        "description": "The model that answered.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
    },
    "X-DataRobot-Model-Cache-Hit": {
        "description": "`false` if the model was loaded for this request.",
        "required": True,
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
# On refusals of one status.
_OF_A_STATUS: Final[dict[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "description": "How to tell who asks.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    405: {
        "Allow": {
            "description": "The methods that are allowed.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    429: {
        "Retry-After": {
            "description": "Whole seconds until the deployment may be asked again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    503: {
        "Retry-After": {
            "description": "Whole seconds after which to try again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}
HEADERS: Final[dict[str, Any]] = {
    **EVERY_ANSWER,
    **OF_A_MODEL,
    "Vary": {
        "description": "The headers of requests that the answer depends on.",
        "required": True,
        "schema": {"type": "string"},
    },
}

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user's token, or a deployment's own.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": (
            "The user's name and the token as password; for rows also the token as"
            " user and an empty password."
        ),
    },
}
TOKEN: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"basic": []}]

_ROWS_REASONS: Final = {
    400: "The rows cannot be read or scored; the code and the message say why.",
    401: "No token, or one that is not known, expired or revoked.",
    403: "The token is for another deployment, or the deployment is disabled.",
    404: "There is no such deployment, or the token's user may not see it.",
    405: "The address does not answer this method.",
    408: "The request's body did not arrive in time.",
    413: "The request is over a limit: bytes, rows, pixels.",
    415: "The body is of a type or an encoding that is not read.",
    429: "The deployment was asked more often than it may be.",
    500: "The server met an error of its own.",
    503: "The server is busy or not ready, or the model cannot be loaded.",
    504: "The request took longer than the server allows.",
}


def headers_of(*more: str) -> dict[str, Any]:
    """Of every answer, and those named, as references to `HEADERS`."""
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in (*EVERY_ANSWER, *more)
    }


def refusal(status: int, reason: str, schema: Any) -> dict[str, Any]:
    """A Response Object of an error; schema: of its body, as apispec takes one."""
    return {
        "description": reason,
        "headers": {**headers_of(), **_OF_A_STATUS.get(status, {})},
        "content": {"application/json": {"schema": schema}},
    }


def rows_refusals() -> dict[int, dict[str, Any]]:
    """What the rows API refuses with, by status, in a schema with the codes of each.

    The document has the schema `RowsError`.
    """
    return {
        status: refusal(
            status,
            _ROWS_REASONS[status],
            {
                "allOf": [{"$ref": "#/components/schemas/RowsError"}],
                "properties": {"errorCode": {"enum": list(codes)}},
            },
        )
        for status, codes in CODES.items()
    }
