"""/api/v2: the version, operations that go on, prediction servers."""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from app.blueprints.managing import asking, told, told_list
from app.management import operations
from app.management.servers import prediction_server
from app.management.version import VERSION
from schemas.management_fields import PageFields

management = Blueprint("management", __name__, url_prefix="/api/v2")


@management.get("/version/", strict_slashes=False)
def version() -> Response:
    """The version of the API that clients are written for.

    Source: the wire contract, section 9.1.
    """
    with asking(scoped=True):
        return told(VERSION)


@management.get("/status/<operation_id>/", strict_slashes=False)
def status(operation_id: str) -> Response:
    """How an operation goes; once it is done, where to look for what it made."""
    with asking() as its:
        found = operations.find(its.services.operations, operation_id, its.caller)
        if found is None:
            raise NotFound
        response = told(operations.facts(found))
        if found.status == "COMPLETED" and found.location is not None:
            response.status_code = 303
            response.headers["Location"] = f"{its.base_url}{found.location}"
        return response


@management.get("/predictionServers/", strict_slashes=False)
def prediction_servers() -> Response:
    """This server alone, and the key that it asks for."""
    with asking() as its:
        query = its.query(PageFields())
        key = its.services.config.datarobot_key
        found = [prediction_server(its.base_url, key)]
        return told_list(its, found, query)
