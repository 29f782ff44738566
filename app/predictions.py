"""The one view behind every prediction layout, told top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.access_log import RequestRecord
from app.answering import Answering, Answers, Kind, Piece
from app.bulk import in_turn
from app.errors import (
    BodyTooLarge,
    DeploymentIsExternal,
    DeploymentNotActive,
    ExplainedDeploymentNotFound,
    IsTimeSeries,
    IsUnstructured,
    NoDataToPredict,
    NotAcceptable,
    NotTimeSeries,
    TakesTensors,
)
from app.explanation_request import (
    PREDICTIONS,
    Explained,
    Route,
    asks_for_explanations,
    read_request,
)
from app.front import Answered
from app.model_cache import Served, ServedModel, ServedTensors, ServedUnstructured
from app.packing import answered
from app.receiving import body_of, caller_of, model_of
from app.services import Services
from app.store.errors import InvalidId, UnknownDeployment
from app.store.identifiers import check_id
from app.store.records import Caller, Deployment
from app.workload import is_bulk, limits_of, most_rows
from backends.timeseries.refusals import NoValidOutputRows
from schemas.arguments import PredictionArguments, read_arguments

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def predict(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
    route: Route = PREDICTIONS,
) -> Answered:
    """Score the rows of the request with a deployment's model.

    route: what the address says of explanations.

    Source: "Predictions for deployments", legacy and serverless; "Prediction
    Explanations for deployment".
    """
    deadline = time.monotonic() + services.config.request_seconds
    with services.admission:
        caller = caller_of(services, environ, record)
        arguments = _arguments(environ.get("QUERY_STRING", ""))
        kind = _kind(environ.get("HTTP_ACCEPT", ""))
        deployment = _deployment(
            services, deployment_id, caller, arguments, route, record
        )
        settings = deployment.settings
        if settings.requests_per_minute is not None:
            services.rate_limits.check(deployment.id, settings.requests_per_minute)
        found, is_cached = model_of(services, deployment, record)
        served = _tabular(found)
        _check_route(served, arguments, route)
        explained = None
        if arguments.explanations is not None or route is not PREDICTIONS:
            explained = read_request(served, settings, arguments.explanations, route)
        record.stage("accept")

        is_large = is_bulk(environ, served, arguments, explained, services.config)
        with services.admission.bulk(deadline) if is_large else nullcontext():
            if is_large:
                record.stage("wait")
            try:
                body = body_of(services, environ, deadline)
            except NoDataToPredict:
                if served.model.time_series is not None:
                    raise NoValidOutputRows from None
                raise
            record.received = len(body)
            record.stage("read")

            if explained is not None:
                allowed = time.monotonic() + services.config.explanation_seconds
                explained = explained.until(min(allowed, deadline))
            answering = _answering(services, deployment, served, arguments, explained)
            content_type = environ.get("CONTENT_TYPE")
            limits = limits_of(settings, services.config)
            chunks = answering.read(body, content_type, limits)
            first = next(chunks)
            record.stage("decode")

            writer, work = answering.begin(kind, first)
            each = services.bulk.map if is_large else in_turn
            parts = [writer.head]
            most = most_rows(explained, services.config)
            for rows in each(work, _counted(first, chunks, record, most), deadline):
                parts += [writer.separator, rows] if len(parts) > 1 else [rows]
            parts.append(writer.foot)
            record.stage("score")
    return answered(
        parts,
        writer.media_type,
        environ,
        model_id=served.model.id,
        is_cached=is_cached,
        vary="Accept, Accept-Encoding",
    )


@lru_cache(maxsize=1024)
def _arguments(query: str) -> PredictionArguments:
    # Clients repeat themselves: the same few query strings come again and again.
    # The names are bytes of UTF-8, which WSGI hands over as Latin-1.
    text = query.encode("latin-1").decode(errors="replace")
    given = parse_qs(text, keep_blank_values=True)
    return read_arguments(given)


@lru_cache(maxsize=1024)
def _kind(accept: str) -> Kind:
    if not accept:
        return "json"
    wanted = parse_accept_header(accept, MIMEAccept)
    # A charset beside the type asks for nothing else: both are UTF-8.
    types = MIMEAccept([(each.partition(";")[0], quality) for each, quality in wanted])
    best = types.best_match(["application/json", "text/csv"])
    if best is None:
        raise NotAcceptable
    return "csv" if best == "text/csv" else "json"


def _deployment(
    services: Services,
    deployment_id: str,
    caller: Caller,
    arguments: PredictionArguments,
    route: Route,
    record: RequestRecord,
) -> Deployment:
    record.deployment = deployment_id
    if deployment_id not in services.snapshot.deployments:
        services.catch_up()
    try:
        deployment = services.snapshot.deployment(deployment_id, caller)
    except UnknownDeployment:
        if not asks_for_explanations(arguments.explanations, route):
            raise
        raise not_found(deployment_id) from None
    if deployment.model_id is None:
        raise DeploymentIsExternal
    if not deployment.enabled:
        raise DeploymentNotActive
    return deployment


def not_found(*ids: str) -> ExplainedDeploymentNotFound:
    """Nothing has these ids, in the words of older addresses."""
    try:
        for each in ids:
            check_id(each)
    except InvalidId:
        return ExplainedDeploymentNotFound("Bad request")
    return ExplainedDeploymentNotFound("Not found")


def _tabular(served: Served) -> ServedModel:
    if isinstance(served, ServedUnstructured):
        raise IsUnstructured
    if isinstance(served, ServedTensors):
        raise TakesTensors
    return served


def _check_route(
    served: ServedModel, arguments: PredictionArguments, route: Route
) -> None:
    """Raise what the documents say of a model's forecasts at the wrong address."""
    is_time_series = served.model.time_series is not None
    if is_time_series and route.models == "others":
        raise IsTimeSeries
    asks = route.models == "time series" or arguments.wants_time_series
    if asks and not is_time_series:
        raise NotTimeSeries


def _answering(
    services: Services,
    deployment: Deployment,
    served: ServedModel,
    arguments: PredictionArguments,
    explained: Explained | None,
) -> Answers[Any]:
    """What is done with the rows of the request."""
    wishes = (
        deployment.threshold,
        arguments.passthrough,
        arguments.decimals,
        arguments.prediction_warning,
        partial(services.humility_counts.count, deployment.id),
        explained,
        not arguments.exclude_adjusted_predictions,
    )
    if served.model.time_series is None:
        return Answering(served, deployment.settings, *wishes)
    # What it brings is imported where there are time series.
    from app.timeseries.answering import Forecasting
    from app.timeseries.window import Asked

    asked = Asked(
        arguments.forecast_point,
        arguments.predictions_start_date,
        arguments.predictions_end_date,
        arguments.relax_known_in_advance is True,
    )
    return Forecasting(served, deployment.settings, *wishes, asked=asked)


Pieces = TypeVar("Pieces", bound=Piece)


def _counted(
    first: Pieces, others: Iterator[Pieces], record: RequestRecord, most: int
) -> Iterator[Pieces]:
    """The pieces, while the record is told of their rows. Raises BodyTooLarge."""
    for piece in chain([first], others):
        record.rows = piece.first_row + len(piece)
        if record.rows > most:
            raise BodyTooLarge(
                f"The answer has room for the explanations of {most} rows: send fewer"
                " rows at once, or ask for fewer explanations"
            )
        yield piece
