"""The cards of deployed models, without the models."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.errors import ModelUnavailable
from app.services import Services
from app.store.errors import StoreUnreachable, UnknownModel
from app.store.records import Deployment
from backends import bundle
from backends.bundle import BundleRejected
from backends.model import Model

# A folder is named by what is in it, and so never has another card.
_read = lru_cache(maxsize=256)(bundle.read_card)


def card_of(services: Services, deployment: Deployment) -> Model | None:
    """The card of a deployment's model; None where it is scored elsewhere, or where
    its bundle cannot be read."""
    try:
        return needed_card(services, deployment)
    except (ModelUnavailable, StoreUnreachable):
        return None


def card_if_here(services: Services, deployment: Deployment) -> Model | None:
    """The same, but None also where the bundle would have to be fetched first."""
    model_id = deployment.model_id
    if model_id is None or not services.bundles.has(model_id):
        return None
    return card_of(services, deployment)


def needed_card(services: Services, deployment: Deployment) -> Model | None:
    """The same, but raises ModelUnavailable for a bundle that cannot be read, and
    StoreUnreachable for one that cannot be fetched."""
    if deployment.model_id is None:
        return None
    return card_of_model(services, deployment.model_id)


def card_of_model(services: Services, model_id: str) -> Model:
    """A model's card; raises ModelUnavailable for a bundle that cannot be read."""
    try:
        return _read(folder_of(services, model_id))
    except BundleRejected as error:
        raise ModelUnavailable from error


def folder_of(services: Services, model_id: str) -> Path:
    """Where a model's bundle is; raises ModelUnavailable and StoreUnreachable."""
    try:
        return services.bundles.path(model_id)
    except (BundleRejected, UnknownModel, OSError) as error:
        raise ModelUnavailable from error
