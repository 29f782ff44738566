"""What a deployment takes and answers, as clients know it: names, types, shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.errors import IsForecasting
from app.prediction_columns import label_text
from app.store.records import Deployment
from backends.model import Feature, Label, Model
from backends.tensors.spec import Field, TensorSpec, Type


@dataclass(frozen=True, slots=True)
class Described:
    """An input or an output.

    shape: of one row; None where any size will do. A single value: (1,).
    labels: of classes, as texts, in the model's order.
    dtype: of its numbers, as numpy names it.
    """

    name: str
    type: Type
    shape: tuple[int | None, ...] = (1,)
    labels: tuple[str, ...] = ()
    dtype: str = "float64"


def inputs_of(model: Model) -> tuple[Described, ...]:
    """What a row has to bring, in the model's order. Raises IsForecasting."""
    if model.io is not None:
        return _described(tensors_of(model).inputs)
    return tuple(
        Described(each.name, each.kind, labels=_texts(each.categories or ()))
        for each in columns_of(model)
    )


def outputs_of(model: Model) -> tuple[Described, ...]:
    """What a row is answered, in the model's order. Raises IsForecasting."""
    if model.io is not None:
        return _described(tensors_of(model).outputs)
    _refuse_forecasts(model)
    if model.task == "regression":
        return (Described(model.target, "numeric"),)
    labels = _texts(model.labels)
    return (Described(model.target, "categorical", (len(labels),), labels),)


def columns_of(model: Model) -> tuple[Feature, ...]:
    """The columns of a model that takes columns: features, offset, exposure.

    Raises IsForecasting.
    """
    _refuse_forecasts(model)
    beside = model.columns[len(model.features) :]
    return (
        *model.features,
        *(Feature(name, "numeric", missing="error") for name in beside),
    )


def tensors_of(model: Model) -> TensorSpec:
    """What a model of named tensors takes and answers."""
    # What it brings is imported where there are such models.
    from backends.tensors.io_json import spec_of

    return spec_of(model)


def facts(deployment: Deployment, model: Model, base_url: str) -> dict[str, Any]:
    """The page of facts; see `schemas.rows.DeploymentFacts`.

    base_url: of the server, without a slash at its end; a path alone is enough.

    Raises IsForecasting.
    """
    own = f"{base_url}/deployment/{deployment.id}"
    settings = deployment.settings
    return {
        "id": deployment.id,
        "label": deployment.label,
        "url": f"{own}/forward",
        "openapi": f"{own}/openapi.json",
        "status": "enabled" if deployment.enabled else "disabled",
        "inputs": list(map(_fact, inputs_of(model))),
        "outputs": list(map(_fact, outputs_of(model))),
        "limits": {
            "rowsPerRequest": settings.rows_per_request,
            "requestsPerMinute": settings.requests_per_minute,
        },
        "model": {"id": model.id, "name": model.name},
    }


def _fact(value: Described) -> dict[str, Any]:
    fact = {"name": value.name, "type": value.type, "shape": list(value.shape)}
    return {**fact, "labels": list(value.labels)} if value.labels else fact


def _described(fields: Iterable[Field]) -> tuple[Described, ...]:
    return tuple(
        Described(each.name, each.type, each.shape, each.labels, each.dtype)
        for each in fields
    )


def _texts(labels: Iterable[Label]) -> tuple[str, ...]:
    return tuple(map(label_text, labels))


def _refuse_forecasts(model: Model) -> None:
    if model.time_series is not None:
        raise IsForecasting
