"""/api/v2/deployments/<id>: settings and humility rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response

from app.blueprints.deployments import changed
from app.blueprints.managing import asking, done, told, told_list
from app.management import humility, settings
from app.management.cards import card_of, folder_of, needed_card
from app.management.refusals import told_by_field
from app.management.requests import Asked
from app.replacement import check_intervals
from app.store.records import Deployment
from backends.model import Model
from schemas.management import InvalidFields
from schemas.management_fields import PageFields
from schemas.management_settings import (
    RuleChange,
    RulesChange,
    SettingsChange,
    StatsQuery,
)

deployment_settings = Blueprint(
    "deployment_settings", __name__, url_prefix="/api/v2/deployments/<deployment_id>"
)


@deployment_settings.get("/settings/", strict_slashes=False)
def show(deployment_id: str) -> Response:
    """All that can be chosen."""
    with asking() as its:
        deployment = its.deployment(deployment_id)
        card = card_of(its.services, deployment)
        return told(settings.facts(deployment.settings, card))


@deployment_settings.patch("/settings/", strict_slashes=False)
def change(deployment_id: str) -> Response:
    """Change what is given; it counts at once."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        card = card_of(its.services, deployment)
        wanted = settings.changes(its.body(SettingsChange()), card)
        if wanted:
            with told_by_field(settings.PLACES):
                _check_intervals(its, deployment, wanted)
                _check_project(its, deployment, wanted)
                its.store.update_deployment(deployment_id, settings=wanted)
            its.changed()
        return changed(its, deployment_id, "Deployment settings change")


def _check_intervals(its: Asked, deployment: Deployment, wanted: Any) -> None:
    if any(name.startswith("prediction_interval") for name in wanted):
        card = needed_card(its.services, deployment)
        if card is not None:
            check_intervals(deployment.settings.changed(wanted), card)


def _check_project(
    its: Asked, deployment: Deployment, wanted: Mapping[str, Any]
) -> None:
    """Raises InvalidFields for a project that is none of the owner's.

    Whoever has a project answers its clients: users hand out their own, and only
    admins what is nobody's yet.
    """
    project_id = wanted.get("project_id")
    # One that is no id is told as that.
    deployment.settings.changed(wanted)
    if its.caller.user.admin or project_id is None:
        return
    if not any(
        each.project_address[0] == project_id and each.owner_id == deployment.owner_id
        for each in its.services.snapshot.deployments.values()
    ):
        text = "This is no project of your deployments: only admins give them others"
        raise InvalidFields({"foretell": {"projectId": text}})


@deployment_settings.get("/humilityRules/", strict_slashes=False)
def list_rules(deployment_id: str) -> Response:
    """The rules in the order of their application."""
    with asking() as its:
        found = humility.cards(its.deployment(deployment_id))
        query = its.query(PageFields())
        return told_list(its, found, query)


@deployment_settings.put("/humilityRules/", strict_slashes=False)
def put_rules(deployment_id: str) -> Response:
    """Other rules in the place of all that are there."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        given = its.body(RulesChange())["data"]
        rules = humility.read_all(given, "data")
        model, folder = _model(its, deployment)
        new = humility.put(its.store, deployment_id, model, folder, rules, behind=False)
        its.changed()
        return told({"data": humility.cards(new)})


@deployment_settings.post("/humilityRules/", strict_slashes=False)
def add_rule(deployment_id: str) -> Response:
    """One more, applied behind the others."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        rule = humility.read(its.json_body())
        model, folder = _model(its, deployment)
        new = humility.put(its.store, deployment_id, model, folder, [rule], behind=True)
        its.changed()
        response = told(humility.find(new, rule.id), 201)
        response.headers["Location"] = _rule_url(its, deployment_id, rule.id)
        return response


@deployment_settings.get("/humilityRules/<rule_id>/", strict_slashes=False)
def show_rule(deployment_id: str, rule_id: str) -> Response:
    """One of them."""
    with asking() as its:
        return told(humility.find(its.deployment(deployment_id), rule_id))


@deployment_settings.patch("/humilityRules/<rule_id>/", strict_slashes=False)
def change_rule(deployment_id: str, rule_id: str) -> Response:
    """Another name, trigger, action or position of one of them."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        given = its.body(RuleChange())
        model, folder = _model(its, deployment)
        new = humility.change(its.store, deployment_id, model, folder, rule_id, given)
        its.changed()
        return told(humility.find(new, rule_id))


@deployment_settings.delete("/humilityRules/<rule_id>/", strict_slashes=False)
def remove_rule(deployment_id: str, rule_id: str) -> Response:
    """It is held against no row any more."""
    with asking() as its:
        its.changeable(deployment_id)
        humility.remove(its.store, deployment_id, rule_id)
        its.changed()
        return done()


@deployment_settings.get("/humilityStats/", strict_slashes=False)
def stats(deployment_id: str) -> Response:
    """How many rows triggered each rule; counts come in within a second or two."""
    with asking() as its:
        deployment = its.deployment(deployment_id)
        query = its.query(StatsQuery())
        start, end = query.get("start"), query.get("end")
        _check_hours(start=start, end=end)
        kept = its.services.humility_totals
        totals = kept.read(deployment_id, start=start, end=end)
        return told(humility.stats(deployment, totals, start, end))


def _check_hours(**times: datetime | None) -> None:
    wrong = {
        name: "value is not the beginning of an hour"
        for name, time in times.items()
        if time is not None and (time.minute or time.second or time.microsecond)
    }
    if wrong:
        raise InvalidFields(wrong)


def _model(its: Asked, deployment: Deployment) -> tuple[Model | None, Path | None]:
    """Card and folder of the deployment's model; None where it is scored elsewhere."""
    card = needed_card(its.services, deployment)
    if card is None:
        return None, None
    return card, folder_of(its.services, str(deployment.model_id))


def _rule_url(its: Asked, deployment_id: str, rule_id: str) -> str:
    path = f"/api/v2/deployments/{deployment_id}/humilityRules/{rule_id}/"
    return f"{its.base_url}{path}"
