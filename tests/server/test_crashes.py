"""Processes that are killed: no state is lost, and the next request succeeds."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from app.store.store import Store
from backends import bundle
from tests.liveness import alive_after, is_alive
from tests.server.load import clients
from tests.server.processes import Server, end, running, wait_for
from tests.server.served_models import (
    BIN,
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    csv_body,
    environment,
    foretell,
    frame,
)

Start = Callable[..., Server]


def test_killed_worker_is_replaced_and_no_later_request_fails(
    start: Start, models: ServedModels
) -> None:
    server = start()
    rows = frame(20, seed=6)
    body = csv_body(rows)
    expected = models.probabilities(FIRST, rows)
    broken: list[float] = []

    def ask(client: int, turn: int) -> None:
        try:
            answer = server.predict(FIRST, body)
        except (http.client.HTTPException, OSError):
            # The request was with the worker that died; the next must succeed.
            broken.append(time.monotonic())
            answer = server.predict(FIRST, body)
        assert answer.status == 200, answer
        assert answer.positives == expected

    killed = []
    with clients(4, ask) as load:
        for _ in range(3):
            time.sleep(0.4)
            worker = server.workers()[0]
            worker.kill()
            killed.append((worker, time.monotonic()))
            wait_for(lambda: len(_alive(server)) == 2)
        time.sleep(0.4)
    assert load.faults == []
    # No more than each client's one request can have been with a worker that died.
    assert len(broken) <= 4 * len(killed)
    server.wait_until_ready(2)
    for connection in server.connections():
        assert server.predict(FIRST, rows, over=connection).positives == expected
    paths = {line["path"] for line in server.log() if line["status"] != 200}
    assert paths <= {"/readyz"}


def _alive(server: Server) -> list[psutil.Process]:
    return list(filter(is_alive, server.workers()))


def test_worker_that_starts_again_knows_its_tokens_from_the_first_request(
    start: Start,
) -> None:
    server = start(workers=1)
    for _ in range(5):
        (worker,) = server.workers()
        worker.kill()
        # The listening socket is the master's: this waits for the next worker.
        with server.open_socket() as opened:
            opened.sendall(server.head(b"") + server.head(b""))
            answer = opened.recv(100)
        assert answer.startswith(b"HTTP/1.1 422"), answer


def test_workers_end_with_their_master(start: Start) -> None:
    server = start()
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    assert alive_after(workers) == []
    with pytest.raises(ConnectionRefusedError):
        server.open_socket()


def test_worker_without_a_database_does_not_deny_tokens(start: Start) -> None:
    server = start(workers=1)
    database = server.home / "foretell.db"
    away = server.home / "away"
    away.mkdir()
    for file in server.home.glob("foretell.db*"):
        file.rename(away / file.name)
    # The worker that has read its store goes on with what it knows.
    assert server.predict().status == 200
    (worker,) = server.workers()
    worker.kill()
    answer = server.predict()
    assert answer.status == 503, answer.body
    assert server.ask("GET", "/readyz").status == 503
    assert server.ask("GET", "/healthz").status == 200
    time.sleep(1)
    # Said once a process, however often it is tried.
    assert server.errors().count("the store cannot be read") <= 2
    for file in away.iterdir():
        file.rename(database.with_name(file.name))
    wait_for(lambda: server.ask("GET", "/readyz").status == 200)
    assert server.predict().status == 200
    assert "the store can be read again" in server.errors()


@pytest.fixture
def home(models: ServedModels, tmp_path: Path) -> Path:
    """A state folder that knows the first model and nothing of the second."""
    home = tmp_path / "home"
    models.copy_to(home)
    with closing(sqlite3.connect(home / "foretell.db")) as connection:
        connection.execute("DELETE FROM deployments WHERE id != ?", [FIRST])
        connection.execute("DELETE FROM models WHERE id != ?", [models.ids[FIRST]])
        connection.commit()
    for name in (SECOND, GRAPH):
        shutil.rmtree(home / "bundles" / models.ids[name])
    return home


def check(home: Path) -> dict[str, str | None]:
    """The state is consistent; returns deployment to model id."""
    with closing(sqlite3.connect(home / "foretell.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    store = Store(f"sqlite:///{home / 'foretell.db'}", home)
    snapshot = store.snapshot()
    store.dispose()
    for model_id in snapshot.models:
        assert bundle.read(home / "bundles" / model_id).id == model_id
    for folder in (home / "bundles").glob("[!.]*"):
        assert bundle.read(folder).id == folder.name
    return {each.id: each.model_id for each in snapshot.deployments.values()}


def kill_when(
    arguments: list[object], home: Path, condition: Callable[[], object]
) -> bool:
    """Run the command line and kill it then; returns whether it had ended before."""
    process = subprocess.Popen(
        [BIN / "foretell", *map(str, arguments)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not condition():
        time.sleep(0.0005)
    process.kill()
    return process.wait() == 0


def test_killed_deploy_leaves_all_or_nothing(home: Path, models: ServedModels) -> None:
    command = ["deploy", models.bundles["second"], "--label", "x", "--id", SECOND]
    kept = home / "bundles" / models.ids[SECOND]
    old, new = {FIRST: models.ids[FIRST]}, models.ids
    done = kill_when(command, home, kept.exists)
    found = check(home)
    assert found == old or found.keys() == {FIRST, SECOND}
    assert not done or SECOND in found
    if SECOND not in found:
        foretell(home, *command)
    assert check(home) == {each: new[each] for each in (FIRST, SECOND)}


def test_killed_replacement_leaves_the_old_or_the_new(
    home: Path, models: ServedModels
) -> None:
    old, new = models.ids[FIRST], models.ids[SECOND]
    command = ["replace-model", FIRST, models.bundles["second"]]
    bundles = home / "bundles"
    end = time.monotonic() + random.uniform(0.5, 3)
    for moment in (
        lambda: time.monotonic() > end,
        lambda: any(bundles.glob(".incoming-*")),
    ):
        done = kill_when(command, home, moment)
        assert check(home) in ([{FIRST: new}] if done else [{FIRST: old}, {FIRST: new}])
    foretell(home, *command)
    assert check(home) == {FIRST: new}
    assert not list(bundles.glob(".incoming-*"))


def test_killed_server_starts_again_in_the_middle_of_a_replacement(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    server = start()
    rows = frame(5, seed=9)
    store = server.store()
    ended = threading.Event()

    def replace() -> None:
        turn = 0
        while not ended.is_set():
            store.replace_model(FIRST, models.ids[(SECOND, FIRST)[turn % 2]])
            turn += 1

    replacing = threading.Thread(target=replace)
    replacing.start()
    workers = server.workers()
    try:
        time.sleep(0.3)
        for process in [psutil.Process(server.process.pid), *workers]:
            os.kill(process.pid, signal.SIGKILL)
        server.process.wait()
        alive_after(workers)
        server.close_connections()
        with running(models, server.home) as again:
            assert again.predict(FIRST, rows).status == 200
            ended.set()
            replacing.join()
            model = store.deployment(FIRST).model_id
            wait_for(lambda: _answering(again) == {model})
            name = next(each for each in (FIRST, SECOND) if models.ids[each] == model)
            expected = models.probabilities(name, rows)
            assert again.predict(FIRST, rows).positives == expected
    finally:
        ended.set()
        replacing.join()
        store.dispose()
    assert check(server.home)[FIRST] == model


def _answering(server: Server) -> set[str]:
    return {
        server.predict(FIRST, over=over).headers["x-datarobot-model-id"]
        for over in server.connections()
    }


def test_damaged_bundle_fails_its_own_requests_only(
    start: Start, models: ServedModels
) -> None:
    server = start(workers=1)
    store = server.store()
    made = store.create_deployment("damaged", "admin", models.ids[SECOND]).id
    store.delete_deployment(SECOND)
    server.close_connections()
    end(server.process)
    file = server.home / "bundles" / models.ids[SECOND] / "model.txt"
    file.write_bytes(file.read_bytes().replace(b"tree", b"eert"))
    with running(models, server.home, workers=1) as again:
        answer = again.predict(made)
        assert (answer.status, answer.message) == (
            503,
            "The deployment's model cannot be loaded",
        )
        assert again.predict(FIRST).status == 200
        assert "changed after packaging" in again.errors()
    store.dispose()
