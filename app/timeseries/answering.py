"""What is done with the rows of a time series: read, plan, forecast, write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.answering import Answers, Kind, Writer
from app.config import Config
from app.errors import IntervalsUnknown
from app.explanation_columns import Told
from app.scoring import Rules, judged, refuse_not_finite
from app.timeseries.chunk import ForecastChunk
from app.timeseries.rows import Rows, RowsWanted
from app.timeseries.window import Asked, Limits, Plan, Whole, plan, plan_series
from app.timeseries.writer import (
    ForecastAnswer,
    ForecastCsvWriter,
    ForecastJsonWriter,
)
from backends.features import Columns, read_text
from backends.model import Model
from backends.timeseries.backend import TargetBackend
from backends.timeseries.forecasting import Forecast, parts_of
from backends.timeseries.levels import inverse
from backends.timeseries.panel import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WRITERS: Final[Mapping[Kind, type[ForecastJsonWriter | ForecastCsvWriter]]] = {
    "json": ForecastJsonWriter,
    "csv": ForecastCsvWriter,
}
# Forecasts that are made and written at once: about 4 MB of JSON.
_MOST_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Part:
    """Some forecasts of a plan.

    pairs: which ones.
    new: bool (series,): series that training did not have; None: nobody asks.
    """

    rows: Rows
    plan: Plan
    pairs: slice
    new: NDArray[np.bool_] | None

    @property
    def first_row(self) -> int:
        """The number of the first of them in the answer."""
        return int(self.pairs.start)

    def __len__(self) -> int:
        return int(self.pairs.stop - self.pairs.start)


@dataclass(frozen=True, slots=True)
class Forecasting(Answers[Part]):
    """Rows of time series, some of which are predicted from those before them.

    asked: which forecasts.
    """

    asked: Asked = field(default_factory=Asked)

    @property
    def backend(self) -> TargetBackend:
        """What makes the forecasts."""
        assert isinstance(self.served.backend, TargetBackend)
        return self.served.backend

    def read(
        self, body: bytes, content_type: str | None, limits: Config
    ) -> Iterator[Part]:
        """Read the body of a request, and yield what is to be forecast in parts.

        Raises what `RowsWanted.read` and `plan` raise.
        """
        rows = self.rows_wanted(limits).read(body, content_type)
        yield from self._parts(rows, limits)

    def read_file(self, data: bytes, limits: Config) -> Iterator[Part]:
        """The same of a CSV file; see `RowsWanted.read_file`."""
        yield from self._parts(self.rows_wanted(limits).read_file(data), limits)

    def read_series(
        self, data: bytes, whole: Whole, numbers: Ints, limits: Config
    ) -> Iterator[Part]:
        """The same of some series of a CSV file; one part at least, maybe of nothing.

        data: all rows of these series, under the file's header. numbers: of these rows
        in the file. whole: what `survey` finds in the file.
        """
        rows = self.rows_wanted(limits).read_file(data, whole.clock, numbers)
        wanted = plan_series(
            rows.panel,
            whole,
            self.asked,
            _most(limits),
            allow_partial=self.settings.allow_partial_history,
        )
        yield from self._parts_of(rows, wanted)

    def begin(self, kind: Kind, first: Part) -> tuple[Writer, Callable[[Part], bytes]]:
        """The writer for forecasts, and what fills it; see `Answering.begin`.

        Raises OutputColumnsClash, OutputColumnsRefused and IntervalsUnknown.
        """
        settings, spec = self.settings, self.backend.spec
        rules = self.rules()
        size = (
            settings.prediction_interval_size if settings.prediction_intervals else None
        )
        if size is not None and size not in spec.intervals:
            raise IntervalsUnknown(size)
        writer = _WRITERS[kind](
            ForecastAnswer(
                self.served.model,
                threshold=rules.threshold,
                decimals=self.decimals,
                with_outliers=rules.outlier_bounds is not None,
                approval=self.approval,
                passthrough=tuple(first.rows.passthrough),
                named=() if self.passthrough == "all" else self.passthrough,
                humility=rules.humility,
                told=self._told,
                series_column=spec.series_id_column,
                time_column=spec.datetime_column,
                interval=size,
                with_originals=settings.original_format_timestamp,
                columns=self.columns,
            )
        )
        return writer, partial(_written, self, rules, writer, size)

    @property
    def _told(self) -> Told | None:
        """What is told of explanations, and whether a logarithm keeps it apart."""
        if self.explained is None:
            return None
        in_model_space = self.backend.spec.is_logarithmic
        return replace(self.explained.told, in_model_space=in_model_space)

    def rows_wanted(self, limits: Config) -> RowsWanted:
        """How rows are read."""
        decoder = self.backend.decoder
        return RowsWanted(decoder, self.settings, self.passthrough, limits)

    def _parts(self, rows: Rows, limits: Config) -> Iterator[Part]:
        wanted = plan(
            rows.panel,
            self.asked,
            _most(limits),
            allow_partial=self.settings.allow_partial_history,
        )
        yield from self._parts_of(rows, wanted)

    def _parts_of(self, rows: Rows, wanted: Plan) -> Iterator[Part]:
        at_once = min(_MOST_ROWS, self.most_rows())
        new = self._new_series(rows.panel)
        if not len(wanted.pairs):
            yield Part(rows, wanted, slice(0, 0), new)
            return
        for pairs in parts_of(wanted.pairs, self.backend.spec, at_once):
            yield Part(rows, wanted, pairs, new)

    def _new_series(self, panel: Panel) -> NDArray[np.bool_] | None:
        """Which series training did not have; None if nobody asks, or knows."""
        known = self.served.series
        if known is None or not self.settings.active_rules:
            return None
        return np.array([read_text(label) not in known for label in panel.labels])


def _most(limits: Config) -> Limits:
    return Limits(limits.max_forecasts, limits.max_steps)


def _written(
    forecasting: Forecasting,
    rules: Rules,
    writer: ForecastJsonWriter | ForecastCsvWriter,
    interval: int | None,
    part: Part,
) -> bytes:
    """Forecast and write a part."""
    backend, wanted = forecasting.backend, part.plan
    pairs, panel = wanted.pairs.take(part.pairs), wanted.panel
    numbers = panel.numbers[pairs.rows]
    forecast = backend.forecast(panel, wanted.grid, pairs)
    refuse_not_finite(forecast.values, numbers)
    derivation = forecast.derivation
    columns = Columns(derivation.matrix, offset=derivation.offset)
    predictions = judged(
        backend,
        columns,
        forecast.values,
        rules,
        new_series=None if part.new is None else part.new[pairs.series],
    )
    passthrough = part.rows.passed(pairs.rows)
    intervals = None
    if interval is not None:
        intervals = _intervals(backend, forecast, pairs.distances, interval)
        refuse_not_finite(intervals, numbers)
    chunk = ForecastChunk(
        columns=columns,
        row_ids=numbers,
        series=_series(panel, pairs.series),
        forecast_points=wanted.forecast_points[part.pairs],
        timestamps=panel.times[pairs.rows],
        distances=pairs.distances,
        originals=[panel.originals[each] for each in panel.original[pairs.rows]],
        passthrough=passthrough,
        cells={} if rules.explaining is None else _levels(backend.model, columns),
        intervals=intervals,
    )
    return writer.rows(predictions, chunk)


def _series(panel: Panel, series: NDArray[np.int64]) -> list[Any] | None:
    """The series ids of rows as they were sent; None if there is one series."""
    if panel.spec.series_id_column is None:
        return None
    return [panel.labels[each] for each in series.tolist()]


def _levels(model: Model, columns: Columns) -> dict[str, list[str | None]]:
    """The categories of derived features, as explanations tell them."""
    found = {}
    for position, feature in enumerate(model.features):
        if feature.categories is not None:
            # NaN is the last of them, and none.
            texts = [*map(read_text, feature.categories), None]
            codes = columns.matrix[:, position]
            places = np.where(np.isnan(codes), len(texts) - 1, codes).astype(np.intp)
            found[feature.name] = [texts[place] for place in places.tolist()]
    return found


def _intervals(
    backend: TargetBackend,
    forecast: Forecast,
    distances: NDArray[np.int64],
    size: int,
) -> Floats:
    """Low and high of each forecast, float64 (n, 2), in the target's units."""
    window, table = backend.spec.forecast_window, backend.spec.intervals[size]
    bounds = np.array([table[each] for each in range(window.start, window.end + 1)])
    chosen = bounds[distances - window.start]
    return inverse(forecast.sums[:, :1] + chosen, backend.spec)
