"""The view of unstructured predictions, told top to bottom."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from app.access_log import RequestRecord
from app.auth import check_datarobot_key
from app.config import Config
from app.errors import (
    DeadlineExceeded,
    DeploymentIsExternal,
    DeploymentNotActive,
    HookNotAllowed,
    ModelUnavailable,
    NoDataToPredict,
    NotUnstructured,
    QueryNotAccepted,
)
from app.front import Answered
from app.model_cache import ServedUnstructured
from app.packing import answered
from app.receiving import body_of, caller_of, model_of
from app.services import Services
from app.store.records import Caller, Deployment
from app.workload import content_length, limits_of
from backends.bundle import BundleRejected
from backends.unstructured.code import HookCode
from backends.unstructured.media import Content

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Headers that are nobody's but the server's.
_SECRET: Final = frozenset(
    (
        *("AUTHORIZATION", "PROXY_AUTHORIZATION", "DATAROBOT_KEY", "COOKIE"),
        *("X_API_KEY", "X_FORWARDED_AUTHORIZATION"),
    )
)


def predict_unstructured_with_key(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
) -> Answered:
    """The same for a client that knows the server's datarobot-key."""
    check_datarobot_key(
        environ.get("HTTP_DATAROBOT_KEY"), services.config.datarobot_key
    )
    return predict_unstructured(services, record, environ, deployment_id)


def predict_unstructured(
    services: Services,
    record: RequestRecord,
    environ: WSGIEnvironment,
    deployment_id: str,
) -> Answered:
    """Hand a body to an unstructured model, and its answer to the client.

    Source: "Predictions for unstructured model deployments".
    """
    config = services.config
    deadline = time.monotonic() + config.request_seconds
    with services.admission:
        caller = caller_of(services, environ, record)
        if environ.get("QUERY_STRING"):
            raise QueryNotAccepted
        deployment = _deployment(services, deployment_id, caller, record)
        if deployment.settings.requests_per_minute is not None:
            services.rate_limits.check(
                deployment.id, deployment.settings.requests_per_minute
            )
        served, is_cached = model_of(services, deployment, record)
        if not isinstance(served, ServedUnstructured):
            raise NotUnstructured
        _check_allowed(served, deployment)
        record.stage("accept")

        is_large = _is_large(environ, config)
        slots = (
            services.hooks.large
            if isinstance(served.backend, HookCode)
            else services.admission.bulk
        )
        with slots(deadline) if is_large else nullcontext():
            if is_large:
                record.stage("wait")
            sent = Content.of(
                _body(services, environ, served, deadline), environ.get("CONTENT_TYPE")
            )
            record.received = len(sent.data)
            record.stage("read")
            answer = _answer(services, deployment, served, sent, environ, deadline)
            record.stage("score")
    return answered(
        [answer.data],
        answer.declared,
        environ,
        model_id=served.model.id,
        is_cached=is_cached,
        vary="Accept-Encoding",
    )


def _deployment(
    services: Services, deployment_id: str, caller: Caller, record: RequestRecord
) -> Deployment:
    record.deployment = deployment_id
    if deployment_id not in services.snapshot.deployments:
        services.catch_up()
    deployment = services.snapshot.deployment(deployment_id, caller)
    if deployment.model_id is None:
        raise DeploymentIsExternal
    if not deployment.enabled:
        raise DeploymentNotActive
    return deployment


def _check_allowed(served: ServedUnstructured, deployment: Deployment) -> None:
    """Raise HookNotAllowed for code that is not that which the operator allowed."""
    if not isinstance(served.backend, HookCode):
        return
    if deployment.settings.python_hook != served.model.id:
        raise HookNotAllowed


def _is_large(environ: WSGIEnvironment, config: Config) -> bool:
    length = content_length(environ)
    # A compressed body may hold many times what was sent.
    growth = 20 if environ.get("HTTP_CONTENT_ENCODING") else 1
    return length is None or length * growth > config.bulk_body


def _body(
    services: Services,
    environ: WSGIEnvironment,
    served: ServedUnstructured,
    deadline: float,
) -> bytes:
    try:
        return body_of(services, environ, deadline)
    except NoDataToPredict:
        # What nothing means is the hook's to say.
        if isinstance(served.backend, HookCode):
            return b""
        raise


def _answer(
    services: Services,
    deployment: Deployment,
    served: ServedUnstructured,
    sent: Content,
    environ: WSGIEnvironment,
    deadline: float,
) -> Content:
    if isinstance(served.backend, HookCode):
        try:
            return services.hooks.answer(
                deployment.id, served.backend, sent, _headers(environ), deadline
            )
        except (BundleRejected, OSError) as error:
            raise ModelUnavailable from error
    # What it brings is imported where there are such models.
    from backends.unstructured.graph import Limits

    limits = limits_of(deployment.settings, services.config)
    most = Limits(
        limits.max_rows, limits.max_pixels, limits.max_body, limits.max_answer
    )

    def go_on() -> None:
        if time.monotonic() > deadline:
            raise DeadlineExceeded

    # The tensors between a graph's nodes may be far larger than what was sent.
    with services.admission.heavy(deadline):
        return served.backend.answer(sent, most, go_on)


def _headers(environ: WSGIEnvironment) -> Mapping[str, str]:
    """The request's headers as a hook is told them: without those that let in."""
    found = {
        name.removeprefix("HTTP_"): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    return {
        name.replace("_", "-").title(): value
        for name, value in found.items()
        if name not in _SECRET
    }
