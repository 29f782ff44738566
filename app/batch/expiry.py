"""Jobs whose time is over, removed with all their files."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from app.errors import AppError
from app.store.files import Files
from app.store.job_record import Job
from app.store.jobs import Jobs

# An input that was not uploaded in this time will not be.
UPLOAD_TIME: Final = timedelta(days=1)

# So many jobs whose files cannot be removed, and the files are not to be had at all.
_FAILURES: Final = 3

log = logging.getLogger(__name__)


class StorageFailed(AppError):
    """The files of a job cannot be written or removed."""

    def __init__(self) -> None:
        super().__init__("The server cannot reach the files of the job now")


def remove_expired(jobs: Jobs, files: Files, now: datetime) -> int:
    """Remove what was kept long enough; how many jobs that were.

    now: with time zone. A job is forgotten after its files: what is cut off in between
    is done the next time, by whichever server looks first. Raises StorageFailed where
    that is so of several jobs.
    """
    removed, failed = 0, 0
    for job in jobs.expired(now, now - UPLOAD_TIME):
        try:
            remove(jobs, files, job)
            removed += 1
        except StorageFailed as error:
            log.warning("batch job %s is not removed: %s", job.id, error.__cause__)
            failed += 1
            if failed == _FAILURES:
                raise
    return removed


def remove(jobs: Jobs, files: Files, job: Job) -> None:
    """Remove a job and its files; raises StorageFailed, and it is still known then."""
    try:
        files.remove(job.folder)
    except OSError as error:
        raise StorageFailed from error
    jobs.remove(job.id)
    log.info("batch job %s is removed", job.id)
