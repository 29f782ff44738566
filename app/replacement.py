"""Whether another model, or another setting, keeps what clients of a deployment get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.errors import AppError

if TYPE_CHECKING:
    from app.store.records import Deployment, StoredModel
    from app.store.settings import DeploymentSettings
    from backends.model import Model
    from backends.tensors.spec import Field

# What a time series model may not change, in the spec and in words.
_COLUMNS = {
    "datetimeColumn": "time column",
    "datetimeFormat": "time format",
    "seriesIdColumn": "series id column",
}

# Inputs and outputs of named tensors, and what would come of other ones.
_SIDES = {
    "inputs": "clients would have to send other rows",
    "outputs": "clients would misread the answers",
}


class ReplacementRefused(AppError):
    """The new model's answers, or the changed ones, would not be those expected."""


class ThresholdRefused(AppError):
    """A threshold for a model that has none."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"A threshold is for binary models; the model's task is {task}"
        )


def check_has_threshold(task: str | None) -> None:
    """task: None where the model is scored elsewhere. Raises ThresholdRefused."""
    if task not in ("binary", None):
        raise ThresholdRefused(task)


def check_same_answers(old: Model | StoredModel, new: Model) -> None:
    """Raises ReplacementRefused if clients would read the new answers differently."""
    for name in ("task", "target", "labels", "positive_label"):
        # The store alone does not know the labels.
        after = getattr(new, name)
        before = getattr(old, name, after)
        if _shown(before) != _shown(after):
            raise ReplacementRefused(
                f"The {name.replace('_', ' ')} would become {_shown(after)}, from "
                f"{_shown(before)}: clients would misread the answers; deploy this "
                "bundle on its own"
            )
    _check_same_requests(getattr(old, "time_series", new.time_series), new.time_series)
    _check_same_tensors(getattr(old, "io", new.io), new.io)


def _check_same_requests(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Raises ReplacementRefused if clients would have to send other rows.

    before, after: the models' specs; None: no time series.
    """
    if before is None or after is None:
        if before is not after:
            kind = "no time series model" if after is None else "a time series model"
            raise ReplacementRefused(
                f"The new model is {kind}, other than the old one: deploy this bundle"
                " on its own"
            )
        return
    for key, what in _COLUMNS.items():
        if before.get(key) != after.get(key):
            raise ReplacementRefused(
                f"The {what} would become {_shown(after.get(key))}, from"
                f" {_shown(before.get(key))}: clients would have to send other rows;"
                " deploy this bundle on its own"
            )


def _check_same_tensors(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Raises ReplacementRefused for other named inputs or outputs.

    before, after: as cards have them; None: the models take columns.
    """
    if before is None or after is None:
        return
    for side, reason in _SIDES.items():
        old, new = (_by_name(card, side) for card in (before, after))
        for name in {**old, **new}:
            was, becomes = _told(old.get(name)), _told(new.get(name))
            if was != becomes:
                raise ReplacementRefused(
                    f"The {side[:-1]} {name!r} would become {becomes}, from {was}:"
                    f" {reason}; deploy this bundle on its own"
                )


def _by_name(card: Mapping[str, Any], side: str) -> dict[str, Field]:
    from backends.tensors.io_json import from_json

    return {field.name: field for field in getattr(from_json(card), side)}


def _told(field: Field | None) -> str:
    """What clients know of an input or output."""
    if field is None:
        return "nothing"
    from backends.tensors.spec import shown

    labels = f" of {_shown(field.labels)}" if field.labels else ""
    return f"{field.type} {shown(field.shape)}{labels}"


def check_fits(deployment: Deployment, new: Model) -> None:
    """Raises ReplacementRefused if the deployment asks for what the model lacks.

    That is a humility rule that fits its rows, or prediction intervals.
    """
    check_intervals(deployment.settings, new)
    if not deployment.settings.humility:
        return
    from backends.humility import misfit

    for place, rule in enumerate(deployment.settings.humility, 1):
        problem = misfit(rule, new)
        if problem is not None:
            raise ReplacementRefused(
                f"Humility rule {rule.name!r} would not fit, {problem}: remove the "
                f"rule first, `foretell humility {deployment.id} remove {place}`"
            )


def check_intervals(settings: DeploymentSettings, model: Model) -> None:
    """Raises ReplacementRefused if the model lacks the intervals that are told."""
    if not settings.prediction_intervals:
        return
    size = settings.prediction_interval_size
    spec: Any = model.time_series or {}
    table = spec.get("predictionIntervals", {})
    if str(size) not in table:
        sizes = sorted(int(each) for each in table if each != "space")
        has = ", ".join(f"{each} %" for each in sizes) or "none"
        raise ReplacementRefused(
            f"The model has no prediction intervals of {size} %; it has {has}"
        )


def _shown(value: object) -> str:
    # Clients find labels by name, in whatever order.
    if isinstance(value, tuple):
        return ", ".join(sorted(map(str, value)))
    return str(value)
