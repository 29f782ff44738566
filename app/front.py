"""Around every request: its record, the headers of every answer, its log line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

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

        return self._application(environ, answer)
