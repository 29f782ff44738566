"""Inputs that clients upload: all at once, or in parts that are joined at the end."""

from __future__ import annotations

import logging
import re
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Final

from app.batch.expiry import StorageFailed
from app.batch.intake import InputRefused, capped, joined, normalised
from app.batch.spec import BatchSpec, CsvSettings
from app.body import Decompressor, decompressor_of, text_codec
from app.errors import (
    AppError,
    BodyTooLarge,
    BodyUnreadable,
    NoDataToPredict,
)
from app.receiving import stream_of
from app.services import Services
from app.store.errors import UnknownJob, UploadRefused
from app.store.job_record import Job, stamped

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# How long a request that sends an input is believed to be at it without a sign of it.
_LEASE: Final = timedelta(seconds=120)
_RENEWED_SECONDS: Final = 20.0
# A refused body is read on for so long: a connection that is closed before is reset,
# and the answer lost with it.
_DRAIN_SECONDS: Final = 60.0
MOST_PARTS: Final = 100_000
_STEP: Final = 2**20
# A body may always inflate to so much.
_FREE_INFLATION: Final = 2**20
# Each of several streams costs time, even an empty one.
_FREE_STREAMS: Final = 10_000


log = logging.getLogger(__name__)


class UploadNotCsv(AppError):
    """An upload that does not call itself CSV."""

    def __init__(self) -> None:
        super().__init__("The input is uploaded with Content-Type: text/csv")


_WITHOUT_OUTPUT: Final = ("ABORTED", "FAILED")
# What is wrong with an input, rather than with its way here.
_REFUSED: Final = (InputRefused, NoDataToPredict, BodyTooLarge)


def receive(services: Services, job: Job, environ: WSGIEnvironment) -> Job:
    """Take a job's whole input from a request's body, and have the job scored.

    A body that breaks off leaves the job as it was; one that is no input ends it, so
    that whoever waits for it learns why.
    Raises UploadNotCsv, UploadRefused, InputRefused, NoDataToPredict, SlowClient,
    BodyTooLarge, BodyUnreadable, UnsupportedMediaType, StorageFailed, UnknownJob.
    """
    _check_type(environ)
    _check_awaited(job)
    sent = stream_of(services, environ, services.config.max_upload)
    with _Sending(services, job) as sending, _read_to_the_end(sent):
        pieces = _normalised(services, job, sending.during(sent), environ)
        return sending.keep(pieces)


def receive_part(
    services: Services, job: Job, number: str, environ: WSGIEnvironment
) -> Job:
    """Take a part of a job's input; one of the same number is replaced.

    Raises what `receive` does; the job is as it was.
    """
    _check_type(environ)
    _check_awaited(job)
    place = _part_place(number)
    sent = stream_of(services, environ, services.config.max_upload)
    with _read_to_the_end(sent), _writer(services, f"{job.folder}/parts/{place}") as to:
        for piece in _normalised(services, job, sent, environ, is_part=True):
            to.write(piece)
    # Whoever joins the parts meanwhile may have done so without this one.
    try:
        found = services.jobs.get(job.id)
        _check_awaited(found)
    except (UnknownJob, UploadRefused):
        _remove(services, f"{job.folder}/parts")
        raise
    if found.lease_until is not None and found.lease_until > datetime.now(UTC):
        raise UploadRefused("The job's input is being sent by another request")
    return found


def finish_parts(services: Services, job: Job) -> Job:
    """Join the parts that were sent, and have the job scored.

    Raises UploadRefused, InputRefused, NoDataToPredict, BodyTooLarge, StorageFailed.
    """
    _check_awaited(job)
    folder = f"{job.folder}/parts"
    _check_complete(services.files.names(folder))
    with _Sending(services, job) as sending:
        # From here on no part is said to be taken, and some may have come.
        names = services.files.names(folder)
        _check_complete(names)
        parts = _opened(services, [f"{folder}/{name}" for name in names])
        pieces = joined(parts, services.config.max_columns)
        # Each part was small enough; all of them may not be.
        pieces = capped(pieces, services.config.max_upload)
        return sending.keep(sending.during(pieces))


def _remove(services: Services, path: str) -> None:
    """Remove what is of no use any more; if not now, then when the job expires."""
    try:
        services.files.remove(path)
    except OSError as error:
        log.warning("%s is not removed: %s", path, error)


def _check_type(environ: WSGIEnvironment) -> None:
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0]
    if media_type.strip().lower() != "text/csv":
        raise UploadNotCsv


def _check_awaited(job: Job) -> None:
    """Raise UploadRefused where it is known now that the job takes no input."""
    if job.spec["intakeSettings"]["type"] != "localFile":
        raise UploadRefused("The job fetches its input itself, and takes no upload")
    if job.has_ended:
        raise UploadRefused("The job has ended, and takes no input")
    if job.phase != "upload":
        raise UploadRefused("The job has its input, and takes no other")


def _part_place(number: str) -> str:
    digits = number.lstrip("0") or number[:1]
    if not re.fullmatch("[0-9]{1,9}", digits) or int(digits) >= MOST_PARTS:
        raise InputRefused(f"Parts are numbered from 0 to {MOST_PARTS - 1}")
    return f"{int(digits):06d}"


def _check_complete(names: list[str]) -> None:
    if not names:
        raise NoDataToPredict
    for number, name in enumerate(names):
        # Some clients count from 1.
        if int(name) != number + int(names[0]) or int(names[0]) > 1:
            raise InputRefused(f"Part {number} was not sent")


def _opened(services: Services, paths: list[str]) -> Iterator[IO[bytes]]:
    for path in paths:
        with services.files.open(path) as part:
            yield part


def _normalised(
    services: Services,
    job: Job,
    sent: Iterable[bytes],
    environ: WSGIEnvironment,
    *,
    is_part: bool = False,
) -> Iterator[bytes]:
    config = services.config
    settings: CsvSettings = BatchSpec.from_json(job.spec).csv_settings
    decompressor = decompressor_of(environ.get("HTTP_CONTENT_ENCODING"))
    if decompressor is not None:
        sent = inflated(sent, decompressor, config.max_inflation)
    pieces = normalised(
        sent,
        settings,
        text_codec(settings.encoding),
        config.max_columns,
        is_part=is_part,
    )
    yield from capped(pieces, config.max_upload)


def inflated(
    pieces: Iterable[bytes], decompressor: Decompressor, most_inflation: int
) -> Iterator[bytes]:
    """What compressed streams, one behind the other, hold.

    Raises BodyUnreadable for a damaged one, BodyTooLarge for a bomb.
    """
    stream = None
    taken = given = streams = 0
    try:
        for piece in pieces:
            taken += len(piece)
            if streams > _FREE_STREAMS + taken // 1024:
                raise BodyTooLarge("The body has too many compressed streams")
            data = piece
            while data or (stream is not None and not stream.needs_input):
                if stream is None:
                    stream, streams = decompressor(), streams + 1
                out = stream.decompress(data, _STEP)
                data = b""
                given += len(out)
                if given > max(_FREE_INFLATION, most_inflation * taken):
                    raise BodyTooLarge(
                        f"The body inflates to more than {most_inflation} times what"
                        " was sent"
                    )
                if out:
                    yield out
                if stream.eof:
                    data, stream = stream.unused_data, None
    except (zlib.error, OSError, EOFError) as error:
        raise BodyUnreadable("The compressed body is damaged") from error
    if stream is not None:
        raise BodyUnreadable("The compressed body is damaged")


@contextmanager
def _read_to_the_end(sent: Iterator[bytes]) -> Iterator[None]:
    """Take the rest of a body that is refused, so that the refusal is read."""
    try:
        yield
    except _REFUSED:
        end = time.monotonic() + _DRAIN_SECONDS
        with suppress(AppError):
            for _ in sent:
                if time.monotonic() > end:
                    break
        raise


@contextmanager
def _writer(services: Services, path: str) -> Iterator[IO[bytes]]:
    """Raises StorageFailed for what the files raise."""
    try:
        with services.files.writer(path) as file:
            yield file
    except OSError as error:
        raise StorageFailed from error


class _Sending:
    """A job's input while one request sends it, and no other may."""

    def __init__(self, services: Services, job: Job) -> None:
        self._services = services
        self._job = job
        self._name = f"upload-{secrets.token_hex(8)}"
        self._renewed = 0.0

    def __enter__(self) -> _Sending:
        """Raises UploadRefused."""
        self._renew()
        return self

    def during(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, while the job is held for this request.

        Raises UploadRefused when it is ended meanwhile.
        """
        for piece in pieces:
            yield piece
            if time.monotonic() > self._renewed + _RENEWED_SECONDS:
                self._renew()

    def keep(self, pieces: Iterable[bytes]) -> Job:
        """Write the input; the job then waits to be scored."""
        size = 0
        job = self._job
        with _writer(self._services, job.input_path) as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
            # No other may have begun before this becomes the input.
            self._renew()
        now = datetime.now(UTC)
        ahead = self._services.jobs.ahead_of(replace(job, queued_at=now))
        changes = {"phase": "score", "queued_at": now, "intake_bytes": size}
        kept = self._services.jobs.received(
            job.id, self._name, changes, queued(ahead, now)
        )
        _remove(self._services, f"{job.folder}/parts")
        return kept

    def _renew(self) -> None:
        self._services.jobs.receive(self._job.id, self._name, _LEASE)
        self._renewed = time.monotonic()

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        changes: dict[str, object] = {}
        text = ""
        now = datetime.now(UTC)
        if isinstance(error, _REFUSED):
            kept = timedelta(hours=self._services.config.batch_hours)
            changes = {
                "status": "ABORTED",
                "phase": "done",
                "finished_at": now,
                "expires_at": now + kept,
            }
            text = stamped(f"The input was refused: {error}", now)
        # Another request may have it, or the job be gone: then that is how it is.
        with suppress(AppError):
            self._services.jobs.received(self._job.id, self._name, changes, text)
        self._tidy()

    def _tidy(self) -> None:
        """Remove all that is kept of a job that has ended: nobody can have it."""
        try:
            has_ended = self._services.jobs.get(self._job.id).status in _WITHOUT_OUTPUT
        except UnknownJob:
            has_ended = True
        except AppError:
            return
        if has_ended:
            _remove(self._services, self._job.folder)


def queued(ahead: int, now: datetime) -> str:
    """The log's line for a job that begins to wait; ahead: jobs that wait already."""
    return stamped(
        "Submitted job to queue. At the time of submission"
        f" {ahead} job(s) was waiting for processing before this job.",
        now,
    )
