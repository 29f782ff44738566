"""Humility rules over several workers: followed, counted together, and kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from app.store.humility_totals import HumilityTotals
from app.store.store import Store
from tests.server.processes import SECONDS, Server, wait_for
from tests.server.served_models import FIRST, csv_body, foretell, frame

Start = Callable[..., Server]

# Every probability is one of these.
ALL = ("--uncertain", "--lower", 0, "--upper", 1)
ROWS = 5
BODY = csv_body(frame(ROWS, seed=1))


@pytest.fixture
def server(start: Start) -> Server:
    return start()


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    store = server.store()
    yield store
    store.dispose()


def rule(server: Server, *arguments: object) -> str:
    return foretell(server.home, "humility", FIRST, *arguments)


def triggered(store: Store) -> int:
    totals = HumilityTotals(store.database).read(FIRST)
    assert all(each.triggered == each.looked_at for each in totals)
    return sum(each.triggered for each in totals)


def ask_all(server: Server, times: int) -> int:
    """Ask each worker so many times; returns the rows that triggered."""
    rows = 0
    for connection in server.connections():
        for _ in range(times):
            answer = server.predict(FIRST, BODY, over=connection)
            assert answer.status == 200
            rows += sum("humility" in row for row in answer.json["data"])
    return rows


def test_rule_refuses_and_is_counted_in_every_worker(
    server: Server, store: Store
) -> None:
    added = rule(server, "add", *ALL, "--error", "not today")
    connections = server.connections()
    for connection in connections:
        wait_for(lambda: server.predict(over=connection).status == 480)  # noqa: B023
    assert server.predict(over=connections[0]).message == "not today"
    wait_for(lambda: triggered(store) >= 3 * 3)
    metrics = server.ask("GET", "/metrics").body.decode()
    assert f'triggered_rows_total{{deployment="{FIRST}",rule="{added}"}}' in metrics
    rule(server, "remove", added)
    for connection in connections:
        wait_for(lambda: server.predict(over=connection).status == 200)  # noqa: B023


def test_counts_outlive_a_killed_worker_and_the_server(
    server: Server, store: Store
) -> None:
    generation = store.generation()
    rule(server, "add", *ALL)
    # Until each worker knows the rule.
    rows = 0
    while (last := ask_all(server, 3)) < 2 * 3 * ROWS:
        rows += last
    rows += last
    wait_for(lambda: triggered(store) == rows)
    server.workers()[0].kill()
    server.wait_until_ready(2)
    rows += ask_all(server, 20)
    # What was counted since they last wrote: they write as they end.
    server.close_connections()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 0
    assert triggered(store) == rows
    assert store.generation() == generation + 1
