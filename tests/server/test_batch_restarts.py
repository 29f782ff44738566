"""Batch jobs whose runners and servers are killed: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.api_client import api_at
from tests.liveness import alive_after
from tests.server.batch_client import JOB_SECONDS, Batches
from tests.server.processes import Server, wait_for
from tests.server.served_models import BIN, FIRST, frame

ROWS = 20_000
# No model takes them: they fill parts of 4 MiB with rows that are scored fast.
PADDING = 2_000


# A runner that is no faster than whoever is to cut it off.
SLOW = """
import sys

if "app.batch.runner" in sys.orig_argv:
    import time

    from app.batch import job

    fast = job.score_part

    def score_part(task, part):
        time.sleep(1)
        return fast(task, part)

    job.score_part = score_part
"""


def body() -> bytes:
    """Some 40 MB: ten parts of them."""
    lines = frame(ROWS, seed=11).to_csv(index_label="id").splitlines()
    filling = np.random.default_rng(3).bytes(PADDING // 2).hex()
    head, *rows = lines
    text = [f"{head},padding", *(f"{row},{filling}" for row in rows)]
    return "\n".join(text).encode()


@pytest.fixture(scope="module")
def rows() -> bytes:
    return body()


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """What makes runners slow, as variables of the environment."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLOW)
    return {"PYTHONPATH": str(folder)}


def batches_of(server: Server) -> Batches:
    return Batches(api_at(server), FIRST)


def runners(server: Server) -> list[psutil.Process]:
    """The processes that run jobs of this server."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command = process.info["cmdline"] or []
        environ = process.info["environ"] or {}
        home = environ.get("FORETELL_HOME")
        if "app.batch.runner" in command and home == str(server.home):
            found.append(process)
    return found


def started(batches: Batches, rows: bytes) -> str:
    job = batches.create(passthroughColumns=["id"])
    assert batches.upload(job, rows).status == 202
    return str(job["id"])


def parts(server: Server, job_id: str) -> int:
    folder = server.home / "jobs" / job_id / "output"
    return len(list(folder.glob("0*.csv"))) if folder.is_dir() else 0


def expected(server: Server, rows: bytes) -> bytes:
    query = "?passthroughColumns=id"
    answer = server.predict(FIRST, rows, query=query, Accept="text/csv")
    assert answer.status == 200, answer.body
    return answer.body


def test_job_goes_on_when_its_runner_is_killed(
    start: Callable[..., Server], rows: bytes, slow: dict[str, str]
) -> None:
    server = start(environ=slow)
    batches = batches_of(server)
    job_id = started(batches, rows)
    for done in (1, 3, 6):
        # Looked up before: meanwhile the job would come to its end.
        (runner,) = wait_for(lambda: runners(server))
        wait_for(lambda: parts(server, job_id) >= done, JOB_SECONDS)  # noqa: B023
        runner.kill()
        assert alive_after([runner]) == []
    told = batches.ended(job_id)
    assert told["status"] == "COMPLETED"
    assert (told["scoredRows"], told["failedRows"]) == (ROWS, 0)
    assert sum("Job goes on" in line for line in told["logs"]) >= 2
    assert batches.download(job_id) == expected(server, rows)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_job_goes_on_when_the_server_is_started_again(
    start: Callable[..., Server],
    rows: bytes,
    slow: dict[str, str],
    how: signal.Signals,
) -> None:
    server = start(environ=slow)
    job_id = started(batches_of(server), rows)
    (runner,) = wait_for(lambda: runners(server))
    wait_for(lambda: parts(server, job_id) >= 2, JOB_SECONDS)
    # It must not be through before it finds out.
    runner.suspend()
    workers = server.workers()
    os.kill(server.process.pid, how)
    server.process.wait()
    alive_after(workers)
    runner.resume()
    assert alive_after([runner]) == []
    assert parts(server, job_id) < 10
    again = start()
    batches = batches_of(again)
    assert batches.ended(job_id)["status"] == "COMPLETED"
    assert batches.download(job_id) == expected(again, rows)


def test_runner_ends_with_the_server(start: Callable[..., Server]) -> None:
    server = start()
    job = batches_of(server).create()
    batches_of(server).upload(job, b"x,y,colour\n1,2,red\n")
    runner = wait_for(lambda: runners(server))[0]
    assert len(runners(server)) == 1
    assert not [c for c in runner.net_connections() if c.status == psutil.CONN_LISTEN]
    batches_of(server).ended(job["id"])
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait()
    assert alive_after([runner]) == []


def test_runner_gives_way(start: Callable[..., Server]) -> None:
    server = start(program=[BIN / "gunicorn"])
    batches = batches_of(server)
    job = batches.create()
    batches.upload(job, b"x,y,colour\n1,2,red\n")
    runner = wait_for(lambda: runners(server))[0]
    wait_for(lambda: runner.nice() == 10)
    # It may take long to get so far that it would end by itself.
    batches.api.ask("DELETE", f"batchPredictions/{job['id']}/")
    runner.kill()


@pytest.fixture(autouse=True)
def _no_runner_is_left(tmp_path: Any) -> Iterator[None]:
    yield
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        if "app.batch.runner" in (process.info["cmdline"] or []):
            home = environ.get("FORETELL_HOME", "")
            if home.startswith(str(tmp_path)):
                assert alive_after([process]) == []
