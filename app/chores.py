"""What a worker does now and then beside its requests."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from app.batch.expiry import remove_expired
from app.batch.starting import ensure_runner
from app.config import Config
from app.humility_counts import HumilityCounts
from app.store.files import Files
from app.store.humility_totals import HumilityTotals
from app.store.jobs import Jobs
from app.store.operations import Operations

# Between two additions to the counts in the database, each a write.
_COUNTS_SECONDS = 1.0

# Between two looks for what was kept long enough.
_EXPIRY_SECONDS: Final = 60.0

# Clients that wait for an operation ask for it every few seconds.
_OPERATIONS_KEPT: Final = timedelta(days=1)

log = logging.getLogger(__name__)


class Chores:
    """Counts are kept, batch jobs go on, what was kept long enough is removed.

    Nothing is raised: the database or the files may be away for a while, and it is
    tried again.
    """

    def __init__(
        self,
        config: Config,
        jobs: Jobs,
        operations: Operations,
        files: Files,
        counts: HumilityCounts,
        totals: HumilityTotals,
    ) -> None:
        self._config = config
        self._jobs = jobs
        self._operations = operations
        self._files = files
        self._counts = counts
        self._totals = totals
        self._next_counts = 0.0
        self._next_expiry = 0.0
        self._is_keeping = True
        self._is_running_jobs = True

    def do(self) -> None:
        """Whatever it is time for."""
        if time.monotonic() >= self._next_counts:
            self.keep_counts()
            self._start_runner()
            self._next_counts = time.monotonic() + _COUNTS_SECONDS
        if time.monotonic() >= self._next_expiry:
            # Removing much takes long, and nothing else here is to wait for it.
            threading.Thread(target=self._expire, name="expiry", daemon=True).start()
            self._next_expiry = time.monotonic() + _EXPIRY_SECONDS

    def keep_counts(self) -> None:
        """Add to the store how often humility rules triggered since the last time."""
        try:
            self._counts.keep(self._totals)
        except Exception:
            # They are held until the database is back.
            if self._is_keeping:
                log.exception("counts of humility rules cannot be kept")
            self._is_keeping = False
        else:
            self._is_keeping = True

    def _start_runner(self) -> None:
        """Have batch jobs go on, whoever was at them before."""
        try:
            if self._jobs.is_any_waiting():
                ensure_runner(self._config)
        except Exception:
            # As with the store: it is tried again.
            if self._is_running_jobs:
                log.exception("batch jobs cannot be run")
            self._is_running_jobs = False
        else:
            self._is_running_jobs = True

    def _expire(self) -> None:
        now = datetime.now(UTC)
        try:
            remove_expired(self._jobs, self._files, now)
            self._operations.forget(now - _OPERATIONS_KEPT)
        except Exception:
            # The database or the files may be away; it is tried again.
            log.exception("what was kept long enough is not removed")
