"""/api/v2/batchPredictions: files scored as jobs, from the upload to the download."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.batch.creating import create
from app.batch.downloading import (
    CsvNotAccepted,
    DownloadUnavailable,
    begun,
    check_downloadable,
    stream,
)
from app.batch.ending import end
from app.batch.listing import find, find_open, page_of, read_query
from app.batch.starting import ensure_runner
from app.batch.telling import address_of, told_job
from app.batch.uploading import finish_parts, receive, receive_part
from app.blueprints.managing import asking, done, told, told_page
from app.management.requests import Asked
from app.pace import STEP_SECONDS
from app.store.job_record import Job
from app.workload import content_length

batch = Blueprint("batch", __name__, url_prefix="/api/v2/batchPredictions")

_JOB = "/<job_id>/"

log = logging.getLogger(__name__)


@batch.post("/", strict_slashes=False)
def add() -> Response:
    """Make a job.

    Source: "Batch Prediction API".
    """
    with asking(scoped=True) as its:
        job = create(its)
        _run(its, job)
        response = told(_object(its, job), 202)
        response.headers["Location"] = address_of(job, its.base_url)
        return response


@batch.get("/", strict_slashes=False)
def page() -> Response:
    """The caller's jobs, newest first."""
    with asking(scoped=True) as its:
        asked = read_query(request.environ.get("QUERY_STRING", ""))
        jobs, total = page_of(its, asked)
        data = [_object(its, job) for job in jobs]
        return told_page(its, data, total, asked["limit"], asked["offset"])


@batch.get(_JOB, strict_slashes=False)
def status(job_id: str) -> Response:
    """A job, and how far it is."""
    with asking(scoped=True) as its:
        return told(_object(its, find(its, job_id)))


@batch.delete(_JOB, strict_slashes=False)
def remove(job_id: str) -> Response:
    """Abort a job; remove one that has ended, and its data."""
    with asking(scoped=True) as its:
        job = find(its, job_id)
        is_aborted = end(its.services, job, its.caller)
        if not is_aborted:
            return done()
        return told(_object(its, its.services.jobs.get(job.id)), 202)


@batch.put(f"{_JOB}csvUpload/", strict_slashes=False)
def upload(job_id: str) -> Response:
    """Take a job's input, in one request."""
    return _taken(job_id, lambda its, job: receive(its.services, job, its.environ))


@batch.put(f"{_JOB}csvUpload/part/<number>/", strict_slashes=False)
def upload_part(job_id: str, number: str) -> Response:
    """Take a part of a job's input; every part has the header."""
    return _taken(
        job_id,
        lambda its, job: receive_part(its.services, job, number, its.environ),
    )


@batch.post(f"{_JOB}csvUpload/finalizeMultipart/", strict_slashes=False)
@batch.post(f"{_JOB}finalizeMultipart/", strict_slashes=False)
def finalize(job_id: str) -> Response:
    """Make the parts that were sent the job's input."""
    return _taken(job_id, lambda its, job: finish_parts(its.services, job))


def _taken(job_id: str, take: Callable[[Asked, Job], Job]) -> Response:
    with asking(scoped=True) as its:
        job = find_open(its, job_id)
    # What takes hours has places of its own.
    give_back = its.services.transfers.take(its.caller.user.id)
    try:
        job = take(its, job)
    finally:
        give_back()
    its.record.received = content_length(its.environ) or job.intake_bytes or 0
    _run(its, job)
    return told({}, 202)


def _run(its: Asked, job: Job) -> None:
    """Have a queued job run now; workers look for such jobs all the time as well."""
    if job.queued_at is not None:
        try:
            ensure_runner(its.services.config)
        except OSError as error:
            log.error("no runner of batch jobs can be started: %s", error)


@batch.get(f"{_JOB}download/", strict_slashes=False)
def download(job_id: str) -> Response:
    """The output, as CSV, while it is made."""
    with asking(scoped=True) as its:
        job = find(its, job_id)
        if not _accepts_csv():
            raise CsvNotAccepted
        check_downloadable(job, str(its.environ.get("SERVER_PROTOCOL", "")))
    give_back = its.services.transfers.take(its.caller.user.id)
    connection = its.environ.get("gunicorn.socket")
    try:
        pieces = begun(stream(its.services, job, connection))
    except DownloadUnavailable:
        give_back()
        raise
    response = Response(
        _timed(pieces, connection), content_type="text/csv; charset=utf-8"
    )
    response.call_on_close(give_back)
    name = f"predictions-{job.id}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    # Proxies are not to hold it back, nor to change it.
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["Cache-Control"] = "no-transform, no-store"
    return response


def _accepts_csv() -> bool:
    accept = request.headers.get("Accept", "")
    wanted = parse_accept_header(accept, MIMEAccept)
    types = MIMEAccept([(each.partition(";")[0], quality) for each, quality in wanted])
    return not accept or types.best_match(["text/csv"]) is not None


def _timed(pieces: Iterator[bytes], connection: Any) -> Iterator[bytes]:
    """The pieces, each with a time to be sent in, so that no client holds a thread."""
    if connection is None:
        yield from pieces
        return
    connection.settimeout(STEP_SECONDS)
    try:
        yield from pieces
    finally:
        with suppress(OSError):
            connection.settimeout(None)


def _object(its: Asked, job: Job) -> dict[str, Any]:
    services = its.services
    ahead = services.jobs.ahead_of(job) if job.status == "INITIALIZING" else 0
    users = services.snapshot.users
    return told_job(job, users, its.base_url, ahead, datetime.now(UTC))
