"""Everything raised on the way, as JSON in the documented envelope."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, NotFound

from app.context import current_record
from app.errors import status_of
from schemas.arguments import InvalidArgument

log = logging.getLogger(__name__)

# The documented text has two blanks after "server.".
_UNKNOWN_URL = (
    "The requested URL was not found on the server.  If you entered the URL manually,"
    " please check your spelling and try again."
)
_INTERNAL = "The server met an internal error; its log has the request id"


def register_error_handlers(app: Flask) -> None:
    """Answer every exception of this application as JSON."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _any)


def _http(error: HTTPException) -> Response:
    text = _UNKNOWN_URL if isinstance(error, NotFound) else error.description
    response = message(text or error.name, error.code or 500)
    # 405 names the methods that are allowed, 413 and 416 their own headers.
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _any(error: Exception) -> Response:
    status = status_of(error)
    if status is None:
        log.exception("request %s failed", current_record().request_id)
        return message(_INTERNAL, 500)
    if status == 503 and error.__cause__ is not None:
        log.error("request %s: %s", current_record().request_id, error.__cause__)
    text = error.message if isinstance(error, InvalidArgument) else str(error)
    response = message(text, status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def message(text: str | dict[str, str], status: int) -> Response:
    """An error body.

    ASCII with escapes, and a bare content type: clients that find any other type
    read the body as ASCII text.
    """
    body = json.dumps({"message": text})
    return Response(body, status, content_type="application/json")
