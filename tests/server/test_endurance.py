"""Thousands of requests leave threads, descriptors and memory as they were."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.server.processes import Server, running, wait_for
from tests.server.served_models import (
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    csv_body,
    frame,
    json_body,
    prediction_path,
)

REQUESTS = 2_000
MEGABYTE = 1_000_000
# Descriptors of the connections to the database that are kept for threads that need
# one at the same time: five, each with its log and its index.
POOLED = 15


def requests_of_all_kinds(server: Server, count: int) -> set[int]:
    """Requests that succeed and fail, kept connections and new ones."""
    rows = frame(40, 1)
    as_csv, as_json = csv_body(rows), json_body(rows)
    wrong = as_csv.replace(b"red", b"blue").replace(b"\n", b"\nx", 2)
    packed = gzip.compress(as_csv)
    kept = server.connect()
    kinds: list[Callable[[], int]] = [
        lambda: server.predict(FIRST, as_csv, over=kept).status,
        lambda: server.predict(GRAPH, as_csv, over=kept).status,
        lambda: (
            server.predict(
                FIRST, as_json, over=kept, Content_Type="application/json"
            ).status
        ),
        lambda: (
            server.predict(
                FIRST, packed, over=kept, Content_Encoding="gzip", Accept="text/csv"
            ).status
        ),
        lambda: server.predict(FIRST, as_csv).status,
        lambda: server.predict(FIRST, wrong, over=kept).status,
        lambda: server.predict("f" * 24, as_csv, over=kept).status,
        lambda: server.predict(FIRST, as_csv, token="wrong").status,
        lambda: server.ask("GET", prediction_path(FIRST), over=kept).status,
        lambda: server.ask("GET", "/readyz", over=kept).status,
    ]
    statuses = {kinds[turn % len(kinds)]() for turn in range(count)}
    kept.close()
    return statuses


def test_requests_leak_nothing(models: ServedModels, tmp_path: Path) -> None:
    with running(models, tmp_path / "home", workers=1) as server:
        (worker,) = server.workers()
        requests_of_all_kinds(server, 500)
        before = settled(worker)
        with ThreadPoolExecutor(2) as pool:
            turns = [REQUESTS // 2] * 2
            statuses = set.union(*pool.map(requests_of_all_kinds, [server] * 2, turns))
        assert statuses == {200, 401, 404, 405, 422}
        wait_for(lambda: settled(worker)[1] <= before[1])
        wait_for(lambda: settled(worker)[0] <= before[0] + POOLED)
        grown = settled(worker)[2] - before[2]
        assert grown < 15 * MEGABYTE


def settled(worker: psutil.Process) -> tuple[int, int, int]:
    """Open descriptors, connections, bytes of memory."""
    connections = len(worker.net_connections())
    return worker.num_fds(), connections, worker.memory_info().rss


def test_large_requests_give_their_memory_back(
    models: ServedModels, tmp_path: Path
) -> None:
    with running(models, tmp_path / "home", workers=1) as server:
        (worker,) = server.workers()
        body = csv_body(frame(100_000, 1))
        resident = []
        for _ in range(24):
            answer = server.predict(FIRST, body, Accept="text/csv")
            assert answer.status == 200
            resident.append(worker.memory_info().rss / MEGABYTE)
        # What the first ones took is kept for the next; a leak would add up.
        assert min(resident[-6:]) - max(resident[:10]) < 20
        assert worker.num_threads() < 64


def test_replaced_models_give_their_memory_back(
    server: Server, models: ServedModels
) -> None:
    store = server.store()
    deployment = store.create_deployment("r", "admin", models.ids[FIRST]).id
    (connection, *_) = server.connections()
    worker = server.workers()[0]

    def replace(turn: int) -> None:
        wanted = models.ids[(SECOND, GRAPH)[turn % 2]]
        store.replace_model(deployment, wanted)
        wait_for(
            lambda: (
                server.predict(deployment, over=connection).headers.get(
                    "x-datarobot-model-id"
                )
                == wanted
            )
        )

    for turn in range(4):
        replace(turn)
    before = worker.memory_info().rss
    for turn in range(10):
        replace(turn)
    store.delete_deployment(deployment)
    store.dispose()
    assert worker.memory_info().rss - before < 15 * MEGABYTE


def test_connections_that_come_and_go_are_closed(server: Server) -> None:
    worker = server.workers()[0]
    before = worker.num_fds()
    for number in range(300):
        with server.open_socket() as opened:
            opened.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"[: number % 40])
    wait_for(lambda: worker.num_fds() <= before)
