"""Changing what is chosen for a deployment: `foretell update`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from app.commands.deployments import print_changed
from app.commands.printing import json_option
from app.commands.state import State, opened_state
from app.commands.unstructured import hook_setting
from app.keeping import kept
from app.replacement import check_has_threshold, check_intervals

if TYPE_CHECKING:
    from app.store.store import Unchanged

# The keys of `update --set`: what may be said, and what it does.
SETTINGS = {
    "labels": "numeric or names: classes of a binary model in JSON answers",
    "approval_workflow": "true or false: answers carry approval_status",
    "approval_status": "APPROVED or PENDING",
    "prediction_warning": "true or false: clients may ask for isOutlierPrediction",
    "prediction_warning_lower": "number: lower bound of a prediction that is usual",
    "prediction_warning_upper": "number: upper bound of a prediction that is usual",
    "invalid_numbers": "error or missing: text in a numeric column",
    "unknown_categories": "missing or error: a level that training did not have",
    "association_id": "column that every answer passes through",
    "association_required": "true or false: rows without that column are refused",
    "shap_output": "margin or probability: what SHAP values of a binary model add up"
    " to",
    "original_format_timestamp": "true or false: forecasts tell times as they were sent"
    " too",
    "allow_partial_history": "true or false: series with too little history are"
    " predicted too",
    "prediction_intervals": "true or false: forecasts tell prediction intervals",
    "prediction_interval_size": "1 to 100: percent of actual values in an interval",
    "rows_per_request": "whole number from 1: most rows in a request",
    "requests_per_minute": "whole number from 1: requests a minute that are answered",
    "tensor_json": "true or false: arrays are answered as {shape, data}; false: as .npy"
    " data URLs, for older clients",
    "project_id": "24 hex digits: the project that older addresses name",
    "project_model_id": "24 hex digits: the model that older addresses name",
    "humility_enabled": "true or false: rows are held against the humility rules",
}


def _threshold(text: str) -> float | str:
    if text == "model":
        return text
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor 'model'.") from None


def _setting(text: str) -> tuple[str, Any]:
    name, given, value = text.partition("=")
    if name not in SETTINGS or not given:
        width = max(map(len, SETTINGS))
        known = "\n".join(f"  {key:<{width}}  {help}" for key, help in SETTINGS.items())
        raise click.BadParameter(
            f"{text!r} is not KEY=VALUE with one of these keys "
            f"(an empty value restores the default):\n{known}"
        )
    return name, _setting_value(name, value)


def _setting_value(name: str, text: str) -> Any:
    from app.store.settings import DeploymentSettings

    if text == "":
        return getattr(DeploymentSettings(), name)
    # An id of digits, or with an e among them, would be read as a number.
    if name in ("association_id", "project_id", "project_model_id"):
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


_IMPORTANCE = click.Choice(["CRITICAL", "HIGH", "MODERATE", "LOW"])


@click.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--label", help="What people call it.")
@click.option(
    "--threshold",
    type=_threshold,
    metavar="T|model",
    help="Binary: positive above this probability; 'model': the model's own.",
)
@click.option(
    "--enabled/--disabled", default=None, help="Whether it answers predictions."
)
@click.option(
    "--allow-python-hook/--forbid-python-hook",
    "allow_hook",
    default=None,
    help="Whether the code of its model, a Python hook, is run, as the user of the"
    " service.",
)
@click.option("--description", help="What it is for; empty: nothing is said.")
@click.option("--importance", type=_IMPORTANCE, help="How much depends on it.")
@click.option(
    "--set",
    "settings",
    type=_setting,
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, see `foretell show`; may be repeated. KEY= restores its default.",
)
@json_option
def update(
    deployment_id: str,
    label: str | None,
    threshold: float | str | None,
    enabled: bool | None,
    description: str | None,
    importance: str | None,
    allow_hook: bool | None,
    settings: tuple[tuple[str, Any], ...],
    as_json: bool,
) -> None:
    """Change label, threshold, description, importance or settings.

    What is not given stays. All of it counts at once, in running servers within a
    second.
    """
    given = (label, threshold, enabled, description, importance, allow_hook)
    if all(each is None for each in given) and not settings:
        raise click.UsageError("Nothing to change: give an option.")
    with opened_state() as state:
        if isinstance(threshold, float):
            check_has_threshold(_task(state, deployment_id))
        wanted = dict(settings)
        _check_told(state, deployment_id, wanted)
        if allow_hook is not None:
            wanted |= hook_setting(state, deployment_id, allow_hook)
        changed = state.store.update_deployment(
            deployment_id,
            label=label,
            threshold=_wanted(threshold),
            enabled=enabled,
            settings=wanted or None,
            description=_said(description),
            importance=importance,
        )
        print_changed(changed, state, "is updated", as_json)


def _check_told(state: State, deployment_id: str, settings: dict[str, Any]) -> None:
    """Raises ReplacementRefused for intervals that the model does not have."""
    if not any(name.startswith("prediction_interval") for name in settings):
        return
    deployment = state.store.deployment(deployment_id)
    if deployment.model_id is not None:
        model = kept(state, deployment.model_id)[1]
        check_intervals(deployment.settings.changed(settings), model)


def _wanted(
    threshold: float | str | None,
) -> float | Literal[Unchanged.UNCHANGED] | None:
    from app.store.store import Unchanged

    if threshold is None:
        return Unchanged.UNCHANGED
    return None if isinstance(threshold, str) else threshold


def _said(
    description: str | None,
) -> str | Literal[Unchanged.UNCHANGED]:
    from app.store.store import Unchanged

    return Unchanged.UNCHANGED if description is None else description


def _task(state: State, deployment_id: str) -> str | None:
    model_id = state.store.deployment(deployment_id).model_id
    return state.store.snapshot().models[model_id].task if model_id else None
