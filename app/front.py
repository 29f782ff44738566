"""Around every request: its record, its view, the headers of every answer, its line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter
from werkzeug.wsgi import ClosingIterator

from app.access_log import RECORD, RequestRecord
from app.context import current_record, current_services
from app.services import Services

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]
# What goes with a 200: headers, and the parts of the body.
Answered = tuple[Headers, list[bytes]]
DirectAnswer = Callable[..., Answered]

# Of the documents' own addresses, and of those that are none.
_METHODS = "OPTIONS, POST"
_CORS = [
    ("Access-Control-Allow-Credentials", "true"),
    (
        "Access-Control-Expose-Headers",
        "Content-Type,Content-Length,X-DataRobot-Execution-Time,"
        "X-DataRobot-Model-Cache-Hit,X-DataRobot-Model-Id,X-DataRobot-Request-Id",
    ),
    ("Access-Control-Allow-Headers", "Content-Type,Authorization,datarobot-key"),
]

# What is left of a body that nobody wanted is read for so long, so much at a time.
_DRAIN_SECONDS = 5.0
_DRAIN_STEP = 262_144


@dataclass(frozen=True, slots=True)
class DirectView:
    """A view that the front calls itself, for a POST.

    Flask's routing, context and response cost a small request several times what its
    prediction does. To Flask this is a view like others: its url map alone says what
    leads here, and its error handlers answer what is raised here.

    answer: called with the services, the request's record and environ, and by name
        with what the URL names.
    """

    answer: DirectAnswer

    def __call__(self, **named: str) -> Response:
        """Answer as a view of Flask's."""
        services, record = current_services(), current_record()
        headers, parts = self.answer(services, record, request.environ, **named)
        return Response(parts, headers=headers)


class Front:
    """The outermost WSGI layer.

    It lies below Flask because a hook of Flask's costs a small request more than its
    prediction does.
    """

    def __init__(self, flask: Flask) -> None:
        """flask: with all its views, and what they need in its extensions."""
        self._flask = flask
        self._through_flask = flask.wsgi_app
        self._services: Services = flask.extensions["foretell"]
        self._urls = flask.url_map.bind("")
        # Clients ask for the same few paths again and again.
        self._find = lru_cache(maxsize=1024)(self._direct_view)
        self._methods = lru_cache(maxsize=1024)(self._methods_of)

    def __call__(
        self, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Clients join an endpoint that ends in a slash to a path that begins with one.
        if "//" in path:
            path = environ["PATH_INFO"] = re.sub("//+", "/", path)
        record = environ[RECORD] = RequestRecord()
        view = None
        # Flask has an answer of its own to those who want to talk of something else.
        if environ["REQUEST_METHOD"] == "POST" and "HTTP_UPGRADE" not in environ:
            view = self._find(path)
        methods = _METHODS if view is not None else self._methods(path)

        def answer(
            status: str,
            headers: Headers,
            exc_info: OptExcInfo | None = None,
        ) -> Callable[[bytes], Any]:
            milliseconds = record.milliseconds
            headers.append(("X-DataRobot-Execution-Time", str(milliseconds)))
            headers.append(("X-DataRobot-Request-ID", record.request_id))
            headers.append(("Access-Control-Allow-Methods", methods))
            headers.extend(_CORS)
            record.write(environ["REQUEST_METHOD"], path, int(status[:3]), headers)
            return start(status, headers, exc_info)

        if view is None:
            parts = self._through_flask(environ, answer)
        else:
            parts = self._past_flask(view, environ, answer)
        if record.received is None and _has_body(environ):
            return ClosingIterator(parts, partial(_drain, environ))
        return parts

    def _methods_of(self, path: str) -> str:
        """What may be asked of an address, as browsers are told it."""
        return ", ".join(methods_of(self._urls, _text(path))) or _METHODS

    def _direct_view(self, path: str) -> DirectAnswer | None:
        try:
            endpoint, named = self._urls.match(_text(path), "POST")
        except HTTPException:
            return None
        view = self._flask.view_functions[endpoint]
        return partial(view.answer, **named) if isinstance(view, DirectView) else None

    def _past_flask(
        self, view: DirectAnswer, environ: WSGIEnvironment, answer: StartResponse
    ) -> Iterable[bytes]:
        try:
            headers, parts = view(self._services, environ[RECORD], environ)
        except Exception as error:
            with self._flask.request_context(environ):
                found = self._flask.handle_user_exception(error)
                return self._flask.make_response(found)(environ, answer)
        answer("200 OK", headers)
        return parts


def methods_of(urls: MapAdapter, path: str) -> list[str]:
    """What may be asked of an address, with a slash at its end or without; of one that
    is none nothing."""
    other = path.rstrip("/") if path.endswith("/") else f"{path}/"
    # Routing knows an address whose method is another only as it is written there.
    return sorted({*urls.allowed_methods(path), *urls.allowed_methods(other)})


def _text(path: str) -> str:
    """A path's characters: WSGI hands bytes of UTF-8 over as Latin-1."""
    return path.encode("latin-1").decode(errors="replace")


def _has_body(environ: WSGIEnvironment) -> bool:
    return bool(
        environ.get("CONTENT_LENGTH", "0") not in ("", "0")
        or environ.get("HTTP_TRANSFER_ENCODING")
    )


def _drain(environ: WSGIEnvironment) -> None:
    """Take what the client still sends, after it was answered.

    A connection that is closed with a part of the body unread is reset, and the
    answer lost with it; nginx makes a 502 of that.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return
    end = time.monotonic() + _DRAIN_SECONDS
    # The client may be gone, stall, or send chunks that are none.
    with suppress(OSError, ParseException):
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            if not environ["wsgi.input"].read(_DRAIN_STEP):
                break
    connection.settimeout(None)
