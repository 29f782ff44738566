"""Servers as real processes, and clients that speak to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from app.store.store import Store
from tests.server.served_models import (
    FIRST,
    ServedModels,
    csv_body,
    environment,
    frame,
    prediction_path,
)

ROOT = Path(__file__).parents[2]
# Of what comes at once: it only ends a test that hangs, on however busy a machine.
SECONDS = 120.0
# Kernels may have to be compiled before a server listens.
START_SECONDS = 300.0
# The server, but its runner of batch jobs does not give way: beside what else keeps a
# machine busy it would be given next to no time, for as long as that goes on.
PROGRAM = (
    sys.executable,
    "-c",
    "import app.batch.starting; app.batch.starting._NICENESS = 0\n"
    "from gunicorn.app.wsgiapp import run; run()",
)


def wait_for(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What the condition returns as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@dataclass
class Answer:
    """Status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return self.json["message"]

    @property
    def positives(self) -> list[float]:
        """The positive class's probability of each row."""
        return [row["predictionValues"][0]["value"] for row in self.json["data"]]


def read_answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = open_unix_socket(self._path, self.timeout)


def open_unix_socket(path: str, seconds: float | None) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(seconds)
    try:
        opened.connect(path)
    except OSError:
        opened.close()
        raise
    return opened


@dataclass
class Endpoint:
    """Something on this machine that speaks HTTP, with a token for it.

    port: 0 where the address is a unix socket's path.
    """

    models: ServedModels
    port: int = 0
    path: str = ""
    _opened: list[http.client.HTTPConnection] = field(default_factory=list)

    def connect(self, seconds: float = SECONDS) -> http.client.HTTPConnection:
        """A connection that is closed with the server, if not before."""
        connection = self._connection(seconds)
        self._opened.append(connection)
        return connection

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.path:
            return UnixConnection(self.path, seconds)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def open_socket(self, seconds: float = SECONDS) -> socket.socket:
        """A raw connection; the caller closes it."""
        if self.path:
            return open_unix_socket(self.path, seconds)
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def close_connections(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        over: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request, on a connection of its own unless one is given.

        body: sent in chunks when it is an iterator.
        """
        connection = over or self._connection(SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return read_answer(connection.getresponse())
        finally:
            if over is None:
                connection.close()

    def predict(
        self,
        deployment: str = FIRST,
        body: Any = None,
        *,
        over: http.client.HTTPConnection | None = None,
        query: str = "",
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """Ask the serverless layout for predictions; body: CSV, or a frame."""
        if body is None:
            body = frame(3, seed=7)
        if isinstance(body, pd.DataFrame):
            body = csv_body(body)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        path = prediction_path(deployment, query)
        return self.ask("POST", path, body, self.headers(token) | given, over=over)

    def headers(self, token: str | None = None) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token or self.models.token}",
            "Content-Type": "text/csv",
        }

    def exchange(self, request: bytes, seconds: float = SECONDS) -> bytes:
        """Send bytes and read until the other side closes."""
        with self.open_socket(seconds) as opened:
            opened.sendall(request)
            return read_to_end(opened)

    def head(self, body: Any, deployment: str = FIRST, *more: str) -> bytes:
        """The head of a prediction request; body: the bytes, or their number."""
        length = body if isinstance(body, int) else len(body)
        lines = [
            f"POST {prediction_path(deployment)} HTTP/1.1",
            "Host: localhost",
            *(f"{name}: {value}" for name, value in self.headers().items()),
            f"Content-Length: {length}",
            *more,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_to_end(opened: socket.socket) -> bytes:
    """What comes until the other side closes, or resets."""
    pieces = []
    try:
        while piece := opened.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def read_responses(opened: socket.socket) -> Generator[Answer, None, None]:
    """The responses that come over a raw connection, each as it is asked for.

    Each has a Content-Length.
    """
    with opened.makefile("rb") as file:
        while line := file.readline():
            status = int(line.split(b" ", 2)[1])
            fields = http.client.parse_headers(file)
            headers = {name.lower(): value for name, value in fields.items()}
            body = file.read(int(headers["content-length"]))
            yield Answer(status, headers, body)


def read_response(opened: socket.socket) -> Answer:
    """The one response that is on its way over a raw connection."""
    responses = read_responses(opened)
    try:
        return next(responses)
    finally:
        responses.close()


@dataclass
class Server(Endpoint):
    """A running gunicorn: its master, its state folder, what it wrote."""

    process: subprocess.Popen[bytes] = None  # type: ignore[assignment]
    home: Path = Path()

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def store(self) -> Store:
        return Store(f"sqlite:///{self.home / 'foretell.db'}", self.home)

    def connection_to(self, worker: psutil.Process) -> http.client.HTTPConnection:
        """A kept-alive connection that this worker accepted."""
        others = [each for each in self.workers() if each.pid != worker.pid]
        connection = self.connect()
        for other in others:
            other.suspend()
        try:
            assert self.ask("GET", "/ping", over=connection).status == 200
        finally:
            for other in others:
                other.resume()
        return connection

    def wait_until_taken(self, opened: socket.socket) -> None:
        """Wait until a worker has accepted the connection."""
        port = opened.getsockname()[1]
        wait_for(lambda: port in {each for _, each in self._peers()})

    def _peers(self) -> Iterator[tuple[str, int]]:
        for worker in self.workers():
            for connection in worker.net_connections():
                if connection.raddr:
                    yield connection.raddr

    def connections(self) -> list[http.client.HTTPConnection]:
        """One kept-alive connection to each worker."""
        return [self.connection_to(worker) for worker in self.workers()]

    def log(self) -> list[dict[str, Any]]:
        """The access log so far."""
        lines = (self.home / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def errors(self) -> str:
        return (self.home / "error.log").read_text()

    def wait_until_ready(self, workers: int) -> None:
        wait_for(lambda: len(self.workers()) == workers)
        for connection in self.connections():
            wait_for(lambda: self.ask("GET", "/readyz", over=connection).status == 200)  # noqa: B023


@contextmanager
def running(
    models: ServedModels,
    home: Path,
    *,
    arguments: tuple[str, ...] = (),
    folder: Path = ROOT,
    ready: bool = True,
    program: Sequence[str | Path] = PROGRAM,
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """A server on `home`, which gets a copy of the models unless it is there.

    environ: added to what the program gets.
    """
    if not home.exists():
        models.copy_to(home)
    settings = {"bind": "127.0.0.1:0", "workers": 2, **settings}
    with (
        open(home / "access.log", "ab") as access,
        open(home / "error.log", "ab") as error,
    ):
        start = error.tell()
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env=environment(home, **settings) | dict(environ or {}),
            stdout=access,
            stderr=error,
        )
    server = Server(models, process=process, home=home)
    try:
        wait_for(lambda: _is_listening(server, start), START_SECONDS)
        if ready:
            server.wait_until_ready(settings["workers"])
        yield server
    finally:
        server.close_connections()
        end(process)


def _is_listening(server: Server, start: int) -> bool:
    text = server.errors()[start:]
    assert server.process.poll() is None, text
    place = re.search(
        r"Listening at: (?:http://127\.0\.0\.1:([0-9]+)|unix:(\S+))", text
    )
    if place is None:
        return False
    if place[1]:
        server.port = int(place[1])
    else:
        server.path = place[2]
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a process and its children end, gently at first."""
    children = []
    if process.poll() is None:
        children = psutil.Process(process.pid).children()
        process.terminate()
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
