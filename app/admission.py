"""How many requests a worker takes on at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from app.errors import DeadlineExceeded, Overloaded


class Admission:
    """A context for each request in flight; the surplus is refused.

    A worker that takes on more than it can answer slows down every request; one that
    refuses the surplus at once keeps its pace.
    """

    def __init__(self, in_flight: int, bulk_slots: int) -> None:
        self._free = in_flight
        self._lock = threading.Lock()
        self._bulk = threading.BoundedSemaphore(bulk_slots)

    def __enter__(self) -> None:
        """Take on one request more. Raises Overloaded if there is no place for it."""
        with self._lock:
            if self._free == 0:
                raise Overloaded
            self._free -= 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._free += 1

    @contextmanager
    def bulk(self, deadline: float) -> Iterator[None]:
        """A large request's slot, waited for until the deadline (monotonic seconds).

        Large bodies wait here before they are read, so their memory is bounded.
        Raises DeadlineExceeded.
        """
        if not self._bulk.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlineExceeded
        try:
            yield
        finally:
            self._bulk.release()
