"""Bodies that do not arrive in time."""

import socket
import threading
import time

from app.slow_clients import SlowClients


def test_reading_past_its_deadline_finds_the_end():
    clients = SlowClients()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        clients.reading(ours, 10.0)
        clients.cut_off(9.0)
        theirs.sendall(b"x")
        assert ours.recv(10) == b"x"
        clients.cut_off(11.0)
        assert ours.recv(10) == b""
        ours.sendall(b"answer")
        assert theirs.recv(10) == b"answer"


def test_connection_that_was_read_is_left_alone():
    clients = SlowClients()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        clients.reading(ours, 10.0)
        clients.done(ours)
        clients.cut_off(11.0)
        theirs.sendall(b"x")
        assert ours.recv(10) == b"x"


def test_thread_looks_by_itself_until_the_worker_stops():
    clients = SlowClients()
    stopping = threading.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        clients.reading(ours, time.monotonic())
        clients.start(stopping.is_set)
        ours.settimeout(120)
        assert ours.recv(10) == b""
        clients.done(ours)
    stopping.set()
