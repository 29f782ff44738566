"""A Dask cluster of processes of its own, which only share a folder by its URL."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.api_client import api_at
from tests.server.batch_client import Batches
from tests.server.processes import ROOT, Server, end, wait_for
from tests.server.served_models import FIRST, csv_body, environment, foretell, frame
from tests.server.test_batch_restarts import body, expected, parts, started


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@dataclass
class Dask:
    """A scheduler and two workers."""

    address: str
    begin_scheduler: Callable[[], subprocess.Popen[bytes]]
    begin_worker: Callable[[int], subprocess.Popen[bytes]]
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    """Every worker has a state folder of its own, and nothing in it."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    started: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *program: str) -> subprocess.Popen[bytes]:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        # Else each would compile the kernels anew, for a minute.
        kernels = Path(environment(home)["FORETELL_KERNELS"])
        if not (home / "kernels").exists():
            (home / "kernels").symlink_to(kernels)
        with open(tmp_path / f"{name}.log", "wb") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", *program],
                    cwd=home,
                    env=environment(home, kernels=home / "kernels")
                    | {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"},
                    stdout=log,
                    stderr=log,
                )
            )
        return started[-1]

    quiet = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address"]
    quiet.append("127.0.0.1:0")

    def begin_scheduler() -> subprocess.Popen[bytes]:
        program = ["distributed.cli.dask_scheduler", "--port", str(port)]
        return begin("scheduler", *program, *quiet)

    def begin_worker(number: int) -> subprocess.Popen[bytes]:
        program = ["distributed.cli.dask_worker", address, "--no-nanny"]
        folder = ["--local-directory", str(tmp_path / f"dask{number}")]
        name = f"worker{number}"
        worker = begin(name, *program, *quiet, "--nthreads", "1", *folder)
        log = tmp_path / f"{name}.log"
        wait_for(lambda: b"Registered to" in log.read_bytes())
        return worker

    try:
        scheduler = begin_scheduler()
        workers = [begin_worker(number) for number in range(2)]
        yield Dask(address, begin_scheduler, begin_worker, scheduler, workers)
    finally:
        for process in reversed(started):
            end(process)


@pytest.fixture
def server(start: Callable[..., Server], dask: Dask, tmp_path: Path) -> Server:
    """A server whose files are shared through a folder's URL."""
    store = tmp_path / "shared"
    store.mkdir()
    return start(store_url=store.as_uri(), dask_scheduler=dask.address)


def shared_parts(server: Server, job_id: str) -> int:
    folder = server.home.parent / "shared" / "jobs" / job_id / "output"
    return len(list(folder.glob("0*.csv"))) if folder.is_dir() else 0


def test_output_is_complete_when_a_worker_is_killed(server: Server, dask: Dask) -> None:
    rows = body()
    batches = Batches(api_at(server), FIRST)
    job_id = started(batches, rows)
    wait_for(lambda: shared_parts(server, job_id) >= 2)
    dask.workers[0].kill()
    told = batches.ended(job_id)
    assert told["status"] == "COMPLETED", told
    assert batches.download(job_id) == expected(server, rows)
    assert parts(server, job_id) == 0


def test_job_goes_on_when_the_cluster_is_started_again(
    server: Server, dask: Dask
) -> None:
    rows = body()
    batches = Batches(api_at(server), FIRST)
    job_id = started(batches, rows)
    wait_for(lambda: shared_parts(server, job_id) >= 2)
    for process in (dask.scheduler, *dask.workers):
        process.kill()
        process.wait()
    assert shared_parts(server, job_id) < 10
    dask.begin_scheduler()
    dask.begin_worker(0)
    told = batches.ended(job_id)
    assert told["status"] == "COMPLETED", told
    assert batches.download(job_id) == expected(server, rows)


def test_workers_score_as_the_server_answers(server: Server, dask: Dask) -> None:
    rows = frame(500, seed=8)
    batches = Batches(api_at(server), FIRST)
    asked = {"passthroughColumnsSet": "all", "maxExplanations": 2}
    job = batches.create(**asked)
    batches.upload(job, csv_body(rows))
    query = "?passthroughColumnsSet=all&maxExplanations=2"
    answer = server.predict(FIRST, rows, query=query, Accept="text/csv")
    assert batches.download(job["id"]) == answer.body
    for worker in dask.workers:
        kept = list((Path(psutil.Process(worker.pid).cwd()) / "bundles").glob("*"))
        assert len(kept) <= 1


def test_file_is_scored_by_hand_on_the_cluster(
    server: Server, dask: Dask, tmp_path: Path
) -> None:
    rows = frame(3000, seed=9)
    (tmp_path / "rows.csv").write_bytes(csv_body(rows))
    out = tmp_path / "out.csv"
    score = [sys.executable, "-m", "app.cli", "score", FIRST, tmp_path / "rows.csv"]
    settings = {
        "store_url": (tmp_path / "shared").as_uri(),
        "dask_scheduler": dask.address,
    }
    subprocess.run(
        [*score, "--out", out],
        cwd=ROOT,
        env=environment(server.home, **settings),
        check=True,
    )
    answer = server.predict(FIRST, rows, Accept="text/csv")
    assert out.read_bytes() == answer.body
    assert not list((tmp_path / "shared" / "scored").glob("*"))
    plain = tmp_path / "plain.csv"
    foretell(server.home, "score", FIRST, tmp_path / "rows.csv", "--out", plain)
    assert plain.read_bytes() == out.read_bytes()
