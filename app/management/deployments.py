"""The deployment object: all that clients are told of a deployment.

Source: the wire contract, section 9.2, a recorded object. What this server does not
measure is told as unknown, and never as a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.management.capabilities import capabilities
from app.management.servers import prediction_environment, prediction_server
from app.management.times import moment
from app.store.records import Caller, Deployment, Snapshot, StoredModel
from backends.model import Model

# Of those who may only ask for predictions, and what others may do beside.
_ANYONE: Final = ("CAN_MAKE_PREDICTIONS", "CAN_VIEW")
_OWNERS: Final = (
    *("CAN_EDIT_DEPLOYMENT", "CAN_DELETE_DEPLOYMENT"),
    *("CAN_UPDATE_DEPLOYMENT_THRESHOLDS", "CAN_SHARE", "CAN_REPLACE_MODEL"),
)

TARGET_TYPES: Final = {
    "binary": "Binary",
    "regression": "Regression",
    "multiclass": "Multiclass",
}
_TYPES: Final = {"lightgbm": "LightGBM", "onnx": "ONNX"}

_NO_HEALTH: Final[Mapping[str, Any]] = {"startDate": None, "endDate": None}


@dataclass(frozen=True, slots=True)
class Telling:
    """To whom something is told, where, and of what moment.

    base_url: the server's, without a slash at its end.
    """

    snapshot: Snapshot
    caller: Caller
    base_url: str
    datarobot_key: str


def deployment_object(
    deployment: Deployment, card: Model | None, telling: Telling
) -> dict[str, Any]:
    """card: of its model; None: it is scored elsewhere, or its bundle is not here."""
    settings = deployment.settings
    models = telling.snapshot.models
    stored = models[deployment.model_id] if deployment.model_id else None
    is_here = stored is not None
    server = prediction_server(telling.base_url, telling.datarobot_key)
    return {
        "id": deployment.id,
        "label": deployment.label,
        "description": deployment.description,
        "status": status_of(deployment),
        "importance": deployment.importance,
        "approvalStatus": approval_of(deployment),
        "createdAt": moment(deployment.created_at),
        "updatedAt": moment(deployment.updated_at),
        "defaultPredictionServer": server if is_here else None,
        "model": model_part(deployment, card, stored),
        "modelPackage": {"id": stored.id, "name": stored.name} if stored else None,
        "modelPackageInitialDownload": {"timestamp": None},
        "scoringCodeInitialDownload": {"timestamp": None},
        "capabilities": {
            name: not problem for name, problem in capabilities(card).items()
        },
        "settings": {
            "humbleAiEnabled": settings.humility_enabled,
            "predictionIntervalsEnabled": settings.prediction_intervals,
            "predictionWarningEnabled": settings.prediction_warning,
        },
        "predictionUsage": {"dailyRates": [], "lastTimestamp": None},
        "permissions": permissions(deployment, telling.caller),
        **_healths(),
        "governance": {
            "approvalStatus": approval_of(deployment),
            "hasOpenedChangeRequests": False,
        },
        "owners": _owners(deployment, telling.snapshot),
        "predictionEnvironment": prediction_environment(here=is_here),
        "tags": [],
    }


def status_of(deployment: Deployment) -> str:
    """`active` or `inactive`."""
    return "active" if deployment.enabled else "inactive"


def approval_of(deployment: Deployment) -> str:
    """APPROVED or PENDING; without the workflow everything is approved."""
    settings = deployment.settings
    return settings.approval_status if settings.approval_workflow else "APPROVED"


def model_part(
    deployment: Deployment, card: Model | None, stored: StoredModel | None
) -> dict[str, Any]:
    """The deployment's model; its ids are those of older addresses."""
    project_id, model_id = deployment.project_address
    task = stored.task if stored else None
    return {
        "id": model_id,
        "type": _TYPES.get(stored.format, stored.format) if stored else None,
        "targetName": _target_name(card, stored),
        "targetType": target_type(task),
        "projectId": project_id,
        "projectName": stored.name if stored else None,
        "buildEnvironmentType": "Python" if stored else "Other",
        "deployedAt": moment(deployment.deployed_at),
        "unsupervisedMode": False,
        "unstructuredModelKind": task == "unstructured",
    }


def _target_name(card: Model | None, stored: StoredModel | None) -> str | None:
    """The target as the columns of answers call it: clients find them by this name."""
    if stored is None:
        return None
    is_forecast = card is not None and card.time_series is not None
    return f"{stored.target} (actual)" if is_forecast else stored.target or None


def target_type(task: str | None) -> str | None:
    """A task in the words of clients; what predicts no column is Unstructured."""
    return None if task is None else TARGET_TYPES.get(task, "Unstructured")


def permissions(deployment: Deployment, caller: Caller) -> list[str]:
    """What the caller may do."""
    if deployment.is_changed_by(caller):
        return [*_ANYONE, *_OWNERS]
    return list(_ANYONE)


def _healths() -> dict[str, Any]:
    return {
        "serviceHealth": {"status": "unknown", **_NO_HEALTH},
        "modelHealth": {
            "status": "unavailable",
            "message": "Drift is not tracked.",
            **_NO_HEALTH,
        },
        "accuracyHealth": {
            "status": "unavailable",
            "message": "Accuracy is unknown.",
            **_NO_HEALTH,
        },
        "fairnessHealth": {
            "status": "unavailable",
            "messages": ["Fairness is unknown."],
            "protectedFeaturesCount": 0,
            **_NO_HEALTH,
        },
    }


def _owners(deployment: Deployment, snapshot: Snapshot) -> dict[str, Any]:
    owner = snapshot.users[deployment.owner_id]
    preview = {"id": owner.id, "email": owner.name, "firstName": None, "lastName": None}
    return {"count": 1, "preview": [preview]}
