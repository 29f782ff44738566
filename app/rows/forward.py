"""The view of the rows API, told top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from app.access_log import RequestRecord
from app.answering import Answering
from app.bulk import in_turn
from app.config import Config
from app.errors import (
    BodyTooLarge,
    DeploymentNotEnabled,
    InsufficientScope,
    IsForecasting,
    IsUnstructured,
    ScoredElsewhere,
)
from app.front import Answered
from app.model_cache import Served, ServedTensors, ServedUnstructured
from app.packing import answered
from app.receiving import body_of, caller_of, model_of
from app.rows.body import Kind, Row, read
from app.rows.piece import Answerer, Piece
from app.rows.tabular import TabularRows
from app.services import Services
from app.store.records import Caller, Deployment
from app.workload import content_length, limits_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The pictures of a request have as many pixels as so many of the largest.
_PICTURES: Final = 20

# Before and behind the rows of an answer.
_AROUND: Final[dict[Kind, tuple[bytes, bytes]]] = {
    "rows": (b'{"rows":[', b"]}"),
    "row": (b"", b""),
}


def forward(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
) -> Answered:
    """Answer rows of named inputs with rows of named outputs.

    Source: "Deployment API"; the wire contract, section 12.
    """
    config = services.config
    deadline = time.monotonic() + config.request_seconds
    with services.admission:
        caller = caller_of(services, environ, record)
        deployment = deployment_of(services, deployment_id, caller, record)
        if not deployment.enabled:
            raise DeploymentNotEnabled(deployment_id)
        if deployment.settings.requests_per_minute is not None:
            services.rate_limits.check(
                deployment_id, deployment.settings.requests_per_minute
            )
        served, is_cached = model_of(services, deployment, record)
        answerer = _answerer(services, deployment, served, deadline)
        record.stage("accept")

        is_large = _is_large(environ, config)
        with services.admission.bulk(deadline) if is_large else nullcontext():
            if is_large:
                record.stage("wait")
            body = body_of(services, environ, deadline)
            record.received = len(body)
            record.stage("read")

            kind, rows = read(body, environ.get("CONTENT_TYPE"))
            most = limits_of(deployment.settings, config).max_rows
            pieces = _pieces(rows, answerer.most_rows, record, most)
            each = services.bulk.map if is_large else in_turn
            head, foot = _AROUND[kind]
            answers = _bounded(each(answerer.answer, pieces, deadline), config)
            parts = [head, *answers, foot]
            record.stage("score")
    return answered(
        parts,
        "application/json",
        environ,
        model_id=served.model.id,
        is_cached=is_cached,
        vary="Accept-Encoding",
    )


def deployment_of(
    services: Services, deployment_id: str, caller: Caller, record: RequestRecord
) -> Deployment:
    """The deployment, when the caller may see it and its model is here.

    Raises InsufficientScope for a token of another deployment, UnknownDeployment and
    ScoredElsewhere.
    """
    record.deployment = deployment_id
    if not caller.may_open(deployment_id):
        raise InsufficientScope
    if deployment_id not in services.snapshot.deployments:
        services.catch_up()
    deployment = services.snapshot.deployment(deployment_id, caller)
    if deployment.model_id is None:
        raise ScoredElsewhere
    return deployment


def _answerer(
    services: Services, deployment: Deployment, served: Served, deadline: float
) -> Answerer:
    settings = deployment.settings
    if isinstance(served, ServedUnstructured):
        raise IsUnstructured
    if isinstance(served, ServedTensors):
        # What it brings is imported where there are such models.
        from app.rows.tensors import TensorRows
        from backends.tensors.pixels import Pixels

        most = services.config.max_pixels
        return TensorRows(
            served.backend,
            served.backend.writer(tensor_json=settings.tensor_json),
            Pixels(most, _PICTURES * most),
            deadline,
            services.admission.heavy,
        )
    if served.model.time_series is not None:
        raise IsForecasting
    answering = Answering(
        served,
        settings,
        deployment.threshold,
        count=partial(services.humility_counts.count, deployment.id),
    )
    return TabularRows(
        served,
        answering.rules(),
        refuse_unknown=settings.unknown_categories == "error",
        refuse_invalid=settings.invalid_numbers == "error",
    )


def _is_large(environ: WSGIEnvironment, config: Config) -> bool:
    """Whether the request waits for a bulk slot, and is answered by its threads."""
    length = content_length(environ)
    # A compressed body may hold many times what was sent.
    growth = 20 if environ.get("HTTP_CONTENT_ENCODING") else 1
    return length is None or length * growth > config.bulk_body


def _pieces(
    rows: Iterable[list[Row]], most_rows: int, record: RequestRecord, most: int
) -> Iterator[Piece]:
    """The rows, so many at once, while the record is told of them.

    most: how many the request may have. Raises BodyTooLarge.
    """
    count = 0
    for some in rows:
        if count + len(some) > most:
            raise BodyTooLarge(f"The request has more than {most} rows")
        for start in range(0, len(some), most_rows):
            piece = Piece(count + start, some[start : start + most_rows])
            record.rows = piece.first_row + len(piece)
            yield piece
        count += len(some)


def _bounded(answers: Iterable[bytes], config: Config) -> Iterator[bytes]:
    """The answers with commas between them. Raises BodyTooLarge.

    A few bytes may ask for a picture each, and the answer is held until it is sent.
    """
    size = 0
    for answer in answers:
        if size:
            yield b","
        size += len(answer)
        if size > config.max_answer:
            raise BodyTooLarge(
                f"The answer is larger than {config.max_answer} bytes: send fewer rows"
                " at once"
            )
        yield answer
