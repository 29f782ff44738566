"""The server's whole API as OpenAPI, made from the schemas of what it reads and says.

apispec, which makes it, is imported when a document is asked for.
"""

from __future__ import annotations

import inspect
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import marshmallow
from marshmallow import Schema

from schemas import fields, management_fields, predictions, rows
from schemas.arguments import PredictionArgumentsSchema
from schemas.openapi_changes import request_schemas as change_schemas
from schemas.openapi_management import refusals as management_refusals
from schemas.openapi_management import request_schemas
from schemas.openapi_parts import (
    HEADERS,
    SECURITY_SCHEMES,
    VERSION,
    refusal,
    rows_refusals,
)
from schemas.openapi_paths import PREDICTION_REFUSALS, paths

if TYPE_CHECKING:
    from apispec import APISpec

# What stands in a list of rows, in the order of the documents.
_ROWS: Final[tuple[type[Schema], ...]] = (
    predictions.BinaryRow,
    predictions.RegressionRow,
    predictions.RegressionWarningRow,
    predictions.MulticlassRow,
    predictions.ShapRow,
    predictions.TimeSeriesRegressionRow,
    predictions.TimeSeriesBinaryRow,
    predictions.TimeSeriesMulticlassRow,
)
# Each after those that it is made of, so that all have names of their own.
_SCHEMAS: Final[tuple[type[Schema], ...]] = (
    predictions.PredictionValue,
    predictions.Explanation,
    predictions.ShapExplanation,
    predictions.AnyExplanation,
    predictions.ShapWarning,
    predictions.ShapMetadata,
    predictions.ForecastShapMetadata,
    predictions.Interval,
    predictions.TriggeredRule,
    *_ROWS,
    predictions.ErrorResponse,
    rows.RowsRequest,
    rows.RowsAnswer,
    rows.RowsError,
    rows.DescribedValue,
    rows.Limits,
    rows.DeployedModel,
    rows.DeploymentFacts,
    *request_schemas(),
    *change_schemas(),
)
_ALL: Final = {"type": "string", "enum": ["all"]}


def server_document(base_url: str) -> dict[str, Any]:
    """OpenAPI 3.1 of all addresses.

    base_url: of the server, without a slash at its end; a path alone is enough.
    """
    made = _document()
    first = {key: made[key] for key in ("openapi", "info")}
    return {**first, "servers": [{"url": base_url or "/"}], **made}


@cache
def _document() -> dict[str, Any]:
    from apispec import APISpec
    from apispec.ext.marshmallow import MarshmallowPlugin

    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="foretell",
        version=version("foretell"),
        openapi_version=VERSION,
        plugins=[plugin],
        info={"description": "Predictions of deployed models."},
    )
    if plugin.converter is None:
        raise TypeError("the plugin is not initialised")
    plugin.converter.add_attribute_function(_of_ours)
    _add_schemas(spec)
    _add_components(spec)
    for each in plugin.converter.schema2parameters(
        PredictionArgumentsSchema, location="query"
    ):
        spec.components.parameter(each["name"], "query", each)
    for path, operations in paths().items():
        spec.path(path=path, operations=operations)
    return dict(spec.to_dict())


def _of_ours(
    _: Any, field: marshmallow.fields.Field[Any], ret: dict[str, Any]
) -> dict[str, Any]:
    """Keywords of JSON Schema that apispec does not know of a field."""
    match field:
        case fields.IntOrAll():
            return {"anyOf": [{"type": "integer", "minimum": 0}, _ALL]}
        case fields.Int():
            bounds = {"minimum": field.low, "maximum": field.high}
            known = {name: size for name, size in bounds.items() if size is not None}
            return {"type": "integer", **known}
        case fields.Float():
            return {"type": "number"}
        case fields.Bool():
            return {"type": "boolean"}
        case fields.Exactly():
            return {"type": "string", "enum": [field.only]}
        case fields.Variant():
            return {"type": "string", "enum": list(field.words)}
        case fields.Names():
            return {"type": "array", "items": {"type": "string", "minLength": 1}}
        case fields.Instant():
            return {"type": "string", "examples": ["2013-12-20T01:30:00Z"]}
        case management_fields.Text():
            return {"type": _or_null("string", field), **_lengths(field)}
        case management_fields.Choice():
            nothing = [None] if field.allow_none else []
            return {"type": _or_null("string", field), "enum": [*field.words, *nothing]}
        case management_fields.Words():
            word = "|".join(field.words)
            return {"type": "string", "pattern": f"^({word})(,({word}))*$"}
        case management_fields.Whole() | management_fields.Number():
            is_whole = isinstance(field, management_fields.Whole)
            kind = "integer" if is_whole else "number"
            bounds = {"minimum": field.low, "maximum": field.high}
            known = {name: size for name, size in bounds.items() if size is not None}
            return {"type": _or_null(kind, field), **known}
        case management_fields.Switch():
            return {"type": _or_null("boolean", field)}
        case management_fields.Items():
            return {"minItems": field.least, "maxItems": field.most}
        case management_fields.Mappings():
            return {"type": "object"}
        case marshmallow.fields.Constant():
            ret.pop("default", None)
            return {"const": field.constant}
        case marshmallow.fields.DateTime():
            # apispec says null where it knows no name for a form.
            ret.pop("format", None)
    return {}


def _or_null(kind: str, field: marshmallow.fields.Field[Any]) -> str | list[str]:
    return [kind, "null"] if field.allow_none else kind


def _lengths(field: management_fields.Text) -> dict[str, int]:
    least = {"minLength": field.least} if field.least else {}
    return {**least, "maxLength": field.most}


def _add_schemas(spec: APISpec) -> None:
    for each in _SCHEMAS:
        spec.components.schema(
            each.__name__, {"description": inspect.getdoc(each)}, schema=each
        )
    kinds = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in _ROWS]
    rows_of_all_kinds = {"type": "array", "minItems": 1, "items": {"anyOf": kinds}}
    spec.components.schema(
        "Response",
        {
            "type": "object",
            "description": inspect.getdoc(predictions.Response),
            "required": ["data"],
            "properties": {"data": rows_of_all_kinds},
            "additionalProperties": False,
        },
    )


def _add_components(spec: APISpec) -> None:
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for name, scheme in SECURITY_SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for status, reason in PREDICTION_REFUSALS.items():
        spec.components.response(
            f"refused-{status}", refusal(status, reason, predictions.ErrorResponse)
        )
    for status, response in management_refusals().items():
        spec.components.response(f"management-refused-{status}", response)
    for status, response in rows_refusals().items():
        spec.components.response(f"rows-refused-{status}", response)
