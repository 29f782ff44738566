"""The process that runs batch jobs: `python -m app.batch.runner`.

It scores beside the servers, gives way to them, and ends with them.
"""

# ruff: noqa: E402  (the variables come before what reads them)
from __future__ import annotations

import os

# As in gunicorn.conf.py: threads are this process's own, and nobody is told of models.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import ctypes
import fcntl
import logging
import signal
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import Final

from app.lean import settle_pyarrow_without_pandas

settle_pyarrow_without_pandas()

from app.batch.running import Runner
from app.batch.starting import LOCK, place_of
from app.config import Config
from app.store.errors import StoreUnavailable
from app.store.folders import make_private

# See gunicorn.conf.py.
_M_ARENA_MAX: Final = -8
_LOOK_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 20.0

log = logging.getLogger("app.batch.runner")


def main() -> None:
    """Run jobs until there have been none for a while, or the parent has ended."""
    arguments = _arguments()
    logging.basicConfig(
        level=logging.INFO,
        format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
    )
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    config = Config.from_environment()
    lock = _locked(config) if arguments.lock is None else arguments.lock
    if lock is None:
        sys.exit("Another runner is at the jobs of this state folder")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(
        target=_watch, args=(arguments.parent, stop), name="watch", daemon=True
    ).start()
    runner = Runner(config, stop.is_set, place_of(lock))
    try:
        _run(runner, stop)
    finally:
        runner.close()
    log.info("the runner ends")


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="app.batch.runner", description=__doc__)
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="end when this process, which started the runner, has ended",
    )
    parser.add_argument(
        "--lock", type=int, metavar="FD", help="the open file that holds the lock"
    )
    return parser.parse_args()


def _locked(config: Config) -> int | None:
    """Take the lock, for as long as this process lives; None if another has it."""
    make_private(config.home)
    lock = os.open(config.home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return lock


def _watch(parent: int | None, stop: threading.Event) -> None:
    """Whoever's parent has ended gets another one."""
    while parent is not None and not stop.wait(_LOOK_SECONDS):
        if os.getppid() != parent:
            log.info("the server has ended")
            stop.set()


def _run(runner: Runner, stop: threading.Event) -> None:
    idle_since = time.monotonic()
    while not stop.is_set():
        try:
            if runner.run_next() or runner.jobs.is_any_waiting():
                idle_since = time.monotonic()
        except (StoreUnavailable, OSError) as error:
            log.warning("jobs cannot be looked up: %s", error)
            idle_since = time.monotonic()
            stop.wait(5.0)
        if time.monotonic() > idle_since + _IDLE_SECONDS:
            return
        stop.wait(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
