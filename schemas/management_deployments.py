"""What requests about deployments say."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import ValidationError, validates_schema

from schemas import errors
from schemas.management import Fields
from schemas.management_fields import (
    Choice,
    Items,
    PageFields,
    Part,
    Switch,
    Text,
    Words,
)

IMPORTANCES: Final = ("CRITICAL", "HIGH", "MODERATE", "LOW")
STATUSES: Final = ("active", "inactive")
HEALTHS: Final = ("passing", "warning", "failing", "unknown", "unavailable")
ROLES: Final = ("OWNER", "USER", "CONSUMER")
ORDERS: Final = (
    *("label", "createdAt", "createdAtTimestamp", "currentModelDeployedTimestamp"),
    *("importance", "status", "serviceHealth", "modelHealth", "accuracyHealth"),
    *("fairnessHealth", "recentPredictions", "lastPredictionTimestamp"),
)


class DeploymentQuery(PageFields):
    """Which deployments a list has, and in which order.

    Filters with commas take any of the values.
    """

    search = Text(least=0)
    order_by = Choice(*ORDERS, *(f"-{order}" for order in ORDERS), data_key="orderBy")
    status = Words(*STATUSES)
    importance = Words(*IMPORTANCES)
    role = Choice(*ROLES)
    owner_username = Text(data_key="ownerUsername")
    service_health = Words(*HEALTHS, data_key="serviceHealth")
    model_health = Words(*HEALTHS, data_key="modelHealth")
    accuracy_health = Words(*HEALTHS, data_key="accuracyHealth")
    execution_environment_type = Words(
        "datarobot", "external", data_key="executionEnvironmentType"
    )


class DeploymentChange(Fields):
    """What a deployment is called and how much it matters."""

    label = Text(most=256)
    description = Text(least=0, most=10_000, allow_none=True)
    importance = Choice(*IMPORTANCES)


class StatusChange(Fields):
    """Whether a deployment answers."""

    status = Choice(*STATUSES, required=True)


class Access(Fields):
    """Somebody's role; null and NO_ROLE take it away."""

    username = Text(required=True, most=256)
    role = Choice("CONSUMER", "NO_ROLE", required=True, allow_none=True)
    can_share = Switch(data_key="canShare", allow_none=True)
    can_use_data = Switch(data_key="canUseData", allow_none=True)
    include_feature_discovery_entities = Switch(
        data_key="includeFeatureDiscoveryEntities"
    )


class AccessChange(Fields):
    """Who may ask a deployment for predictions."""

    data = Items(Part(Access), required=True, least=1, most=100)


class SharedRole(Fields):
    """The same in the words of newer clients, by name or by id."""

    username = Text(most=256)
    id = Text(most=24)
    role = Choice("CONSUMER", "NO_ROLE", required=True)
    share_recipient_type = Choice("user", required=True, data_key="shareRecipientType")
    can_share = Switch(data_key="canShare", allow_none=True)

    @validates_schema
    def _check_whom(self, data: dict[str, Any], **_: Any) -> None:
        if ("username" in data) == ("id" in data):
            raise ValidationError(errors.REQUIRED, "username")


class SharedRolesQuery(PageFields):
    """Whose roles are listed."""

    id = Text(most=24)
    name = Text(most=256)
    share_recipient_type = Choice("user", data_key="shareRecipientType")


class SharedRolesChange(Fields):
    """Who may ask a deployment for predictions, in the words of newer clients."""

    operation = Choice("updateRoles", required=True)
    roles = Items(Part(SharedRole), required=True, least=1, most=100)
