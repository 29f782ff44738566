"""How much work a request will be, before it is done."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from app.config import Config
from app.explanation_request import Explained
from app.model_cache import ServedModel
from app.store.settings import DeploymentSettings
from schemas.arguments import PredictionArguments

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Explaining a row takes as long as predicting so many, at least.
_EXPLAINING = 20


def content_length(environ: WSGIEnvironment) -> int | None:
    """The length of the body in bytes; None if it comes in chunks."""
    # gunicorn has refused any that is not a number.
    length = environ.get("CONTENT_LENGTH")
    if length:
        return int(length)
    return None if "HTTP_TRANSFER_ENCODING" in environ else 0


def is_bulk(
    environ: WSGIEnvironment,
    served: ServedModel,
    arguments: PredictionArguments,
    explained: Explained | None,
    config: Config,
) -> bool:
    """Whether the request waits for a bulk slot, and is scored by its threads."""
    length = content_length(environ)
    if length is None:
        return True
    # A compressed body may hold many times what was sent.
    growth = 20 if environ.get("HTTP_CONTENT_ENCODING") else 1
    if explained is not None:
        growth *= _EXPLAINING
    growth *= _forecasting(served, arguments)
    return length * growth > config.bulk_body


def _forecasting(served: ServedModel, arguments: PredictionArguments) -> int:
    """How many times the work of a prediction a row may be."""
    spec = served.model.time_series
    if spec is None:
        return 1
    growth, furthest = 1, int(spec["forecastWindow"]["end"])
    if spec.get("strategy") == "recursive":
        # Step by step.
        growth *= furthest
    if arguments.predictions_start_date is not None:
        # Every row at every distance.
        growth *= furthest - int(spec["forecastWindow"]["start"]) + 1
    return growth


def limits_of(settings: DeploymentSettings, config: Config) -> Config:
    """The server's settings, with room for the rows that the deployment takes."""
    if settings.rows_per_request is None:
        return config
    return _with_rows(config, min(settings.rows_per_request, config.max_rows))


@lru_cache(maxsize=64)
def _with_rows(config: Config, most: int) -> Config:
    # Making them takes as long as a small request.
    return replace(config, max_rows=most)


def most_rows(explained: Explained | None, config: Config) -> int:
    """Rows that an answer has room for. It is held in memory until it is sent."""
    if explained is None:
        return sys.maxsize
    return config.max_explanations // max(1, explained.told.items)
