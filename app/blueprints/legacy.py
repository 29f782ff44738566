"""/predApi/v1.0: the prediction URLs of dedicated prediction servers."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.auth import check_datarobot_key
from app.blueprints.health import ping
from app.context import current_services
from app.predictions import predict

legacy = Blueprint("legacy", __name__, url_prefix="/predApi/v1.0")
legacy.add_url_rule("/ping", view_func=ping, strict_slashes=False)


@legacy.post("/deployments/<deployment_id>/predictions", strict_slashes=False)
def predict_with_key(deployment_id: str) -> Response:
    """Score rows for a client that knows the server's datarobot-key."""
    check_datarobot_key(
        request.headers.get("datarobot-key"), current_services().config.datarobot_key
    )
    return predict(deployment_id)
