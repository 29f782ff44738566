"""Writes golden samples: one of the training data, and the one that an author gave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app import golden
from app.bundling import PackagingRefused
from app.model_cache import ServedModel
from app.prediction_columns import label_text
from app.timeseries.sample_forecasts import (
    SampleForecast,
    forecast_directly,
    forecast_recursively,
)
from app.timeseries.sample_replay import DERIVED, replay
from app.timeseries.sample_request import Ahead, choices, request_of, rows_at
from backends.bundle import (
    GIVEN,
    GIVEN_EXPECTED,
    GIVEN_JSON,
    SAMPLE,
    SAMPLE_EXPECTED,
)
from backends.model import Model
from backends.timeseries.panel import Panel
from backends.timeseries.spec import Spec
from backends.timeseries.training import TrainingRows

# Forecast points that are tried.
_TRIED = 3

_NO_SAMPLE = (
    "The data has no forecast point that a golden sample could be made for: the way"
    " from a request's rows to features is not held against training"
)


def write_sample(
    folder: Path,
    served: ServedModel,
    table: pa.Table,
    panel: Panel,
    training: TrainingRows,
) -> str | None:
    """Write a sample and what it is answered to a bundle's folder.

    folder: with the model's files. served: what they are loaded as.
    table: the training data as its file has it. panel, training: what was read and
    derived of it.
    Returns what there is to warn of.
    """
    chosen = list(islice(choices(panel, training), _TRIED))
    if not chosen:
        return _NO_SAMPLE
    doubt = None
    for choice in chosen:
        _write(folder, served.model, table, panel, training, *choice)
        # Only rounding, where predictions are made features of again, may be excused.
        if panel.spec.strategy == "direct":
            return None
        try:
            replay(folder, served)
        except ValueError as error:
            doubt = doubt or str(error)
        else:
            return doubt and f"Another forecast point was taken for the sample: {doubt}"
    _write(folder, served.model, table, panel, training, *chosen[0])
    return None


def _write(
    folder: Path,
    model: Model,
    table: pa.Table,
    panel: Panel,
    training: TrainingRows,
    origin: int,
    ahead: Sequence[Ahead],
) -> None:
    """Write the sample of a forecast point, and its answer."""
    rows, request = request_of(table, panel, origin, ahead)
    body = golden.as_csv(list(request[0]), request)
    (folder / SAMPLE).write_bytes(body)
    answer = golden.answering(folder, model)
    if panel.spec.strategy == "recursive":
        forecasts = forecast_recursively(
            model, answer, table, panel, training, origin, ahead
        )
    else:
        forecasts = forecast_directly(model, answer, panel, training, origin, ahead)
    first = panel.times[rows_at(panel, ahead[0].series, origin)][0]
    places = {row: place for place, row in enumerate(rows)}
    data = [
        _answered(model, panel, first, places[each.row], each) for each in forecasts
    ]
    text = json.dumps({"data": data}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / SAMPLE_EXPECTED).write_text(text + "\n", encoding="utf-8")


def copy_given(folder: Path, spec: Spec, source: Path) -> None:
    """Take along the sample that a spec's author gave.

    source: the folder that the spec lies in. Raises PackagingRefused and OSError.
    """
    given: Any = spec.raw.get("goldenSample")
    if not given:
        return
    if given.keys() != {"request", "expected"}:
        raise PackagingRefused("goldenSample: request and expected are both needed")
    names = {".csv": GIVEN, ".json": GIVEN_JSON}
    request = source / given["request"]
    if request.suffix.lower() not in names:
        raise PackagingRefused(
            f"goldenSample.request: {request.name} is neither .csv nor .json"
        )
    shutil.copyfile(request, folder / names[request.suffix.lower()])
    shutil.copyfile(source / given["expected"], folder / GIVEN_EXPECTED)


def _answered(
    model: Model,
    panel: Panel,
    point: np.datetime64,
    place: int,
    forecast: SampleForecast,
) -> dict[str, Any]:
    """A forecast in the documented form, and what it is made from.

    point: the forecast point. place: number of the row in the request.
    """
    label = panel.labels[forecast.series]
    shared = {
        "seriesId": label,
        "forecastPoint": f"{np.datetime_as_string(point, unit='s')}Z",
        "rowId": place,
        "timestamp": f"{np.datetime_as_string(panel.times[forecast.row], unit='us')}Z",
        "forecastDistance": forecast.distance,
    }
    # No server answers with these; they show a fault that no forecast happens to.
    beside = {DERIVED: forecast.features}
    if model.task == "regression":
        value, text = forecast.values[0], f"{model.target} (actual)"
        told = [{"value": value, "label": text}]
        return {**shared, "predictionValues": told, "prediction": value, **beside}
    chances = list(forecast.values)
    labels = [label_text(each) for each in model.labels]
    if model.task == "binary":
        positive = chances[0]
        is_second = model.positive_label == model.labels[1]
        chances = [1 - positive, positive] if is_second else [positive, 1 - positive]
        is_positive = positive > model.threshold
        chosen = model.positive_label if is_positive else model.negative_label
        shared["predictionThreshold"] = model.threshold
    else:
        chosen = model.labels[chances.index(max(chances))]
    told = [
        {"label": text, "value": value}
        for text, value in zip(labels, chances, strict=True)
    ]
    return {**shared, "prediction": chosen, "predictionValues": told, **beside}
