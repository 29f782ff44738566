"""/predApi/v1.0: the prediction URLs of dedicated prediction servers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint
from werkzeug.exceptions import NotFound

from app.access_log import RequestRecord
from app.auth import check_datarobot_key
from app.blueprints.health import ping
from app.explanation_request import PREDICTIONS, Route
from app.front import Answered, DirectAnswer, DirectView
from app.predictions import not_found, predict
from app.receiving import caller_of
from app.services import Services
from app.unstructured.predictions import predict_unstructured_with_key

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


# What the documents' own service tells of a row unless it is asked for more.
_EXPLANATIONS = Route(most=3, models="others")
_REASON_CODES = Route(most=3, key="reasonCodes", models="others")
# The oldest addresses kept time series apart.
_TIME_SERIES = Route(models="time series")


def predict_with_key(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
    route: Route = PREDICTIONS,
) -> Answered:
    """Score rows for a client that knows the server's datarobot-key."""
    check_datarobot_key(
        environ.get("HTTP_DATAROBOT_KEY"), services.config.datarobot_key
    )
    return predict(services, record, environ, deployment_id, route)


def predict_for_project(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    project_id: str,
    model_id: str,
    route: Route = PREDICTIONS,
) -> Answered:
    """Score rows with the oldest deployment that has this project and model.

    Source: "Deprecated API routes".
    """
    # Not a project, but an address of deployments with something missing.
    if project_id == "deployments":
        raise NotFound
    check_datarobot_key(
        environ.get("HTTP_DATAROBOT_KEY"), services.config.datarobot_key
    )
    caller = caller_of(services, environ, record)
    deployment = services.snapshot.project_deployment(project_id, model_id, caller)
    if deployment is None:
        services.catch_up()
        deployment = services.snapshot.project_deployment(project_id, model_id, caller)
    if deployment is None:
        raise not_found(project_id, model_id)
    return predict(services, record, environ, deployment.id, route)


_VIEWS: dict[str, DirectAnswer] = {
    "deployments/<deployment_id>/predictions": predict_with_key,
    "deployments/<deployment_id>/predictionExplanations": partial(
        predict_with_key, route=_EXPLANATIONS
    ),
    "deployments/<deployment_id>/predictionsUnstructured": (
        predict_unstructured_with_key
    ),
    "deployments/<deployment_id>/timeSeriesPredictions": partial(
        predict_with_key, route=_TIME_SERIES
    ),
    "<project_id>/<model_id>/predict": predict_for_project,
    "<project_id>/<model_id>/timeSeriesPredict": partial(
        predict_for_project, route=_TIME_SERIES
    ),
    "<project_id>/<model_id>/predictionExplanations": partial(
        predict_for_project, route=_EXPLANATIONS
    ),
    "<project_id>/<model_id>/reasonCodesPredictions": partial(
        predict_for_project, route=_REASON_CODES
    ),
}

legacy = Blueprint("legacy", __name__, url_prefix="/predApi/v1.0")
legacy.add_url_rule("/ping", view_func=ping, strict_slashes=False)
for path, view in _VIEWS.items():
    legacy.add_url_rule(
        f"/{path}", path, DirectView(view), methods=["POST"], strict_slashes=False
    )
