"""Makes a golden sample: a request from the training data, answered another way.

Its features are derived from all of the training data, the training library answers
them, and transforms are undone number by number.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app import golden
from app.bundling import PackagingRefused
from app.golden import Answer, Record
from app.model_cache import ServedModel
from app.prediction_columns import label_text
from app.timeseries.sample import DERIVED, derived_cells, replay
from backends.bundle import (
    GIVEN,
    GIVEN_EXPECTED,
    GIVEN_JSON,
    SAMPLE,
    SAMPLE_EXPECTED,
)
from backends.model import Model
from backends.timeseries.levels import differenced_from
from backends.timeseries.panel import Panel
from backends.timeseries.spec import Baseline, Difference, Log1p, Spec, Static
from backends.timeseries.training import (
    TrainingRows,
    panel_of_table,
    training_rows,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# More would show nothing that these do not.
_MOST_SERIES = 3
# Forecast points that are tried.
_TRIED = 3

_NO_SAMPLE = (
    "The data has no forecast point that a golden sample could be made for: the way"
    " from a request's rows to features is not held against training"
)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is forecast of a series.

    series: position among the panel's. pairs: int (n,): positions among the training
    rows, one for each distance; of the recursive strategy each is of the next step.
    rows: int (n,): of the panel. distances: int (n,), ascending.
    """

    series: int
    pairs: Ints
    rows: Ints
    distances: Ints


@dataclass(frozen=True, slots=True)
class _Forecast:
    """One forecast: of which row of the training data, and what is answered.

    features: the derived row that it is made from.
    """

    series: int
    row: int
    distance: int
    features: Record
    values: Sequence[float]


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
    chosen = list(islice(_choices(panel, training), _TRIED))
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
    ahead: Sequence[_Ahead],
) -> None:
    """Write the sample of a forecast point, and its answer."""
    rows, request = _request(table, panel, origin, ahead)
    body = golden.as_csv(list(request[0]), request)
    (folder / SAMPLE).write_bytes(body)
    answer = golden.answering(folder, model)
    if panel.spec.strategy == "recursive":
        forecasts = _recursive(model, answer, table, panel, origin, ahead)
    else:
        forecasts = _direct(model, answer, panel, training, origin, ahead)
    first = panel.times[_rows_at(panel, ahead[0].series, origin)][0]
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


# ---- What is asked


def _choices(
    panel: Panel, training: TrainingRows
) -> Iterator[tuple[int, list[_Ahead]]]:
    """Steps of forecast points, and what is forecast of some series from there.

    Those first behind which most series have most rows, of equals the newest. Each
    series has a row there, and one of them the target that makes it the request's own.
    """
    spec, pairs = panel.spec, training.pairs
    low = int(pairs.origins.min())
    # Steps ahead of an origin are not those of the next series.
    span = int(pairs.origins.max()) - low + 1 + spec.forecast_window.end
    keys = pairs.series * span + (pairs.origins - low)
    complete = _complete(keys, spec)
    series, origins = complete // span, complete % span + low
    grid = panel.grid(int(panel.steps.min()), int(panel.steps.max()))
    known = np.append(~np.isnan(panel.target), False)
    ends = origins + spec.feature_derivation_window.end
    is_known = known[grid.find(series, ends)]
    has_row = grid.find(series, origins) >= 0
    for offset in range(differenced_from(spec) or 0, 0):
        # A request has to have all of these.
        has_row &= known[grid.find(series, origins + offset)]
    candidates, counts = np.unique(origins[has_row], return_counts=True)
    possible = np.isin(candidates, origins[has_row & is_known])
    for place in np.lexsort((candidates, counts))[::-1]:
        if not possible[place]:
            continue
        origin = int(candidates[place])
        here = np.flatnonzero(has_row & (origins == origin))
        here = here[np.argsort(~is_known[here], kind="stable")]
        # Steps that are rows are of one series each.
        here = np.sort(here[: 1 if spec.is_row_based else _MOST_SERIES])
        ahead = [
            _ahead(panel, training, int(series[each]), keys, int(complete[each]))
            for each in here
        ]
        if not spec.is_row_based or _is_unbroken(ahead[0], spec):
            yield origin, ahead


def _is_unbroken(ahead: _Ahead, spec: Spec) -> bool:
    """Whether there is a forecast of each row that the request must have."""
    first = 1 if spec.strategy == "recursive" else spec.forecast_window.start
    return bool((ahead.distances == first + np.arange(len(ahead.rows))).all())


def _complete(keys: Ints, spec: Spec) -> Ints:
    """The origins that have the most distances.

    keys: int (n,): of the origin of each training row; one step later is one more.
    """
    origins, counts = np.unique(keys, return_counts=True)
    if spec.strategy == "direct":
        return np.asarray(origins[counts == counts.max()])
    runs = np.ones(len(origins), np.int64)
    for distance in range(1, spec.forecast_window.end):
        runs += (runs == distance) & np.isin(origins + distance, origins)
    is_longest = (runs == runs.max()) & (runs >= spec.forecast_window.start)
    return np.asarray(origins[is_longest])


def _ahead(
    panel: Panel, training: TrainingRows, series: int, keys: Ints, key: int
) -> _Ahead:
    """What is forecast of a series from the origin of a key."""
    spec, pairs = panel.spec, training.pairs
    if spec.strategy == "direct":
        own = np.flatnonzero(keys == key)
        return _Ahead(series, own, pairs.rows[own], pairs.distances[own])
    own = np.flatnonzero((keys >= key) & (keys < key + spec.forecast_window.end))
    # To the first step that is not there.
    own = own[keys[own] - key == np.arange(len(own))]
    return _Ahead(series, own, pairs.rows[own], np.arange(len(own)) + 1)


def _rows_at(panel: Panel, series: int, step: int) -> Ints:
    return np.flatnonzero((panel.series == series) & (panel.steps == step))


def _request(
    table: pa.Table, panel: Panel, origin: int, ahead: Sequence[_Ahead]
) -> tuple[list[int], list[Record]]:
    """The rows of a request, and which rows of the training data they are.

    Of each series the least history that a request has to have, and the rows to
    forecast, which only have what is known in advance. Where steps are rows there are
    those between as well.
    """
    spec = panel.spec
    columns = (spec.datetime_column, spec.series_id_column, *spec.columns)
    names = [name for name in columns if name is not None]
    given = {spec.datetime_column, spec.series_id_column, *spec.known_in_advance}
    end = origin + spec.feature_derivation_window.end
    rows: list[int] = []
    records: list[Record] = []
    for each in ahead:
        own = np.concatenate([_history(panel, each.series, origin), each.rows])
        if spec.is_row_based:
            own = _between(panel, each.series, own)
        rows += own.tolist()
        for row, record in zip(
            own.tolist(), table.select(names).take(own).to_pylist(), strict=True
        ):
            if panel.steps[row] > end:
                record[spec.target] = None
            if panel.steps[row] > origin:
                record = {
                    name: cell if name in given else None
                    for name, cell in record.items()
                }
            records.append(record)
    return rows, records


def _history(panel: Panel, series: int, origin: int) -> Ints:
    """The rows of a series that forecasts from an origin need, in their order."""
    own = np.flatnonzero(panel.series == series)
    own = own[np.argsort(panel.steps[own])]
    steps = panel.steps[own]
    first = origin + panel.spec.effective_start + 1
    # The series has to begin there, or before.
    first = int(steps[steps <= first].max())
    return np.asarray(own[(steps >= first) & (steps <= origin)])


def _between(panel: Panel, series: int, rows: Ints) -> Ints:
    """All rows of a series from the first of some to the last, in their order."""
    steps = panel.steps[rows]
    is_own = (panel.series == series) & (panel.steps >= steps.min())
    found = np.flatnonzero(is_own & (panel.steps <= steps.max()))
    return np.asarray(found[np.argsort(panel.steps[found])])


# ---- What is answered


def _direct(
    model: Model,
    answer: Answer,
    panel: Panel,
    training: TrainingRows,
    origin: int,
    ahead: Sequence[_Ahead],
) -> Iterator[_Forecast]:
    """Forecasts of all distances at once."""
    for each in ahead:
        derived = derived_cells(model, training.matrix[each.pairs])
        values, _ = answer(derived)
        known = _targets(panel, each.series)
        for row, distance, features, own in zip(
            each.rows.tolist(),
            each.distances.tolist(),
            derived,
            values.tolist(),
            strict=True,
        ):
            if model.task == "regression":
                own = [_undone(own[0], panel.spec, known, origin, distance)]
            yield _Forecast(each.series, row, distance, features, own)


def _undone(
    value: float, spec: Spec, known: Mapping[int, float], origin: int, distance: int
) -> float:
    """A direct model's answer without its transforms."""
    is_log = any(isinstance(each, Log1p) for each in spec.transforms)
    for transform in reversed(spec.transforms):
        if isinstance(transform, Baseline):
            step = origin + distance
            while step > origin + spec.feature_derivation_window.end:
                step -= transform.period
            value += math.log1p(known[step]) if is_log else known[step]
        elif isinstance(transform, Log1p):
            value = math.expm1(value)
    return value


def _recursive(
    model: Model,
    answer: Answer,
    table: pa.Table,
    panel: Panel,
    origin: int,
    ahead: Sequence[_Ahead],
) -> Iterator[_Forecast]:
    """Forecasts step by step, as if those before had come true."""
    spec = panel.spec
    # Nothing is known of the series after the forecast point, but of the target.
    held = [
        position
        for position, feature in enumerate(spec.features)
        if isinstance(feature, Static) and feature.column != spec.target
    ]
    for each in ahead:
        own = np.flatnonzero(panel.series == each.series)
        rows = _without_future(table.take(own), spec, panel.steps[own] > origin)
        known = _targets(panel, each.series)
        known = {step: value for step, value in known.items() if step <= origin}
        first: Floats | None = None
        for row, distance in zip(
            each.rows.tolist(), each.distances.tolist(), strict=True
        ):
            step = origin + distance
            matrix = _derived(rows, panel, own, known, row)
            first = matrix if first is None else first
            matrix[:, held] = first[:, held]
            derived = derived_cells(model, matrix)
            values, _ = answer(derived)
            sums = float(values[0, 0])
            for place in range(len(spec.transforms) - 1, -1, -1):
                transform = spec.transforms[place]
                if isinstance(transform, Difference):
                    before = step - transform.period
                    sums += _level(known, spec, place, before)
                elif isinstance(transform, Log1p):
                    sums = math.expm1(sums)
            known[step] = sums
            if distance >= spec.forecast_window.start:
                yield _Forecast(each.series, row, distance, derived[0], [sums])


def _level(known: Mapping[int, float], spec: Spec, place: int, step: int) -> float:
    """A step's target with the first so many of the transforms."""
    if place == 0:
        return known[step]
    value = _level(known, spec, place - 1, step)
    transform = spec.transforms[place - 1]
    if isinstance(transform, Difference):
        return value - _level(known, spec, place - 1, step - transform.period)
    return math.log1p(value)


def _without_future(
    table: pa.Table, spec: Spec, is_future: NDArray[np.bool_]
) -> pa.Table:
    """The columns of a spec, of future rows only what is known in advance."""
    kept = (spec.datetime_column, spec.series_id_column, *spec.known_in_advance)
    columns = {name: table[name] for name in kept if name is not None}
    for name in spec.columns:
        if name not in columns:
            columns[name] = pc.if_else(pa.array(is_future), None, table[name])
    return pa.table(columns)


def _derived(
    rows: pa.Table, panel: Panel, own: Ints, known: Mapping[int, float], row: int
) -> Floats:
    """The features of one row, if the target were known up to it; (1, features).

    rows: of its series. own: which ones of the panel they are.
    """
    spec = panel.spec
    # Of the row itself anything will do: nothing looks at it.
    target = [known.get(step, math.nan) for step in panel.steps[own].tolist()]
    target[own.tolist().index(row)] = 0.0
    place = rows.column_names.index(spec.target)
    rows = rows.set_column(place, spec.target, [pa.array(target, pa.float64())])
    training = training_rows(panel_of_table(rows, spec))
    return np.asarray(training.matrix[own[training.pairs.rows] == row])


def _targets(panel: Panel, series: int) -> dict[int, float]:
    """The targets that are known of a series, by step."""
    own = np.flatnonzero((panel.series == series) & ~np.isnan(panel.target))
    steps, values = panel.steps[own].tolist(), panel.target[own].tolist()
    return dict(zip(steps, values, strict=True))


def _answered(
    model: Model, panel: Panel, point: np.datetime64, place: int, forecast: _Forecast
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
