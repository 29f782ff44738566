"""Inputs that a real server takes: large ones, and those that break off."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psutil

from tests.server.processes import Server, wait_for
from tests.server.served_models import FIRST

PATH = "/api/v2/batchPredictions/"


def make(server: Server) -> str:
    headers = server.headers() | {"Content-Type": "application/json"}
    # Elsewhere its rows are scored; here they are no rows of the model.
    body = json.dumps({"deploymentId": FIRST})
    answer = server.ask("POST", PATH, body, headers)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def memory(server: Server) -> int:
    """Bytes of the workers' own, all together."""
    workers = psutil.Process(server.process.pid).children()
    return sum(each.memory_info().rss for each in workers)


def test_input_larger_than_a_request_is_taken_in_little_memory(server: Server) -> None:
    job_id = make(server)
    line = b"1,2,red," + b"x" * 1000 + b"\n"

    def pieces() -> Iterator[bytes]:
        yield b"x,y,colour,more\n"
        for _ in range(100):
            yield line * 1000

    before = memory(server)
    answer = server.ask("PUT", f"{PATH}{job_id}/csvUpload/", pieces(), server.headers())
    assert (answer.status, answer.json) == (202, {})
    assert memory(server) - before < 60_000_000
    server.ask("DELETE", f"{PATH}{job_id}/", None, server.headers())


def test_input_that_breaks_off_can_be_sent_again(server: Server) -> None:
    job_id = make(server)
    place = f"{PATH}{job_id}/csvUpload/"
    head = "".join(f"{name}: {value}\r\n" for name, value in server.headers().items())
    with server.open_socket() as opened:
        request = (
            f"PUT {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n{head}\r\n"
        )
        opened.sendall(request.encode() + b"x,y,colour\n1,")

    def sent() -> bool:
        body = b"x,y,colour\n1,2,red\n"
        return server.ask("PUT", place, body, server.headers()).status == 202

    wait_for(sent)
    server.ask("DELETE", f"{PATH}{job_id}/", None, server.headers())
