"""Clients of files that stall or go away: what they held is free again."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.server.processes import Server, read_response, read_to_end, running, wait_for
from tests.server.served_jobs import PATH, head, make, scoring
from tests.server.served_models import ServedModels

SMALL = b"x,y,colour\n1,2,red\n"
STEP_SECONDS = 2.5
_TRIES = 20
# More than the buffers of a connection hold.
PART = b"1\n" * 10_000_000
# The server, with less patience: a step's time is no setting.
_HASTY = f"""
import app.pace
app.pace.STEP_SECONDS = {STEP_SECONDS}
from gunicorn.app.wsgiapp import run
run()
"""


@pytest.fixture(scope="module")
def hasty(
    models: ServedModels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One worker, with places for two uploads and downloads of one user."""
    home = tmp_path_factory.mktemp("hasty") / "home"
    program = [sys.executable, "-c", _HASTY]
    with running(models, home, workers=1, max_in_flight=4, program=program) as started:
        yield started


@pytest.fixture(autouse=True)
def _unharmed(hasty: Server) -> Iterator[None]:
    """The same worker goes on, with both places and all its threads."""
    (worker,) = hasty.workers()
    yield
    wait_for(lambda: has_places(hasty))
    assert [each.pid for each in hasty.workers()] == [worker.pid]
    assert 500 not in {line["status"] for line in hasty.log()}
    assert all(hasty.predict().status == 200 for _ in range(10))


def has_places(server: Server) -> bool:
    """Whether two downloads are let in at once."""
    with scoring(server, b"x\n") as job, server.open_socket() as first:
        path = f"{PATH}{job.id}/download/"
        first.sendall(head(server, "GET", path))
        begun = first.recv(12)
        job.complete()
        second = server.ask("GET", path, None, server.headers())
        read_to_end_of_chunks(first)
        return begun == b"HTTP/1.1 200" and second.status == 200


def read_to_end_of_chunks(opened: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"0\r\n\r\n") and (piece := opened.recv(65536)):
        data += piece
    return data


def is_full(server: Server) -> bool:
    """Whether one more upload is refused."""
    return _is_refused(server, make(server))


def _is_refused(server: Server, job_id: str) -> bool:
    answer = server.ask("PUT", f"{PATH}{job_id}/csvUpload/", SMALL, server.headers())
    server.ask("DELETE", f"{PATH}{job_id}/", None, server.headers())
    assert answer.status in (202, 503)
    return answer.status == 503


@contextmanager
def filling(server: Server, *asked: bytes) -> Iterator[list[socket.socket]]:
    """Connections that hold all places, by what is asked and then not gone on with.

    They hold them for a time only: where that was over before anybody looked, they are
    made again.
    """
    for _ in range(_TRIES):
        spare = [make(server) for _ in range(5)]
        with ExitStack() as stack:
            opened = [stack.enter_context(server.open_socket()) for _ in asked]
            for each, ask in zip(opened, asked, strict=True):
                each.sendall(ask)
            if any(_is_refused(server, job_id) for job_id in spare):
                yield opened
                return
        wait_for(lambda: has_places(server))
    raise AssertionError("The places were never all held")


@pytest.mark.parametrize(
    "announced", ["Content-Length: 999", "Transfer-Encoding: chunked"]
)
@pytest.mark.parametrize("below", ["csvUpload/", "csvUpload/part/0/"])
def test_upload_that_stalls_is_408_and_can_be_sent_again(
    hasty: Server, announced: str, below: str
) -> None:
    places = [f"{PATH}{make(hasty)}/{below}" for _ in range(2)]
    body = SMALL if "Length" in announced else b"13\r\n" + SMALL + b"\r\n"
    asked = [head(hasty, "PUT", place, announced) + body for place in places]
    with filling(hasty, *asked) as opened:
        for each in opened:
            assert read_response(each).status == 408
    assert hasty.ask("PUT", places[0], SMALL, hasty.headers()).status == 202


def test_upload_that_trickles_is_408(hasty: Server) -> None:
    place = f"{PATH}{make(hasty)}/csvUpload/"
    done = threading.Event()
    with hasty.open_socket() as opened:
        opened.sendall(head(hasty, "PUT", place, "Content-Length: 999999") + SMALL)

        def trickle() -> None:
            while not done.wait(STEP_SECONDS / 10):
                try:
                    opened.sendall(b"1,2,red\n")
                except OSError:
                    return

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert read_response(opened).status == 408
        finally:
            done.set()
            sender.join()
    assert hasty.ask("PUT", place, SMALL, hasty.headers()).status == 202


def test_bundle_that_stalls_is_408(hasty: Server) -> None:
    ask = head(hasty, "POST", "/api/v2/modelPackages/", "Content-Length: 999")
    with hasty.open_socket() as opened:
        opened.sendall(ask.replace(b"text/csv", b"application/x-tar") + b"x")
        assert read_response(opened).status == 408


def test_download_that_nobody_reads_is_cut_off(hasty: Server) -> None:
    with scoring(hasty, b"x\n", PART) as job:
        job.complete()
        ask = head(hasty, "GET", f"{PATH}{job.id}/download/")
        with filling(hasty, ask, ask) as opened:
            # Without a byte being read.
            wait_for(lambda: not is_full(hasty))
            for each in opened:
                sent = read_to_end(each)
                assert len(sent) < len(PART) and not sent.endswith(b"0\r\n\r\n")


def test_client_that_goes_away_while_it_waits_leaves_its_place(hasty: Server) -> None:
    with scoring(hasty, b"x\n") as job:
        ask = head(hasty, "GET", f"{PATH}{job.id}/download/")
        with hasty.open_socket() as first, hasty.open_socket() as second:
            for opened in (first, second):
                opened.sendall(ask)
                assert opened.recv(12) == b"HTTP/1.1 200"
            assert is_full(hasty)
        # The job goes on, without a byte to send.
        wait_for(lambda: not is_full(hasty))


def test_client_that_goes_away_while_it_reads_leaves_its_place(hasty: Server) -> None:
    with scoring(hasty, b"x\n", PART) as job:
        for _ in range(6):
            with hasty.open_socket() as opened:
                opened.sendall(head(hasty, "GET", f"{PATH}{job.id}/download/"))
                assert opened.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
        wait_for(lambda: not is_full(hasty))


def test_client_that_reads_slowly_gets_everything(hasty: Server) -> None:
    with scoring(hasty, b"x\n", PART[:4_000_000]) as job:
        job.complete()
        with hasty.open_socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            opened.sendall(head(hasty, "GET", f"{PATH}{job.id}/download/"))
            pause, data = threading.Event(), b""
            while not data.endswith(b"0\r\n\r\n") and (piece := opened.recv(65536)):
                data += piece
                pause.wait(STEP_SECONDS / 60)
        assert data.endswith(b"0\r\n\r\n")
