"""Clients that keep asking while something happens to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Load:
    """What the clients found: how many answers were right, and what was not."""

    answered: int = 0
    faults: list[str] = field(default_factory=list)


@contextmanager
def clients(count: int, ask: Callable[[int, int], object]) -> Iterator[Load]:
    """Threads that call `ask` with their number and their turn until the end.

    What `ask` raises is a fault, and the end of its thread.
    """
    load = Load()
    ended = threading.Event()
    lock = threading.Lock()

    def run(number: int) -> None:
        turn = 0
        try:
            while not ended.is_set():
                ask(number, turn)
                turn += 1
                with lock:
                    load.answered += 1
        except Exception as error:
            load.faults.append(f"client {number}, turn {turn}: {error!r}")

    threads = [threading.Thread(target=run, args=(each,)) for each in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()
