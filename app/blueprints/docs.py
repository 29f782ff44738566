"""/openapi.json: what the server takes and answers; /docs: the same, to read."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request, send_from_directory
from werkzeug.exceptions import NotFound

from app.blueprints.addresses import base_url
from schemas.openapi import server_document

docs = Blueprint("docs", __name__)

_OWN: Final = Path(__file__).with_name("docs_static")
_VIEWER: Final = "flask_swagger_ui"
# What the page is made of, and of what type each is.
_FILES: Final = {
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# The viewer's style sheet has its pictures in itself.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


@docs.get("/openapi.json", strict_slashes=False)
def openapi() -> Response:
    """The whole server's API; nothing of its deployments."""
    document = server_document(base_url(request))
    response = Response(json.dumps(document), content_type="application/json")
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response


@docs.get("/docs", strict_slashes=False)
def page() -> Response:
    """The viewer, which asks nobody but this server."""
    response = send_from_directory(_OWN, "page.html", mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@docs.get("/docs/<name>", strict_slashes=False)
def file(name: str) -> Response:
    """A part of the page."""
    if name not in _FILES:
        raise NotFound
    folder = _OWN if (_OWN / name).exists() else _viewer()
    response = send_from_directory(folder, name, mimetype=_FILES[name])
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@cache
def _viewer() -> Path:
    """Where the viewer's files are, found without importing its package."""
    found = find_spec(_VIEWER)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{_VIEWER} is not installed", name=_VIEWER)
    return Path(found.origin).with_name("dist")
