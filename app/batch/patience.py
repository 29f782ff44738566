"""Waiting for other servers: with a lowest speed, and until it is to end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from app.pace import STEP, STEP_SECONDS

Result = TypeVar("Result")

_LOOK_SECONDS: Final = 0.5
# How long work that is ended may take to see that.
_END_SECONDS: Final = 5.0


class TooSlow(Exception):
    """Less arrives than the lowest speed asks for."""

    def __init__(self) -> None:
        super().__init__(f"less than {STEP // 1024} KiB in {STEP_SECONDS:.0f} seconds")


class Patience:
    """Waits for work that another server keeps waiting."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        """check: is called again and again; what it raises ends the work."""
        self.check = check

    def wait(
        self,
        work: Callable[[], Result],
        moved: Callable[[], int] = lambda: 0,
        seconds: float | None = None,
    ) -> Result:
        """What `work`, which speaks to another server through fsspec, returns.

        moved: bytes that it has moved; each STEP of them gives it time anew.
        seconds: instead of STEP_SECONDS.
        Raises TooSlow, and what `work` and `check` raise.
        """
        done: list[Callable[[], Result]] = []
        thread = threading.Thread(
            target=lambda: done.append(_tried(work)), name="transfer", daemon=True
        )
        thread.start()
        try:
            self._watch(thread, moved, STEP_SECONDS if seconds is None else seconds)
        except BaseException:
            _end_transfers()
            thread.join(_END_SECONDS)
            raise
        return done[0]()

    def _watch(
        self, thread: threading.Thread, moved: Callable[[], int], seconds: float
    ) -> None:
        reached, since = moved(), time.monotonic()
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            self.check()
            if moved() >= reached + STEP:
                reached, since = moved(), time.monotonic()
            elif thread.is_alive() and time.monotonic() > since + seconds:
                raise TooSlow


def _tried(work: Callable[[], Result]) -> Callable[[], Result]:
    """Gives what the work gave, or raises what it raised."""
    try:
        result = work()
    except BaseException as raised:
        error = raised

        def fail() -> Result:
            raise error

        return fail
    return lambda: result


def _end_transfers() -> None:
    """End what somebody waits for of fsspec: a runner has one job at a time.

    What else goes on there closes connections of before, and is let be.
    """
    from fsspec import asyn

    transfer = asyn._runner.__code__
    loop: Any = asyn.loop[0]

    def end() -> None:
        for task in asyncio.all_tasks(loop):
            if getattr(task.get_coro(), "cr_code", None) is transfer:
                task.cancel()

    if loop is not None:
        loop.call_soon_threadsafe(end)
