"""/deployment: rows of named inputs to rows of named outputs, and what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from app.blueprints.addresses import base_url
from app.context import current_record, current_services
from app.errors import IsUnstructured
from app.front import DirectView
from app.model_cache import ServedUnstructured
from app.receiving import caller_of, model_of
from app.rows import description, openapi
from app.rows.forward import deployment_of, forward
from app.store.records import Deployment
from backends.model import Model

rows = Blueprint("rows", __name__, url_prefix="/deployment")
rows.add_url_rule(
    "/<deployment_id>/forward",
    "forward",
    DirectView(forward),
    methods=["POST"],
    strict_slashes=False,
)


@rows.get("/<deployment_id>", strict_slashes=False)
def facts(deployment_id: str) -> Response:
    """What a deployment takes and answers, where, and whether it does.

    Source: "Deployment API", the deployment view.
    """
    return _told(deployment_id, description.facts)


@rows.get("/<deployment_id>/openapi.json", strict_slashes=False)
def document(deployment_id: str) -> Response:
    """The same as an OpenAPI document, from which clients make their requests.

    Source: "Deployment API", OpenAPI specification.
    """
    return _told(deployment_id, openapi.document)


def _told(
    deployment_id: str, tell: Callable[[Deployment, Model, str], dict[str, Any]]
) -> Response:
    """What is told of a deployment, to those who may ask it, also while it is off.

    It takes the place of a request, for the model may have to be loaded, but is none of
    those that the deployment's `requests_per_minute` counts.
    """
    services, record = current_services(), current_record()
    with services.admission:
        caller = caller_of(services, request.environ, record)
        deployment = deployment_of(services, deployment_id, caller, record)
        served, _ = model_of(services, deployment, record)
        if isinstance(served, ServedUnstructured):
            raise IsUnstructured
        told = tell(deployment, served.model, base_url(request))
    # In its own order: that of inputs and outputs is the model's.
    return Response(json.dumps(told), content_type="application/json")
