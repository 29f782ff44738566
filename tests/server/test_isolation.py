"""What is in the processes and what is not: libraries, threads, sockets."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.store.compiled import CompiledModels
from backends.compiled import Verdict
from backends.compiled import write as write_verdict
from backends.trees import fingerprint
from tests.server.processes import Server, running
from tests.server.served_models import (
    BIN,
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    frame,
    padded_body,
)

Start = Callable[..., Server]


def mapped(pid: int) -> set[str]:
    """The files that a process has in its memory, shared objects above all."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if len(line.split()) > 5}


def is_mapped(pid: int, part: str) -> bool:
    return any(part in path for path in mapped(pid))


@pytest.fixture(scope="module")
def used(server: Server) -> Server:
    """A server whose workers have answered small and large requests of each model."""
    for connection in server.connections():
        for deployment in (FIRST, GRAPH):
            assert server.predict(deployment, over=connection).status == 200
        large = frame(60_000, 1)
        assert server.predict(FIRST, large, over=connection).status == 200
    return server


@pytest.mark.parametrize("library", ["lib_lightgbm", "onnxruntime", "libgomp"])
def test_master_has_no_model_library(used: Server, library: str) -> None:
    assert not is_mapped(used.process.pid, library)


def test_master_has_one_thread(used: Server) -> None:
    # A thread does not survive a fork, but the locks that it held do. Arrow's second
    # allocator has one that it stops for a fork.
    master = used.process.pid
    threads = Path(f"/proc/{master}/task").glob("*/comm")
    names = [thread.read_text().strip() for thread in threads]
    own = Path(f"/proc/{master}/comm").read_text().strip()
    assert [name for name in names if name != "jemalloc_bg_thd"] == [own]


def test_workers_have_the_library_of_the_graph(used: Server) -> None:
    # Else the tests beside this one would say nothing.
    assert all(is_mapped(worker.pid, "onnxruntime") for worker in used.workers())


@pytest.mark.parametrize(
    "package", ["pandas", "onnx", "shap", "sklearn", "lightgbm", "alembic"]
)
def test_workers_have_no_library_that_serving_does_not_need(
    used: Server, package: str
) -> None:
    for worker in used.workers():
        assert not is_mapped(worker.pid, f"/site-packages/{package}/")


def test_workers_hold_no_socket_beyond_this_machine(used: Server) -> None:
    for process in [psutil.Process(used.process.pid), *used.workers()]:
        for connection in process.net_connections(kind="all"):
            for end in (connection.laddr, connection.raddr):
                if end and connection.family.name != "AF_UNIX":
                    assert ipaddress.ip_address(end.ip).is_loopback, connection


def test_graph_is_served_without_telemetry(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    """onnxruntime leaves an id in the home folder before it reports."""
    found: list[object] = []
    ended = threading.Event()

    def watch(server: Server) -> None:
        while not ended.wait(0.01):
            for worker in server.workers():
                found.extend(
                    connection
                    for connection in worker.net_connections(kind="inet")
                    if connection.raddr and connection.raddr.ip != "127.0.0.1"
                )

    # Its telemetry starts with the first session, in the worker that warms up.
    server = start(workers=1, ready=False)
    watcher = threading.Thread(target=watch, args=(server,))
    watcher.start()
    try:
        server.wait_until_ready(1)
        for _ in range(20):
            assert server.predict(GRAPH).status == 200
            time.sleep(0.05)
    finally:
        ended.set()
        watcher.join()
    (worker,) = server.workers()
    assert is_mapped(worker.pid, "onnxruntime")
    assert found == []
    # The server's HOME is its state folder.
    assert not (server.home / ".cache").exists()
    assert not (tmp_path / ".cache").exists()
    assert not list(server.home.rglob("*deviceid*"))
    assert {file.name for file in server.home.iterdir()} <= {
        *("access.log", "error.log", "bundles", "compiled"),
        *("foretell.db", "foretell.db-shm", "foretell.db-wal"),
    }


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is missing")
def test_server_needs_no_network(models: ServedModels, tmp_path: Path) -> None:
    """In a network of its own without any interface; asked over a unix socket."""
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no network namespaces")
    home, path = tmp_path / "home", tmp_path / "s"
    program = [*alone, BIN / "gunicorn"]
    with running(models, home, program=program, bind=f"unix:{path}") as server:
        for deployment in (FIRST, GRAPH):
            assert server.predict(deployment).status == 200
        # Anything that it sent would have found no route, and be counted.
        (worker, *_) = server.workers()
        counts = _counts(Path(f"/proc/{worker.pid}/net/snmp").read_text())
    assert counts["Ip: OutRequests"] == 0
    assert counts["Ip: OutNoRoutes"] == 0
    assert counts["Tcp: ActiveOpens"] == 0
    assert counts["Udp: OutDatagrams"] == 0


def _counts(snmp: str) -> dict[str, int]:
    lines = iter(snmp.splitlines())
    found = {}
    for names, values in zip(lines, lines, strict=True):
        kind, *fields = names.split()
        for name, value in zip(fields, values.split()[1:], strict=True):
            found[f"{kind} {name}"] = int(value)
    return found


@pytest.fixture
def library_home(models: ServedModels, tmp_path: Path) -> Path:
    """A state folder whose first model is LightGBM's own to serve."""
    home = tmp_path / "home"
    models.copy_to(home)
    folder = CompiledModels(home, fingerprint()).path(models.ids[FIRST])
    for file in folder.iterdir():
        file.unlink()
    write_verdict(
        folder, models.ids[FIRST], Verdict("lightgbm", "failed", "for this test")
    )
    return home


@pytest.fixture
def sync(models: ServedModels, library_home: Path) -> Iterator[Server]:
    arguments = ("--worker-class", "sync")
    with running(models, library_home, workers=1, arguments=arguments) as server:
        yield server


def test_models_answer_on_the_main_thread_too(
    sync: Server, models: ServedModels
) -> None:
    """LightGBM's OpenMP hangs there if it was loaded before the fork."""
    rows = frame(30, 2)
    assert sync.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)
    assert sync.predict(SECOND, rows).positives == models.probabilities(SECOND, rows)
    assert sync.predict(GRAPH, rows).status == 200
    assert len(sync.predict(FIRST, frame(60_000, 1)).positives) == 60_000
    assert sync.predict(FIRST, padded_body(2_000_000)).status == 200


def test_many_threads_are_allowed_by_the_environment_and_not_used(
    models: ServedModels, library_home: Path
) -> None:
    environ = {"OMP_NUM_THREADS": "16", "OPENBLAS_NUM_THREADS": "16"}
    with running(models, library_home, workers=1, environ=environ) as server:
        assert server.predict(FIRST, frame(60_000, 1)).status == 200
        (worker,) = server.workers()
        assert is_mapped(worker.pid, "lib_lightgbm")
        # The main thread, the store's, the scoring threads, a few of the pool.
        assert worker.num_threads() < 16
