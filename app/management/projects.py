"""Projects and their models, as older clients know deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.errors import AppError
from app.management.deployments import Telling, model_part, target_type
from app.management.servers import prediction_server
from app.management.times import moment
from app.store.records import AuditEntry, Deployment, Snapshot, StoredModel
from backends.model import Model


class UnknownProject(AppError):
    """No project, or no model of a project, is there for this user."""


def projects(deployments: Sequence[Deployment]) -> list[Deployment]:
    """The oldest deployment of each project."""
    found: dict[str, Deployment] = {}
    for each in deployments:
        found.setdefault(each.project_address[0], each)
    return list(found.values())


def project_facts(deployment: Deployment, snapshot: Snapshot) -> dict[str, Any]:
    """A deployment's project, with what is known of it."""
    stored = _stored(deployment, snapshot)
    return {
        "id": deployment.project_address[0],
        "projectName": stored.name if stored else deployment.label,
        "projectDescription": deployment.description,
        "fileName": None,
        "stage": "modeling",
        "autopilotMode": None,
        "created": moment(deployment.created_at),
        "target": (stored.target or None) if stored else None,
        "targetType": target_type(stored.task) if stored else None,
        "metric": None,
        "partition": None,
        "positiveClass": None,
        "holdoutUnlocked": None,
        "unsupervisedMode": False,
        "useFeatureDiscovery": False,
    }


def model_facts(
    deployment: Deployment, card: Model | None, snapshot: Snapshot
) -> dict[str, Any]:
    """A deployment's model, with the threshold of the deployment."""
    stored = _stored(deployment, snapshot)
    project_id, model_id = deployment.project_address
    part = model_part(deployment, card, stored)
    return {
        "id": model_id,
        "projectId": project_id,
        "modelType": part["type"],
        "modelCategory": "model",
        "modelNumber": 1,
        "modelFamily": stored.format if stored else None,
        "blueprintId": stored.id if stored else None,
        "processes": [],
        "featurelistId": None,
        "featurelistName": None,
        "samplePct": None,
        "trainingRowCount": None,
        "metrics": {},
        "isFrozen": True,
        "isStarred": False,
        "isTrainedIntoValidation": False,
        "isTrainedIntoHoldout": False,
        "targetName": part["targetName"],
        "targetType": part["targetType"],
        "predictionThreshold": threshold_of(deployment, card, stored),
        "predictionThresholdReadOnly": False,
    }


def threshold_of(
    deployment: Deployment, card: Model | None, stored: StoredModel | None
) -> float | None:
    """The probability above which the positive class is predicted; binary only."""
    if stored is None or stored.task != "binary":
        return None
    if deployment.threshold is not None:
        return deployment.threshold
    return None if card is None else card.threshold


def model_deployment(
    deployment: Deployment, entries: Sequence[AuditEntry], telling: Telling
) -> dict[str, Any]:
    """A deployment as the oldest clients know it.

    entries: of the deployment, newest first.

    Source: "Predictions for deployments", legacy, where clients get their
    datarobot-key; the wire contract, decision 25.
    """
    project_id, model_id = deployment.project_address
    project = {"id": project_id}
    stored = _stored(deployment, telling.snapshot)
    server = None
    if stored is not None:
        server = prediction_server(telling.base_url, telling.datarobot_key)
        del server["id"]
    return {
        "id": deployment.id,
        "label": deployment.label,
        "createdAt": moment(deployment.created_at),
        "model": {"id": model_id, "name": stored.name if stored else None},
        "project": project,
        "modelHealth": "unavailable",
        "modelHistory": [
            {"model": {"id": each}, "project": project}
            for each in _models(deployment, entries)
        ],
        "predictionServer": server,
    }


def _models(deployment: Deployment, entries: Sequence[AuditEntry]) -> list[str]:
    """Ids of the models it had, the present one first."""
    found = [] if deployment.model_id is None else [deployment.model_id]
    for entry in entries:
        if entry.action == "update" and entry.before and "model_id" in entry.before:
            before = entry.before["model_id"]
            if before is not None:
                found.append(before)
    own, real = deployment.settings.project_model_id, deployment.model_id
    return [own if each == real and own is not None else each for each in found]


def _stored(deployment: Deployment, snapshot: Snapshot) -> StoredModel | None:
    return snapshot.models[deployment.model_id] if deployment.model_id else None
