"""Prediction intervals: how far forecasts of the past were from what then came.

A model is trained on what lay before a block of time and forecasts it from every
origin in it, block after block. What it was wrong by, at each distance, makes the
intervals; the newest block is kept from them and tells how much they cover.

Errors are taken where the model's transforms are not undone yet but for what was
subtracted: before `expm1`, where there is a log1p, and in the target's units elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.forecasting import Model, forecast, grid_of, parts_of
from backends.timeseries.levels import scale
from backends.timeseries.pairs import Pairs
from backends.timeseries.panel import Panel
from backends.timeseries.spec import Spec, Window
from backends.timeseries.training import TrainingRows, panel_of_table, training_rows

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Size in percent to forecast distance to what is added to a prediction, low and high.
Intervals = Mapping[int, Mapping[int, tuple[float, float]]]
# Features and target of training, to what predicts from features.
Fit = Callable[["pd.DataFrame", Floats], Callable[["pd.DataFrame"], Any]]
Predict = Callable[[Floats], Any]
# The same of arrays, for the model of a distance; None: of the only model.
Train = Callable[[int | None, Floats, Floats], Predict]

# Source: "Time series projects" of the modelling API's Python client.
SIZES = (80,)
FEWEST = 10
BACKTESTS = 3


class IntervalsUnavailable(ValueError):
    """The data, or the model, does not make prediction intervals."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of time, forecast by a model trained on what lay before it.

    start, end: its first and its last timestamp, datetime64[us].
    training_rows: what the model was trained on.
    residuals: float64 (n,), what came less what was forecast. distances: int64 (n,).
    """

    start: np.datetime64
    end: np.datetime64
    training_rows: int
    residuals: Floats
    distances: Ints


@dataclass(frozen=True, slots=True)
class Backtests:
    """Blocks of the past, oldest first, and the newest, which no interval is made of.

    window: the forecast window.
    """

    window: Window
    blocks: tuple[Block, ...]
    held_out: Block

    def intervals(self, sizes: Sequence[int] = SIZES) -> Intervals:
        """The intervals that the blocks make; see `residual_quantiles`.

        Raises IntervalsUnavailable for a distance of the window without enough errors.
        """
        residuals = np.concatenate([block.residuals for block in self.blocks])
        distances = np.concatenate([block.distances for block in self.blocks])
        for distance in range(self.window.start, self.window.end + 1):
            if not (distances == distance).any():
                raise _too_few(distance, 0)
        return residual_quantiles(residuals, distances, sizes)

    def coverage(self, intervals: Intervals) -> dict[int, float]:
        """What the intervals cover of the block that was held out; see `coverage`."""
        return coverage(self.held_out.residuals, self.held_out.distances, intervals)


def backtest(
    spec: Spec,
    frame: pd.DataFrame,
    fit: Fit,
    *,
    backtests: int = BACKTESTS,
    steps: int | None = None,
) -> Backtests:
    """Backtest a model of any library.

    frame: as for `training_frame`.
    fit: given features (n, features) by their names and the target (n,) as
        `training_frame` gives them, trains a model and returns what predicts the
        target from such features. With a model for each distance it is called for each.
    backtests: how many blocks make the intervals.
    steps: of a block.

    Raises IntervalsUnavailable, and what `training_frame` raises.
    """
    import pandas as pd

    from backends.timeseries.frames import table_of

    panel = panel_of_table(table_of(frame, spec), spec)

    def named(matrix: Floats) -> pd.DataFrame:
        return pd.DataFrame(matrix, columns=spec.names)

    def train(_: int | None, matrix: Floats, y: Floats) -> Predict:
        predict = fit(named(matrix), y)
        return lambda matrix: predict(named(matrix))

    return backtest_panel(panel, train, backtests=backtests, steps=steps)


def backtest_panel(
    panel: Panel, train: Train, *, backtests: int = BACKTESTS, steps: int | None = None
) -> Backtests:
    """Backtest as `backtest` does, with rows that are read.

    train: with the distance whose model is trained, None where there is one model,
        the features, float64 (n, features), and the target, float64 (n,).
    """
    spec = panel.spec
    if spec.target_type != "Regression":
        raise IntervalsUnavailable(
            f"Intervals are for targets of Regression, not {spec.target_type}"
        )
    rows = training_rows(panel)
    times = panel.times[rows.pairs.rows]
    moments = np.unique(times)
    length = _length(spec, len(moments), backtests, steps)
    blocks = []
    for start in range(len(moments) - (backtests + 1) * length, len(moments), length):
        first, last = moments[start], moments[start + length - 1]
        before = times < first
        model = _trained(spec, rows.take(before), train)
        pairs, residuals = _residuals(panel, rows, model, first, last)
        known = ~np.isnan(residuals)
        block = Block(
            first, last, int(before.sum()), residuals[known], pairs.distances[known]
        )
        if not np.isfinite(block.residuals).all():
            raise IntervalsUnavailable(
                f"The forecasts of the block from {first} have no finite error"
            )
        blocks.append(block)
    return Backtests(spec.forecast_window, tuple(blocks[:-1]), blocks[-1])


def residual_quantiles(
    residuals: Floats, distances: Ints, sizes: Sequence[int] = SIZES
) -> dict[int, dict[int, tuple[float, float]]]:
    """The intervals that errors make: of each size the middle part of the errors.

    residuals: float64 (n,), what came less what was forecast. distances: int64 (n,).
    sizes: in percent, 1 to 99.

    The quantiles are those at q (n + 1): one more error of the same kind is then
    between them as often as the size says, in the mean; quantiles of the errors alone
    would be too narrow where these are few.

    Raises IntervalsUnavailable for a distance with fewer than 10 errors.
    """
    for size in sizes:
        if not 1 <= size <= 99:
            raise IntervalsUnavailable(f"Sizes are percents from 1 to 99, not {size}")
    found: dict[int, dict[int, tuple[float, float]]] = {size: {} for size in sizes}
    for distance in np.unique(distances).tolist():
        here = residuals[distances == distance]
        if len(here) < FEWEST:
            raise _too_few(distance, len(here))
        for size in sizes:
            tails = ((100 - size) / 200, (100 + size) / 200)
            low, high = np.quantile(here, tails, method="weibull").tolist()
            found[size][distance] = low, high
    return found


def coverage(
    residuals: Floats, distances: Ints, intervals: Intervals
) -> dict[int, float]:
    """The share of forecasts, by size, whose intervals held what came.

    residuals, distances: of forecasts that the intervals were not made of. Those at a
    distance without an interval do not count. NaN if none does.
    """
    return {
        size: _share_inside(residuals, distances, bounds)
        for size, bounds in intervals.items()
    }


def with_intervals(raw: Mapping[str, Any], intervals: Intervals) -> dict[str, Any]:
    """A spec's JSON object with these intervals instead of those it had."""
    said: dict[str, Any] = {"space": "model"}
    for size, bounds in sorted(intervals.items()):
        said[str(size)] = {
            str(distance): list(bounds[distance]) for distance in sorted(bounds)
        }
    return {**raw, "predictionIntervals": said}


# ---- Blocks


def _length(spec: Spec, moments: int, backtests: int, steps: int | None) -> int:
    """How many steps a block has: half of the data is left for the first training.

    moments: different timestamps that can be forecast.
    """
    if backtests < 1:
        raise IntervalsUnavailable("At least one backtest is needed")
    blocks = backtests + 1
    # The furthest distance has that many forecasts of one series.
    fewest = spec.forecast_window.end - 1 + -(-FEWEST // backtests)
    length = max(moments // (2 * blocks), fewest) if steps is None else steps
    if length < 1 or length * blocks >= moments:
        raise IntervalsUnavailable(
            f"{blocks} blocks of {length} steps are to be forecast, {backtests} for the"
            f" intervals and the newest for their coverage, and the data has {moments}"
            " steps that can be, with something before them to train on: give more"
            " data, or ask for fewer backtests or steps"
        )
    return length


def _residuals(
    panel: Panel,
    rows: TrainingRows,
    model: Model,
    first: np.datetime64,
    last: np.datetime64,
) -> tuple[Pairs, Floats]:
    """What came in a block less what is forecast of it from every origin in it.

    An origin is the last row before the block, or later.
    """
    earliest = np.full(len(panel.labels), np.iinfo(np.int64).min)
    before = panel.times < first
    np.maximum.at(earliest, panel.series[before], panel.steps[before])

    def inside(pairs: Pairs) -> NDArray[np.bool_]:
        times = panel.times[pairs.rows]
        in_block = (times >= first) & (times <= last)
        return np.asarray(in_block & (pairs.origins >= earliest[pairs.series]))

    if panel.spec.strategy == "direct":
        # Their features and targets are there already.
        chosen = rows.take(inside(rows.pairs))
        answers = [
            model(chosen.matrix[part])[:, 0]
            for part in parts_of(chosen.pairs, panel.spec)
        ]
        return chosen.pairs, chosen.y - np.concatenate([*answers, np.empty(0)])
    pairs = _every_pair(panel)
    pairs = pairs.take(inside(pairs))
    forecasts = [np.empty((0, 1))]
    for each in parts_of(pairs, panel.spec):
        part = pairs.take(each)
        forecasts.append(forecast(panel, grid_of(panel, part), part, model).sums)
    sums = np.concatenate(forecasts)[:, 0]
    return pairs, scale(panel.target[pairs.rows], panel.spec) - sums


def _every_pair(panel: Panel) -> Pairs:
    """Every row with a target at every distance that has the history."""
    window = panel.spec.forecast_window
    known = np.flatnonzero(~np.isnan(panel.target))
    distances = np.arange(window.start, window.end + 1)
    pairs = Pairs.every(panel, known, distances)
    pairs = pairs.take(panel.has_history(pairs.series, pairs.origins))
    # By origin, so that what one origin forecasts is forecast together.
    return pairs.take(np.lexsort((pairs.distances, pairs.origins, pairs.series)))


# ---- Models


def _trained(spec: Spec, rows: TrainingRows, train: Train) -> Model:
    """Train one model, or one for each distance, as the spec has them."""
    width = len(spec.features)
    if not spec.models:
        predict = train(None, rows.matrix, rows.y)
        return lambda matrix: _column(predict(matrix))
    predicts = {}
    for distance in spec.models:
        here = rows.pairs.distances == distance
        if not here.any():
            raise IntervalsUnavailable(
                f"There is nothing to train the model of distance {distance} on before"
                " the first block: give more data, or ask for fewer backtests or steps"
            )
        predicts[distance] = train(distance, rows.matrix[here, :width], rows.y[here])

    def answer(matrix: Floats) -> Floats:
        answers = np.empty((len(matrix), 1))
        for distance in np.unique(matrix[:, width]).astype(int).tolist():
            here = matrix[:, width] == distance
            answers[here] = _column(predicts[distance](matrix[here, :width]))
        return answers

    return answer


def _column(answers: Any) -> Floats:
    return np.asarray(answers, np.float64).reshape(-1, 1)


# ---- Shares


def _share_inside(
    residuals: Floats, distances: Ints, bounds: Mapping[int, tuple[float, float]]
) -> float:
    inside = total = 0
    for distance, (low, high) in bounds.items():
        here = residuals[distances == distance]
        inside += int(((here >= low) & (here <= high)).sum())
        total += len(here)
    return inside / total if total else np.nan


def _too_few(distance: int, count: int) -> IntervalsUnavailable:
    return IntervalsUnavailable(
        f"There are {count} errors at distance {distance}, and an interval takes"
        f" {FEWEST} or more: give more data, or ask for more backtests or steps"
    )
