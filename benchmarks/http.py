"""Just enough of HTTP/1.1 to load a server with: requests as bytes, answers parsed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import Unmeasured

Address = tuple[str, int]

_RECEIVE = 1 << 18


class BadAnswer(Unmeasured):
    """The server closed the connection or sent what this client does not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, header block in lower case, body, and whether the connection stays."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """A header's value; empty if there is none. name: in lower case."""
        return _header(self.head, name)

    @property
    def closes(self) -> bool:
        """Whether the server hangs up after this answer."""
        return self.header(b"connection") == b"close"


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def parse(data: bytes) -> Answer | None:
    """The answer in what has come so far; None while it is incomplete.

    Raises BadAnswer for anything but HTTP/1.x with a Content-Length.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    if not head.startswith(b"http/1."):
        raise BadAnswer(f"no HTTP: {data[:40]!r}")
    length = _header(head, b"content-length")
    if not length.isdigit():
        raise BadAnswer(f"no Content-Length: {data[:200]!r}")
    if len(data) < end + 4 + int(length):
        return None
    return Answer(int(head[9:12]), head, data[end + 4 : end + 4 + int(length)])


def _header(head: bytes, name: bytes) -> bytes:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


class Connection:
    """A blocking connection that carries one request at a time."""

    def __init__(self, address: Address) -> None:
        self._received = b""
        self._socket = socket.create_connection(address)
        # A timeout would cost a system call before each of the others.
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        self._socket.sendall(request)

    def receive(self) -> Answer | None:
        """Read once; the answer when it is complete. Raises BadAnswer."""
        data = self._socket.recv(_RECEIVE)
        if not data:
            raise BadAnswer("the connection was closed")
        if self._received:
            data = self._received + data
        answer = parse(data)
        self._received = data if answer is None else b""
        return answer

    def receive_large(self) -> Answer:
        """Read an answer of any size, without copying it again and again."""
        parts: list[bytes] = []
        missing: int | None = None
        while missing is None or missing > 0:
            part = self._socket.recv(_RECEIVE)
            if not part:
                raise BadAnswer("the connection was closed")
            parts.append(part)
            if missing is not None:
                missing -= len(part)
            elif b"\r\n\r\n" in (so_far := b"".join(parts)):
                end = so_far.index(b"\r\n\r\n")
                length = _header(so_far[:end].lower(), b"content-length")
                if not length.isdigit():
                    raise BadAnswer(f"no Content-Length: {so_far[:200]!r}")
                missing = end + 4 + int(length) - len(so_far)
        answer = parse(b"".join(parts))
        assert answer is not None
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def ask(address: Address, request: bytes) -> Answer:
    """One request over a connection of its own. Raises OSError and BadAnswer."""
    connection = Connection(address)
    try:
        connection.send(request)
        return connection.receive_large()
    finally:
        connection.close()
