"""Ends the reading of bodies that do not arrive in the time of a request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_LOOK_SECONDS = 0.25


class SlowClients:
    """Connections whose bodies are being read, and until when they may be.

    A timeout of the socket's own would start anew with every byte that trickles in,
    and cost each request system calls. One thread that looks now and then costs none.
    """

    def __init__(self) -> None:
        self._until: dict[socket.socket, float] = {}

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Begin to look, in a worker that has just been forked."""
        watch = threading.Thread(
            target=self._watch, args=(is_stopping,), name="slow clients", daemon=True
        )
        watch.start()

    def reading(self, connection: socket.socket, deadline: float) -> None:
        """A body is being read; deadline: in seconds of time.monotonic()."""
        self._until[connection] = deadline

    def done(self, connection: socket.socket) -> None:
        """It is read, or will not be."""
        del self._until[connection]

    def _watch(self, is_stopping: Callable[[], bool]) -> None:
        pause = threading.Event()
        # What is being read when the worker is to stop has its deadline still.
        while self._until or not is_stopping():
            pause.wait(_LOOK_SECONDS)
            self.cut_off(time.monotonic())

    def cut_off(self, moment: float) -> None:
        """End the reading from connections whose deadline has passed.

        Whoever reads finds the end of the body; the answer can still be written.
        """
        for connection, deadline in list(self._until.items()):
            if deadline < moment and self._until.get(connection) == deadline:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
