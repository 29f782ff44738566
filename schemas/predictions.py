"""The rows of a prediction response, key by key in the documented order."""

from __future__ import annotations

from marshmallow import Schema, fields


class PredictionValue(Schema):
    """One class's probability, or a regression's value.

    label: regression: the target's name; binary: 1 and 0, positive first, or the
    class names where the deployment says so; multiclass: the class name.
    """

    value = fields.Float(required=True)
    label = fields.Raw(required=True)


class BinaryRow(Schema):
    """A row of a binary classification response."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    predictionThreshold = fields.Float(required=True)
    prediction = fields.Raw(required=True)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()


class RegressionRow(Schema):
    """A row of a regression response."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    prediction = fields.Float(required=True)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()


class RegressionWarningRow(Schema):
    """A row of a regression response with predictionWarningEnabled=true."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    isOutlierPrediction = fields.Boolean(required=True)
    rowId = fields.Integer(required=True, strict=True)
    prediction = fields.Float(required=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()


class MulticlassRow(Schema):
    """A row of a multiclass response: labels in the model's order."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    prediction = fields.String(required=True)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()


class Response(Schema):
    """The whole answer; `data` holds one of the row schemas in request order."""

    data = fields.List(fields.Dict(), required=True)


class ErrorResponse(Schema):
    """Any answer that is not 200: `message` is a string, or an object by parameter."""

    message = fields.Raw(required=True)
