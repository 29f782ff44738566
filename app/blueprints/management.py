"""/api/v2: the management API beside predictions."""

from __future__ import annotations

from flask import Blueprint, Response

from app.blueprints.managing import asking, told
from app.management.version import VERSION

management = Blueprint("management", __name__, url_prefix="/api/v2")


@management.get("/version/", strict_slashes=False)
def version() -> Response:
    """The version of the API that clients are written for.

    Source: the wire contract, section 9.1.
    """
    with asking(scoped=True):
        return told(VERSION)
