"""Large requests: chunks scored by a few threads, in order, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from app.errors import DeadlineExceeded

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

# How much a scoring thread gives way to the threads that answer small requests.
_NICENESS = 10


class BulkPool:
    """Threads of this process that score large requests.

    Scoring leaves the interpreter's lock for most of its time, so threads pay.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="bulk", initializer=_give_way
        )

    def map(
        self,
        work: Callable[[Chunk], Result],
        chunks: Iterable[Chunk],
        deadline: float,
    ) -> Iterator[Result]:
        """Apply `work` to each chunk, yielding in order.

        No more than one chunk beyond the threads' number is read ahead.
        Raises DeadlineExceeded past the deadline (monotonic seconds).
        """
        pending: deque[Future[Result]] = deque()
        try:
            for chunk in chunks:
                pending.append(self._pool.submit(work, chunk))
                if len(pending) > self._threads:
                    yield _result(pending.popleft(), deadline)
            while pending:
                yield _result(pending.popleft(), deadline)
        finally:
            for future in pending:
                future.cancel()


def in_turn(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], deadline: float
) -> Iterator[Result]:
    """The same in the calling thread, for requests that a pool would only delay."""
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise DeadlineExceeded
        yield work(chunk)


def _result(future: Future[Result], deadline: float) -> Result:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded from None


def _give_way() -> None:
    # On Linux a niceness set for a thread's id counts for that thread alone.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
