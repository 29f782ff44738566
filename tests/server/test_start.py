"""A server started with `gunicorn` alone, and the plain ways to ask it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.processes import ROOT, Server
from tests.server.served_models import (
    BIN,
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    csv_body,
    frame,
    json_body,
)

LEGACY = "/predApi/v1.0/deployments/{}/predictions"
SERVERLESS = "/api/v2/deployments/{}/predictions"

Start = Callable[..., Server]


def test_gunicorn_alone_serves_a_copy_of_the_project(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("app", "backends", "schemas"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, copy)
    server = start(folder=copy)
    rows = frame(5, seed=3)
    assert server.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)
    maps = Path(f"/proc/{server.process.pid}/cwd").readlink()
    assert maps == copy


def test_serve_starts_the_same_server_in_any_folder(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    # gunicorn would take this module for the project's, and this file for its own.
    (tmp_path / "app.py").write_text("raise SystemExit(1)")
    (tmp_path / "gunicorn.conf.py").write_text("raise SystemExit(1)")
    server = start(program=[BIN / "foretell", "serve"], folder=tmp_path)
    rows = frame(5, seed=3)
    assert server.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)


def test_empty_state_folder_becomes_a_server(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    server = start()
    assert (home / "foretell.db").stat().st_mode & 0o077 == 0
    assert server.ask("GET", "/readyz").status == 200
    assert server.predict().status == 401


@pytest.mark.parametrize("deployment", [FIRST, SECOND])
@pytest.mark.parametrize("path", [LEGACY, SERVERLESS])
def test_both_layouts_answer_as_the_model_does(
    server: Server, models: ServedModels, path: str, deployment: str
) -> None:
    rows = frame(20, seed=3)
    answer = server.ask(
        "POST", path.format(deployment), csv_body(rows), server.headers()
    )
    assert answer.status == 200
    assert answer.positives == models.probabilities(deployment, rows)
    assert answer.headers["x-datarobot-model-id"] == models.ids[deployment]


def test_json_and_csv_give_the_same_answer(server: Server) -> None:
    rows = frame(20, seed=4)
    as_csv = server.predict(FIRST, rows)
    as_json = server.predict(FIRST, json_body(rows), Content_Type="application/json")
    assert as_json.body == as_csv.body


def test_graph_is_served(server: Server) -> None:
    rows = frame(4, seed=4)
    values = [row["prediction"] for row in server.predict(GRAPH, rows).json["data"]]
    assert values == pytest.approx((3 * rows["x"] - rows["y"]).tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ping", {"response": "pong"}),
        ("/ping/", {"response": "pong"}),
        ("/predApi/v1.0/ping", {"response": "pong"}),
        ("/predApi/v1.0/ping/", {"response": "pong"}),
        ("/healthz", {"status": "ok"}),
        ("/readyz", {"status": "ready"}),
    ],
)
def test_health_needs_no_token(server: Server, path: str, body: object) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.json) == (200, body)


@pytest.mark.parametrize(
    "spelling",
    [
        "{}/",
        "/{}",
        "/{}//",
        "//predApi//v1.0//deployments//" + FIRST + "//predictions//",
    ],
)
def test_slashes_may_trail_and_double(server: Server, spelling: str) -> None:
    path = spelling.format(LEGACY.format(FIRST))
    answer = server.ask("POST", path, csv_body(frame(2, 1)), server.headers())
    assert answer.status == 200
    assert len(answer.positives) == 2


def line_of(length: int) -> str:
    """A target that makes a request line of so many bytes."""
    path = SERVERLESS.format(FIRST) + "?passthroughColumns="
    fixed = len(f"POST {path} HTTP/1.1")
    return path + "x" * (length - fixed)


def test_request_line_of_8190_bytes_is_read(server: Server) -> None:
    name = line_of(8190).partition("=")[2]
    body = csv_body(frame(2, 1).assign(**{name: "kept"}))
    answer = server.ask("POST", line_of(8190), body, server.headers())
    assert answer.status == 200
    assert answer.json["data"][0]["passthroughValues"] == {name: "kept"}


def test_longer_request_line_is_refused(server: Server) -> None:
    answer = server.ask("POST", line_of(8191), b"x\n1\n", server.headers())
    assert answer.status in (400, 414)
    assert server.predict().status == 200
