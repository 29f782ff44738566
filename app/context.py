"""What belongs to the request being answered."""

from __future__ import annotations

from flask import current_app, request

from app.access_log import RECORD, RequestRecord
from app.services import Services


def current_services() -> Services:
    """The services of the application that answers."""
    services: Services = current_app.extensions["foretell"]
    return services


def current_record() -> RequestRecord:
    """The line that the access log will get."""
    record: RequestRecord = request.environ[RECORD]
    return record
