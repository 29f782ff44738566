"""The ways in which clients frame requests, and what becomes of bad ones."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest
import requests

from tests.server.processes import (
    SECONDS,
    Server,
    read_response,
    read_responses,
    read_to_end,
    wait_for,
)
from tests.server.served_models import (
    FIRST,
    ServedModels,
    csv_body,
    frame,
    json_body,
    padded_body,
    prediction_path,
)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_chunked_body_is_read(server: Server, models: ServedModels, step: int) -> None:
    rows = frame(30, seed=2)
    body = csv_body(rows)
    pieces = (body[at : at + step] for at in range(0, len(body), step))
    answer = server.predict(FIRST, pieces)
    assert answer.positives == models.probabilities(FIRST, rows)


def test_connection_is_used_again(server: Server) -> None:
    connection = server.connect()
    first = server.predict(over=connection)
    opened = connection.sock
    for _ in range(20):
        assert server.predict(over=connection).body == first.body
    assert connection.sock is opened


def test_connection_is_used_again_after_errors(server: Server) -> None:
    connection = server.connect()
    server.predict(over=connection)
    opened = connection.sock
    assert server.predict("f" * 24, over=connection).status == 404
    assert server.predict(token="x", over=connection).status == 401
    assert server.predict(query="?wd=1", over=connection).status == 422
    assert server.predict(over=connection, Accept="image/png").status == 406
    assert server.ask("GET", "/nowhere", over=connection).status == 404
    assert server.predict(body=b"x,y\n1,2\n", over=connection).status == 422
    assert server.predict(over=connection).status == 200
    assert connection.sock is opened


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    answer = server.exchange(b"GET /ping HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b'{"response":"pong"}\n')


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_large_body(server: Server) -> None:
    # curl asks "Expect: 100-continue" of itself for a body of more than a megabyte.
    body = padded_body(3_000_000)
    command = ["curl", "-sS", "--data-binary", "@-", "-w", "%{http_code}"]
    for name, value in server.headers().items():
        command += ["-H", f"{name}: {value}"]
    url = f"http://127.0.0.1:{server.port}{prediction_path(FIRST)}"
    done = subprocess.run(
        [*command, url], input=body, capture_output=True, timeout=SECONDS, check=True
    )
    assert done.stdout.endswith(b"200")


def test_continue_is_said_before_the_body(server: Server) -> None:
    body = csv_body(frame(3, 1))
    with server.open_socket() as opened:
        opened.sendall(server.head(body, FIRST, "Expect: 100-continue"))
        assert opened.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        opened.sendall(body)
        assert read_response(opened).status == 200


def test_head_is_answered_without_a_body(server: Server) -> None:
    answer = server.ask("HEAD", "/ping")
    assert (answer.status, answer.body) == (200, b"")


def test_options_names_the_methods(server: Server) -> None:
    answer = server.ask("OPTIONS", prediction_path(FIRST))
    assert answer.status == 200
    assert answer.body == b""
    assert "POST" in answer.headers["allow"]
    assert answer.headers["access-control-allow-methods"] == "OPTIONS, POST"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_405(server: Server, method: str) -> None:
    answer = server.ask(method, prediction_path(FIRST))
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
    if method != "HEAD":
        assert answer.message


def test_two_requests_in_one_packet_are_both_answered(server: Server) -> None:
    body = csv_body(frame(3, 1))
    with server.open_socket() as opened:
        opened.sendall((server.head(body) + body) * 2)
        answers = read_responses(opened)
        assert next(answers).positives == next(answers).positives
        answers.close()


def test_pipelined_requests_behind_an_unread_body_are_answered(
    server: Server,
) -> None:
    body = csv_body(frame(3, 1))
    refused = server.head(body, "f" * 24) + body
    with server.open_socket() as opened:
        opened.sendall(refused + server.head(body) + body)
        answers = read_responses(opened)
        assert [next(answers).status, next(answers).status] == [404, 200]
        answers.close()


BAD = {
    "garbage": b"\x00\xff garbage\r\n\r\n",
    "no version": b"GET /ping\r\n\r\n",
    "a made-up version": b"GET /ping HTTP/9.9\r\n\r\n",
    "a space in a name": b"GET /ping HTTP/1.1\r\nBad Name: x\r\n\r\n",
    "no host's colon": b"GET /ping HTTP/1.1\r\nHost localhost\r\n\r\n",
    "two lengths": b"POST /ping HTTP/1.1\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nxx",
    "a negative length": b"POST /ping HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST /ping HTTP/1.1\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600,
    "an unknown coding": b"POST /ping HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n",
    "200 headers": b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "a long header": b"GET /ping HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
def test_bad_http_is_refused_and_closed(server: Server, what: str) -> None:
    answer = server.exchange(BAD[what] + b"GET /ping HTTP/1.1\r\n\r\n")
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 600
    assert status != 500
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"\r\n\r\n"]
)
def test_bad_chunks_are_refused(server: Server, chunks: bytes) -> None:
    head = server.head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    answer = server.exchange(head + chunks)
    assert answer.split(b" ", 2)[1] == b"400"


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_ends_early_frees_its_thread(server: Server, chunked: bool) -> None:
    head = server.head(1000)
    if chunked:
        head = head.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
        head += b"3e8\r\n"
    before = len(server.log())
    with server.open_socket() as opened:
        opened.sendall(head + b"x,y,colour\n")
    wait_for(lambda: len(server.log()) > before)
    assert server.log()[-1]["status"] == 400
    assert server.predict().status == 200


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_requests_sends_every_type(server: Server, content_type: str) -> None:
    rows = frame(3, 1)
    body = csv_body(rows) if content_type == "text/csv" else json_body(rows)
    url = f"http://127.0.0.1:{server.port}{prediction_path(FIRST)}"
    headers = server.headers() | {"Content-Type": content_type}
    answer = requests.post(url, data=body, headers=headers, timeout=SECONDS)
    assert answer.status_code == 200
    # Long answers are compressed for clients that say they read it.
    body = csv_body(frame(300, 1))
    answer = requests.post(url, data=body, headers=server.headers(), timeout=SECONDS)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["data"]) == 300


def test_requests_sends_a_file(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}{prediction_path(FIRST)}"
    token = {"Authorization": server.headers()["Authorization"]}
    files = {"file": ("rows.csv", csv_body(frame(3, 1)))}
    answer = requests.post(url, files=files, headers=token, timeout=SECONDS)
    assert len(answer.json()["data"]) == 3


def test_unfinished_requests_do_not_stop_others(server: Server) -> None:
    connections = [server.open_socket() for _ in range(30)]
    try:
        for number, opened in enumerate(connections):
            opened.sendall(server.head(10)[: number * 7])
        for connection in server.connections():
            assert server.predict(over=connection).status == 200
    finally:
        for opened in connections:
            opened.close()


def test_answer_is_whole_for_a_slow_reader(server: Server) -> None:
    body = csv_body(frame(60_000, 1))
    with server.open_socket() as opened:
        opened.sendall(server.head(body, FIRST, "Connection: close") + body)
        time.sleep(0.5)
        answer = read_to_end(opened)
    head, _, sent = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(sent)}".encode() in head.lower()
    assert sent.endswith(b'"rowId":59999}]}')
