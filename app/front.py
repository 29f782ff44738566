"""Around every request: its record, the headers of every answer, its log line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http.errors import ParseException
from werkzeug.wsgi import ClosingIterator

from app.access_log import RequestRecord

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RECORD = "foretell.record"

_CORS = [
    ("Access-Control-Allow-Methods", "OPTIONS, POST"),
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


class Front:
    """The outermost WSGI layer.

    It lies below Flask because a hook of Flask's costs a small request more than its
    prediction does.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(
        self, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Clients join an endpoint that ends in a slash to a path that begins with one.
        if "//" in path:
            path = environ["PATH_INFO"] = re.sub("//+", "/", path)
        record = environ[RECORD] = RequestRecord()

        def answer(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: OptExcInfo | None = None,
        ) -> Callable[[bytes], Any]:
            milliseconds = record.milliseconds
            headers.extend(record.headers)
            headers.append(("X-DataRobot-Execution-Time", str(milliseconds)))
            headers.append(("X-DataRobot-Request-ID", record.request_id))
            headers.extend(_CORS)
            record.write(environ["REQUEST_METHOD"], path, int(status[:3]), headers)
            return start(status, headers, exc_info)

        parts = self._application(environ, answer)
        if record.received is None and _has_body(environ):
            return ClosingIterator(parts, partial(_drain, environ))
        return parts


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
