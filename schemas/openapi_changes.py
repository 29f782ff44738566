"""Models of the management API, and tokens for passwords, as OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.management import Fields
from schemas.management_fields import PageFields
from schemas.management_models import (
    ModelDeployment,
    NewModel,
    PackageDeployment,
    Replacement,
)
from schemas.openapi_management import (
    ACCEPTED,
    Json,
    Operation,
    answered,
    managed,
    one,
    page_of,
)
from schemas.openapi_parts import headers_of, refusal

_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": ["integer", "null"], "minimum": 0}
_PACKAGE: Final = one(
    id=_ID,
    name=_TEXT,
    modelId=_ID,
    modelFormat=_TEXT,
    createdAt={"type": "string", "format": "date-time"},
    createdBy={"type": "object"},
    modelKind={"type": "object"},
    target=one(name=_MAYBE, type=_MAYBE, predictionThreshold={}),
    activeDeploymentCount={"type": "integer", "minimum": 0},
)
_CHECKED: Final = one(status={"enum": ["passing", "warning", "failing"]}, message=_TEXT)
_REPORT: Final = one(
    status={"enum": ["passing", "warning", "failing"]},
    message=_TEXT,
    checks={"type": "object", "additionalProperties": _CHECKED},
)
_REFUSED: Final = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": _TEXT,
        "errors": {"type": "object"},
        "checks": {"type": "object"},
    },
    "additionalProperties": False,
}


def request_schemas() -> tuple[type[Fields], ...]:
    """What bodies say."""
    return PackageDeployment, ModelDeployment, NewModel, Replacement


def paths() -> dict[str, dict[str, Operation]]:
    """Each path's operations by method."""
    made = {
        path: {
            method: managed(path, **operation)
            for method, operation in operations.items()
        }
        for path, operations in {**_package_paths(), **_replacement_paths()}.items()
    }
    made["/api/v2/modelPackages/"]["post"]["requestBody"] = _bundle()
    change = made["/api/v2/deployments/{deploymentId}/model/"]["patch"]
    change["responses"][422] = refusal(
        422, "Fields are refused, or the model cannot be put in.", _REFUSED
    )
    return {**made, **_token_paths()}


def _bundle() -> Json:
    tar = {"type": "string", "contentMediaType": "application/x-tar"}
    form = {"type": "object", "required": ["file"], "properties": {"file": tar}}
    return {
        "required": True,
        "description": "A bundle's tar, as `foretell package --tar` makes it.",
        "content": {
            "application/x-tar": {"schema": tar},
            "application/octet-stream": {"schema": tar},
            "multipart/form-data": {"schema": form},
        },
    }


def _with_id(identified: str) -> Json:
    content = {"application/json": {"schema": one(id=_ID)}}
    return {**ACCEPTED, "description": identified, "content": content}


def _package_paths() -> dict[str, dict[str, Any]]:
    every = "/api/v2/modelPackages/"
    made = _with_id("It is made; `id` is the deployment's.")
    return {
        every: {
            "get": {
                "summary": "Models that the caller may deploy",
                "query": PageFields,
                "answers": {200: answered("A page of them.", page_of(_PACKAGE))},
            },
            "post": {
                "summary": "Send a bundle, which is checked after the answer",
                "answers": {202: _with_id("It is being checked, `id` says by which.")},
                "refused": [400, 408, 413, 415],
            },
        },
        f"{every}{{modelPackageId}}/": {
            "get": {
                "summary": "A model",
                "answers": {200: answered("The model.", _PACKAGE)},
            }
        },
        "/api/v2/deployments/fromModelPackage/": {
            "post": {
                "summary": "Deploy a model package",
                "body": PackageDeployment,
                "answers": {202: made},
            }
        },
        "/api/v2/deployments/fromLearningModel/": {
            "post": {
                "summary": "Deploy a model",
                "body": ModelDeployment,
                "answers": {202: made},
            }
        },
    }


def _replacement_paths() -> dict[str, dict[str, Any]]:
    own = "/api/v2/deployments/{deploymentId}/model/"
    return {
        own: {
            "patch": {
                "summary": "Another model in the place of a deployment's",
                "body": Replacement,
                "answers": {202: ACCEPTED},
            }
        },
        f"{own}validation/": {
            "post": {
                "summary": "Whether a model can take that place",
                "body": NewModel,
                "answers": {200: answered("How each check ends.", _REPORT)},
            }
        },
    }


def _token_paths() -> dict[str, dict[str, Operation]]:
    info = "/predApi/v1.0/deployments/{deploymentId}/batchInfo"
    told = managed(
        info,
        "What scoring large files with a deployment takes",
        {
            200: answered(
                "Model and limits.",
                one(
                    id=_ID,
                    label=_TEXT,
                    model={"type": "object"},
                    featureCount=_COUNT,
                    limits={"type": "object"},
                    batch={"type": "object"},
                ),
            )
        },
    )
    told["parameters"].append(
        {
            "name": "datarobot-key",
            "in": "header",
            "required": False,
            "description": "Required where the server asks for one.",
            "schema": _TEXT,
        }
    )
    return {
        info: {"get": told},
        "/predApi/v1.0/api_token": {"get": _token(), "post": _token()},
    }


def _token() -> Operation:
    error = {
        "type": "object",
        "required": ["message"],
        "properties": {"message": _TEXT},
    }
    reasons: Mapping[int, str] = {
        401: "The password or the token is wrong, or there is no such user.",
        405: "The address does not answer this method.",
        429: "Too many passwords were tried in the last minute.",
        500: "The server met an error of its own.",
        503: "The server is busy or not ready.",
    }
    return {
        "summary": "A token, good for 7 days, for a user's name and password",
        "tags": ["management"],
        "security": [{"basic": []}],
        "parameters": [],
        "responses": {
            200: {
                **answered("The token.", one(api_token=_TEXT)),
                "headers": headers_of(),
            },
            **{
                status: refusal(status, text, error) for status, text in reasons.items()
            },
        },
    }
