"""/api/v2/modelPackages: bundles that clients send, and deploying them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from app.blueprints.managing import accepted, asking, told, told_page
from app.bundle_bodies import bundle_bytes
from app.errors import ModelPackageNotFound
from app.management import model_packages as packages
from app.management import operations
from app.management.pages import cut
from app.management.refusals import told_by_field
from app.management.requests import Asked
from app.management.servers import PREDICTION_SERVER, prediction_environment
from app.management.times import moment
from app.receiving import stream_of
from app.replacement import check_has_threshold
from schemas.management import Fields, InvalidFields
from schemas.management_fields import PageFields
from schemas.management_models import ModelDeployment, PackageDeployment

model_packages = Blueprint("model_packages", __name__, url_prefix="/api/v2")


@model_packages.get("/modelPackages/", strict_slashes=False)
def list_packages() -> Response:
    """Those that the caller may deploy, a page at a time, oldest first."""
    with asking() as its:
        query = its.query(PageFields())
        found = packages.usable(its)
        limit, offset = query["limit"], query["offset"]
        shown = [
            packages.package_object(its, each) for each in cut(found, limit, offset)
        ]
        return told_page(its, shown, len(found), limit, offset)


@model_packages.get("/modelPackages/<model_package_id>/", strict_slashes=False)
def one(model_package_id: str) -> Response:
    """What is known of a model."""
    with asking() as its:
        found = packages.find(its, model_package_id)
        if found is None:
            raise ModelPackageNotFound(model_package_id)
        return told(packages.package_object(its, found))


@model_packages.post("/modelPackages/", strict_slashes=False)
def send() -> Response:
    """A bundle's tar: checked after the answer, which tells where to ask."""
    with asking() as its:
        its.check_creates()
        environ, services = its.environ, its.services
        body = bundle_bytes(
            stream_of(services, environ, services.config.max_upload),
            environ.get("CONTENT_TYPE", ""),
            environ.get("HTTP_CONTENT_ENCODING"),
        )
        with services.uploads.receiving() as upload:
            with upload.tar.open("xb") as file:
                for data in body:
                    file.write(data)
                its.record.received = file.tell()
            operation = services.uploads.check(upload, its.caller.user)
        response = accepted(its, operation.id)
        response.set_data(
            told(
                {
                    "id": operation.id,
                    "status": operation.status,
                    "createdAt": moment(operation.created_at),
                }
            ).get_data()
        )
        return response


@model_packages.post("/deployments/fromModelPackage/", strict_slashes=False)
def deploy_package() -> Response:
    """A deployment of a model package."""
    return _deploy(PackageDeployment(), "modelPackageId")


@model_packages.post("/deployments/fromLearningModel/", strict_slashes=False)
def deploy_model() -> Response:
    """The same, by the model's id, which is that of its package."""
    return _deploy(ModelDeployment(), "modelId")


def _deploy(schema: Fields, field: str) -> Response:
    with asking() as its:
        its.check_creates()
        given = its.body_or_form(schema)
        _check_place(given)
        stored, _ = packages.get(its, given["model_id"], field)
        if given.get("threshold") is not None:
            check_has_threshold(stored.task)
        with told_by_field({"threshold": ("predictionThreshold",)}):
            deployment = its.store.create_deployment(
                given["label"],
                its.caller.user.name,
                stored.id,
                threshold=given.get("threshold"),
                description=given.get("description"),
                importance=given.get("importance") or "LOW",
            )
        its.changed()
        return _made(its, deployment.id)


def _check_place(given: dict[str, Any]) -> None:
    """Raises InvalidFields for another prediction server than this one."""
    places = {
        "server_id": ("defaultPredictionServerId", PREDICTION_SERVER),
        "environment_id": (
            "predictionEnvironmentId",
            prediction_environment(here=True)["id"],
        ),
    }
    for name, (field, only) in places.items():
        if given.get(name) not in (None, only):
            raise InvalidFields({field: f"value is not exactly '{only}'"})


def _made(its: Asked, deployment_id: str) -> Response:
    operation_id = operations.finish(
        its.services.operations,
        its.caller,
        "Deployment creation",
        f"/api/v2/deployments/{deployment_id}/",
    )
    response = accepted(its, operation_id)
    response.set_data(told({"id": deployment_id}).get_data())
    return response
