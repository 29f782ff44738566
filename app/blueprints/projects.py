"""/api/v2: projects, their models, and deployments as the oldest clients know them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from app.blueprints.deployments import telling
from app.blueprints.managing import asking, done, told
from app.management import projects as facts
from app.management.cards import card_of
from app.management.pages import cut
from app.management.requests import Asked
from app.replacement import check_has_threshold
from app.store.records import AuditEntry, Deployment
from schemas.management import InvalidFields
from schemas.management_projects import (
    ModelChange,
    ModelDeploymentQuery,
    ProjectQuery,
)

projects = Blueprint("projects", __name__, url_prefix="/api/v2")

# Changes of a deployment that are looked through for models that it had.
_MOST_CHANGES = 1000


@projects.get("/projects/", strict_slashes=False)
def list_projects() -> Response:
    """The caller's projects: a list without an envelope, as clients want it."""
    with asking() as its:
        query = its.query(ProjectQuery())
        snapshot = its.services.snapshot
        found = [
            facts.project_facts(each, snapshot)
            for each in facts.projects(snapshot.deployments_of(its.caller))
        ]
        name = query.get("project_name", "").casefold()
        found = [each for each in found if name in each["projectName"].casefold()]
        return told(cut(found, query["limit"], query["offset"]))


@projects.get("/projects/<project_id>/", strict_slashes=False)
def one(project_id: str) -> Response:
    """What is known of a project."""
    with asking() as its:
        snapshot = its.services.snapshot
        for each in snapshot.deployments_of(its.caller):
            if each.project_address[0] == project_id:
                return told(facts.project_facts(each, snapshot))
        raise facts.UnknownProject(f"Project {project_id[:64]} cannot be found")


@projects.get("/projects/<project_id>/models/<model_id>/", strict_slashes=False)
def model(project_id: str, model_id: str) -> Response:
    """What is known of a project's model."""
    with asking() as its:
        deployment = _deployment(its, project_id, model_id)
        card = card_of(its.services, deployment)
        return told(facts.model_facts(deployment, card, its.services.snapshot))


@projects.patch("/projects/<project_id>/models/<model_id>/", strict_slashes=False)
def change_model(project_id: str, model_id: str) -> Response:
    """Another threshold for the deployment with these ids.

    Source: "Predictions for deployments", predictionThreshold.
    """
    with asking() as its:
        deployment = its.changeable(_deployment(its, project_id, model_id).id)
        given = its.body(ModelChange())
        if given.get("is_starred"):
            raise InvalidFields(
                {"isStarred": "This server keeps no stars: only false is accepted"}
            )
        if "threshold" in given:
            models = its.services.snapshot.models
            model_of_it = deployment.model_id
            check_has_threshold(models[model_of_it].task if model_of_it else None)
            its.store.update_deployment(deployment.id, threshold=given["threshold"])
            its.changed()
        return done()


def _deployment(its: Asked, project_id: str, model_id: str) -> Deployment:
    snapshot = its.services.snapshot
    found = snapshot.project_deployment(project_id, model_id, its.caller)
    if found is None:
        raise facts.UnknownProject(
            f"Model {model_id[:64]} of project {project_id[:64]} cannot be found"
        )
    return found


@projects.get("/modelDeployments/", strict_slashes=False)
def list_model_deployments() -> Response:
    """The caller's deployments as the oldest clients know them."""
    with asking() as its:
        query = its.query(ModelDeploymentQuery())
        every = its.services.snapshot.deployments_of(its.caller)
        shown = cut(every, query["limit"], query["offset"])
        return told({"data": [_model_deployment(its, each) for each in shown]})


@projects.get("/modelDeployments/<deployment_id>/", strict_slashes=False)
def model_deployment(deployment_id: str) -> Response:
    """Where the oldest clients get their datarobot-key."""
    with asking() as its:
        return told(_model_deployment(its, its.deployment(deployment_id)))


def _model_deployment(its: Asked, deployment: Deployment) -> dict[str, Any]:
    entries: list[AuditEntry] = []
    # Most deployments never had another model, and lists have many of them.
    if deployment.deployed_at != deployment.created_at:
        entries = its.services.store.audit(deployment.id, most=_MOST_CHANGES)
    return facts.model_deployment(deployment, entries, telling(its))
