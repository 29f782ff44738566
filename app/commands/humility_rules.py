"""Humility rules from what is typed, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.printing import printable
from app.errors import AppError
from app.humility_changes import SeriesUnknown

if TYPE_CHECKING:
    from app.store.records import Deployment
    from backends.humility import (
        Action,
        LowObservation,
        NewSeries,
        OutlyingInput,
        Rule,
        Trigger,
        UncertainPrediction,
    )
    from backends.model import Label, Model

Bounds = tuple[float | None, float | None]

# What `--error` without a text is read as; nobody can type it.
DEFAULT_ERROR = "\0default"

_SHOWN_LEVELS = 5
_MOST_OF_A_TITLE = 200


class NothingRecommended(AppError):
    """No rules are recommended for a task."""


def make_rule(name: str | None, trigger: Trigger, action: Action) -> Rule:
    """A rule with an id of its own."""
    from app.store.identifiers import new_id
    from backends.humility import Rule

    return Rule(new_id(), name or _title(trigger), trigger, action)


def _title(trigger: Trigger) -> str:
    from backends.humility import NewSeries, OutlyingInput, UncertainPrediction

    if isinstance(trigger, UncertainPrediction):
        return "Uncertain Prediction"
    if isinstance(trigger, NewSeries):
        return "New Series"
    kind = "Low Observation Region"
    if isinstance(trigger, OutlyingInput):
        kind = "Outlying Input"
    return f"{kind}: {printable(trigger.feature)}"[:_MOST_OF_A_TITLE].strip()


def make_uncertain(
    bounds: Bounds,
    folder: Path,
    model: Model,
    deployment: Deployment,
) -> UncertainPrediction:
    """With bounds from the bundle where none are given; raises BoundsUnknown."""
    from backends.humility import UncertainPrediction
    from backends.humility_bounds import uncertain_prediction

    lower, upper = bounds
    if lower is not None and upper is not None:
        return UncertainPrediction(lower, upper)
    if model.task == "multiclass":
        # The check says that there are no bounds for it.
        return UncertainPrediction(0, 0)
    threshold = deployment.threshold
    found = uncertain_prediction(
        model, folder, model.threshold if threshold is None else threshold
    )
    return UncertainPrediction(
        found.lower if lower is None else lower, found.upper if upper is None else upper
    )


def make_outlying(
    feature: str,
    bounds: Bounds,
    folder: Path,
    model: Model,
) -> OutlyingInput:
    """With bounds from the bundle where none are given; raises BoundsUnknown."""
    from backends.humility import OutlyingInput
    from backends.humility_bounds import outlying_input

    lower, upper = bounds
    if lower is not None and upper is not None:
        return OutlyingInput(feature, lower, upper)
    if not any(
        each.name == feature and each.kind == "numeric" for each in model.features
    ):
        # Said by the check, in its words.
        return OutlyingInput(feature, 0, 0)
    found = outlying_input(feature, folder)
    return OutlyingInput(
        feature,
        found.lower if lower is None else lower,
        found.upper if upper is None else upper,
    )


def make_low_observation(
    feature: str, levels: Sequence[str], model: Model
) -> LowObservation:
    """With levels as the model has them, each once."""
    from backends.humility import LowObservation

    found = [each.categories for each in model.features if each.name == feature]
    known = (found[0] if found else None) or ()
    labels = dict.fromkeys(_label(known, each) for each in levels)
    return LowObservation(feature, tuple(labels))


def make_new_series(folder: Path, model: Model) -> NewSeries:
    """Raises SeriesUnknown where no row would trigger the rule, and BundleRejected."""
    from backends.bundle import SERIES
    from backends.humility import NewSeries, has_series
    from backends.timeseries import known_series

    # For other models the check says that there are no series.
    if has_series(model) and known_series.read(folder) is None:
        raise SeriesUnknown(SERIES)
    return NewSeries()


def make_action(
    override: str | None, error: str | None, folder: Path, model: Model
) -> Action:
    """What is given, or no operation; raises BoundsUnknown."""
    from backends.humility import NoOperation, Override, ThrowError

    if override is not None:
        return Override(_value(override, folder, model))
    if error is not None:
        return ThrowError() if error == DEFAULT_ERROR else ThrowError(error)
    return NoOperation()


def _value(text: str, folder: Path, model: Model) -> Label:
    from backends.humility_bounds import TARGET_VALUES, target_value

    if model.task != "regression":
        return _label(model.labels, text)
    if text in TARGET_VALUES:
        return target_value(text, folder)
    try:
        return float(text)
    except ValueError:
        return text


def _label(labels: Sequence[Label], text: str) -> Label:
    """The label that a text names; the text itself if there is none."""
    if text in labels:
        return text
    spelled: float | None = {"true": 1.0, "false": 0.0}.get(text.lower())
    try:
        spelled = float(text) if spelled is None else spelled
    except ValueError:
        return text
    found = [each for each in labels if not isinstance(each, str) and each == spelled]
    return found[0] if found else text


def recommended(deployment: Deployment, folder: Path, model: Model) -> list[Rule]:
    """What is good for most deployments, as the model's bundle says.

    An uncertain prediction, and an outlying input of the numeric feature with the
    greatest impact, are told of. Raises NothingRecommended and BoundsUnknown.

    Source: "Humility settings", recommended rules.
    """
    from backends.humility import NoOperation
    from backends.humility_bounds import most_important_number

    if model.task == "multiclass":
        raise NothingRecommended("No rules are recommended for multiclass models")
    nothing = (None, None)
    triggers: list[Trigger] = [make_uncertain(nothing, folder, model, deployment)]
    feature = most_important_number(model, folder)
    if feature is not None:
        triggers.append(make_outlying(feature, nothing, folder, model))
    return [make_rule(None, each, NoOperation()) for each in triggers]


def described(rule: Rule, task: str | None) -> tuple[str, str]:
    """Trigger and action for people."""
    return _described_trigger(rule.trigger, task), _described_action(rule.action)


def _described_trigger(trigger: Trigger, task: str | None) -> str:
    from backends.humility import LowObservation, NewSeries, OutlyingInput

    if isinstance(trigger, NewSeries):
        return "the model was not trained on the series"
    if isinstance(trigger, LowObservation):
        shown = ", ".join(map(repr, trigger.levels[:_SHOWN_LEVELS]))
        more = len(trigger.levels) - _SHOWN_LEVELS
        rest = f" and {more} more" if more > 0 else ""
        return f"{trigger.feature!r} is none of {shown}{rest}"
    lower, upper = _number(trigger.lower), _number(trigger.upper)
    if isinstance(trigger, OutlyingInput):
        return f"{trigger.feature!r} is below {lower} or above {upper}"
    if task == "binary":
        return f"probability is from {lower} to {upper}"
    return f"prediction is below {lower} or above {upper}"


def _described_action(action: Action) -> str:
    from backends.humility import Override, ThrowError

    if isinstance(action, Override):
        value = action.value
        number = isinstance(value, float)
        return f"override with {_number(float(value)) if number else repr(value)}"
    if isinstance(action, ThrowError):
        return f"error {action.message!r}"
    return "no operation"


def _number(value: float) -> str:
    return f"{value:.10g}"
