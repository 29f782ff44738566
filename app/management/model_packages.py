"""Models as clients know model packages, and who may do what with which."""

from __future__ import annotations

from typing import Any

from app.errors import ModelUnavailable
from app.management.cards import card_of_model
from app.management.deployments import target_type
from app.management.requests import Asked
from app.management.times import moment
from app.store.records import StoredModel
from backends.model import Model
from schemas.management import InvalidFields


def location(model_id: str) -> str:
    """Path of a model package, from /api/v2 on."""
    return f"/api/v2/modelPackages/{model_id}/"


def usable(its: Asked) -> list[StoredModel]:
    """Models that the caller may deploy, oldest first: everything for admins, else
    what is the caller's, what the caller has sent, and what the caller's deployments
    have."""
    snapshot, caller = its.services.snapshot, its.caller
    if caller.user.role == "predictor":
        return []
    made_by = its.services.operations.made_by
    sent = set() if caller.user.admin else made_by(caller.user.id)
    deployed = {
        each.model_id
        for each in snapshot.deployments.values()
        if each.is_changed_by(caller)
    }
    return [
        each
        for each in snapshot.models.values()
        if each.is_used_by(caller) or each.id in deployed or location(each.id) in sent
    ]


def find(its: Asked, model_id: str) -> StoredModel | None:
    """One of them by its id."""
    if model_id not in its.services.snapshot.models:
        its.services.catch_up()
    return next((each for each in usable(its) if each.id == model_id), None)


def get(its: Asked, model_id: str, field: str) -> tuple[StoredModel, Model]:
    """One that a body names, and its card.

    field: of the body. Raises InvalidFields, and ModelUnavailable.
    """
    found = find(its, model_id)
    if found is None:
        raise InvalidFields({field: f"There is no model {model_id!r}"})
    return found, card_of_model(its.services, found.id)


def package_object(its: Asked, stored: StoredModel) -> dict[str, Any]:
    """A model as `modelPackages/<id>/` tells it.

    What the bundle alone knows is null where it cannot be read.
    """
    snapshot = its.services.snapshot
    try:
        card = card_of_model(its.services, stored.id)
    except ModelUnavailable:
        card = None
    owner = snapshot.users[stored.owner_id]
    active = [
        each
        for each in snapshot.deployments.values()
        if each.model_id == stored.id and each.is_visible_to(its.caller)
    ]
    return {
        "id": stored.id,
        "name": stored.name,
        "modelId": stored.id,
        "modelFormat": stored.format,
        "modelExecutionType": "dedicated",
        "isArchived": False,
        "permissions": ["CAN_VIEW"],
        "activeDeploymentCount": len(active),
        "createdAt": moment(stored.created_at),
        "createdBy": {"id": owner.id, "username": owner.name},
        "sizeInBytes": stored.nbytes,
        "modelKind": _kind(card),
        "target": _target(stored, card),
        "modelDescription": {
            "modelName": stored.name,
            "description": None,
            "location": None,
            "buildEnvironmentType": "Python",
        },
        "timeseries": _time_series(card),
        "sourceMeta": {"projectId": None, "projectName": None, "scoringCode": None},
        "importMeta": {
            "creatorId": owner.id,
            "creatorUsername": owner.name,
            "dateCreated": moment(stored.created_at),
        },
        "datasets": {},
    }


def _kind(card: Model | None) -> dict[str, Any]:
    spec = card.time_series if card else None
    return {
        "isTimeSeries": spec is not None,
        "isMultiseries": bool(spec and spec.get("seriesIdColumn")),
        "isUnsupervisedLearning": False,
        "isAnomalyDetectionModel": False,
    }


def _target(stored: StoredModel, card: Model | None) -> dict[str, Any]:
    binary = card if card is not None and card.task == "binary" else None
    names = [str(label) for label in card.labels] if card else []
    return {
        "name": stored.target or None,
        "type": target_type(stored.task),
        "classNames": names or None,
        "classCount": len(names) or None,
        "predictionThreshold": binary.threshold if binary else None,
    }


def _time_series(card: Model | None) -> dict[str, Any] | None:
    spec = card.time_series if card else None
    if spec is None:
        return None
    back, ahead = spec["featureDerivationWindow"], spec["forecastWindow"]
    return {
        "datetimeColumnName": spec["datetimeColumn"],
        "datetimeColumnFormat": spec["datetimeFormat"],
        "seriesColumnName": spec.get("seriesIdColumn"),
        "featureDerivationWindowStart": back["start"],
        "featureDerivationWindowEnd": back["end"],
        "forecastDistancesTimeUnit": spec.get("timeUnit", "DAY"),
        "forecastPointLookbackEnd": ahead["end"],
        "forecastPointLookbackStart": ahead["start"],
    }
