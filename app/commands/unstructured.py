"""Unstructured models on the command line: packaging them, and letting hooks run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import print_made, printable
from app.errors import AppError

if TYPE_CHECKING:
    from app.commands.state import State
    from app.unstructured.packaging import UnstructuredReport
    from backends.model import Model

ALLOW = "--allow-python-hook"


class HookRefused(AppError):
    """The deployment's model is no Python hook."""


def package_unstructured(
    models: tuple[Path, ...], options: dict[str, Any], as_json: bool
) -> None:
    """Make a bundle, and print what it is."""
    from app.config import Config
    from app.unstructured.packaging import UnstructuredOptions, package

    if len(models) != 1:
        raise click.UsageError("Give one MODEL.")
    made = package(
        UnstructuredOptions(model=models[0], **options), Config.from_environment()
    )
    tell_not_run(made.model)
    _print(made, as_json)


def _print(report: UnstructuredReport, as_json: bool) -> None:
    model = report.model
    facts = {
        "model_id": model.id,
        "name": model.name,
        "format": model.format,
        "task": model.task,
        "golden_requests": report.golden_requests,
        "bundle": str(report.folder),
        "tar": report.tar and str(report.tar),
    }
    print_made(facts, as_json)


def is_hook(model: Model | None) -> bool:
    """Whether the model is code."""
    from backends.model import PYTHON

    return model is not None and model.format == PYTHON


def tell_not_run(model: Model) -> None:
    """Say on standard error that a hook was parsed, and not run."""
    if is_hook(model):
        click.echo(
            "The Python hook was parsed, and not run: it has no golden requests.",
            err=True,
        )


def tell_off(model: Model, deployment_id: str) -> None:
    """Say on standard error that a hook that is deployed is off."""
    if is_hook(model):
        click.echo(
            "The model is a Python hook, and is off: `foretell update"
            f" {deployment_id} {ALLOW}` lets this server run its code.",
            err=True,
        )


def hook_setting(state: State, deployment_id: str, allow: bool) -> dict[str, Any]:
    """The setting that lets a deployment's hook run, with a loud warning, or not.

    Raises HookRefused for a model that is none, UnknownDeployment and
    KeptBundleDamaged.
    """
    from app.keeping import kept

    if not allow:
        return {"python_hook": None}
    model_id = state.store.deployment(deployment_id).model_id
    if model_id is None:
        raise HookRefused("The deployment's model is scored elsewhere")
    folder, model = kept(state, model_id)
    if not is_hook(model):
        raise HookRefused("The deployment's model is no Python hook")
    click.echo(
        "WARNING: this server will run the code of"
        f" {printable(str(folder / model.file))} AS THE USER OF THE SERVICE. It may"
        " read and change what that user may: the database, tokens, other bundles."
        " Allow only code that you have read. It counts for model"
        f" {model.id} alone, until --forbid-python-hook.",
        err=True,
    )
    return {"python_hook": model.id}


def hook_state(model_id: str | None, format: str | None, allowed: str | None) -> str:
    """What `show` says of a deployment's hook; empty for other models."""
    from backends.model import PYTHON

    if format != PYTHON:
        return ""
    if allowed == model_id:
        return "ALLOWED: runs its code as the service's user"
    return "off"
