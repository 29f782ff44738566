"""How many requests the server takes on at once."""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from app.errors import DeadlineExceeded, Overloaded

# While a configuration is reloaded, old workers end as new ones begin.
_GENERATIONS_OF_WORKERS = 4


class Admission:
    """A context for each request in flight; the surplus is refused.

    A server that takes on more than it can answer slows down every request; one that
    refuses the surplus at once keeps its pace.

    The count is that of all workers: it is kept in memory that they share, made before
    they are forked. Each adds to a cell of its own, so that nothing has to be locked
    between them, and what a killed worker leaves behind goes with its cell.
    """

    def __init__(
        self, in_flight: int, bulk_slots: int, workers: int = 1, heavy_slots: int = 4
    ) -> None:
        """in_flight: requests of all workers; bulk_slots: large ones of each;
        heavy_slots: pieces of work of each that take much memory, whatever was sent.
        """
        self._in_flight = in_flight
        cells = workers * _GENERATIONS_OF_WORKERS
        self._counts = memoryview(mmap.mmap(-1, 4 * cells)).cast("i")
        self._free_cells = list(range(cells))
        self._cell = 0
        self._lock = threading.Lock()
        self._bulk = threading.BoundedSemaphore(bulk_slots)
        self._heavy = threading.BoundedSemaphore(heavy_slots)

    def take_cell(self) -> int:
        """In the master, before a fork: the cell of the worker to come.

        Beyond all expectation workers share the last one: no request is refused for it.
        """
        cell = self._free_cells.pop(0) if len(self._free_cells) > 1 else -1
        self._counts[cell] = 0
        return cell

    def free_cell(self, cell: int) -> None:
        """In the master, after a worker's end."""
        self._counts[cell] = 0
        if cell >= 0:
            self._free_cells.append(cell)

    def use_cell(self, cell: int) -> None:
        """In a worker, after the fork."""
        self._cell = cell

    def __enter__(self) -> None:
        """Take on one request more. Raises Overloaded if there is no place for it."""
        with self._lock:
            if sum(self._counts) >= self._in_flight:
                raise Overloaded
            self._counts[self._cell] += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._counts[self._cell] -= 1

    def bulk(self, deadline: float) -> AbstractContextManager[None]:
        """A large request's slot, waited for until the deadline (monotonic seconds).

        Large bodies wait here before they are read, so their memory is bounded.
        Raises DeadlineExceeded.
        """
        return _held(self._bulk, deadline)

    def heavy(self, deadline: float) -> AbstractContextManager[None]:
        """A slot for a piece of work that takes much memory; see `bulk`."""
        return _held(self._heavy, deadline)


@contextmanager
def _held(slots: threading.Semaphore, deadline: float) -> Iterator[None]:
    if not slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise DeadlineExceeded
    try:
        yield
    finally:
        slots.release()
