"""Whether the server is there, alive and ready."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app.context import current_services
from app.error_handlers import message

health = Blueprint("health", __name__)


@health.get("/ping", strict_slashes=False)
def ping() -> Response:
    """The documented answer of the prediction server's ping."""
    return jsonify(response="pong")


@health.get("/healthz", strict_slashes=False)
def healthz() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@health.get("/readyz", strict_slashes=False)
def readyz() -> Response:
    """The deployed models are loaded, and the server is not about to stop."""
    if not current_services().is_ready:
        return message("The server is not ready", 503)
    return jsonify(status="ready")
