"""What the rows API takes and answers, and the page of facts of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marshmallow import Schema, fields, validate

TYPES: Final = ("numeric", "categorical", "binary", "text", "image")

# Which codes an answer of a status may have.
CODES: Final[Mapping[int, tuple[str, ...]]] = {
    400: (
        *("BadData", "FeatureNotFound", "DataUriError", "JsonParsingError"),
        "JsonPropertyTypeMismatch",
    ),
    401: ("InvalidTokenError",),
    403: ("InsufficientScopeTokenError", "DeploymentNotEnabled"),
    404: ("ResourceNotFound",),
    405: ("MethodNotAllowed",),
    408: ("RequestTimeout",),
    413: ("RequestTooLarge",),
    415: ("UnsupportedContentType",),
    429: ("TooManyRequests",),
    500: ("InternalError",),
    503: ("ServiceUnavailable",),
    504: ("GatewayTimeout",),
}


class RowsRequest(Schema):
    """Rows to score: each maps every input's name to its value."""

    rows = fields.List(
        fields.Dict(keys=fields.String()),
        required=True,
        validate=validate.Length(min=1),
    )


class RowsAnswer(Schema):
    """The answer to rows, in their order: each maps an output's name to its value."""

    rows = fields.List(
        fields.Dict(keys=fields.String()),
        required=True,
        validate=validate.Length(min=1),
    )


class RowsError(Schema):
    """Any answer of the rows API that is not 200."""

    errorCode = fields.String(
        required=True,
        validate=validate.OneOf([code for codes in CODES.values() for code in codes]),
    )
    errorMessage = fields.String(required=True, validate=validate.Length(min=1))


class DescribedValue(Schema):
    """An input or an output.

    shape: of one row; null where any size will do.
    labels: of classes, in the model's order.
    """

    name = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    shape = fields.List(
        fields.Integer(strict=True, allow_none=True, validate=validate.Range(min=1)),
        required=True,
    )
    labels = fields.List(fields.String())


class Limits(Schema):
    """How much may be asked of a deployment; null: as much as of the whole server."""

    rowsPerRequest = fields.Integer(
        required=True, strict=True, allow_none=True, validate=validate.Range(min=1)
    )
    requestsPerMinute = fields.Integer(
        required=True, strict=True, allow_none=True, validate=validate.Range(min=1)
    )


class DeployedModel(Schema):
    """The model behind a deployment."""

    id = fields.String(required=True, validate=validate.Regexp("^[0-9a-f]{24}$"))
    name = fields.String(required=True)


class DeploymentFacts(Schema):
    """What a client needs to know of a deployment.

    url: where rows are sent. openapi: where its OpenAPI document is.
    """

    id = fields.String(required=True, validate=validate.Regexp("^[0-9a-f]{24}$"))
    label = fields.String(required=True)
    url = fields.String(required=True)
    openapi = fields.String(required=True)
    status = fields.String(
        required=True, validate=validate.OneOf(("enabled", "disabled"))
    )
    inputs = fields.List(fields.Nested(DescribedValue), required=True)
    outputs = fields.List(fields.Nested(DescribedValue), required=True)
    limits = fields.Nested(Limits, required=True)
    model = fields.Nested(DeployedModel, required=True)
