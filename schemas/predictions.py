"""The rows of a prediction response, key by key in the documented order."""

from __future__ import annotations

from typing import Final

from marshmallow import Schema, fields, validate

# What a field is in JSON, where it is of several types: documents of the API say it.
_LABEL: Final = {"type": ["string", "number", "boolean"]}
_VALUE: Final = {"type": ["string", "number"]}
_POINT: Final = {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_MOMENT: Final = {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}

SYMBOLS = ("---", "--", "-", "<-", "<+", "+", "++", "+++")


class PredictionValue(Schema):
    """One class's probability, or a regression's value.

    label: regression: the target's name; binary: 1 and 0, positive first, or the
    class names where the deployment says so; multiclass: the class name.
    """

    value = fields.Float(required=True)
    label = fields.Raw(required=True, metadata=_LABEL)


class Explanation(Schema):
    """How much a feature's value has to do with a prediction, by XEMP.

    featureValue: a number, or the text of any other feature; null where it is missing.
    label: what a positive strength speaks for: the positive class, a class, or more of
        the target.
    """

    featureValue = fields.Raw(required=True, allow_none=True, metadata=_VALUE)
    strength = fields.Float(required=True)
    feature = fields.String(required=True)
    qualitativeStrength = fields.String(required=True, validate=validate.OneOf(SYMBOLS))
    label = fields.Raw(required=True, metadata=_LABEL)


class ShapExplanation(Schema):
    """The same by SHAP, which has no qualitative strength."""

    featureValue = fields.Raw(required=True, allow_none=True, metadata=_VALUE)
    strength = fields.Float(required=True)
    qualitativeStrength = fields.Constant(None, required=True, allow_none=True)
    feature = fields.String(required=True)
    label = fields.Raw(required=True, metadata=_LABEL)


class ShapWarning(Schema):
    """SHAP values that do not add up to what they explain.

    maxNormalizedMismatch: the largest difference, as a share.
    mismatchRowCount: of the rows that were looked at.
    """

    maxNormalizedMismatch = fields.Float(required=True)
    mismatchRowCount = fields.Integer(required=True, strict=True)


class ShapMetadata(Schema):
    """What is added to a row's strengths, and the sum of those not told."""

    warnings = fields.List(fields.Nested(ShapWarning), required=True, allow_none=True)
    remainingTotal = fields.Float(required=True)
    baseValue = fields.Float(required=True)


class AnyExplanation(Explanation):
    """By XEMP, or by SHAP, which has no qualitative strength."""

    qualitativeStrength = fields.String(
        required=True, allow_none=True, validate=validate.OneOf(SYMBOLS)
    )


class ForecastShapMetadata(ShapMetadata):
    """The same of a forecast.

    space: that of values that add up to what the model answers, where the prediction
        is no sum of them.
    """

    space = fields.String(validate=validate.Equal("model"))


class Interval(Schema):
    """Where the actual value is expected to be; null where that is no number."""

    low = fields.Float(required=True, allow_none=True)
    high = fields.Float(required=True, allow_none=True)


class TriggeredRule(Schema):
    """A humility rule that triggered on a row."""

    ruleId = fields.String(required=True, validate=validate.Regexp("^[0-9a-f]{24}$"))
    triggered = fields.Boolean(required=True, validate=validate.Equal(True))
    ruleName = fields.String(required=True)


class BinaryRow(Schema):
    """A row of a binary classification response."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    predictionThreshold = fields.Float(required=True)
    prediction = fields.Raw(required=True, metadata=_LABEL)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(Explanation))
    reasonCodes = fields.List(fields.Nested(Explanation))
    humility = fields.List(fields.Nested(TriggeredRule))


class RegressionRow(Schema):
    """A row of a regression response.

    adjustedPrediction, adjustedPredictionValues: divided by the row's exposure; of
        models that have one, where they are asked for.
    """

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    prediction = fields.Float(required=True)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(Explanation))
    reasonCodes = fields.List(fields.Nested(Explanation))
    humility = fields.List(fields.Nested(TriggeredRule))
    adjustedPrediction = fields.Float(allow_none=True)
    adjustedPredictionValues = fields.List(fields.Nested(PredictionValue))


class RegressionWarningRow(Schema):
    """A row of a regression response with predictionWarningEnabled=true."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    isOutlierPrediction = fields.Boolean(required=True)
    rowId = fields.Integer(required=True, strict=True)
    prediction = fields.Float(required=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(Explanation))
    reasonCodes = fields.List(fields.Nested(Explanation))
    humility = fields.List(fields.Nested(TriggeredRule))
    adjustedPrediction = fields.Float(allow_none=True)
    adjustedPredictionValues = fields.List(fields.Nested(PredictionValue))


class MulticlassRow(Schema):
    """A row of a multiclass response: labels in the model's order."""

    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    prediction = fields.String(required=True)
    rowId = fields.Integer(required=True, strict=True)
    passthroughValues = fields.Dict(keys=fields.String())
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(Explanation))
    reasonCodes = fields.List(fields.Nested(Explanation))
    humility = fields.List(fields.Nested(TriggeredRule))


class ShapRow(Schema):
    """A row of a binary or regression response with SHAP explanations."""

    deploymentApprovalStatus = fields.String()
    prediction = fields.Raw(required=True, metadata=_LABEL)
    predictionExplanations = fields.List(fields.Nested(ShapExplanation), required=True)
    rowId = fields.Integer(required=True, strict=True)
    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    predictionThreshold = fields.Float()
    isOutlierPrediction = fields.Boolean()
    shapExplanationsMetadata = fields.Nested(ShapMetadata, required=True)
    passthroughValues = fields.Dict(keys=fields.String())
    humility = fields.List(fields.Nested(TriggeredRule))
    adjustedPrediction = fields.Float(allow_none=True)
    adjustedPredictionValues = fields.List(fields.Nested(PredictionValue))


class TimeSeriesRegressionRow(Schema):
    """A row of a forecast of numbers.

    seriesId: as it was sent; null: there is one series.
    rowId: number of the row in the whole request, history included.
    predictionIntervals: by size in percent.
    originalFormatTimestamp: the timestamp as it was sent.
    """

    seriesId = fields.Raw(required=True, allow_none=True, metadata=_LABEL)
    forecastPoint = fields.DateTime(
        "%Y-%m-%dT%H:%M:%SZ", required=True, metadata=_POINT
    )
    rowId = fields.Integer(required=True, strict=True)
    timestamp = fields.DateTime(
        "%Y-%m-%dT%H:%M:%S.%fZ", required=True, metadata=_MOMENT
    )
    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    forecastDistance = fields.Integer(required=True, strict=True)
    prediction = fields.Float(required=True)
    predictionIntervals = fields.Dict(
        keys=fields.String(), values=fields.Nested(Interval)
    )
    originalFormatTimestamp = fields.String()
    isOutlierPrediction = fields.Boolean()
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(AnyExplanation))
    reasonCodes = fields.List(fields.Nested(AnyExplanation))
    shapExplanationsMetadata = fields.Nested(ForecastShapMetadata)
    passthroughValues = fields.Dict(keys=fields.String())
    humility = fields.List(fields.Nested(TriggeredRule))


class TimeSeriesMulticlassRow(Schema):
    """A row of a forecast of one of many classes, which are told by their names."""

    rowId = fields.Integer(required=True, strict=True)
    prediction = fields.String(required=True)
    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    timestamp = fields.DateTime(
        "%Y-%m-%dT%H:%M:%S.%fZ", required=True, metadata=_MOMENT
    )
    forecastDistance = fields.Integer(required=True, strict=True)
    forecastPoint = fields.DateTime(
        "%Y-%m-%dT%H:%M:%SZ", required=True, metadata=_POINT
    )
    seriesId = fields.Raw(required=True, allow_none=True, metadata=_LABEL)
    originalFormatTimestamp = fields.String()
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(AnyExplanation))
    reasonCodes = fields.List(fields.Nested(AnyExplanation))
    passthroughValues = fields.Dict(keys=fields.String())
    humility = fields.List(fields.Nested(TriggeredRule))


class TimeSeriesBinaryRow(Schema):
    """The same of one of two classes, the positive one first."""

    rowId = fields.Integer(required=True, strict=True)
    prediction = fields.String(required=True)
    predictionThreshold = fields.Float(required=True)
    predictionValues = fields.List(fields.Nested(PredictionValue), required=True)
    timestamp = fields.DateTime(
        "%Y-%m-%dT%H:%M:%S.%fZ", required=True, metadata=_MOMENT
    )
    forecastDistance = fields.Integer(required=True, strict=True)
    forecastPoint = fields.DateTime(
        "%Y-%m-%dT%H:%M:%SZ", required=True, metadata=_POINT
    )
    seriesId = fields.Raw(required=True, allow_none=True, metadata=_LABEL)
    originalFormatTimestamp = fields.String()
    deploymentApprovalStatus = fields.String()
    predictionExplanations = fields.List(fields.Nested(AnyExplanation))
    reasonCodes = fields.List(fields.Nested(AnyExplanation))
    shapExplanationsMetadata = fields.Nested(ForecastShapMetadata)
    passthroughValues = fields.Dict(keys=fields.String())
    humility = fields.List(fields.Nested(TriggeredRule))


class Response(Schema):
    """The whole answer; `data` holds one of the row schemas in request order."""

    data = fields.List(fields.Dict(), required=True)


class ErrorResponse(Schema):
    """Any answer that is not 200: `message` is a string, or an object by parameter."""

    message = fields.Raw(
        required=True,
        metadata={
            "oneOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "string"},
                },
            ]
        },
    )
