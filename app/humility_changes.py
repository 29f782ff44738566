"""Changing a deployment's humility rules, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import AppError

if TYPE_CHECKING:
    from app.store.records import Deployment
    from app.store.store import Store
    from backends.humility import Rule
    from backends.model import Model


class HumilityRefused(AppError):
    """Rules cannot be changed like this, and the message says why."""


class SeriesUnknown(AppError):
    """The bundle does not tell which series its model was trained on."""

    def __init__(self, file: str) -> None:
        super().__init__(
            f"The model's bundle holds no {file}, which lists the series that the model"
            " was trained on"
        )


class UnknownRule(AppError):
    """The deployment has no humility rule with this id."""

    def __init__(self, rule_id: str) -> None:
        super().__init__(f"There is no humility rule {rule_id[:64]!r}")


def check_takes_rules(model: Model | None) -> None:
    """model: None where it is scored elsewhere. Raises HumilityRefused."""
    if model is None:
        raise HumilityRefused("The deployment's model is scored elsewhere")
    if model.task not in ("binary", "regression", "multiclass"):
        what = "named tensors" if model.task == "tensors" else "bytes"
        raise HumilityRefused(
            "Humility rules are for models that take columns; this one takes and"
            f" answers {what}"
        )


def check_series_known(rules: Sequence[Rule], folder: Path, model: Model) -> None:
    """Raises SeriesUnknown where no row would trigger a rule, and BundleRejected.

    folder: the model's bundle.
    """
    from backends.bundle import SERIES
    from backends.humility import NewSeries, has_series
    from backends.timeseries import known_series

    # For other models the check of rules says that there are no series.
    if not any(isinstance(each.trigger, NewSeries) for each in rules):
        return
    if has_series(model) and known_series.read(folder) is None:
        raise SeriesUnknown(SERIES)


def change_rules(
    store: Store,
    deployment_id: str,
    model: Model,
    make: Callable[[Sequence[Rule]], Sequence[Rule]],
) -> Deployment:
    """Put the rules that `make` makes of a deployment's in their place.

    model: the deployment's, which they are checked against. Raises HumilityRefused,
    InvalidRule, InvalidSetting, UnknownDeployment and what `make` does.
    """
    from backends.humility_check import check

    def checked(deployment: Deployment) -> Sequence[Rule]:
        if deployment.model_id != model.id:
            raise HumilityRefused("The model has just been replaced: try again")
        rules = make(deployment.settings.humility)
        check(rules, model)
        return rules

    return store.change_humility(deployment_id, checked)
