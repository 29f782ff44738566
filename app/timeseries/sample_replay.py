"""Replays golden samples: a bundle's requests for forecasts, and their answers.

A sample goes from a request's rows to forecasts, where golden rows begin behind the
derivation of features. Its answer was not computed by the code that serves.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.config import Config
from app.errors import AppError
from app.model_cache import ServedModel
from app.store.settings import DeploymentSettings
from app.timeseries.answering import Forecasting, Part
from app.timeseries.window import Asked
from backends.bundle import (
    GIVEN,
    GIVEN_EXPECTED,
    GIVEN_JSON,
    SAMPLE,
    SAMPLE_EXPECTED,
)
from backends.features import DataError, read_text
from backends.model import Label, Model
from backends.timeseries.refusals import ForecastRefused, ForecastTooLarge

Floats = NDArray[np.float64]

# Relative, and absolute for each unit of the middle answer. Recursion undoes transforms
# and makes them again; graphs compute in float32.
_TOLERANCE = {"lightgbm": 1e-9}
_FLOAT32_TOLERANCE = 1e-5
# What others computed may be rounded.
_GIVEN_TOLERANCE = 1e-6

# The key of an expected forecast that has its derived features.
DERIVED = "derivedFeatures"

_KINDS = {
    (SAMPLE, SAMPLE_EXPECTED): "text/csv",
    (GIVEN, GIVEN_EXPECTED): "text/csv",
    (GIVEN_JSON, GIVEN_EXPECTED): "application/json",
}
_UNLIMITED = 2**53


@dataclass(frozen=True, slots=True)
class Row:
    """One forecast of an answer; None is what an answer does not say.

    values: by label; of regression by `prediction`.
    features: the derived row that it is made from, levels of categorical ones.
    """

    row_id: int
    values: Mapping[str, float]
    features: Mapping[str, Any] | None = None
    distance: int | None = None
    series: str | None = None
    timestamp: datetime | None = None
    forecast_point: datetime | None = None


def replay(folder: Path, served: ServedModel) -> tuple[int, float]:
    """Answer a bundle's samples as a server would.

    Returns how many forecasts they have, and the largest difference. Raises ValueError
    naming the row whose forecast is another.
    """
    forecasts, largest = 0, 0.0
    for (request, expected), content_type in _KINDS.items():
        if not (folder / request).exists():
            continue
        wanted = read_answer((folder / expected).read_bytes(), expected)
        body = (folder / request).read_bytes()
        answered = _answer(served, body, content_type, _forecast_point(wanted), request)
        tolerance = _TOLERANCE.get(served.model.format, _FLOAT32_TOLERANCE)
        if request != SAMPLE:
            tolerance = max(tolerance, _GIVEN_TOLERANCE)
        largest = max(largest, _compare(request, wanted, answered, tolerance))
        forecasts += len(wanted)
    return forecasts, largest


# ---- What is expected


def read_answer(text: bytes, name: str) -> list[Row]:
    """Read an answer of the documented form.

    name: of the file, for messages. Raises ValueError.
    """
    try:
        found = [_row(each) for each in json.loads(text)["data"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is no answer with forecasts: {error!r}") from error
    if not found:
        raise ValueError(f"{name} has no forecasts")
    return found


def _row(card: Mapping[str, Any]) -> Row:
    listed = card.get("predictionValues")
    if listed is None or len(listed) == 1:
        values = {"prediction": float(card["prediction"])}
    else:
        values = {str(each["label"]): float(each["value"]) for each in listed}
    distance, series = card.get("forecastDistance"), card.get("seriesId")
    features = card.get(DERIVED)
    return Row(
        row_id=int(card["rowId"]),
        values=values,
        features=None if features is None else dict(features),
        distance=None if distance is None else int(distance),
        series=None if series is None else read_text(series),
        timestamp=_moment(card.get("timestamp")),
        forecast_point=_moment(card.get("forecastPoint")),
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (
        moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    )


def _forecast_point(rows: Sequence[Row]) -> datetime | None:
    """From where all rows are forecast; None if they do not say so."""
    points = {row.forecast_point for row in rows}
    return points.pop() if len(points) == 1 else None


# ---- What is answered


def _answer(
    served: ServedModel,
    body: bytes,
    content_type: str,
    point: datetime | None,
    name: str,
) -> list[Row]:
    asked = Asked(forecast_point=point, relax_known_in_advance=True)
    forecasting = Forecasting(served, DeploymentSettings(), asked=asked)
    # What the server allows in a request is not the bundle's concern.
    limits = dataclasses.replace(
        Config(),
        max_body=_UNLIMITED,
        max_rows=_UNLIMITED,
        max_columns=_UNLIMITED,
        max_forecasts=_UNLIMITED,
        max_steps=_UNLIMITED,
    )
    try:
        parts = list(forecasting.read(body, content_type, limits))
        return [row for part in parts for row in _forecasts(forecasting, part)]
    except (AppError, DataError, ForecastRefused, ForecastTooLarge) as error:
        # The documents' texts may have several lines.
        said = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be forecast from: {said}") from error


def _forecasts(forecasting: Forecasting, part: Part) -> Iterator[Row]:
    wanted, backend = part.plan, forecasting.backend
    panel, pairs = wanted.panel, wanted.pairs.take(part.pairs)
    forecast = backend.forecast(panel, wanted.grid, pairs)
    features = derived_cells(backend.model, forecast.derivation.matrix)
    points = wanted.forecast_points[part.pairs].astype("datetime64[us]").tolist()
    times = panel.times[pairs.rows].astype("datetime64[us]").tolist()
    has_series = panel.spec.series_id_column is not None
    for place, row in enumerate(pairs.rows.tolist()):
        label = panel.labels[int(pairs.series[place])]
        yield Row(
            row_id=row,
            values=_by_label(backend.model, forecast.values[place]),
            features=features[place],
            distance=int(pairs.distances[place]),
            series=read_text(label) if has_series else None,
            timestamp=times[place],
            forecast_point=points[place],
        )


def derived_cells(model: Model, matrix: Floats) -> list[dict[str, Any]]:
    """Derived rows as a client might send them: levels, no codes; None is missing."""
    return [
        {
            feature.name: _cell(feature.categories, value)
            for feature, value in zip(model.features, row, strict=True)
        }
        for row in matrix.tolist()
    ]


def _cell(categories: Sequence[Label] | None, value: float) -> Any:
    if math.isnan(value):
        return None
    return value if categories is None else categories[int(value)]


def _by_label(model: Model, values: Floats) -> dict[str, float]:
    if model.task == "regression":
        return {"prediction": float(values[0])}
    if model.task == "multiclass":
        labels = map(str, model.labels)
        return dict(zip(labels, values.tolist(), strict=True))
    chance = float(values[0])
    return {str(model.positive_label): chance, str(model.negative_label): 1 - chance}


# ---- Whether they are the same


def _compare(
    name: str, expected: Sequence[Row], answered: Sequence[Row], tolerance: float
) -> float:
    """The largest difference. Raises ValueError."""
    if len(expected) != len(answered):
        raise ValueError(
            f"{name} is answered with {len(answered)} forecasts, {len(expected)} are"
            " expected"
        )
    known = [abs(value) for row in expected for value in row.values.values()]
    middle = float(np.median(known))
    largest = 0.0
    for place, (wanted, found) in enumerate(zip(expected, answered, strict=True)):
        what = f"the forecast {place} of {name}, of row {wanted.row_id},"
        _compare_keys(what, wanted, found)
        if wanted.features is not None and found.features is not None:
            _compare_features(what, wanted.features, found.features, tolerance)
        for label, value in wanted.values.items():
            difference = abs(found.values[label] - value)
            if not difference <= tolerance * (abs(value) + middle):
                raise ValueError(
                    f"{what} differs: {found.values[label]} instead of {value}"
                )
            largest = max(largest, difference)
    return largest


def _compare_keys(what: str, wanted: Row, found: Row) -> None:
    for key in ("row_id", "distance", "series", "timestamp", "forecast_point"):
        one, other = getattr(wanted, key), getattr(found, key)
        if one is not None and one != other:
            raise ValueError(
                f"{what} has the {key.replace('_', ' ')} {other}, not {one}"
            )
    if wanted.values.keys() != found.values.keys():
        raise ValueError(
            f"{what} tells of {', '.join(found.values)}, not of"
            f" {', '.join(wanted.values)}"
        )


def _compare_features(
    what: str,
    wanted: Mapping[str, Any],
    found: Mapping[str, Any],
    tolerance: float,
) -> None:
    numbers = [abs(cell) for cell in found.values() if isinstance(cell, float)]
    # Differences of large numbers may be small, and off by what those are.
    allowed = tolerance * max(numbers, default=0.0)
    for name, cell in found.items():
        expected = wanted.get(name)
        if isinstance(cell, float) and isinstance(expected, int | float):
            is_right = abs(cell - expected) <= allowed
        else:
            is_right = cell == expected
        if not is_right:
            raise ValueError(
                f"{what} is made from {name!r} {cell} instead of {expected}"
            )
