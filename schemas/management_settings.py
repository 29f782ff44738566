"""What requests about a deployment's settings and its humility rules say."""

from __future__ import annotations

from schemas.fields import Instant
from schemas.management import Fields
from schemas.management_fields import (
    Choice,
    Items,
    Mappings,
    Number,
    Part,
    Switch,
    Text,
    Whole,
)


class Association(Fields):
    """The column that every answer passes through."""

    column_names = Items(
        Text(most=10_000), most=1, data_key="columnNames", allow_none=True
    )
    required = Switch(data_key="requiredInPredictionRequests")


class Enabled(Fields):
    """Whether something is on."""

    enabled = Switch(required=True)


class Boundaries(Fields):
    """What lies outside is an outlier; null keeps the model's own bound."""

    lower = Number(allow_none=True)
    upper = Number(allow_none=True)


class PredictionWarning(Fields):
    """Whether clients may ask which predictions are outliers."""

    enabled = Switch()
    custom_boundaries = Part(Boundaries, data_key="customBoundaries", allow_none=True)


class PredictionIntervals(Fields):
    """Whether forecasts tell intervals, and of how many percent."""

    enabled = Switch()
    percentiles = Items(Whole(low=1, high=100), most=1)


class SegmentAnalysis(Fields):
    """Not done by this server."""

    enabled = Switch()
    attributes = Items(Text(), most=100, allow_none=True)


class ByForecastDate(Fields):
    """What the model's time column is; not to be changed."""

    enabled = Switch()
    columnName = Text(allow_none=True)
    datetimeFormat = Text(allow_none=True)


class Own(Fields):
    """What clients of other services have no word for."""

    labels = Choice("numeric", "names")
    approval_workflow = Switch(data_key="approvalWorkflow")
    approval_status = Choice("APPROVED", "PENDING", data_key="approvalStatus")
    shap_output = Choice("margin", "probability", data_key="shapOutput")
    invalid_numbers = Choice("error", "missing", data_key="invalidNumbers")
    unknown_categories = Choice("missing", "error", data_key="unknownCategories")
    rows_per_request = Whole(
        low=1, high=1_000_000_000, data_key="rowsPerRequest", allow_none=True
    )
    requests_per_minute = Whole(
        low=1, high=1_000_000, data_key="requestsPerMinute", allow_none=True
    )
    original_format_timestamp = Switch(data_key="originalFormatTimestamp")
    allow_partial_history = Switch(data_key="allowPartialHistory")
    tensor_json = Switch(data_key="tensorJson")
    project_id = Text(most=24, data_key="projectId", allow_none=True)
    project_model_id = Text(most=24, data_key="projectModelId", allow_none=True)


class SettingsChange(Fields):
    """The settings to change; the others stay."""

    association_id = Part(Association, data_key="associationId")
    prediction_warning = Part(PredictionWarning, data_key="predictionWarning")
    prediction_intervals = Part(PredictionIntervals, data_key="predictionIntervals")
    humility = Part(Enabled)
    foretell = Part(Own)
    automaticActuals = Part(Enabled)
    challengerModels = Part(Enabled)
    featureDrift = Part(Enabled)
    predictionsDataCollection = Part(Enabled)
    targetDrift = Part(Enabled)
    segmentAnalysis = Part(SegmentAnalysis)
    predictionsByForecastDate = Part(ByForecastDate)


class RulesChange(Fields):
    """All humility rules of a deployment, as cards."""

    data = Items(Mappings(), required=True, most=100)


class RuleChange(Fields):
    """What of a humility rule is to be another; position 1 is applied first."""

    name = Text(most=256)
    trigger = Mappings()
    action = Mappings()
    position = Whole(low=1, high=100)


class StatsQuery(Fields):
    """Over which time; both are the beginning of an hour."""

    start = Instant()
    end = Instant()
    model_id = Text(most=24, data_key="modelId")
