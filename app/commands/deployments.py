"""Making, showing, changing and ending deployments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from app.commands.bundles import keep
from app.commands.printing import (
    json_option,
    moment,
    print_facts,
    print_json,
    print_table,
)
from app.commands.state import State, find_owner, opened_state
from app.commands.tensors import print_tensors
from app.commands.unstructured import hook_setting, hook_state, tell_off
from app.errors import AppError
from app.keeping import checked, kept
from app.replacement import (
    check_fits,
    check_has_threshold,
    check_intervals,
    check_same_answers,
)

if TYPE_CHECKING:
    from app.store.records import Deployment, Snapshot, StoredModel
    from app.store.store import Unchanged
    from backends.model import Model

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

_LISTED_LEVELS = 5


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
    from app.store.records import DeploymentSettings

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


_ID = click.argument("deployment_id", metavar="ID")
_BUNDLE = click.Path(path_type=Path)
_IMPORTANCE = click.Choice(["CRITICAL", "HIGH", "MODERATE", "LOW"])


@click.command()
@click.argument("bundle", required=False, type=_BUNDLE)
@click.option("--label", required=True, help="What people call it.")
@click.option("--external", is_flag=True, help="The model is scored elsewhere.")
@click.option(
    "--threshold",
    type=float,
    help="Binary: positive above this probability.  [the model's own]",
)
@click.option(
    "--id", "deployment_id", metavar="HEX24", help="Its id.  [24 random hex digits]"
)
@click.option("--owner", metavar="NAME", help="Whose it is.  [the first admin]")
@json_option
def deploy(
    bundle: Path | None,
    label: str,
    external: bool,
    threshold: float | None,
    deployment_id: str | None,
    owner: str | None,
    as_json: bool,
) -> None:
    """Deploy a bundle and print the deployment's id.

    BUNDLE, a folder or a .tar, is checked as `foretell validate` does, and copied.
    Running servers
    answer for the new deployment within a second.
    """
    if external == (bundle is not None):
        raise click.UsageError("Give a BUNDLE, or --external without one.")
    if external and threshold is not None:
        raise click.UsageError("--threshold goes with a BUNDLE.")
    with opened_state() as state:
        owner = find_owner(state.store, owner).name
        model_id = None
        if bundle is not None:
            with checked(bundle, state.config) as (folder, model):
                if threshold is not None:
                    check_has_threshold(model.task)
                keep(state, folder, model, owner)
            model_id = model.id
        deployment = state.store.create_deployment(
            label, owner, model_id, threshold=threshold, deployment_id=deployment_id
        )
        if bundle is not None:
            tell_off(model, deployment.id)
        _print_made(deployment, state, as_json)


def _print_made(deployment: Deployment, state: State, as_json: bool) -> None:
    if as_json:
        print_json(_summary(deployment, state.store.snapshot()))
    else:
        click.echo(deployment.id)


@click.command("list")
@json_option
def list_deployments(as_json: bool) -> None:
    """List the deployments, oldest first."""
    with opened_state() as state:
        snapshot = state.store.snapshot()
    found = [_summary(each, snapshot) for each in snapshot.deployments.values()]
    if as_json:
        print_json(found)
        return
    columns = ("id", "label", "model_name", "task", "threshold", "enabled", "owner")
    rows = [[each[name] for name in columns] for each in found]
    for each, row in zip(found, rows, strict=True):
        if each["external"]:
            row[2] = "external"
        elif each["threshold"] is None and each["task"] == "binary":
            row[4] = "model"
    head = ("ID", "LABEL", "MODEL", "TASK", "THRESHOLD", "ENABLED", "OWNER")
    print_table(head, rows)


def _summary(deployment: Deployment, snapshot: Snapshot) -> dict[str, Any]:
    model = snapshot.models[deployment.model_id] if deployment.model_id else None
    return {
        "id": deployment.id,
        "label": deployment.label,
        "enabled": deployment.enabled,
        "external": model is None,
        "owner": snapshot.users[deployment.owner_id].name,
        "model_id": deployment.model_id,
        "model_name": model and model.name,
        "format": model and model.format,
        "task": model and model.task,
        "target": model and model.target,
        "threshold": deployment.threshold,
        "description": deployment.description,
        "importance": deployment.importance,
        "shared_with": [snapshot.users[each].name for each in deployment.shared_with],
        "settings": deployment.settings.to_json(),
        "created_at": moment(deployment.created_at),
        "updated_at": moment(deployment.updated_at),
        "deployed_at": moment(deployment.deployed_at),
    }


@click.command()
@_ID
@json_option
def show(deployment_id: str, as_json: bool) -> None:
    """Show a deployment, its model, settings and URLs."""
    from backends import compiled

    with opened_state() as state:
        deployment = state.store.deployment(deployment_id)
        facts = _summary(deployment, state.store.snapshot())
        facts["urls"] = prediction_urls(state.config.bind, deployment.id)
        facts["model"], facts["bundle"] = None, None
        facts["engine"], facts["engine_reason"] = None, None
        if deployment.model_id is not None:
            folder = state.compiled.path(deployment.model_id)
            verdict = compiled.examine(folder, facts["format"])
            facts["engine"] = verdict.engine
            facts["engine_reason"] = verdict.detail or None
            try:
                folder, model = kept(state, deployment.model_id)
            except AppError as error:
                click.echo(f"Warning: {error}", err=True)
            else:
                facts["bundle"] = str(folder)
                facts["model"] = {"id": model.id} | model.to_json()
                facts["urls"] = _urls_of(model, facts["urls"])
    if as_json:
        print_json(facts)
    else:
        _print_deployment(facts)


def prediction_urls(bind: str, deployment_id: str) -> dict[str, str]:
    """The URLs of each layout; paths alone behind a unix socket."""
    base = "" if bind.startswith("unix:") else f"http://{bind}"
    return {
        "legacy": f"{base}/predApi/v1.0/deployments/{deployment_id}/predictions",
        "serverless": f"{base}/api/v2/deployments/{deployment_id}/predictions",
        "rows": f"{base}/deployment/{deployment_id}/forward",
    }


def _urls_of(model: Model, urls: dict[str, str]) -> dict[str, str]:
    """Those that answer for the model."""
    if model.task == "tensors":
        return {"rows": urls["rows"]}
    if model.task == "unstructured":
        names = ("legacy", "serverless")
        return {name: f"{urls[name]}Unstructured" for name in names}
    if model.time_series is not None:
        return {name: url for name, url in urls.items() if name != "rows"}
    return urls


def _print_deployment(facts: dict[str, Any]) -> None:
    first = (
        *("id", "label", "description", "importance", "enabled", "owner"),
        *("shared_with", "threshold", "created_at", "updated_at", "deployed_at"),
    )
    model = facts["model"]
    shown = {name.replace("_at", ""): facts[name] for name in first}
    if facts["threshold"] is None and facts["task"] == "binary" and model is not None:
        shown["threshold"] = f"{model['threshold']} (the model's)"
    allowed = facts["settings"].pop("python_hook")
    if hook := hook_state(facts["model_id"], facts["format"], allowed):
        shown["python hook"] = hook
    print_facts(shown)
    print_facts(facts["urls"], "URLs")
    rules = facts["settings"].pop("humility")
    # As `update --set` takes them.
    settings = facts["settings"].items()
    print_facts(
        {
            key: json.dumps(each) if isinstance(each, bool) else each
            for key, each in settings
        },
        "Settings",
    )
    if rules:
        # With everything about them: `foretell humility ID list`.
        names = {str(place): each["name"] for place, each in enumerate(rules, 1)}
        print_facts(names, "Humility rules")
    if model is None:
        kind = "scored elsewhere" if facts["external"] else facts["model_id"]
        print_facts({"model": kind}, "Model")
        return
    features = model.pop("features")
    versions = model.pop("versions")
    tensors = model.pop("io", None)
    spec = model.pop("time_series", None)
    if files := model.pop("models", {}):
        model["file"] = f"{len(files)} files, one for each forecast distance"
    engine = {"engine": facts["engine"]}
    if facts["engine_reason"]:
        engine["because"] = facts["engine_reason"]
    if tensors is not None or hook:
        # What says nothing of such a model.
        model = {name: model[name] for name in ("id", "name", "format", "file", "task")}
    print_facts({"bundle": facts["bundle"]} | engine | model, "Model")
    if spec is not None:
        print_facts(_time_series(spec), "Time series")
    print_facts(versions, "Made with")
    if tensors is not None:
        print_tensors(tensors)
    if tensors is not None or hook:
        return
    click.echo("\nFeatures")
    rows = [
        (each["name"], each["kind"], each["dtype"], each["missing"], _levels(each))
        for each in features
    ]
    print_table(("NAME", "KIND", "TYPE", "MISSING", "LEVELS"), rows)


def _time_series(spec: dict[str, Any]) -> dict[str, Any]:
    """What a spec says of the rows that forecasts are made from."""
    step, unit = spec.get("timeStep", 1), spec.get("timeUnit", "DAY")
    back, ahead = spec["featureDerivationWindow"], spec["forecastWindow"]
    return {
        "timestamps": f"{spec['datetimeColumn']}, as {spec['datetimeFormat']}",
        "series": spec.get("seriesIdColumn"),
        "step": "ROW" if spec.get("windowsBasisUnit") == "ROW" else f"{step} {unit}",
        "derived from": f"after {back['start']} to {back['end']}",
        "forecast": f"{ahead['start']} to {ahead['end']}",
        "known in advance": spec.get("knownInAdvance", []),
        "strategy": spec.get("strategy", "direct"),
    }


def _levels(feature: dict[str, Any]) -> str:
    levels = feature["categories"]
    if levels is None:
        return ""
    more = len(levels) - _LISTED_LEVELS
    listed = ", ".join(map(repr, levels[:_LISTED_LEVELS]))
    return f"{listed} and {more} more" if more > 0 else listed


@click.command("replace-model")
@_ID
@click.argument("bundle", type=_BUNDLE)
@json_option
def replace_model(deployment_id: str, bundle: Path, as_json: bool) -> None:
    """Give a deployment the model of another bundle.

    Task, target and classes must be the same; features may differ, as long as every
    humility rule fits. Named inputs and outputs must stay what they are. Requests being
    answered finish with the old model, and none fails.
    """
    with opened_state() as state:
        deployment = state.store.deployment(deployment_id)
        owner = state.store.snapshot().users[deployment.owner_id].name
        with checked(bundle, state.config) as (folder, model):
            if deployment.model_id is not None:
                check_same_answers(_old(state, deployment.model_id), model)
            check_fits(deployment, model)
            keep(state, folder, model, owner)
        changed = state.store.replace_model(
            deployment_id,
            model.id,
            # Once more: rules and settings may have come while it was compiled.
            check=lambda deployment: check_fits(deployment, model),
        )
        if changed.settings.python_hook != model.id:
            tell_off(model, deployment_id)
        _print_changed(changed, state, f"answers with model {model.id}", as_json)


def _old(state: State, model_id: str) -> Model | StoredModel:
    try:
        return kept(state, model_id)[1]
    except AppError:
        # Replacing the model is how a bundle that was lost is mended.
        return state.store.snapshot().models[model_id]


@click.command()
@_ID
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
        _print_changed(changed, state, "is updated", as_json)


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


@click.command()
@_ID
@json_option
def disable(deployment_id: str, as_json: bool) -> None:
    """Let a deployment refuse predictions."""
    with opened_state() as state:
        changed = state.store.set_enabled(deployment_id, False)
        _print_changed(changed, state, "is disabled", as_json)


@click.command()
@_ID
@json_option
def enable(deployment_id: str, as_json: bool) -> None:
    """Let a disabled deployment answer again."""
    with opened_state() as state:
        changed = state.store.set_enabled(deployment_id, True)
        _print_changed(changed, state, "is enabled", as_json)


def _print_changed(
    deployment: Deployment, state: State, what: str, as_json: bool
) -> None:
    if as_json:
        print_json(_summary(deployment, state.store.snapshot()))
    else:
        click.echo(f"{deployment.id} {what}")


@click.command()
@_ID
@click.argument("user", metavar="NAME")
@click.option("--remove", is_flag=True, help="No longer.")
@json_option
def share(deployment_id: str, user: str, remove: bool, as_json: bool) -> None:
    """Let a user ask a deployment for predictions.

    The user sees it, and changes nothing of it.
    """
    with opened_state() as state:
        changed = state.store.share_deployment(deployment_id, user, shared=not remove)
        what = "is no longer shared" if remove else "is shared"
        _print_changed(changed, state, f"{what} with {user}", as_json)


@click.command()
@_ID
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(deployment_id: str, yes: bool, as_json: bool) -> None:
    """Delete a deployment, for good.

    The model's bundle stays in the state folder.
    """
    with opened_state() as state:
        deployment = state.store.deployment(deployment_id)
        if not yes:
            _ask(deployment)
        state.store.delete_deployment(deployment_id)
    if as_json:
        print_json({"id": deployment_id, "deleted": True})
    else:
        click.echo(f"{deployment_id} is deleted")


def _ask(deployment: Deployment) -> None:
    question = f"Delete {deployment.id}, {deployment.label!r}?"
    if not sys.stdin.isatty():
        raise click.ClickException(f"{question} Say so with --yes.")
    click.confirm(question, abort=True, err=True)
