"""/predApi/v1.0: what batch clients ask before they ask for predictions."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.auth import check_datarobot_key
from app.blueprints.managing import asking, told
from app.context import current_services
from app.errors import NotReady
from app.logins import token_for
from app.management.cards import card_of
from app.management.deployments import model_part
from app.services import now

api_tokens = Blueprint("api_tokens", __name__, url_prefix="/predApi/v1.0")


@api_tokens.route("/api_token", methods=["GET", "POST"], strict_slashes=False)
def api_token() -> Response:
    """A token for a user's name and password, or the one that was sent."""
    services = current_services()
    with services.admission:
        if not services.has_read_store:
            raise NotReady
        header = request.environ.get("HTTP_AUTHORIZATION")
        response = told({"api_token": token_for(services, header, now())})
    response.headers["Cache-Control"] = "no-store"
    return response


@api_tokens.get("/deployments/<deployment_id>/batchInfo", strict_slashes=False)
def batch_info(deployment_id: str) -> Response:
    """What a client that scores large files wants to know of a deployment."""
    config = current_services().config
    check_datarobot_key(request.headers.get("datarobot-key"), config.datarobot_key)
    with asking(scoped=True) as its:
        deployment = its.deployment(deployment_id)
        models = its.services.snapshot.models
        stored = models[deployment.model_id] if deployment.model_id else None
        card = card_of(its.services, deployment)
        part = model_part(deployment, card, stored)
        kept = ("id", "type", "targetName", "targetType", "projectId")
        return told(
            {
                "id": deployment.id,
                "label": deployment.label,
                "model": {name: part[name] for name in kept},
                "featureCount": len(card.columns) if card else None,
                "limits": {
                    "maxBodyBytes": config.max_body,
                    "maxRows": config.max_rows,
                    "rowsPerRequest": deployment.settings.rows_per_request,
                    "requestsPerMinute": deployment.settings.requests_per_minute,
                },
                "batch": {
                    "maxUploadBytes": config.max_upload,
                    "keptHours": config.batch_hours,
                },
            }
        )
