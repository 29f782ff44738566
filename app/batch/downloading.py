"""A job's output, sent while it is made."""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from itertools import chain
from typing import Final

from app.errors import AppError
from app.pace import STEP
from app.services import Services
from app.store.job_record import Job

log = logging.getLogger(__name__)

_NOT_YET: Final = "The job's output is not available yet"
# Between two looks at a job whose next part is not there yet.
_LOOK_SECONDS: Final = 0.25
# No client waits longer for the first byte of a job that is not begun.
_PATIENCE_SECONDS: Final = 600.0


class DownloadUnavailable(AppError):
    """The job has no output to download, not yet or not at all; the text says why."""


class CsvNotAccepted(AppError):
    """The Accept header of a download does not allow CSV."""

    def __init__(self) -> None:
        super().__init__("Accept must allow text/csv")


def check_downloadable(job: Job, protocol: str) -> None:
    """Raises DownloadUnavailable.

    protocol: of the request: with HTTP/1.0 an output that breaks off would look
    complete, so it is sent when it is.
    """
    if job.spec["outputSettings"]["type"] != "localFile":
        raise DownloadUnavailable(
            "The job puts its output where outputSettings say, and has no download"
        )
    if job.has_ended and job.status != "COMPLETED":
        raise _ended(job)
    if not _is_coming(job) or (protocol == "HTTP/1.0" and not job.has_ended):
        raise DownloadUnavailable(_NOT_YET)


def _ended(job: Job) -> DownloadUnavailable:
    return DownloadUnavailable(
        f"The job has no output: it was ended as {job.status}. {job.status_details}"
    )


def _is_coming(job: Job) -> bool:
    """Whether there is an output to wait for.

    A link that was told while the input was sent stays good when the job waits for its
    turn after that.
    """
    return job.phase != "upload" or job.runner is not None


def begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, once the first of them is there.

    Until then a job that ends without an output can be answered with the reason, and
    later by breaking off only. Raises DownloadUnavailable.
    """
    try:
        first = next(pieces, None)
    except BrokenPipeError as error:
        return _raising(error)
    return iter(()) if first is None else chain([first], pieces)


def _raising(error: BrokenPipeError) -> Iterator[bytes]:
    raise error
    yield


def stream(
    services: Services, job: Job, connection: socket.socket | None
) -> Iterator[bytes]:
    """The output's bytes, part after part, to the end of the job.

    connection: the client's, to see whether it is still there.
    Raises DownloadUnavailable where the job ends before any of its output is there;
    after that, or when it is removed or the server stops, BrokenPipeError, which breaks
    the connection off.
    """
    part, since = 0, time.monotonic()
    pause = threading.Event()
    while True:
        while part < job.parts_done:
            yield from _pieces(services, job, part)
            part, since = part + 1, time.monotonic()
        if job.has_ended:
            if job.status == "COMPLETED":
                return
            if part == 0:
                raise _ended(job)
            raise _broken(job, f"it was ended as {job.status}")
        if _is_gone(connection):
            raise _broken(job, "the client is gone")
        if services.is_stopping:
            raise _broken(job, "the server stops")
        waited = time.monotonic() - since
        if job.status == "INITIALIZING" and waited > _PATIENCE_SECONDS:
            if part == 0:
                raise DownloadUnavailable(_NOT_YET)
            raise _broken(job, "it has not begun again")
        pause.wait(_LOOK_SECONDS)
        try:
            job = services.jobs.get(job.id)
        except AppError as error:
            raise _broken(job, str(error)) from None


def _pieces(services: Services, job: Job, part: int) -> Iterator[bytes]:
    try:
        with services.files.open(job.part_path(part)) as file:
            while data := file.read(STEP):
                yield data
    except OSError as error:
        raise _broken(job, f"part {part} cannot be read: {error}") from None


def _broken(job: Job, reason: str) -> BrokenPipeError:
    """What ends a connection without the mark that an answer is complete.

    gunicorn takes it for the client's doing, and says nothing.
    """
    log.warning("the download of job %s breaks off: %s", job.id, reason)
    return BrokenPipeError(errno.EPIPE, reason)


def _is_gone(connection: socket.socket | None) -> bool:
    """Whether the client has closed its side; what else it sent is left there."""
    if connection is None:
        return False
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):
        return True
