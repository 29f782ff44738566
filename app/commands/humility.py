"""`foretell humility ID`: where a deployment's model is not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.humility_rules import (
    DEFAULT_ERROR,
    described,
    make_action,
    make_low_observation,
    make_new_series,
    make_outlying,
    make_rule,
    make_uncertain,
    recommended,
)
from app.commands.printing import json_option, print_json, print_table
from app.commands.state import State, opened_state
from app.humility_changes import HumilityRefused, change_rules, check_takes_rules
from app.keeping import kept

if TYPE_CHECKING:
    from app.store.records import Deployment
    from backends.humility import Rule, Trigger
    from backends.model import Model

_TRIGGERS = "--uncertain, --outlying, --low-observation, --new-series"
_ACTIONS = "--no-operation, --override, --error"
_CONTENT = ("name", "trigger", "action")

# A shorter one is a position.
_LEAST_BEGINNING = 4


@click.group()
@click.argument("deployment_id", metavar="ID")
@click.pass_context
def humility(context: click.Context, deployment_id: str) -> None:
    """Rules for when a deployment's model is not to be trusted.

    Running servers keep to changes within a second. `foretell update ID --set
    humility_enabled=false` lets all rules rest.
    """
    context.obj = deployment_id


@humility.command()
@click.option("--name", help="What people call it.  [what triggers it]")
@click.option("--uncertain", is_flag=True, help="Trigger: an uncertain prediction.")
@click.option("--outlying", metavar="FEATURE", help="Trigger: an outlying number.")
@click.option(
    "--low-observation",
    metavar="FEATURE",
    help="Trigger: a level, or a text, that is not listed.",
)
@click.option(
    "--level", "levels", multiple=True, help="A listed level or text; may be repeated."
)
@click.option(
    "--new-series",
    is_flag=True,
    help="Trigger: a time series that the model was not trained on.",
)
@click.option("--lower", type=float, help="Lower bound.  [from the bundle]")
@click.option("--upper", type=float, help="Upper bound.  [from the bundle]")
@click.option("--no-operation", is_flag=True, help="Action: only tell.  [default]")
@click.option(
    "--override",
    metavar="VALUE",
    help="Action: predict VALUE, a class; or a number, min, max or mean of the "
    "target in training.",
)
@click.option(
    "--error",
    is_flag=False,
    flag_value=DEFAULT_ERROR,
    metavar="[TEXT]",
    help="Action: refuse the request.",
)
@json_option
@click.pass_obj
def add(
    deployment_id: str,
    name: str | None,
    uncertain: bool,
    outlying: str | None,
    low_observation: str | None,
    levels: tuple[str, ...],
    new_series: bool,
    lower: float | None,
    upper: float | None,
    no_operation: bool,
    override: str | None,
    error: str | None,
    as_json: bool,
) -> None:
    """Add a rule behind the others and print its id.

    One trigger, with bounds or levels, and one action.
    """
    is_bounded = uncertain or outlying is not None
    given = (uncertain, outlying is not None, low_observation is not None, new_series)
    if sum(given) != 1:
        raise click.UsageError(f"Give one trigger: {_TRIGGERS}.")
    if no_operation + (override is not None) + (error is not None) > 1:
        raise click.UsageError(f"Give one action: {_ACTIONS}.")
    if (low_observation is not None) != bool(levels):
        raise click.UsageError("--low-observation and --level go together.")
    if not is_bounded and not lower is upper is None:
        raise click.UsageError("--lower and --upper go with --uncertain or --outlying.")
    with opened_state() as state:
        deployment, folder, model = _deployed(state, deployment_id)
        trigger: Trigger
        if new_series:
            trigger = make_new_series(folder, model)
        elif low_observation is not None:
            trigger = make_low_observation(low_observation, levels, model)
        elif outlying is not None:
            trigger = make_outlying(outlying, (lower, upper), folder, model)
        else:
            trigger = make_uncertain((lower, upper), folder, model, deployment)
        rule = make_rule(name, trigger, make_action(override, error, folder, model))
        changed = _append(state, deployment_id, [rule], model)
    _print_added(changed, [rule], model.task, as_json=as_json, alone=True)


@humility.command("list")
@json_option
@click.pass_obj
def list_rules(deployment_id: str, as_json: bool) -> None:
    """List the rules in the order of their application.

    TRIGGERED counts rows since the rule was added, ROWS all that it was held against.
    """
    with opened_state() as state:
        deployment = state.store.deployment(deployment_id)
        task = _task(state, deployment)
        totals = state.humility_totals.read(deployment_id)
    settings = deployment.settings
    found = {each.rule_id: (each.triggered, each.looked_at) for each in totals}
    counts = [found.get(rule.id, (0, 0)) for rule in settings.humility]
    if as_json:
        places = enumerate(zip(settings.humility, counts, strict=True), 1)
        print_json(
            [
                _facts(rule, place) | {"triggered": triggered, "rows": rows}
                for place, (rule, (triggered, rows)) in places
            ]
        )
        return
    if settings.humility and not settings.humility_enabled:
        click.echo("The rules rest: humility_enabled is false.", err=True)
    _print_rules(settings.humility, task, counts)


@humility.command()
@click.argument("rule", metavar="RULE")
@json_option
@click.pass_obj
def remove(deployment_id: str, rule: str, as_json: bool) -> None:
    """Remove RULE: its position, its id or the first 4 digits or more of it."""
    removed: list[Rule] = []

    def change(deployment: Deployment) -> list[Rule]:
        rules = list(deployment.settings.humility)
        removed[:] = [rules.pop(_find(rules, rule))]
        return rules

    with opened_state() as state:
        state.store.change_humility(deployment_id, change)
    if as_json:
        print_json({"id": removed[0].id, "removed": True})
    else:
        click.echo(f"{removed[0].id} is removed")


@humility.command()
@click.argument("rule", metavar="RULE")
@click.argument("position", type=click.IntRange(min=1))
@json_option
@click.pass_obj
def move(deployment_id: str, rule: str, position: int, as_json: bool) -> None:
    """Move RULE to POSITION; 1 is applied first.

    RULE: its position, its id or the first 4 digits or more of it.
    """

    def change(deployment: Deployment) -> list[Rule]:
        rules = list(deployment.settings.humility)
        moved = rules.pop(_find(rules, rule))
        if position > len(rules) + 1:
            raise HumilityRefused(f"There are {len(rules) + 1} rules")
        rules.insert(position - 1, moved)
        return rules

    with opened_state() as state:
        changed = state.store.change_humility(deployment_id, change)
        task = _task(state, changed)
    rules = changed.settings.humility
    if as_json:
        print_json([_facts(each, place) for place, each in enumerate(rules, 1)])
    else:
        _print_rules(rules, task)


@humility.command()
@click.option("--add", "is_to_add", is_flag=True, help="Add those that are not there.")
@json_option
@click.pass_obj
def recommend(deployment_id: str, is_to_add: bool, as_json: bool) -> None:
    """Show the rules that every deployment should have, with bounds for this one.

    Uncertain predictions, and outlying inputs of the most important number, are told
    of; nothing else is done about them.
    """
    with opened_state() as state:
        deployment, folder, model = _deployed(state, deployment_id)
        rules = recommended(deployment, folder, model)
        if is_to_add:
            there = {
                (each.trigger, each.action) for each in deployment.settings.humility
            }
            rules = [each for each in rules if (each.trigger, each.action) not in there]
            deployment = _append(state, deployment_id, rules, model)
    if is_to_add:
        _print_added(deployment, rules, model.task, as_json=as_json, alone=False)
        return
    if as_json:
        facts = [_facts(each, None) for each in rules]
        print_json([{key: each[key] for key in _CONTENT} for each in facts])
    else:
        rows = [(each.name, *described(each, model.task)) for each in rules]
        print_table(("NAME", "TRIGGER", "ACTION"), rows)


def _deployed(state: State, deployment_id: str) -> tuple[Deployment, Path, Model]:
    """A deployment with its bundle's folder and card."""
    deployment = state.store.deployment(deployment_id)
    if deployment.model_id is None:
        check_takes_rules(None)
    folder, model = kept(state, str(deployment.model_id))
    check_takes_rules(model)
    return deployment, folder, model


def _task(state: State, deployment: Deployment) -> str | None:
    model_id = deployment.model_id
    return state.store.snapshot().models[model_id].task if model_id else None


def _append(
    state: State, deployment_id: str, rules: Sequence[Rule], model: Model
) -> Deployment:
    return change_rules(state.store, deployment_id, model, lambda old: (*old, *rules))


def _find(rules: Sequence[Rule], text: str) -> int:
    """The index of a rule by position, id or its beginning."""
    if len(text) < _LEAST_BEGINNING:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= len(rules):
            return int(text) - 1
        raise HumilityRefused(f"There is no rule {text!r} among {len(rules)}")
    found = [place for place, rule in enumerate(rules) if rule.id.startswith(text)]
    if len(found) != 1:
        many = "More than one" if found else "No"
        raise HumilityRefused(f"{many} rule's id begins with {text[:24]!r}")
    return found[0]


def _content(rule: Rule) -> tuple[object, object]:
    return rule.trigger, rule.action


def _facts(rule: Rule, position: int | None) -> dict[str, Any]:
    from backends.humility_json import to_json

    return {"position": position} | to_json(rule)


def _print_added(
    deployment: Deployment,
    added: Sequence[Rule],
    task: str,
    *,
    as_json: bool,
    alone: bool,
) -> None:
    places = {
        rule.id: place for place, rule in enumerate(deployment.settings.humility, 1)
    }
    if as_json:
        facts = [_facts(each, places[each.id]) for each in added]
        print_json(facts[0] if alone else facts)
        return
    for rule in added:
        trigger, action = described(rule, task)
        click.echo(rule.id)
        click.echo(f"Rule {places[rule.id]}: {trigger}; {action}", err=True)
    if not added:
        click.echo("All of them are there already.", err=True)


def _print_rules(
    rules: Sequence[Rule],
    task: str | None,
    counts: Sequence[tuple[int, int]] | None = None,
) -> None:
    head = ["#", "ID", "NAME", "TRIGGER", "ACTION"]
    rows: list[list[object]] = [
        [place, rule.id, rule.name, *described(rule, task)]
        for place, rule in enumerate(rules, 1)
    ]
    if counts is not None:
        head += ["TRIGGERED", "ROWS"]
        rows = [[*row, *each] for row, each in zip(rows, counts, strict=True)]
    print_table(head, rows)
