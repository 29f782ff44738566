"""What a deployment can do, as clients ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from backends.model import Model

_COLUMNS: Final = ("binary", "regression", "multiclass")

_NOT_BUILT: Final = "This server does not do this."


def _takes_rules(card: Model) -> bool:
    return card.task in _COLUMNS


def _has_default_bounds(card: Model) -> bool:
    return card.task in ("binary", "regression")


def _has_warnings(card: Model) -> bool:
    return card.task == "regression"


def _has_intervals(card: Model) -> bool:
    return bool((card.time_series or {}).get("predictionIntervals"))


def _has_shap(card: Model) -> bool:
    return _has_default_bounds(card) and card.time_series is None


# What depends on the model, and what to say where it has it not.
_OF_MODELS: Final[Mapping[str, tuple[Callable[[Model], bool], str]]] = {
    "supportsPredictionWarning": (
        _has_warnings,
        "Prediction warnings are for regression models.",
    ),
    "supportsPredictionIntervals": (
        _has_intervals,
        "The model has no prediction intervals.",
    ),
    "supportsHumilityRules": (
        _takes_rules,
        "Humility rules are for models that take columns.",
    ),
    "supportsHumilityRulesDefaultCalculations": (
        _has_default_bounds,
        "Bounds are calculated for binary and regression models.",
    ),
    "supportsHumilityRecommendedRules": (
        _has_default_bounds,
        "Rules are recommended for binary and regression models.",
    ),
    "supportsShapBasedPredictionExplanations": (
        _has_shap,
        "SHAP explains binary and regression models that are no time series.",
    ),
}
# In the order of the recorded object.
_NAMES: Final = (
    *("supportsModelReplacement", "supportsTargetDriftTracking"),
    *("supportsFeatureDriftTracking", "supportsPredictionWarning"),
    *("supportsPredictionIntervals", "supportsHumilityRules"),
    "supportsHumilityRulesDefaultCalculations",
    *("supportsHumilityRecommendedRules", "supportsChallengerModels"),
    "supportsShapBasedPredictionExplanations",
    "supportsSegmentedAnalysisDriftAndAccuracy",
    *("supportsBiasAndFairness", "supportsFeatureTypeInfoValidation"),
    *("supportsSecondaryDatasets", "supportsScoringCodeDownload"),
    *("supportsAutomaticActuals", "supportsRetraining"),
)


def capabilities(card: Model | None) -> dict[str, str]:
    """Why a deployment does not do what clients know, by name; "" where it does.

    card: of its model; None: it is scored elsewhere, or not known.
    """
    return {name: _problem(name, card) for name in _NAMES}


def _problem(name: str, card: Model | None) -> str:
    if name == "supportsModelReplacement":
        return ""
    if name not in _OF_MODELS:
        return _NOT_BUILT
    if card is None:
        return "The model is not on this server."
    has, text = _OF_MODELS[name]
    return "" if has(card) else text


def listed(card: Model | None) -> list[dict[str, Any]]:
    """The same as the list of `deployments/<id>/capabilities/`."""
    return [
        {"name": name, "supported": not text, "messages": [text] if text else []}
        for name, text in capabilities(card).items()
    ]
