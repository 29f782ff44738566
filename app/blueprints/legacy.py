"""/predApi/v1.0: the prediction URLs of dedicated prediction servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from app.access_log import RequestRecord
from app.auth import check_datarobot_key
from app.blueprints.health import ping
from app.front import Answered, DirectView
from app.predictions import predict
from app.services import Services

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def predict_with_key(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
) -> Answered:
    """Score rows for a client that knows the server's datarobot-key."""
    check_datarobot_key(
        environ.get("HTTP_DATAROBOT_KEY"), services.config.datarobot_key
    )
    return predict(services, record, environ, deployment_id)


legacy = Blueprint("legacy", __name__, url_prefix="/predApi/v1.0")
legacy.add_url_rule("/ping", view_func=ping, strict_slashes=False)
legacy.add_url_rule(
    "/deployments/<deployment_id>/predictions",
    "predict",
    DirectView(predict_with_key),
    methods=["POST"],
    strict_slashes=False,
)
