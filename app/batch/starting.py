"""Starts the process that runs batch jobs: one for each state folder."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

from app.config import Config, environment_name, settings
from app.store.folders import make_private

LOCK: Final = "batch.lock"
_NICENESS: Final = 10

log = logging.getLogger(__name__)

_starting = threading.Lock()
# Those that this process started; one that has ended is waited for by its parent.
_started: list[subprocess.Popen[bytes]] = []


def ensure_runner(config: Config) -> bool:
    """Start a runner unless the state folder has one; returns whether it did.

    The runner ends when there is nothing left to do for a while, and when this process
    does. Raises OSError.
    """
    with _starting:
        _started[:] = [each for each in _started if each.poll() is None]
        make_private(config.home)
        lock = os.open(config.home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # The lock goes to the runner with the file, and is free when that ends.
            _started.append(_start(config, lock))
        finally:
            os.close(lock)
    return True


def place_of(lock: int) -> str:
    """What the state folder is called, by whoever holds its lock: a random name.

    lock: the open file.
    """
    name = os.pread(lock, 64, 0).decode(errors="replace")
    if not re.fullmatch("[0-9a-f]{16}", name):
        name = secrets.token_hex(8)
        os.ftruncate(lock, 0)
        os.pwrite(lock, name.encode(), 0)
    return name


def _start(config: Config, lock: int) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-P", "-m", "app.batch.runner"]
    given = {
        environment_name(field.name): str(getattr(config, field.name))
        for field in settings()
    }
    runner = subprocess.Popen(
        [*program, "--parent", str(os.getpid()), "--lock", str(lock)],
        env={**os.environ, **given},
        stdin=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    # It gives way to what answers requests, from its first moment on.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, runner.pid, _NICENESS)
    log.info("batch runner %d is started", runner.pid)
    return runner
