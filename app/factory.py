"""The application: config → services → errors → layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from app.access_log import RequestRecord
from app.blueprints import register_layouts
from app.config import Config
from app.context import current_record
from app.error_handlers import register_error_handlers
from app.services import Services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CORS = {
    "Access-Control-Allow-Methods": "OPTIONS, POST",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": (
        "Content-Type,Content-Length,X-DataRobot-Execution-Time,"
        "X-DataRobot-Model-Cache-Hit,X-DataRobot-Model-Id,X-DataRobot-Request-Id"
    ),
    "Access-Control-Allow-Headers": "Content-Type,Authorization,datarobot-key",
}


def create_app(config: Config | None = None) -> Flask:
    """Make the application; nothing is opened or started yet.

    Raises InvalidConfig.
    """
    config = config or Config.from_environment()
    app = Flask("app", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body
    app.config["MAX_FORM_MEMORY_SIZE"] = config.max_body
    app.extensions["foretell"] = Services(config)
    app.before_request(_begin)
    app.after_request(_finish)
    register_error_handlers(app)
    register_layouts(app)
    # Assigning wsgi_app is Flask's documented way to wrap the application.
    app.wsgi_app = partial(_single_slashes, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _single_slashes(
    application: WSGIApplication, environ: WSGIEnvironment, start: StartResponse
) -> Iterable[bytes]:
    # Clients join an endpoint that ends in a slash with a path that begins with one.
    path = environ["PATH_INFO"]
    if "//" in path:
        environ["PATH_INFO"] = re.sub("//+", "/", path)
    return application(environ, start)


def _begin() -> None:
    g.record = RequestRecord()


def _finish(response: Response) -> Response:
    record = current_record()
    headers = response.headers
    headers["X-DataRobot-Execution-Time"] = str(record.milliseconds)
    headers["X-DataRobot-Request-ID"] = record.request_id
    headers.extend(_CORS)
    record.stage("finish")
    record.write(
        request.method, request.path, response.status_code, response.content_length
    )
    return response
