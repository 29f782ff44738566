"""Making deployments, replacing their models, switching, sharing and deleting them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.bundles import keep
from app.commands.printing import (
    json_option,
    print_json,
)
from app.commands.show import summary
from app.commands.state import State, find_owner, opened_state
from app.commands.unstructured import tell_off
from app.errors import AppError
from app.keeping import checked, kept
from app.replacement import (
    check_fits,
    check_has_threshold,
    check_same_answers,
)

if TYPE_CHECKING:
    from app.store.records import Deployment, StoredModel
    from backends.model import Model


_ID = click.argument("deployment_id", metavar="ID")
_BUNDLE = click.Path(path_type=Path)


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
        print_json(summary(deployment, state.store.snapshot()))
    else:
        click.echo(deployment.id)


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
        print_changed(changed, state, f"answers with model {model.id}", as_json)


def _old(state: State, model_id: str) -> Model | StoredModel:
    try:
        return kept(state, model_id)[1]
    except AppError:
        # Replacing the model is how a bundle that was lost is mended.
        return state.store.snapshot().models[model_id]


@click.command()
@_ID
@json_option
def disable(deployment_id: str, as_json: bool) -> None:
    """Let a deployment refuse predictions."""
    with opened_state() as state:
        changed = state.store.set_enabled(deployment_id, False)
        print_changed(changed, state, "is disabled", as_json)


@click.command()
@_ID
@json_option
def enable(deployment_id: str, as_json: bool) -> None:
    """Let a disabled deployment answer again."""
    with opened_state() as state:
        changed = state.store.set_enabled(deployment_id, True)
        print_changed(changed, state, "is enabled", as_json)


def print_changed(
    deployment: Deployment, state: State, what: str, as_json: bool
) -> None:
    """A deployment that a verb has changed; what: is said of it to people."""
    if as_json:
        print_json(summary(deployment, state.store.snapshot()))
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
        print_changed(changed, state, f"{what} with {user}", as_json)


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
