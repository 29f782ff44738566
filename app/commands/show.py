"""Listing and showing deployments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import (
    json_option,
    moment,
    print_facts,
    print_json,
    print_table,
)
from app.commands.state import opened_state
from app.commands.tensors import print_tensors
from app.commands.unstructured import hook_state
from app.errors import AppError
from app.keeping import kept

if TYPE_CHECKING:
    from app.store.records import Deployment, Snapshot
    from backends.model import Model

_LISTED_LEVELS = 5


@click.command("list")
@json_option
def list_deployments(as_json: bool) -> None:
    """List the deployments, oldest first."""
    with opened_state() as state:
        snapshot = state.store.snapshot()
    found = [summary(each, snapshot) for each in snapshot.deployments.values()]
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


def summary(deployment: Deployment, snapshot: Snapshot) -> dict[str, Any]:
    """A deployment as `--json` has it; of its model, what the store knows."""
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
@click.argument("deployment_id", metavar="ID")
@json_option
def show(deployment_id: str, as_json: bool) -> None:
    """Show a deployment, its model, settings and URLs."""
    from backends import compiled

    with opened_state() as state:
        deployment = state.store.deployment(deployment_id)
        facts = summary(deployment, state.store.snapshot())
        facts["urls"] = _prediction_urls(state.config.bind, deployment.id)
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


def _prediction_urls(bind: str, deployment_id: str) -> dict[str, str]:
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
