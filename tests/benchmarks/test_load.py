import socketserver
import threading
from functools import partial

import pytest

from benchmarks.http import Connection, ask, post
from benchmarks.load import (
    Load,
    LoadStalled,
    RequestsFailed,
    closed_loop,
    for_requests,
    for_seconds,
    in_background,
    paced,
    whole,
)


class Echo(socketserver.StreamRequestHandler):
    """Answers with the request's body; to /500 with an error, to /bye by hanging up."""

    def handle(self):
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline().strip()) != b"":
                if header.startswith(b"Content-Length:"):
                    length = int(header.split()[1])
            body = self.rfile.read(length)
            self.server.bodies.append(body)
            path = line.split()[1]
            if path == b"/bye":
                return
            status = b"500" if path == b"/500" else b"200"
            self.wfile.write(
                b"HTTP/1.1 %s OK\r\nX-Body: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (status, body[:9], len(body), body)
            )


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def server():
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def requests(*bodies, path="/"):
    return [post(path, body, {}) for body in bodies]


def test_rows_are_sent_in_turn(server):
    load = closed_loop(
        server.server_address,
        requests(b"1", b"2", b"3"),
        concurrency=1,
        until=for_requests(5),
        watch=b"x-body",
    )
    assert load.watched == [b"1", b"2", b"3", b"1", b"2"]
    # The one in flight at the end is awaited, not counted.
    assert len(server.bodies) == 6
    assert len(load.latencies) == 5 and min(load.latencies) > 0
    assert load.rate > 0 and load.cpu > 0


def test_every_connection_is_busy(server):
    load = closed_loop(
        server.server_address, requests(b"1"), concurrency=7, until=for_requests(70)
    )
    assert load.errors == 0
    assert 70 <= len(load.ended) < 77


def test_answers_while_it_settles_do_not_count(server):
    load = closed_loop(
        server.server_address,
        requests(b"1"),
        concurrency=1,
        until=for_seconds(0.2),
        settle=0.1,
    )
    assert load.uncounted > 0 and load.seconds < 0.2
    assert load.uncounted + len(load.ended) + 1 == len(server.bodies)


@pytest.mark.parametrize("path", ["/500", "/bye"])
def test_failures_are_counted_not_timed(server, path):
    load = closed_loop(
        server.server_address,
        requests(b"1", path=path),
        concurrency=2,
        until=for_requests(6),
    )
    assert load.errors >= 6
    assert load.ended == []
    with pytest.raises(RequestsFailed):
        whole(load)


def test_load_without_an_answer_is_not_whole():
    with pytest.raises(RequestsFailed):
        whole(Load())


def test_paced_requests_keep_their_rate(server):
    load = paced(
        server.server_address,
        requests(b"1"),
        connections=2,
        rate=200.0,
        until=for_seconds(0.3),
    )
    assert load.errors == 0
    # Never more than were due; how many fewer depends on the machine.
    assert 1 <= len(load.ended) <= 61


def test_background_load_ends_when_told(server):
    run = partial(closed_loop, server.server_address, requests(b"1"), concurrency=2)
    with in_background(run) as background:
        while len(server.bodies) < 10:
            pass
        load = background.stop()
    assert len(load.ended) >= 10 - 2
    assert load.errors == 0


def test_background_load_that_dies_is_noticed():
    nobody_listens = ("127.0.0.1", 9)
    run = partial(closed_loop, nobody_listens, requests(b"1"), concurrency=1)
    with pytest.raises(LoadStalled, match="ConnectionRefused"):
        with in_background(run):
            pass


def test_large_answer_is_read_whole(server):
    body = bytes(range(256)) * 8000
    answer = ask(server.server_address, post("/", body, {}))
    assert (answer.status, answer.body) == (200, body)


def test_answer_in_pieces_is_put_together(server):
    connection = Connection(server.server_address)
    connection.send(post("/", b"x" * 600_000, {}))
    answer = None
    while answer is None:
        answer = connection.receive()
    connection.close()
    assert len(answer.body) == 600_000
