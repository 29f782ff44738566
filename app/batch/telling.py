"""A job as its clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from app.store.job_record import Job
from app.store.records import User

_PATH: Final = "/api/v2/batchPredictions"
# What is not finished is not told as if it were.
_MOST_PERCENT: Final = 99.9
_LATE: Final = timedelta(seconds=10)


def address_of(job: Job, base_url: str) -> str:
    """The job's URL; clients take its id from between the last two slashes."""
    return f"{base_url}{_PATH}/{job.id}/"


def told_job(
    job: Job, users: Mapping[str, User], base_url: str, ahead: int, now: datetime
) -> dict[str, Any]:
    """The job object.

    ahead: how many queued jobs come before it. now: with time zone.

    Source: "Batch Prediction API", the job object.
    """
    is_queued = job.status == "INITIALIZING"
    owner = users.get(job.owner_id)
    name = None if owner is None else owner.name
    end = job.finished_at or now
    return {
        "id": job.id,
        "status": job.status,
        "percentageCompleted": percentage(job),
        "elapsedTimeSec": max(0, int((end - job.created_at).total_seconds())),
        "links": _links(job, base_url, now),
        "jobSpec": told_spec(job.spec),
        "statusDetails": job.status_details,
        "created": stamp(job.created_at),
        "createdBy": {"userId": job.owner_id, "username": name, "fullName": name},
        "logs": job.logs,
        "scoredRows": job.scored_rows,
        "failedRows": job.failed_rows,
        "skippedRows": job.skipped_rows,
        "queuePosition": ahead if is_queued else None,
        "queued": is_queued,
        "source": job.source,
        **_sizes(job),
    }


def percentage(job: Job) -> float:
    """How much of the input is scored, 0 to 100; 100 for a completed job alone."""
    if job.status == "COMPLETED":
        return 100.0
    if not job.intake_bytes:
        return 0.0
    return min(_MOST_PERCENT, round(100 * job.next_offset / job.intake_bytes, 2))


def is_downloadable(job: Job, now: datetime) -> bool:
    """Whether clients are told where the output is: when it has begun, or is late.

    Clients take the input of small jobs to be refused, or the jobs to be ended, from
    their status, and so those are not told early. They give up a job without a link
    after a while, and so one that takes its time is: the download waits.
    """
    if job.spec["outputSettings"]["type"] != "localFile":
        return False
    if job.status == "INITIALIZING":
        is_sent = job.phase == "upload" and job.runner is not None
        return is_sent and now - job.created_at > _LATE
    if job.status == "RUNNING" and not job.parts_done:
        return now - (job.started_at or job.created_at) > _LATE
    return job.status in ("RUNNING", "COMPLETED")


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _links(job: Job, base_url: str, now: datetime) -> dict[str, str]:
    address = address_of(job, base_url)
    links = {"self": address}
    if job.spec["intakeSettings"]["type"] == "localFile":
        links["csvUpload"] = f"{address}csvUpload/"
    if is_downloadable(job, now):
        links["download"] = f"{address}download/"
    return links


def _sizes(job: Job) -> dict[str, int]:
    if job.status != "COMPLETED":
        return {}
    return {
        "jobIntakeSize": job.intake_bytes or 0,
        "jobOutputSize": job.output_bytes,
    }


def told_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec without what is secret in the places that it names."""
    told = dict(spec)
    redacted = list(spec.get("redactedFields", ()))
    for key in ("intakeSettings", "outputSettings"):
        url = told[key].get("url")
        if url is not None and (shown := _without_secrets(url)) != url:
            told[key] = {**told[key], "url": shown}
            redacted.append(f"{key}.url")
    return {**told, "redactedFields": redacted}


def _without_secrets(url: str) -> str:
    """The URL without a user's name and password, and without its query.

    Signed URLs have their signature there.
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
