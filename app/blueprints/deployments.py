"""/api/v2/deployments: what they are, and changing them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from app.blueprints.managing import accepted, asking, done, told, told_list, told_page
from app.errors import AlreadyInStatus
from app.management import access, operations
from app.management.capabilities import listed as listed_capabilities
from app.management.cards import card_if_here, card_of, needed_card
from app.management.deployments import Telling, deployment_object, status_of
from app.management.features import features
from app.management.listing import listed
from app.management.pages import cut
from app.management.refusals import told_by_field
from app.management.requests import Asked
from app.store.records import Deployment
from app.store.store import Unchanged
from schemas.management_deployments import (
    AccessChange,
    DeploymentChange,
    DeploymentQuery,
    SharedRolesChange,
    SharedRolesQuery,
    StatusChange,
)
from schemas.management_fields import PageFields

deployments = Blueprint("deployments", __name__, url_prefix="/api/v2/deployments")


class NotMaking(BaseConverter):
    """What may be an id: no word for making deployments, which stands in its place."""

    regex = "(?!fromModelPackage|fromLearningModel)[^/]+"
    part_isolating = True


@deployments.record_once
def know_ids(state: BlueprintSetupState) -> None:
    """Let addresses say `<id:deployment_id>`."""
    state.app.url_map.converters["id"] = NotMaking


@deployments.get("/", strict_slashes=False)
def list_deployments() -> Response:
    """Those that the caller may see, a page at a time."""
    with asking() as its:
        query = its.query(DeploymentQuery())
        found = listed(its.services.snapshot, its.caller, query)
        limit, offset = query["limit"], query["offset"]
        # A page of a hundred must not wait for a hundred bundles.
        shown = [
            deployment_object(each, card_if_here(its.services, each), telling(its))
            for each in cut(found, limit, offset)
        ]
        return told_page(its, shown, len(found), limit, offset)


@deployments.get("/<id:deployment_id>/", strict_slashes=False)
def one(deployment_id: str) -> Response:
    """All that clients are told of a deployment."""
    with asking(scoped=True) as its:
        return told(_object(its, its.deployment(deployment_id)))


@deployments.patch("/<id:deployment_id>/", strict_slashes=False)
def change(deployment_id: str) -> Response:
    """Label, description, importance: what is given."""
    with asking() as its:
        its.changeable(deployment_id)
        given = its.body(DeploymentChange())
        if given:
            with told_by_field({"importance": ("importance",)}):
                its.store.update_deployment(
                    deployment_id,
                    label=given.get("label"),
                    description=given.get("description", Unchanged.UNCHANGED),
                    importance=given.get("importance"),
                )
            its.changed()
        return done()


@deployments.delete("/<id:deployment_id>/", strict_slashes=False)
def delete(deployment_id: str) -> Response:
    """Its tokens go with it."""
    with asking() as its:
        its.changeable(deployment_id)
        its.store.delete_deployment(deployment_id)
        its.changed()
        return done()


@deployments.patch("/<deployment_id>/status/", strict_slashes=False)
def change_status(deployment_id: str) -> Response:
    """Let it answer predictions, or refuse them."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        status = its.body(StatusChange())["status"]
        if status == status_of(deployment):
            raise AlreadyInStatus(status)
        its.store.set_enabled(deployment_id, status == "active")
        its.changed()
        return changed(its, deployment_id, "Deployment status change")


@deployments.get("/<deployment_id>/capabilities/", strict_slashes=False)
def capabilities(deployment_id: str) -> Response:
    """What it can do, and why not the rest."""
    with asking() as its:
        deployment = its.deployment(deployment_id)
        return told({"data": listed_capabilities(card_of(its.services, deployment))})


@deployments.get("/<deployment_id>/features/", strict_slashes=False)
def list_features(deployment_id: str) -> Response:
    """What its rows have to bring, a page at a time."""
    with asking() as its:
        deployment = its.deployment(deployment_id)
        query = its.query(PageFields())
        card = needed_card(its.services, deployment)
        found = features(its.services, deployment, card)
        return told_list(its, found, query)


@deployments.get("/<deployment_id>/accessControl/", strict_slashes=False)
def list_access(deployment_id: str) -> Response:
    """Who may ask it for predictions."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        query = its.query(PageFields())
        found = access.listed(deployment, its.services.snapshot)
        return told_list(its, found, query)


@deployments.patch("/<deployment_id>/accessControl/", strict_slashes=False)
def change_access(deployment_id: str) -> Response:
    """Share it, or no longer."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        wanted = its.body(AccessChange())["data"]
        _share(its, deployment, wanted, "data")
        return done()


@deployments.get("/<deployment_id>/sharedRoles/", strict_slashes=False)
def list_shared_roles(deployment_id: str) -> Response:
    """The same in the words of newer clients."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        query = its.query(SharedRolesQuery())
        found = [
            each
            for each in access.shared_roles(deployment, its.services.snapshot)
            if all(query.get(name, each[name]) == each[name] for name in ("id", "name"))
        ]
        return told_list(its, found, query)


@deployments.patch("/<deployment_id>/sharedRoles/", strict_slashes=False)
def change_shared_roles(deployment_id: str) -> Response:
    """The same in the words of newer clients."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        wanted = its.body(SharedRolesChange())["roles"]
        _share(its, deployment, wanted, "roles")
        return done()


def _share(
    its: Asked, deployment: Deployment, wanted: list[dict[str, Any]], field: str
) -> None:
    access.change(its.store, deployment, its.services.snapshot, wanted, field)
    its.changed()


def changed(its: Asked, deployment_id: str, kind: str) -> Response:
    """202 of a change that is done already."""
    location = f"/api/v2/deployments/{deployment_id}/"
    return accepted(
        its, operations.finish(its.services.operations, its.caller, kind, location)
    )


def _object(its: Asked, deployment: Deployment) -> dict[str, Any]:
    return deployment_object(
        deployment, card_of(its.services, deployment), telling(its)
    )


def telling(its: Asked) -> Telling:
    """To whom the caller's things are told."""
    services = its.services
    key = services.config.datarobot_key
    return Telling(services.snapshot, its.caller, its.base_url, key)
