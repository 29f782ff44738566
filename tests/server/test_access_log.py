"""One line for each request, with what happened and nothing that is secret."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.server.processes import Server, wait_for
from tests.server.served_models import (
    EXTERNAL,
    FIRST,
    ServedModels,
    csv_body,
    frame,
    prediction_path,
)

FIELDS = [
    *("time", "request_id", "method", "path", "status", "user", "deployment"),
    *("model", "rows", "bytes_in", "bytes_out", "ms", "stages"),
]


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    """The one line of a request; it is written before the answer is sent."""
    found = [line for line in server.log() if line["request_id"] == request_id]
    assert len(found) == 1
    assert list(found[0]) == FIELDS
    return found[0]


def test_prediction_is_logged_with_all_that_is_known(
    server: Server, models: ServedModels
) -> None:
    body = csv_body(frame(7, 1))
    answer = server.predict(FIRST, body, query="?passthroughColumns=x")
    line = line_of(server, answer.headers["x-datarobot-request-id"])
    assert line["method"] == "POST"
    assert line["path"] == prediction_path(FIRST)
    assert line["status"] == 200
    assert line["user"] == models.user
    assert line["deployment"] == FIRST
    assert line["model"] == models.ids[FIRST]
    assert line["rows"] == 7
    assert line["bytes_in"] == len(body)
    assert line["bytes_out"] == len(answer.body)
    stages = ["accept", "read", "decode", "score", "finish"]
    assert list(line["stages"]) == stages
    assert sum(line["stages"].values()) <= line["ms"] + 0.01
    assert float(answer.headers["x-datarobot-execution-time"]) <= line["ms"]


def test_large_request_is_logged_with_all_its_rows(server: Server) -> None:
    answer = server.predict(FIRST, frame(70_000, 1))
    line = line_of(server, answer.headers["x-datarobot-request-id"])
    assert line["rows"] == 70_000


ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "wrong token": (401, {"token": "SECRETTOKEN"}),
    "no scheme": (401, {"Authorization": "SECRETTOKEN"}),
    "basic": (
        401,
        {
            "Authorization": "Basic " + base64.b64encode(b"admin:SECRETTOKEN").decode(),
        },
    ),
    "unknown deployment": (404, {"deployment": "f" * 24}),
    "external deployment": (400, {"deployment": EXTERNAL}),
    "unknown parameter": (422, {"query": "?wd=SECRETQUERY"}),
    "unacceptable": (406, {"Accept": "image/png"}),
    "not a number": (422, {"body": b"x,y,colour\nSECRETCELL,1,red\n"}),
    "missing columns": (422, {"body": b"SECRETCOLUMN\nSECRETCELL\n"}),
    "not JSON": (400, {"body": b'[{"SECRETCELL', "Content_Type": "application/json"}),
    "wrong type": (415, {"Content_Type": "image/png"}),
    "empty": (422, {"body": b""}),
    "too large": (413, {"Content_Length": str(10**9), "body": b""}),
}


@pytest.mark.parametrize("what", ERRORS)
def test_error_is_logged_without_token_and_payload(server: Server, what: str) -> None:
    status, request = ERRORS[what]
    answer = server.predict(**request)
    assert answer.status == status
    assert isinstance(answer.message, str)
    line = line_of(server, answer.headers["x-datarobot-request-id"])
    assert line["status"] == status
    assert line["bytes_out"] == len(answer.body)
    text = (server.home / "access.log").read_text() + server.errors()
    assert "SECRET" not in text
    assert server.models.token not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("GET", "/nowhere", 404),
        ("GET", prediction_path(FIRST), 405),
        ("OPTIONS", prediction_path(FIRST), 200),
        ("HEAD", "/healthz", 200),
    ],
)
def test_every_answer_has_its_line(
    server: Server, method: str, path: str, status: int
) -> None:
    answer = server.ask(method, path)
    assert answer.status == status
    line = line_of(server, answer.headers["x-datarobot-request-id"])
    assert (line["method"], line["path"], line["status"]) == (method, path, status)


def test_lines_of_many_clients_do_not_mix(server: Server) -> None:
    before = len(server.log())
    connections = server.connections()
    before += len(connections)
    for _ in range(100):
        for connection in connections:
            server.predict(over=connection)
    # Every line is parsed.
    wait_for(lambda: len(server.log()) == before + 100 * len(connections))


def test_odd_paths_keep_the_log_readable(server: Server) -> None:
    before = len(server.log())
    for path in ("/%0a%22%7b", "/%ff%fe", "/%00", "/%e2%80%a8", "/" + "x" * 8000):
        assert server.ask("GET", path).status == 404
    assert len(server.log()) == before + 5
