"""/api/v2/deployments/<id>/model: another model in the place of a deployment's."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from app.blueprints.managing import accepted, asking, told
from app.management import model_packages as packages
from app.management import operations
from app.management.replacing import validate
from app.management.requests import Asked
from app.replacement import check_fits
from app.store.records import StoredModel
from backends.model import Model
from schemas.management_models import NewModel, Replacement

replacements = Blueprint("replacements", __name__, url_prefix="/api/v2/deployments")


@replacements.post("/<deployment_id>/model/validation/", strict_slashes=False)
def check(deployment_id: str) -> Response:
    """Whether a model can take the place of the deployment's, and why not."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        _, card = _new(its, its.body(NewModel()))
        return told(validate(its.services, deployment, card))


@replacements.patch("/<deployment_id>/model/", strict_slashes=False)
def replace(deployment_id: str) -> Response:
    """Answer with another model; requests being answered finish with the old one."""
    with asking() as its:
        deployment = its.changeable(deployment_id)
        given = its.body(Replacement())
        stored, card = _new(its, given)
        report = validate(its.services, deployment, card)
        if report["status"] == "failing":
            told_of = {"message": report["message"], "checks": report["checks"]}
            return told(told_of, 422)
        its.store.replace_model(
            deployment_id,
            stored.id,
            # Once more: rules and settings may have come in between.
            check=lambda deployment: check_fits(deployment, card),
            reason=given.get("reason"),
        )
        its.changed()
        operation_id = operations.finish(
            its.services.operations,
            its.caller,
            "Deployment model replacement",
            f"/api/v2/deployments/{deployment_id}/",
        )
        return accepted(its, operation_id)


def _new(its: Asked, given: dict[str, Any]) -> tuple[StoredModel, Model]:
    if given.get("by_model"):
        return packages.get(its, given["by_model"], "modelId")
    return packages.get(its, given["by_package"], "modelPackageId")
