"""What requests about models say: deploying one, and replacing one by another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, validates_schema

from schemas import errors
from schemas.management import Fields
from schemas.management_deployments import IMPORTANCES
from schemas.management_fields import Choice, Number, Text, _Field

REASONS: Final = (
    *("ACCURACY", "DATA_DRIFT", "ERRORS", "SCHEDULED_REFRESH"),
    *("SCORING_SPEED", "OTHER"),
)
_NOT_BUILT: Final = "is not supported by this server"


class NotBuilt(_Field):
    """What clients may say, and this server does nothing with: only that it is not."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> None:
        if value not in (None, "", [], {}):
            raise ValidationError(_NOT_BUILT)


class _NewDeployment(Fields):
    label = Text(required=True, most=256)
    description = Text(least=0, most=10_000, allow_none=True)
    importance = Choice(*IMPORTANCES, allow_none=True)
    threshold = Number(low=0, high=1, allow_none=True, data_key="predictionThreshold")
    server_id = Text(most=24, allow_none=True, data_key="defaultPredictionServerId")
    environment_id = Text(most=24, allow_none=True, data_key="predictionEnvironmentId")
    user_provided_id = NotBuilt(allow_none=True, data_key="userProvidedId")
    additional_metadata = NotBuilt(allow_none=True, data_key="additionalMetadata")


class PackageDeployment(_NewDeployment):
    """A deployment of a model package."""

    model_id = Text(required=True, most=64, data_key="modelPackageId")


class ModelDeployment(_NewDeployment):
    """A deployment of a model."""

    model_id = Text(required=True, most=64, data_key="modelId")


class NewModel(Fields):
    """Which model is to take the place of a deployment's."""

    by_model = Text(most=64, allow_none=True, data_key="modelId")
    by_package = Text(most=64, allow_none=True, data_key="modelPackageId")

    @validates_schema
    def _check_one(self, data: dict[str, Any], **_: Any) -> None:
        given = [name for name in ("by_model", "by_package") if data.get(name)]
        if len(given) != 1:
            raise ValidationError(
                errors.REQUIRED if not given else _ONE_OF, "modelPackageId"
            )


_ONE_OF: Final = "goes without modelId"


class Replacement(NewModel):
    """The same, and why."""

    reason = Choice(*REASONS, allow_none=True)
