"""A deployment's settings in the shape that clients know, both ways.

What that shape has no place for stands under `foretell`; what it has a place for and
this server does not do is told as off, and stays off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.store.settings import DeploymentSettings
from backends.model import Model
from schemas.management import InvalidFields

# Under `foretell`: key to setting.
OWN: Final = {
    "labels": "labels",
    "approvalWorkflow": "approval_workflow",
    "approvalStatus": "approval_status",
    "shapOutput": "shap_output",
    "invalidNumbers": "invalid_numbers",
    "unknownCategories": "unknown_categories",
    "rowsPerRequest": "rows_per_request",
    "requestsPerMinute": "requests_per_minute",
    "originalFormatTimestamp": "original_format_timestamp",
    "allowPartialHistory": "allow_partial_history",
    "tensorJson": "tensor_json",
    "projectId": "project_id",
    "projectModelId": "project_model_id",
}
# Setting to where requests and answers have it.
PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "association_id": ("associationId", "columnNames"),
    "association_required": ("associationId", "requiredInPredictionRequests"),
    "prediction_warning": ("predictionWarning", "enabled"),
    "prediction_warning_lower": ("predictionWarning", "customBoundaries", "lower"),
    "prediction_warning_upper": ("predictionWarning", "customBoundaries", "upper"),
    "humility_enabled": ("humility", "enabled"),
    "prediction_intervals": ("predictionIntervals", "enabled"),
    "prediction_interval_size": ("predictionIntervals", "percentiles"),
    **{name: ("foretell", key) for key, name in OWN.items()},
}
# What is told as off, and why it cannot be switched on.
OFF: Final = {
    "automaticActuals": "This server keeps no actual values",
    "challengerModels": "This server has no challenger models",
    "featureDrift": "This server does not track drift",
    "predictionsDataCollection": "This server keeps no rows of requests",
    "segmentAnalysis": "This server does not analyse segments",
    "targetDrift": "This server does not track drift",
}


def facts(settings: DeploymentSettings, card: Model | None) -> dict[str, Any]:
    """card: of the deployment's model; None if it is not known."""
    column = settings.association_id
    low, high = settings.prediction_warning_lower, settings.prediction_warning_upper
    has_bounds = not low is high is None
    told: dict[str, Any] = {name: {"enabled": False} for name in OFF}
    told |= {
        "associationId": {
            "columnNames": None if column is None else [column],
            "requiredInPredictionRequests": settings.association_required,
        },
        "humility": {"enabled": settings.humility_enabled},
        "predictionIntervals": {
            "enabled": settings.prediction_intervals,
            "percentiles": [settings.prediction_interval_size]
            if settings.prediction_intervals
            else [],
        },
        "predictionWarning": {
            "customBoundaries": {"lower": low, "upper": high} if has_bounds else None,
            "enabled": settings.prediction_warning,
        },
        "predictionsByForecastDate": _by_forecast_date(card),
        "segmentAnalysis": {"attributes": [], "enabled": False},
    }
    told = dict(sorted(told.items()))
    own = {key: getattr(settings, name) for key, name in OWN.items()}
    return {**told, "foretell": own}


def _by_forecast_date(card: Model | None) -> dict[str, Any]:
    """Clients tell a time series deployment by the name of its time column."""
    spec = card.time_series if card is not None else None
    if spec is None:
        return {"columnName": None, "datetimeFormat": None, "enabled": False}
    return {
        "columnName": spec["datetimeColumn"],
        "datetimeFormat": spec["datetimeFormat"],
        "enabled": True,
    }


def changes(given: Mapping[str, Any], card: Model | None) -> dict[str, Any]:
    """The settings that a request changes, by their own names.

    given: as `schemas.management_settings.SettingsChange` reads it.
    Raises InvalidFields for what this server does not do.
    """
    _check_off(given, card)
    found: dict[str, Any] = dict(given.get("foretell", {}))
    association = given.get("association_id", {})
    if "column_names" in association:
        names = association["column_names"]
        found["association_id"] = names[0] if names else None
    _take(found, association, "association_required", "required")
    warning = given.get("prediction_warning", {})
    _take(found, warning, "prediction_warning", "enabled")
    if "custom_boundaries" in warning:
        bounds = warning["custom_boundaries"] or {}
        found["prediction_warning_lower"] = bounds.get("lower")
        found["prediction_warning_upper"] = bounds.get("upper")
    _take(found, given.get("humility", {}), "humility_enabled", "enabled")
    intervals = given.get("prediction_intervals", {})
    _take(found, intervals, "prediction_intervals", "enabled")
    if intervals.get("percentiles"):
        found["prediction_interval_size"] = intervals["percentiles"][0]
    return found


def _take(
    found: dict[str, Any], given: Mapping[str, Any], setting: str, key: str
) -> None:
    if key in given:
        found[setting] = given[key]


def _check_off(given: Mapping[str, Any], card: Model | None) -> None:
    problems: dict[str, Any] = {
        name: {"enabled": f"{reason}: only false is accepted"}
        for name, reason in OFF.items()
        if given.get(name, {}).get("enabled")
    }
    if given.get("segmentAnalysis", {}).get("attributes"):
        problems["segmentAnalysis"] = {
            "attributes": f"{OFF['segmentAnalysis']}: only [] is accepted"
        }
    by_date = given.get("predictionsByForecastDate", {})
    known = _by_forecast_date(card)
    wrong = [name for name, value in by_date.items() if value != known[name]]
    if wrong:
        problems["predictionsByForecastDate"] = {
            name: f"This is the model's: only {known[name]!r} is accepted"
            for name in wrong
        }
    if problems:
        raise InvalidFields(problems)
