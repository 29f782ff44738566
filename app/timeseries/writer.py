"""Forecasts to JSON or CSV bytes, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import numpy as np
import orjson

from app.explanation_columns import ExplanationCells, Told
from app.humility_columns import humility_keys
from app.json_rows import approval_status, constant, passed_through
from app.output_columns import ALL_COLUMNS, CsvLayout, OutputColumns
from app.prediction_columns import PredictionCells, classes, label_text
from app.scoring import Predictions
from app.timeseries.chunk import ForecastChunk, Moments
from app.tokens import (
    Tokens,
    csv_cell,
    csv_numbers,
    integer_tokens,
    json_value,
    number_tokens,
    pick,
    plain,
    spelled_once,
)
from backends.humility import Rule
from backends.model import Model

# In the orders of the documented samples: that of regression, and that of classes.
# Each in two steps: %b is what all rows share, %%b what is each row's own.
_REGRESSION_ROW = (
    b'{"seriesId":%%b,"forecastPoint":%%b,"rowId":%%b,"timestamp":%%b,'
    b'"predictionValues":[{"value":%%b,"label":%b}],"forecastDistance":%%b,'
    b'"prediction":%%b'
)
_CLASS_ROW = (
    b'{"rowId":%%b,"prediction":%%b%b,"predictionValues":[%b],"timestamp":%%b,'
    b'"forecastDistance":%%b,"forecastPoint":%%b,"seriesId":%%b'
)
_CLASS_VALUE = b'{"label":%b,"value":%%b}'
_INTERVAL = b',"predictionIntervals":{"%d":{"low":%%b,"high":%%b}}'

# Source: "Time series predictions for deployments". Forecast points are in whole
# seconds, and timestamps have six digits behind them.
_JSON_MOMENT = b'"%bZ"'
_CSV_MOMENT = b"%bZ"


@dataclass(frozen=True, slots=True)
class ForecastAnswer:
    """What an answer is to look like.

    time_column, series_column: the columns of the request that tell a row's time and
        series; None: there is one series.
    threshold: binary only.
    decimals: most digits after the point.
    interval: size of the rows' prediction intervals, in percent; None: they have none.
    with_originals: whether JSON tells times as they were sent as well.
    with_outliers: whether the predictions carry outlier flags.
    approval: the deployment's approval status; None where the workflow is off.
    passthrough: names of the passthrough columns, in order.
    named: those of them that the request names.
    humility: the rules that the predictions were held against.
    told: what the predictions' explanations tell; None if they carry none.
    columns: which columns of CSV are told.
    """

    model: Model
    time_column: str
    series_column: str | None = None
    threshold: float = 0.5
    decimals: int = 10
    interval: int | None = None
    with_originals: bool = False
    with_outliers: bool = False
    approval: str | None = None
    passthrough: Sequence[str] = ()
    named: Sequence[str] = ()
    humility: Sequence[Rule] = ()
    told: Told | None = None
    columns: OutputColumns = ALL_COLUMNS

    @property
    def target(self) -> str:
        """What is predicted, as answers call it."""
        return f"{self.model.target} (actual)"

    @property
    def csv_passthrough(self) -> list[str]:
        """Names of the passthrough columns of CSV.

        Unless it is named, none is told again that the answer has already: those of
        series and time.
        """
        own = {self.series_column, self.time_column} - set(self.named)
        return [name for name in self.passthrough if name not in own]

    def explanation_cells(self, labels: Sequence[bytes]) -> ExplanationCells | None:
        """What writes explanations, if there are any.

        labels: what JSON calls the model's labels, or the one that is explained.
        """
        if self.told is None:
            return None
        return ExplanationCells(self.model, self.told, labels, self.decimals)


class ForecastJsonWriter:
    """Writes rows in the documented key order.

    Rows differ in their cells only: whole columns are turned into text at once, and
    each row of them fills the same template.
    """

    media_type = "application/json"
    head = b'{"data":['
    separator = b","
    foot = b"]}"

    def __init__(self, answer: ForecastAnswer) -> None:
        self.answer = answer
        model = answer.model
        names = [answer.target]
        if model.task != "regression":
            # Always the names of the classes, and those always texts.
            names = list(map(label_text, classes(model)))
        labels = list(map(orjson.dumps, names))
        self.predicted = PredictionCells(
            model, labels, answer.humility, number_tokens, answer.decimals
        )
        self.explanations = answer.explanation_cells(labels)
        self.row = _json_row(answer, labels)

    def rows(self, predictions: Predictions, chunk: ForecastChunk) -> bytes:
        """The rows' objects joined by commas, without the enclosing list."""
        answer = self.answer
        cells = self._cells(predictions, chunk)
        if chunk.intervals is not None:
            bounds = chunk.intervals.T
            cells += [number_tokens(each, answer.decimals) for each in bounds]
        if answer.with_originals:
            cells.append(spelled_once(plain(chunk.originals), json_value))
        if predictions.outliers is not None:
            cells.append(pick([b"false", b"true"], predictions.outliers))
        found = predictions.explanations
        if self.explanations is not None and found is not None:
            cells.append(self.explanations.json(found, chunk))
            if found.remaining is not None:
                cells.append(self.explanations.shap_metadata(found))
        for name in answer.passthrough:
            cells.append(map(json_value, plain(chunk.passthrough[name])))
        if predictions.humbled is not None:
            cells.append(humility_keys(answer.humility, predictions.humbled))
        return b",".join([self.row % each for each in zip(*cells, strict=True)])

    def _cells(self, predictions: Predictions, chunk: ForecastChunk) -> list[Tokens]:
        """What every row has, in the order of its keys."""
        *values, predicted = self.predicted.columns(predictions)
        series: Tokens = repeat(b"null", len(chunk))
        if chunk.series is not None:
            series = spelled_once(plain(chunk.series), json_value)
        points = _moments(chunk.forecast_points, "s", _JSON_MOMENT)
        times = _moments(chunk.timestamps, "us", _JSON_MOMENT)
        distances = integer_tokens(chunk.distances)
        row_ids = integer_tokens(chunk.row_ids)
        if self.answer.model.task == "regression":
            return [series, points, row_ids, times, *values, distances, predicted]
        return [row_ids, predicted, *values, times, distances, points, series]


def _json_row(answer: ForecastAnswer, labels: Sequence[bytes]) -> bytes:
    """A row's text, which takes its cells."""
    row = _json_start(answer, list(map(constant, labels)))
    if answer.interval is not None:
        row += _INTERVAL % answer.interval
    if answer.with_originals:
        row += b',"originalFormatTimestamp":%b'
    if answer.with_outliers:
        row += b',"isOutlierPrediction":%b'
    if answer.approval is not None:
        row += b"," + approval_status(answer.approval)
    if answer.told is not None:
        row += b"," + constant(orjson.dumps(answer.told.key)) + b":%b"
        if answer.told.is_shap:
            row += b',"shapExplanationsMetadata":%b'
    row += passed_through(answer.passthrough)
    return row + (b"%b}" if answer.humility else b"}")


def _json_start(answer: ForecastAnswer, labels: Sequence[bytes]) -> bytes:
    if answer.model.task == "regression":
        return _REGRESSION_ROW % labels[0]
    threshold = b""
    if answer.model.task == "binary":
        threshold = b',"predictionThreshold":' + orjson.dumps(answer.threshold)
    values = b",".join(_CLASS_VALUE % label for label in labels)
    return _CLASS_ROW % (threshold, values)


class ForecastCsvWriter:
    """Writes rows under the output columns of the real-time and batch answers."""

    media_type = "text/csv; charset=utf-8"
    separator = b""
    foot = b""

    def __init__(self, answer: ForecastAnswer) -> None:
        """Raises OutputColumnsClash if a passthrough column has an output's name, and
        OutputColumnsRefused.
        """
        self.answer = answer
        self.passthrough = answer.csv_passthrough
        model = answer.model
        labels = [csv_cell(label_text(label)) for label in classes(model)]
        self.predicted = PredictionCells(
            model, labels, answer.humility, csv_numbers, answer.decimals
        )
        self.constants: list[Tokens] = []
        if model.task == "binary":
            threshold = repr(float(answer.threshold)).encode()
            self.constants = [repeat(threshold), repeat(labels[0])]
        self.explanations = answer.explanation_cells(())
        self.layout = CsvLayout(
            forecast_columns(answer),
            self.passthrough,
            model,
            answer.columns,
            target=answer.target,
        )
        self.head = self.layout.head

    def rows(self, predictions: Predictions, chunk: ForecastChunk) -> bytes:
        """The rows' lines, each ended."""
        answer = self.answer
        cells: list[Tokens] = []
        if answer.series_column is not None:
            cells.append(spelled_once(plain(chunk.series), csv_cell))
        cells += [
            _moments(chunk.forecast_points, "s", _CSV_MOMENT),
            _moments(chunk.timestamps, "us", _CSV_MOMENT),
            integer_tokens(chunk.distances),
            *self.predicted.csv_columns(predictions),
            *self.constants,
        ]
        if chunk.intervals is not None:
            bounds = chunk.intervals.T
            cells += [csv_numbers(each, answer.decimals) for each in bounds]
        if predictions.outliers is not None:
            cells.append(pick([b"False", b"True"], predictions.outliers))
        if self.explanations is not None and predictions.explanations is not None:
            cells += self.explanations.csv(predictions.explanations, chunk)
        if answer.approval is not None:
            cells.append(repeat(csv_cell(answer.approval)))
        for name in self.passthrough:
            cells.append(map(csv_cell, plain(chunk.passthrough[name])))
        return self.layout.lines(cells, len(predictions))


def forecast_columns(answer: ForecastAnswer) -> list[str]:
    """Names of the output columns, in the order of recorded answers.

    The series id comes first: clients tell several series from one by what does.
    """
    model = answer.model
    columns = [] if answer.series_column is None else [answer.series_column]
    columns += ["FORECAST_POINT", answer.time_column, "FORECAST_DISTANCE"]
    names = map(label_text, classes(model))
    columns += [f"{answer.target}_{name}_PREDICTION" for name in names]
    columns.append(f"{answer.target}_PREDICTION")
    if model.task == "binary":
        columns += ["THRESHOLD", "POSITIVE_CLASS"]
    if (size := answer.interval) is not None:
        columns += [f"PREDICTION_{size}_PERCENTILE_{end}" for end in ("LOW", "HIGH")]
    if answer.with_outliers:
        columns.append("IS_OUTLIER_PREDICTION")
    if (explanations := answer.explanation_cells(())) is not None:
        columns += explanations.csv_columns
    if answer.approval is not None:
        columns.append("DEPLOYMENT_APPROVAL_STATUS")
    return columns


def _moments(moments: Moments, unit: Literal["s", "us"], form: bytes) -> list[bytes]:
    """Moments in UTC, to the unit; each different one is spelled once."""
    different, positions = np.unique(moments, return_inverse=True)
    texts = np.datetime_as_string(different, unit=unit).tolist()
    return pick([form % text.encode() for text in texts], positions)
