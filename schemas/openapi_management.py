"""The management API as OpenAPI: what its addresses take, answer and refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas import management_deployments as deployments
from schemas import management_settings as settings
from schemas.management import Fields
from schemas.management_deployments import (
    AccessChange,
    DeploymentChange,
    DeploymentQuery,
    SharedRolesChange,
    SharedRolesQuery,
    StatusChange,
)
from schemas.management_fields import PageFields
from schemas.management_projects import (
    ModelChange,
    ModelDeploymentQuery,
    ProjectQuery,
)
from schemas.management_settings import (
    RuleChange,
    RulesChange,
    SettingsChange,
    StatsQuery,
)
from schemas.openapi_parts import TOKEN, headers_of, refusal

Operation = dict[str, Any]
Json = dict[str, Any]

_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
_OBJECT: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["string", "null"]}
_TIME: Final = {"type": "string", "format": "date-time"}

PLACES: Final[Mapping[str, str]] = {
    "deploymentId": "A deployment's id.",
    "jobId": "A batch job's id.",
    "number": "A part's number, from 0.",
    "operationId": "An operation's id, as `Location` told it.",
    "modelPackageId": "A model's id.",
    "ruleId": "A humility rule's id.",
    "projectId": "The deployment's project_id, else its own id.",
    "modelId": "The deployment's project_model_id, else its model's id.",
}
_REASONS: Final = {
    400: "The body is no JSON object.",
    401: "No token, or one that is not known, expired or revoked.",
    403: "The caller may see this, and may not do it.",
    404: "There is no such thing, or the token's user may not see it.",
    405: "The address does not answer this method.",
    408: "The request's body did not arrive in time.",
    409: "The deployment is in that state already.",
    413: "The body is over a limit.",
    415: "The body is of an encoding or a charset that is not read.",
    422: "Fields of the body or the query are refused; `errors` says which.",
    500: "The server met an error of its own.",
    503: "The server is busy or not ready, or a model or the database cannot be read.",
}
_ALWAYS: Final = (401, 403, 404, 405, 422, 500, 503)
_WITH_BODY: Final = (400, 408, 413, 415)


def refusals() -> dict[int, Json]:
    """What the management API refuses with, by status."""
    error = {
        "type": "object",
        "required": ["message"],
        "properties": {"message": _TEXT, "errors": _OBJECT},
        "additionalProperties": False,
    }
    return {
        status: refusal(status, reason, error) for status, reason in _REASONS.items()
    }


def managed(
    path: str,
    summary: str,
    answers: Mapping[int, Json],
    *,
    body: type[Fields] | Json | None = None,
    query: type[Fields] | None = None,
    refused: Sequence[int] = (),
) -> Operation:
    """One operation.

    body: a schema, or one of JSON. query: what it may say. refused: statuses beside
    those that every operation may have.
    """
    names = re.findall("{(.*?)}", path)
    parameters: list[Any] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PLACES.get(name, ""),
            "schema": _ID,
        }
        for name in names
    ]
    if query is not None:
        parameters.append({"in": "query", "schema": query})
    statuses = sorted({*_ALWAYS, *refused, *(_WITH_BODY if body is not None else ())})
    operation: Operation = {
        "summary": summary,
        "tags": ["management"],
        "security": TOKEN,
        "parameters": parameters,
        "responses": {
            **answers,
            **{
                status: {"$ref": f"#/components/responses/management-refused-{status}"}
                for status in statuses
            },
        },
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def answered(description: str, schema: Json) -> Json:
    """A JSON answer."""
    content = {"application/json": {"schema": schema}}
    return {"description": description, "headers": headers_of(), "content": content}


def one(**properties: Json) -> Json:
    """An object that has these, and may have others."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


def page_of(item: Json) -> Json:
    """The envelope of a list."""
    count = {"type": "integer", "minimum": 0}
    return one(
        count=count,
        data={"type": "array", "items": item},
        next=_MAYBE,
        previous=_MAYBE,
        totalCount=count,
    )


NOTHING: Final[Json] = {"description": "It is done.", "headers": headers_of()}
LOCATION: Final[Json] = {
    "description": "Where it is told how it goes, or what came of it.",
    "required": True,
    "schema": {"type": "string"},
}
ACCEPTED: Final[Json] = {
    "description": "It is being done.",
    "headers": {**headers_of(), "Location": LOCATION},
    "content": {"application/json": {"schema": _OBJECT}},
}

_DEPLOYMENT: Final = one(
    id=_ID,
    label=_TEXT,
    description=_MAYBE,
    status={"enum": ["active", "inactive"]},
    importance={"enum": ["CRITICAL", "HIGH", "MODERATE", "LOW"]},
    createdAt=_TIME,
    defaultPredictionServer={"type": ["object", "null"]},
    model=_OBJECT,
    capabilities=_OBJECT,
    settings=_OBJECT,
    permissions={"type": "array", "items": _TEXT},
    owners=_OBJECT,
    predictionEnvironment=_OBJECT,
)
_RULE: Final = one(id=_ID, name=_TEXT, trigger=_OBJECT, action=_OBJECT)
_NEW_RULE: Final[Json] = {
    "type": "object",
    "required": ["name", "trigger", "action"],
    "properties": {"id": _ID, "name": _TEXT, "trigger": _OBJECT, "action": _OBJECT},
    "additionalProperties": False,
}
_SERVER: Final = {
    "type": "object",
    "required": ["id", "url", "datarobot-key"],
    "properties": {"id": _ID, "url": _TEXT, "datarobot-key": _TEXT},
}
_FEATURE: Final = one(
    name=_TEXT,
    featureType=_TEXT,
    importance={"type": ["number", "null"]},
    dateFormat=_MAYBE,
    knownInAdvance={"type": "boolean"},
)


def paths() -> dict[str, dict[str, Operation]]:
    """Each path's operations by method."""
    return {
        path: {
            method: managed(path, **operation)
            for method, operation in operations.items()
        }
        for path, operations in {
            **_server_paths(),
            **_deployment_paths(),
            **_settings_paths(),
            **_project_paths(),
        }.items()
    }


def _server_paths() -> dict[str, dict[str, Any]]:
    version = one(
        major={"type": "integer"}, minor={"type": "integer"}, versionString=_TEXT
    )
    going = answered("How it goes.", one(status=_TEXT, message=_TEXT))
    return {
        "/api/v2/version/": {
            "get": {
                "summary": "The version of the API",
                "answers": {200: answered("The version.", version)},
            }
        },
        "/api/v2/status/{operationId}/": {
            "get": {
                "summary": "How an operation goes",
                "answers": {
                    200: going,
                    303: {**going, "headers": {**headers_of(), "Location": LOCATION}},
                },
            }
        },
        "/api/v2/predictionServers/": {
            "get": {
                "summary": "Where predictions are asked for",
                "query": PageFields,
                "answers": {200: answered("This server.", page_of(_SERVER))},
            }
        },
    }


def _deployment_paths() -> dict[str, dict[str, Any]]:
    every = "/api/v2/deployments/"
    own = f"{every}{{deploymentId}}/"
    capability = one(
        name=_TEXT,
        supported={"type": "boolean"},
        messages={"type": "array", "items": _TEXT},
    )
    role = one(username=_TEXT, role=_TEXT)
    shared = one(id=_ID, name=_TEXT, role=_TEXT, shareRecipientType=_TEXT)
    return {
        every: {
            "get": {
                "summary": "The deployments that the caller may see",
                "query": DeploymentQuery,
                "answers": {200: answered("A page of them.", page_of(_DEPLOYMENT))},
            }
        },
        own: {
            "get": {
                "summary": "A deployment",
                "answers": {200: answered("The deployment.", _DEPLOYMENT)},
            },
            "patch": {
                "summary": "Change label, description or importance",
                "body": DeploymentChange,
                "answers": {204: NOTHING},
            },
            "delete": {
                "summary": "End a deployment",
                "answers": {204: NOTHING},
            },
        },
        f"{own}status/": {
            "patch": {
                "summary": "Let a deployment answer, or refuse",
                "body": StatusChange,
                "answers": {202: ACCEPTED},
                "refused": [409],
            }
        },
        f"{own}capabilities/": {
            "get": {
                "summary": "What a deployment can do",
                "answers": {
                    200: answered(
                        "Each of what clients know.",
                        one(data={"type": "array", "items": capability}),
                    )
                },
            }
        },
        f"{own}features/": {
            "get": {
                "summary": "What rows have to bring",
                "query": PageFields,
                "answers": {200: answered("A page of them.", page_of(_FEATURE))},
            }
        },
        f"{own}accessControl/": {
            "get": {
                "summary": "Who may ask for predictions",
                "query": PageFields,
                "answers": {200: answered("A page of them.", page_of(role))},
            },
            "patch": {
                "summary": "Share a deployment, or no longer",
                "body": AccessChange,
                "answers": {204: NOTHING},
            },
        },
        f"{own}sharedRoles/": {
            "get": {
                "summary": "The same in the words of newer clients",
                "query": SharedRolesQuery,
                "answers": {200: answered("A page of them.", page_of(shared))},
            },
            "patch": {
                "summary": "The same in the words of newer clients",
                "body": SharedRolesChange,
                "answers": {204: NOTHING},
            },
        },
    }


def _settings_paths() -> dict[str, dict[str, Any]]:
    own = "/api/v2/deployments/{deploymentId}/"
    rules = f"{own}humilityRules/"
    made = {**answered("The rule.", _RULE)}
    made["headers"] = {**headers_of(), "Location": LOCATION}
    stat = one(
        ruleId=_ID,
        ruleName=_MAYBE,
        value={"type": "integer"},
        rows={"type": "integer"},
    )
    stats = one(data={"type": "array", "items": stat}, period=_OBJECT, modelId=_MAYBE)
    return {
        f"{own}settings/": {
            "get": {
                "summary": "A deployment's settings",
                "answers": {
                    200: answered(
                        "All of them.",
                        one(
                            associationId=_OBJECT,
                            predictionWarning=_OBJECT,
                            predictionIntervals=_OBJECT,
                            humility=_OBJECT,
                            foretell=_OBJECT,
                        ),
                    )
                },
            },
            "patch": {
                "summary": "Change settings",
                "body": SettingsChange,
                "answers": {202: ACCEPTED},
            },
        },
        rules: {
            "get": {
                "summary": "Humility rules in the order of their application",
                "query": PageFields,
                "answers": {200: answered("A page of them.", page_of(_RULE))},
            },
            "put": {
                "summary": "Other humility rules in the place of all",
                "body": RulesChange,
                "answers": {
                    200: answered(
                        "The rules.", one(data={"type": "array", "items": _RULE})
                    )
                },
            },
            "post": {
                "summary": "Add a humility rule behind the others",
                "body": _NEW_RULE,
                "answers": {201: made},
            },
        },
        f"{rules}{{ruleId}}/": {
            "get": {
                "summary": "A humility rule",
                "answers": {200: answered("The rule.", _RULE)},
            },
            "patch": {
                "summary": "Change a humility rule, or move it",
                "body": RuleChange,
                "answers": {200: answered("The rule.", _RULE)},
            },
            "delete": {
                "summary": "Remove a humility rule",
                "answers": {204: NOTHING},
            },
        },
        f"{own}humilityStats/": {
            "get": {
                "summary": "How many rows triggered each humility rule",
                "query": StatsQuery,
                "answers": {200: answered("The counts.", stats)},
            }
        },
    }


def _project_paths() -> dict[str, dict[str, Any]]:
    project = one(id=_ID, projectName=_TEXT, target=_MAYBE)
    model = one(
        id=_MAYBE, projectId=_ID, predictionThreshold={"type": ["number", "null"]}
    )
    older = one(
        id=_ID,
        createdAt=_TIME,
        model=_OBJECT,
        project=_OBJECT,
        modelHealth=_TEXT,
        modelHistory={"type": "array", "items": _OBJECT},
        predictionServer={"type": ["object", "null"]},
    )
    of_model = "/api/v2/projects/{projectId}/models/{modelId}/"
    return {
        "/api/v2/projects/": {
            "get": {
                "summary": "Projects, as older clients know deployments",
                "query": ProjectQuery,
                "answers": {
                    200: answered(
                        "A list without an envelope.",
                        {"type": "array", "items": project},
                    )
                },
            }
        },
        "/api/v2/projects/{projectId}/": {
            "get": {
                "summary": "A project",
                "answers": {200: answered("The project.", project)},
            }
        },
        of_model: {
            "get": {
                "summary": "A project's model",
                "answers": {200: answered("The model.", model)},
            },
            "patch": {
                "summary": "Change the threshold of the deployment with these ids",
                "body": ModelChange,
                "answers": {204: NOTHING},
            },
        },
        "/api/v2/modelDeployments/": {
            "get": {
                "summary": "Deployments as the oldest clients know them",
                "query": ModelDeploymentQuery,
                "answers": {
                    200: answered(
                        "All of them.", one(data={"type": "array", "items": older})
                    )
                },
            }
        },
        "/api/v2/modelDeployments/{deploymentId}/": {
            "get": {
                "summary": "A deployment, with its datarobot-key",
                "answers": {200: answered("The deployment.", older)},
            }
        },
    }


def request_schemas() -> tuple[type[Fields], ...]:
    """What bodies say, each after those that it is made of."""
    return (
        *(DeploymentChange, StatusChange, deployments.Access, AccessChange),
        *(deployments.SharedRole, SharedRolesChange, settings.Association),
        *(settings.Enabled, settings.Boundaries, settings.PredictionWarning),
        *(settings.PredictionIntervals, settings.SegmentAnalysis),
        *(settings.ByForecastDate, settings.Own, SettingsChange),
        *(RulesChange, RuleChange, ModelChange),
    )
