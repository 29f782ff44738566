"""A deployment's own OpenAPI document, in the shape that Peltarion's client reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.rows.description import Described, columns_of, inputs_of, outputs_of
from app.rows.value_schemas import (
    Schema,
    column_schema,
    exactly,
    form_schema,
    input_schema,
    named,
    output_schema,
)
from app.store.records import Deployment
from app.store.settings import DeploymentSettings
from backends.model import Model
from schemas.openapi_parts import (
    HEADERS,
    OF_A_MODEL,
    SECURITY_SCHEMES,
    TOKEN,
    VERSION,
    headers_of,
    rows_refusals,
)
from schemas.rows import CODES

# The client looks for this text, whatever the deployment's id is.
PATH: Final = "/deployment/{deploymentId}/forward"
_PICTURES: Final = "image/png, image/jpeg, image/webp, image/gif"


def document(deployment: Deployment, model: Model, base_url: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the rows that a deployment takes and answers.

    base_url: of the server, without a slash at its end; a path alone is enough.

    The schemas say what is sent as JSON. Beside them stands, under `x-peltarion`, what
    the client makes requests and reads answers by. It wants those of the outputs as
    `properties` of the array of rows, where JSON Schema does not look.

    Raises IsForecasting.
    """
    settings = deployment.settings
    inputs, outputs = inputs_of(model), outputs_of(model)
    values = _value_schemas(inputs, model, settings)
    return {
        "openapi": VERSION,
        "info": {
            "title": deployment.label or deployment.id,
            "description": f"Rows for the model {model.name!r}.",
            "version": model.id,
        },
        "servers": [{"url": base_url or "/"}],
        "security": TOKEN,
        "paths": {
            PATH: {
                "x-peltarion-tensorjson": settings.tensor_json,
                "parameters": [_own_id(deployment.id)],
                "post": _operation(inputs),
            }
        },
        "components": {
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
            "responses": _responses(),
            "schemas": {
                **_input_schemas(inputs, values, settings),
                **_output_schemas(outputs, settings),
                "RowsError": _error(),
            },
        },
    }


def _own_id(deployment_id: str) -> dict[str, Any]:
    return {
        "name": "deploymentId",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": [deployment_id]},
    }


def _operation(inputs: Sequence[Described]) -> dict[str, Any]:
    pictures = {
        each.name: {"contentType": _PICTURES} for each in inputs if each.type == "image"
    }
    form = {"schema": {"$ref": "#/components/schemas/input-form"}}
    uploaded = {**form, "encoding": pictures} if pictures else form
    return {
        "operationId": "forward",
        "summary": "Answer rows, in their order, or the one row of a form",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/input-row-batch"}
                },
                "multipart/form-data": uploaded,
                "application/x-www-form-urlencoded": form,
            },
        },
        "responses": {
            "200": {"$ref": "#/components/responses/200"},
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in CODES
            },
        },
    }


def _responses() -> dict[str, Any]:
    answered = {
        "description": "The rows' outputs; of a form those of its row alone.",
        "headers": headers_of(*OF_A_MODEL, "Vary"),
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/output-row-batch"},
                        {"$ref": "#/components/schemas/output-row"},
                    ]
                }
            }
        },
    }
    refused = {str(status): each for status, each in rows_refusals().items()}
    return {"200": answered, **refused}


def _value_schemas(
    inputs: Sequence[Described], model: Model, settings: DeploymentSettings
) -> dict[str, Schema]:
    if model.io is not None:
        return {each.name: input_schema(each) for each in inputs}
    refuse = settings.unknown_categories == "error"
    found = {
        each.name: column_schema(each, refuse_unknown=refuse)
        for each in columns_of(model)
    }
    if model.exposure is not None:
        found[model.exposure]["exclusiveMinimum"] = 0
    return found


def _input_schemas(
    inputs: Sequence[Described],
    schemas: Mapping[str, Schema],
    settings: DeploymentSettings,
) -> dict[str, Schema]:
    row = {
        each.name: {**schemas[each.name], **_extension(_as_input(each), settings)}
        for each in inputs
    }
    rows: Schema = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/input-row"},
        "minItems": 1,
    }
    if settings.rows_per_request is not None:
        rows["maxItems"] = settings.rows_per_request
    form = {each.name: form_schema(each) for each in inputs}
    return {
        "input-row": {"type": "object", **named(row)},
        "input-row-batch": {"type": "object", **exactly({"rows": rows})},
        # Fields of other names are ignored.
        "input-form": {
            "type": "object",
            **named(form),
            "additionalProperties": {"type": "string"},
        },
    }


def _output_schemas(
    outputs: Sequence[Described], settings: DeploymentSettings
) -> dict[str, Schema]:
    row = {
        each.name: output_schema(each, tensor_json=settings.tensor_json)
        for each in outputs
    }
    rows = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/output-row"},
        "properties": {each.name: _extension(each, settings) for each in outputs},
    }
    return {
        "output-row": {"type": "object", **exactly(row)},
        "output-row-batch": {"type": "object", **exactly({"rows": rows})},
    }


def _as_input(value: Described) -> Described:
    """As the client is to send it: it takes nothing but a dictionary for a class."""
    if value.type != "categorical":
        return value
    return Described(value.name, "text", value.shape)


def _extension(value: Described, settings: DeploymentSettings) -> dict[str, Any]:
    """What the client reads; without JSON for arrays also where it once looked."""
    shape = [-1 if size is None else size for size in value.shape]
    own = {"x-peltarion": {"type": value.type, "shape": shape}}
    return own if settings.tensor_json else {**own, "extensions": own}


def _error() -> Schema:
    codes = sorted(code for each in CODES.values() for code in each)
    return {
        "type": "object",
        **exactly(
            {
                "errorCode": {"type": "string", "enum": codes},
                "errorMessage": {"type": "string", "minLength": 1},
            }
        ),
    }
