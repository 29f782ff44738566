"""One line of JSON for each request: who, what, how much, how long."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

import orjson

# Where a request's record lies in its environ.
RECORD = "foretell.record"

_STDOUT = 1


class RequestRecord:
    """What is said about a request: no payload, no token.

    Stages are named in the order they end; each gets the milliseconds since the one
    before it.
    """

    __slots__ = (
        "_last",
        "_started",
        "deployment",
        "model",
        "received",
        "request_id",
        "rows",
        "stages",
        "user",
    )

    def __init__(self) -> None:
        self.request_id = os.urandom(16).hex()
        self.user: str | None = None
        self.deployment: str | None = None
        self.model: str | None = None
        self.rows: int | None = None
        self.received: int | None = None
        self.stages: dict[str, float] = {}
        self._started = self._last = time.perf_counter_ns()

    def stage(self, name: str) -> None:
        """End a stage."""
        now = time.perf_counter_ns()
        self.stages[name] = _milliseconds(now - self._last)
        self._last = now

    @property
    def milliseconds(self) -> float:
        """Time since the request came in."""
        return _milliseconds(time.perf_counter_ns() - self._started)

    def write(
        self, method: str, path: str, status: int, headers: Sequence[tuple[str, str]]
    ) -> None:
        """Print the line, when the answer begins.

        headers: the answer's.
        """
        self.stage("finish")
        line = orjson.dumps(
            {
                "time": time.time(),
                "request_id": self.request_id,
                "method": method,
                "path": path,
                "status": status,
                "user": self.user,
                "deployment": self.deployment,
                "model": self.model,
                "rows": self.rows,
                "bytes_in": self.received,
                "bytes_out": _content_length(headers),
                "ms": self.milliseconds,
                "stages": self.stages,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        # One write call a line: lines of several workers do not mix. A log that
        # cannot be written, for a full disk or a closed pipe, must fail no request.
        with suppress(OSError):
            os.write(_STDOUT, line)


def _milliseconds(nanoseconds: int) -> float:
    # Whole microseconds over a thousand: rounding a float takes several times as long.
    return nanoseconds // 1000 / 1000


def _content_length(headers: Sequence[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name == "Content-Length":
            return int(value)
    return None
