"""Requests a minute, counted over several workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.processes import Answer, Server, wait_for
from tests.server.served_models import FIRST, SECOND, ServedModels, foretell

Start = Callable[..., Server]

MOST = 10


@pytest.fixture
def server(models: ServedModels, start: Start, tmp_path: Path) -> Server:
    """Two workers that know of the limit from their start."""
    home = tmp_path / "home"
    models.copy_to(home)
    foretell(home, "update", FIRST, "--set", f"requests_per_minute={MOST}")
    return start(workers=2)


def ask_at_once(server: Server, times: int) -> list[Answer]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: server.predict(FIRST), range(times)))


def test_workers_let_through_as_many_as_they_may(server: Server) -> None:
    answers = ask_at_once(server, 3 * MOST)
    refused = [each for each in answers if each.status != 200]
    assert len(answers) - len(refused) == MOST
    for each in refused:
        assert each.status == 429
        assert 1 <= int(each.headers["retry-after"]) <= 60
        assert each.message.startswith(f"The deployment may be asked {MOST} times")
    for connection in server.connections():
        assert server.predict(FIRST, over=connection).status == 429
        assert server.predict(SECOND, over=connection).status == 200


def test_killed_worker_takes_no_count_along(server: Server) -> None:
    for worker in server.workers():
        over = server.connection_to(worker)
        for _ in range(MOST // 2):
            assert server.predict(FIRST, over=over).status == 200
    before = server.workers()
    for worker in before:
        worker.kill()
    wait_for(lambda: not set(before) & set(server.workers()))
    server.wait_until_ready(2)
    for connection in server.connections():
        assert server.predict(FIRST, over=connection).status == 429
