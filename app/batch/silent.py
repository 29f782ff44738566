"""A Dask scheduler and worker that listen on no port."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class _NoServer:
    """In the place of a server of HTTP."""

    port = 0

    def stop(self) -> None:
        """There is nothing to stop."""


class SilentScheduler(Scheduler):  # type: ignore[misc]
    """Dask's own would tell its state by HTTP, to everyone who can reach the port."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""
        self.http_server = _NoServer()


class SilentWorker(Worker):  # type: ignore[misc]
    """The same of workers."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Start none."""
        self.http_server = _NoServer()
