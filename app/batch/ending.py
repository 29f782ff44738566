"""Jobs that their owners end or remove."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from app.batch.expiry import remove
from app.batch.places import forget
from app.services import Services
from app.store.errors import JobLost
from app.store.job_record import Job, stamped
from app.store.records import Caller

log = logging.getLogger(__name__)


def end(services: Services, job: Job, caller: Caller) -> bool:
    """Abort a job that goes on; remove one that has ended. Whether it was aborted.

    Whoever is at it finds out with its next step, and stops.
    Raises UnknownJob, StorageFailed.
    """
    if not job.has_ended:
        try:
            _abort(services, job, caller)
        except JobLost:
            # It has ended a moment ago.
            pass
        else:
            return True
    remove(services.jobs_of(caller), services.files, job)
    return False


def _abort(services: Services, job: Job, caller: Caller) -> None:
    now = datetime.now(UTC)
    changes = {
        "status": "ABORTED",
        "phase": "done",
        "abort_requested": True,
        "finished_at": now,
        "expires_at": now + timedelta(hours=services.config.batch_hours),
    }
    line = stamped(f"Job aborted by {caller.user.name}", now)
    services.jobs_of(caller).change(job.id, changes, line)
    # The runner may have died.
    forget(job.spec["outputSettings"], job.id, services.config)
    try:
        services.files.remove(job.folder)
    except OSError as error:
        # It is tried again when the job expires.
        log.warning("files of batch job %s are not removed: %s", job.id, error)
