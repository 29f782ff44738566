"""A real nginx, with the site made from the settings, in front of a real server."""

from __future__ import annotations

import base64
import gzip
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.config import Config
from tests.server.fronting import fronting, needs_nginx
from tests.server.processes import (
    SECONDS,
    Endpoint,
    Server,
    read_response,
    running,
    wait_for,
)
from tests.server.served_models import (
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    csv_body,
    frame,
    json_body,
    padded_body,
    prediction_path,
)

MAX_BODY = 52_428_800
KEY = "the-server's-key"
LEGACY = f"/predApi/v1.0/deployments/{FIRST}/predictions"

pytestmark = needs_nginx
# Of the server behind nginx.
SETTINGS = {"datarobot_key": KEY}

# What an answer's headers say about one request alone.
_OWN = {"date", "x-datarobot-execution-time", "x-datarobot-request-id", "server"}

Ask = Callable[[Endpoint], Any]

SAME: dict[str, tuple[int, Ask]] = {
    "CSV": (200, lambda at: at.predict(FIRST, frame(10, 1))),
    "CSV out": (200, lambda at: at.predict(FIRST, frame(10, 1), Accept="text/csv")),
    "JSON": (
        200,
        lambda at: at.predict(
            FIRST, json_body(frame(10, 1)), Content_Type="application/json"
        ),
    ),
    "the graph": (200, lambda at: at.predict(GRAPH, frame(10, 1))),
    "gzip in": (
        200,
        lambda at: at.predict(
            FIRST, gzip.compress(csv_body(frame(90, 1))), Content_Encoding="gzip"
        ),
    ),
    "gzip out": (
        200,
        lambda at: at.predict(FIRST, frame(90, 1), Accept_Encoding="gzip"),
    ),
    "a long answer": (200, lambda at: at.predict(FIRST, frame(20_000, 1))),
    "chunks": (
        200,
        lambda at: at.predict(FIRST, iter([b"x,y,colour\n", b"1,2,red\n"])),
    ),
    "the legacy layout": (
        200,
        lambda at: at.ask(
            "POST",
            LEGACY,
            csv_body(frame(3, 1)),
            at.headers() | {"datarobot-key": KEY},
        ),
    ),
    "doubled slashes": (
        200,
        lambda at: at.ask(
            "POST",
            "//api//v2//deployments//" + FIRST + "//predictions//",
            csv_body(frame(3, 1)),
            at.headers(),
        ),
    ),
    "encoded characters": (
        200,
        lambda at: at.predict(
            FIRST,
            csv_body(frame(3, 1).assign(**{"a b/ü": "%"})),
            query="?passthroughColumns=a+b%2F%C3%BC",
        ),
    ),
    "ping": (200, lambda at: at.ask("GET", "/ping")),
    "readyz": (200, lambda at: at.ask("GET", "/readyz")),
    "head": (200, lambda at: at.ask("HEAD", "/healthz")),
    "options": (200, lambda at: at.ask("OPTIONS", prediction_path(FIRST))),
    "wrong token": (401, lambda at: at.predict(token="x")),
    "no key": (401, lambda at: at.ask("POST", LEGACY, b"", at.headers())),
    "wrong key": (
        401,
        lambda at: at.ask("POST", LEGACY, b"", at.headers() | {"datarobot-key": "x"}),
    ),
    "unknown deployment": (404, lambda at: at.predict("f" * 24)),
    "unknown URL": (404, lambda at: at.ask("GET", "/predApi/v1.0/nowhere")),
    "method": (405, lambda at: at.ask("PUT", prediction_path(FIRST))),
    "unacceptable": (406, lambda at: at.predict(Accept="image/png")),
    "wrong type": (415, lambda at: at.predict(Content_Type="image/png")),
    "unknown parameter": (422, lambda at: at.predict(query="?wd=1")),
    "bad body": (
        400,
        lambda at: at.predict(FIRST, b"{", Content_Type="application/json"),
    ),
    "no data": (422, lambda at: at.predict(FIRST, b"")),
}


@pytest.mark.parametrize("what", SAME)
def test_answers_pass_through_unchanged(
    front: Endpoint, behind: Server, what: str
) -> None:
    status, ask = SAME[what]
    through, direct = ask(front), ask(behind)
    assert (through.status, direct.status) == (status, status)
    assert through.body == direct.body
    names = (through.headers.keys() | direct.headers.keys()) - _OWN
    assert {name: through.headers.get(name) for name in names} == {
        name: direct.headers.get(name) for name in names
    }
    assert through.headers["server"] == "nginx"


def line_of(length: int) -> str:
    path = prediction_path(FIRST, "?passthroughColumns=")
    return path + "x" * (length - len(f"POST {path} HTTP/1.1"))


def test_request_line_of_8190_bytes_passes(front: Endpoint) -> None:
    name = line_of(8190).partition("=")[2]
    body = csv_body(frame(2, 1).assign(**{name: "kept"}))
    answer = front.ask("POST", line_of(8190), body, front.headers())
    assert answer.status == 200
    assert answer.json["data"][0]["passthroughValues"] == {name: "kept"}


@pytest.mark.parametrize("length", [8191, 9000, 20_000])
def test_longer_request_line_is_414(front: Endpoint, length: int) -> None:
    answer = front.ask("POST", line_of(length), b"x\n1\n", front.headers())
    assert (answer.status, answer.message) == (414, "The request line is too long")


def test_body_of_50_megabytes_passes(front: Endpoint) -> None:
    assert len(front.predict(FIRST, padded_body(MAX_BODY)).positives) == 100


@pytest.mark.parametrize("chunked", [False, True])
def test_larger_body_is_413(front: Endpoint, chunked: bool) -> None:
    body = padded_body(MAX_BODY + 1)
    pieces = (body[at : at + 10**6] for at in range(0, len(body), 10**6))
    answer = front.predict(FIRST, pieces if chunked else body)
    assert (answer.status, answer.message) == (
        413,
        f"The body is larger than {MAX_BODY} bytes",
    )


def test_announced_length_is_enough_for_a_413(front: Endpoint) -> None:
    with front.open_socket() as opened:
        opened.sendall(front.head(MAX_BODY + 1))
        assert read_response(opened).status == 413


@pytest.mark.parametrize("size", [200_000, 5_000_000, MAX_BODY])
def test_large_body_that_nobody_reads_gets_its_answer(
    front: Endpoint, size: int
) -> None:
    body = padded_body(size)
    for _ in range(3):
        assert front.predict(FIRST, body, token="x").status == 401
        assert front.predict("f" * 24, body).status == 404
        assert front.predict(FIRST, body, query="?wd=1").status == 422


def test_connections_are_used_again_on_both_sides(
    front: Endpoint, behind: Server
) -> None:
    connection = front.connect()
    assert front.predict(over=connection).status == 200
    opened = connection.sock
    worker_files = sum(worker.num_fds() for worker in behind.workers())
    for _ in range(50):
        assert front.predict(over=connection).status == 200
    assert connection.sock is opened
    assert sum(worker.num_fds() for worker in behind.workers()) <= worker_files + 2


BAD = {
    "TRACE": (405, b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "no host": (400, b"GET /ping HTTP/1.1\r\n\r\n"),
    "a long header": (
        400,
        b"GET /ping HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
    ),
    "an unknown coding": (
        501,
        b"POST /ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
    ),
    "a made-up version": (505, b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n"),
}


@pytest.mark.parametrize("what", BAD)
def test_errors_of_nginx_are_json(front: Endpoint, what: str) -> None:
    status, request = BAD[what]
    with front.open_socket() as opened:
        opened.sendall(request)
        answer = read_response(opened)
    assert answer.status == status
    assert isinstance(answer.message, str)


ROWS = {
    413: b"POST /deployment/a/forward HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999",
    405: b"TRACE //deployment/a HTTP/1.1\r\nHost: x",
}


@pytest.mark.parametrize("status", ROWS)
def test_errors_of_nginx_speak_the_dialect_of_the_rows(
    front: Endpoint, status: int
) -> None:
    with front.open_socket() as opened:
        opened.sendall(ROWS[status] + b"\r\n\r\n")
        answer = read_response(opened)
    assert answer.status == status
    body = json.loads(answer.body)
    assert list(body) == ["errorCode", "errorMessage"]
    assert (
        body["errorCode"] == {413: "RequestTooLarge", 405: "MethodNotAllowed"}[status]
    )


def token_as_user(front: Endpoint) -> str:
    """What `curl -u TOKEN:` sends."""
    return "Basic " + base64.b64encode(f"{front.models.token}:".encode()).decode()


def logged(front: Endpoint, folder: Path, mark: str) -> str:
    """All that nginx wrote, as soon as the mark is in its log of requests."""
    log = folder / "access.log"
    wait_for(lambda: log.exists() and mark in log.read_text())
    text = "".join(each.read_text() for each in folder.glob("*.log"))
    for secret in (front.models.token, token_as_user(front).partition(" ")[2]):
        assert secret not in text
    return text


def test_tokens_stay_out_of_the_logs(front: Endpoint, front_folder: Path) -> None:
    path = f"/deployment/{FIRST}"
    sent = {"Authorization": token_as_user(front), "User-Agent": "teller/1"}
    assert front.ask("GET", path, headers=sent).status == 200
    text = logged(front, front_folder, "teller/1")
    assert f'"GET {path} HTTP/1.1" 200 ' in text


def test_tokens_of_failed_requests_stay_out_of_the_logs(
    models: ServedModels, tmp_path: Path
) -> None:
    # Nothing listens there.
    with fronting(models, tmp_path, Config(bind=f"unix:{tmp_path}/s")) as front:
        sent = {"Authorization": token_as_user(front), "User-Agent": "teller/2"}
        assert front.ask("GET", "/deployment/a", headers=sent).status == 502
        sent |= {"Content-Length": str(MAX_BODY + 1), "User-Agent": "teller/3"}
        assert front.ask("POST", "/deployment/a/forward", headers=sent).status == 413
        sent |= {"X": "x" * 9000, "User-Agent": "teller/4"}
        assert front.ask("GET", "/ping", headers=sent).status == 400
        text = logged(front, tmp_path, "/ping")
        assert "connect() to unix:" in text and "too large body" in text


def told_address(at: Endpoint, request: bytes) -> str:
    with at.open_socket() as opened:
        opened.sendall(request + b"\r\n\r\n")
        url: str = read_response(opened).json["servers"][0]["url"]
        return url


def test_address_is_told_as_the_client_used_it(front: Endpoint) -> None:
    answer = front.ask("GET", "/openapi.json")
    assert answer.json["servers"] == [{"url": f"http://127.0.0.1:{front.port}"}]
    line = b"GET /openapi.json HTTP/1.1\r\nHost: "
    assert told_address(front, line + b"my_app:8080") == "http://my_app:8080"
    assert told_address(front, line + b"[::1]:8080") == "http://[::1]:8080"


def test_client_that_names_no_host_is_told_paths(
    front: Endpoint, behind: Server
) -> None:
    for at in (front, behind):
        assert told_address(at, b"GET /openapi.json HTTP/1.0") == "/"


def test_scheme_is_the_one_that_nginx_was_asked_by(
    front: Endpoint, behind: Server
) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: a.example\r\n"
    request += b"X-Forwarded-Proto: https"
    # As an nginx that speaks TLS passes it on.
    assert told_address(behind, request) == "https://a.example"
    # What a client claims does not count.
    assert told_address(front, request) == "http://a.example"


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/./metrics", "/%6detrics"])
def test_metrics_stay_on_the_machine(
    behind: Server, front: Endpoint, path: str
) -> None:
    answer = front.ask("GET", path)
    assert answer.status == 404
    assert answer.message == "The requested URL was not found on the server."
    assert behind.ask("GET", "/metrics").status == 200


def test_server_that_is_down_is_502(models: ServedModels, tmp_path: Path) -> None:
    config = Config(bind=f"unix:{tmp_path}/s")
    with fronting(models, tmp_path, config) as front:
        answer = front.predict()
        assert (answer.status, answer.message) == (
            502,
            "The server does not answer; try again shortly",
        )
        assert answer.headers["retry-after"] == "1"
        # And when it is there, nginx does not go on refusing.
        with running(models, tmp_path / "home", bind=config.bind, workers=1) as server:
            assert front.predict().status == 200
            # A restart behind nginx.
            for worker in server.workers():
                worker.kill()
            assert wait_for(lambda: front.predict().status == 200)


def test_slow_request_is_504_by_the_application(
    models: ServedModels, tmp_path: Path
) -> None:
    config = Config(bind=f"unix:{tmp_path}/s", request_seconds=0.05)
    settings = {"bind": config.bind, "request_seconds": 0.05, "workers": 1}
    with (
        running(models, tmp_path / "home", **settings) as server,
        fronting(models, tmp_path, config) as front,
    ):
        answer = front.predict(FIRST, frame(100_000, 1))
        assert (answer.status, answer.message) == (
            504,
            "The request took longer than the server allows",
        )
        assert answer.headers["x-datarobot-request-id"]
        assert server.predict().status == 200


def test_server_that_hangs_is_504_by_nginx(
    models: ServedModels, tmp_path: Path
) -> None:
    config = Config(bind=f"unix:{tmp_path}/s", request_seconds=1)
    # The shortest patience that the site can be made with is too long for a test.
    hurried = replace(config)
    with running(models, tmp_path / "home", bind=config.bind, workers=1) as server:
        with _hurrying(models, tmp_path, hurried) as front:
            (worker,) = server.workers()
            worker.suspend()
            try:
                answer = front.predict()
            finally:
                worker.resume()
        assert (answer.status, answer.message) == (
            504,
            "The request took longer than the server allows",
        )


@contextmanager
def _hurrying(models: ServedModels, folder: Path, config: Config) -> Iterator[Endpoint]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.nginx._GRACE_SECONDS", 0)
        with fronting(models, folder, config) as front:
            yield front


def test_stop_behind_nginx_finishes_what_is_in_flight(
    models: ServedModels, tmp_path: Path
) -> None:
    config = Config(bind=f"unix:{tmp_path}/s")
    with (
        running(models, tmp_path / "home", bind=config.bind, workers=1) as server,
        fronting(models, tmp_path, config) as front,
    ):
        body = csv_body(frame(150_000, 1))
        kept = front.connect()
        assert front.predict(over=kept).status == 200
        (worker,) = server.workers()
        idle = worker.cpu_times()
        with front.open_socket() as opened:
            opened.sendall(front.head(body, SECOND) + body)
            wait_for(lambda: worker.cpu_times().user - idle.user > 0.05)
            server.process.send_signal(signal.SIGTERM)
            assert read_response(opened).status == 200
        server.process.wait(SECONDS)
        assert front.predict(over=kept).status == 502
