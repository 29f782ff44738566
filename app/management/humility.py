"""Humility rules over the API: the cards of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from app.humility_changes import (
    UnknownRule,
    change_rules,
    check_series_known,
    check_takes_rules,
)
from app.management.times import moment
from app.store.humility_totals import HumilityTotal
from app.store.identifiers import new_id
from app.store.records import Deployment
from app.store.store import Store
from backends.humility import Rule
from backends.humility_json import InvalidRule, from_json, to_json
from backends.model import Model
from schemas.errors import greater_than
from schemas.management import InvalidFields


def cards(deployment: Deployment) -> list[dict[str, Any]]:
    """The rules in the order of their application."""
    return [to_json(rule) for rule in deployment.settings.humility]


def read(card: Mapping[str, Any]) -> Rule:
    """The rule of a card, which gets an id if it has none; raises InvalidRule."""
    return from_json({"id": new_id(), **card})


def read_all(cards: Sequence[Mapping[str, Any]], field: str) -> list[Rule]:
    """The same of several; raises InvalidFields for all that are wrong.

    field: of the request, which has them.
    """
    rules, problems = [], {}
    for place, card in enumerate(cards):
        try:
            rules.append(read(card))
        except InvalidRule as error:
            problems[str(place)] = str(error)
    if problems:
        raise InvalidFields({field: problems})
    return rules


def put(
    store: Store,
    deployment_id: str,
    model: Model | None,
    folder: Path | None,
    rules: Sequence[Rule],
    *,
    behind: bool,
) -> Deployment:
    """Put rules behind those that are there, or in their place.

    model, folder: card and bundle of the deployment's model; None: it is scored
        elsewhere. Raises HumilityRefused, InvalidRule, SeriesUnknown and
        UnknownDeployment.
    """
    check_takes_rules(model)
    assert model is not None and folder is not None
    check_series_known(rules, folder, model)
    return change_rules(
        store,
        deployment_id,
        model,
        lambda old: (*old, *rules) if behind else rules,
    )


def change(
    store: Store,
    deployment_id: str,
    model: Model | None,
    folder: Path | None,
    rule_id: str,
    given: Mapping[str, Any],
) -> Deployment:
    """Change a rule, and its place.

    given: as `schemas.management_settings.RuleChange` reads it.
    Raises UnknownRule, InvalidFields and what `put` does.
    """
    check_takes_rules(model)
    assert model is not None and folder is not None

    def made(old: Sequence[Rule]) -> list[Rule]:
        rules = list(old)
        place = _place(rules, rule_id)
        card = to_json(rules.pop(place))
        card |= {name: each for name, each in given.items() if name != "position"}
        position = given.get("position", place + 1)
        if position > len(old):
            raise InvalidFields({"position": greater_than(len(old))})
        rules.insert(position - 1, from_json(card))
        check_series_known(rules, folder, model)
        return rules

    return change_rules(store, deployment_id, model, made)


def remove(store: Store, deployment_id: str, rule_id: str) -> Deployment:
    """Raises UnknownRule and UnknownDeployment; needs no model."""

    def made(deployment: Deployment) -> list[Rule]:
        rules = list(deployment.settings.humility)
        del rules[_place(rules, rule_id)]
        return rules

    return store.change_humility(deployment_id, made)


def find(deployment: Deployment, rule_id: str) -> dict[str, Any]:
    """A rule's card; raises UnknownRule."""
    rules = deployment.settings.humility
    return to_json(rules[_place(rules, rule_id)])


def _place(rules: Sequence[Rule], rule_id: str) -> int:
    for place, rule in enumerate(rules):
        if rule.id == rule_id:
            return place
    raise UnknownRule(rule_id)


def stats(
    deployment: Deployment,
    totals: Sequence[HumilityTotal],
    start: datetime | None,
    end: datetime | None,
) -> dict[str, Any]:
    """How often rules triggered, in rows; those that were removed since come last.

    start, end: None where there is no limit.
    """
    rules = deployment.settings.humility
    names: dict[str, str | None] = {rule.id: rule.name for rule in rules}
    counts = {each.rule_id: each for each in totals}
    for rule_id in counts:
        names.setdefault(rule_id, None)
    data = []
    for rule_id, name in names.items():
        count = counts.get(rule_id)
        data.append(
            {
                "ruleId": rule_id,
                "ruleName": name,
                "value": 0 if count is None else count.triggered,
                "rows": 0 if count is None else count.looked_at,
            }
        )
    return {
        "data": data,
        "period": {
            "start": None if start is None else moment(start),
            "end": None if end is None else moment(end),
        },
        "modelId": deployment.project_address[1],
    }
