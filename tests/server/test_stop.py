"""SIGTERM: what is being answered is finished, and nothing is left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.liveness import alive_after, is_alive
from tests.server.processes import SECONDS, Server, read_response, wait_for
from tests.server.served_models import csv_body, frame

Start = Callable[..., Server]
GRACE = 2


def stop_and_watch(server: Server) -> tuple[float, list[psutil.Process]]:
    """Send SIGTERM; returns when, and the workers."""
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    return time.monotonic(), workers


def assert_all_gone(server: Server, workers: list[psutil.Process]) -> None:
    with pytest.raises(ConnectionRefusedError):
        server.open_socket()
    assert alive_after(workers) == []


def test_request_in_flight_is_finished_and_readiness_ends(start: Start) -> None:
    server = start(workers=1)
    body = csv_body(frame(4, 1))
    kept = server.connect()
    assert server.ask("GET", "/readyz", over=kept).status == 200
    with server.open_socket() as opened:
        opened.sendall(server.head(body) + body[:10])
        server.wait_until_taken(opened)
        _, workers = stop_and_watch(server)
        ready = wait_for(lambda: _not_200(server, kept))
        assert (ready.status, ready.message) == (503, "The server is not ready")
        opened.sendall(body[10:])
        answer = read_response(opened)
    assert answer.status == 200
    assert len(answer.positives) == 4
    assert server.process.wait(SECONDS) == 0
    assert_all_gone(server, workers)


def _not_200(server: Server, kept: object) -> object:
    answer = server.ask("GET", "/readyz", over=kept)  # type: ignore[arg-type]
    return None if answer.status == 200 else answer


def test_idle_server_stops_at_once(start: Start) -> None:
    server = start()
    # Kept-alive connections do not hold it up.
    server.connections()
    began, workers = stop_and_watch(server)
    assert server.process.wait(SECONDS) == 0
    assert time.monotonic() - began < 10
    assert_all_gone(server, workers)


def test_client_that_never_ends_does_not_hold_up_the_stop(start: Start) -> None:
    server = start(workers=1, graceful_seconds=GRACE)
    with server.open_socket() as opened:
        opened.sendall(server.head(1000) + b"x,y,colour\n")
        server.wait_until_taken(opened)
        began, workers = stop_and_watch(server)
        server.process.wait(SECONDS)
        taken = time.monotonic() - began
    assert taken < GRACE + 8
    assert_all_gone(server, workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_stop_leaves_nothing(start: Start, number: int) -> None:
    server = start(workers=1)
    workers = server.workers()
    server.process.send_signal(number)
    server.process.wait(SECONDS)
    assert_all_gone(server, workers)


def test_reload_serves_on(start: Start) -> None:
    server = start(workers=1)
    (before,) = server.workers()
    server.process.send_signal(signal.SIGHUP)
    statuses = []
    wait_for(lambda: statuses.append(server.predict().status) or not is_alive(before))
    server.wait_until_ready(1)
    assert set(statuses) == {200}
    assert server.predict().status == 200
