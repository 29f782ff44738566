"""/api/v2: the serverless prediction URLs."""

from __future__ import annotations

from flask import Blueprint

from app.front import DirectView
from app.predictions import predict
from app.unstructured.predictions import predict_unstructured

serverless = Blueprint("serverless", __name__, url_prefix="/api/v2")
serverless.add_url_rule(
    "/deployments/<deployment_id>/predictions",
    "predict",
    DirectView(predict),
    methods=["POST"],
    strict_slashes=False,
)
serverless.add_url_rule(
    "/deployments/<deployment_id>/predictionsUnstructured",
    "predict_unstructured",
    DirectView(predict_unstructured),
    methods=["POST"],
    strict_slashes=False,
)
