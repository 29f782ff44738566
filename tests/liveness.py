"""Whether processes are alive: one that nobody has waited for yet is not."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil

# It only ends a test that hangs, on however busy a machine.
SECONDS = 120.0


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does something; whoever is to wait for it may be slow."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def alive_after(
    processes: Iterable[psutil.Process], seconds: float = SECONDS
) -> list[psutil.Process]:
    """Those that are alive still when they had time to end: none, as soon as it is."""
    end = time.monotonic() + seconds
    while (alive := list(filter(is_alive, processes))) and time.monotonic() < end:
        time.sleep(0.02)
    return alive
