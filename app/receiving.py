"""What every view does first: who asks, with which model, with what body."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

from app.access_log import RequestRecord
from app.auth import authenticate
from app.body import read_body
from app.config import Config
from app.errors import (
    BodyTooLarge,
    BodyUnreadable,
    DeadlineExceeded,
    InvalidToken,
    ModelUnavailable,
    NotReady,
    SlowClient,
)
from app.model_cache import Served
from app.pace import STEP, STEP_SECONDS
from app.services import Services, now
from app.store.errors import StoreUnreachable, UnknownModel
from app.store.records import Caller, Deployment
from app.workload import content_length
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_NOT_LOADED = (
    *(ModelFileRejected, BundleRejected, UnknownModel, StoreUnreachable),
    OSError,
)


def caller_of(
    services: Services, environ: WSGIEnvironment, record: RequestRecord
) -> Caller:
    """Whose request this is. Raises NotReady, InvalidToken and NoCredentials."""
    if not services.has_read_store:
        raise NotReady
    header = environ.get("HTTP_AUTHORIZATION")
    try:
        caller = authenticate(header, services.snapshot, now())
    except InvalidToken:
        if not services.catch_up():
            raise
        caller = authenticate(header, services.snapshot, now())
    record.user = caller.user.id
    return caller


def model_of(
    services: Services, deployment: Deployment, record: RequestRecord
) -> tuple[Served, bool]:
    """A deployment's model, and whether it was loaded already.

    deployment: one with a model. Raises ModelUnavailable.
    """
    model_id = str(deployment.model_id)
    is_cached = model_id in services.models
    try:
        served = services.models.get(model_id)
    except _NOT_LOADED as error:
        raise ModelUnavailable from error
    record.model = served.model.id
    return served, is_cached


def body_of(
    services: Services,
    environ: WSGIEnvironment,
    deadline: float,
    limits: Config | None = None,
) -> bytes:
    """The body, inflated.

    deadline: in seconds of time.monotonic(). limits: None for the server's own.
    Raises SlowClient, BodyUnreadable and what else `read_body` does.
    """
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        services.slow_clients.reading(connection, deadline)
    try:
        return read_body(
            environ["wsgi.input"],
            content_length=content_length(environ),
            content_encoding=environ.get("HTTP_CONTENT_ENCODING"),
            limits=limits or services.config,
            deadline=deadline,
        )
    except (DeadlineExceeded, TimeoutError):
        raise SlowClient from None
    except (BodyUnreadable, ParseException) as error:
        if time.monotonic() > deadline:
            raise SlowClient from None
        if isinstance(error, BodyUnreadable):
            raise
        raise BodyUnreadable("The body's chunks cannot be read") from error
    finally:
        if connection is not None:
            services.slow_clients.done(connection)


def stream_of(
    services: Services, environ: WSGIEnvironment, most: int
) -> Iterator[bytes]:
    """The body as it comes, not inflated, of any length up to `most` bytes.

    Raises BodyTooLarge, BodyUnreadable for one that is cut off, and SlowClient for one
    of which no 256 KiB arrive in a minute.
    """
    length, size = content_length(environ), 0
    if length is not None and length > most:
        raise BodyTooLarge(f"The body is larger than {most} bytes")
    while length is None or size < length:
        left = STEP if length is None else length - size
        data = _step(services, environ, min(STEP, left))
        if not data:
            break
        size += len(data)
        if size > most:
            raise BodyTooLarge(f"The body is larger than {most} bytes")
        yield data
    if length is not None and size < length:
        raise BodyUnreadable(
            f"The body ends after {size} of the {length} bytes announced"
        )


def _step(services: Services, environ: WSGIEnvironment, size: int) -> bytes:
    connection = environ.get("gunicorn.socket")
    deadline = time.monotonic() + STEP_SECONDS
    if connection is not None:
        services.slow_clients.reading(connection, deadline)
    try:
        data: bytes = environ["wsgi.input"].read(size)
    except (OSError, ParseException) as error:
        if time.monotonic() > deadline or isinstance(error, TimeoutError):
            raise SlowClient from None
        raise BodyUnreadable("The body ends before it is complete") from error
    finally:
        if connection is not None:
            services.slow_clients.done(connection)
    if len(data) < size and time.monotonic() > deadline:
        raise SlowClient
    return data
