"""How many requests a worker takes on at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import DeadlineExceeded, Overloaded


class Admission:
    """Counts requests in flight and hands out the slots for large ones.

    A worker that takes on more than it can answer slows down every request; one that
    refuses the surplus at once keeps its pace.
    """

    def __init__(self, in_flight: int, bulk_slots: int) -> None:
        self._requests = threading.BoundedSemaphore(in_flight)
        self._bulk = threading.BoundedSemaphore(bulk_slots)

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request's place. Raises Overloaded if there is none."""
        if not self._requests.acquire(blocking=False):
            raise Overloaded
        try:
            yield
        finally:
            self._requests.release()

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
