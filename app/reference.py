"""What a bundle keeps of the training data: statistics, feature impact, a sample.

Prediction warnings, humility rules and explanations are computed from these.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.training_data import spread
from backends.base import Backend
from backends.features import Columns
from backends.model import Feature, Model

Floats = NDArray[np.float64]

# Every half per cent: the bounds of warnings and humility rules are the second and
# the last but one.
GRID = np.linspace(0, 1, 201)
_LOW, _HIGH = 0.005, 0.995

# Levels that are listed by name; the rest are counted together.
_MOST_LEVELS = 100

# A text is listed only if so many rows have it: what few people wrote is theirs.
_LEAST_TEXT_ROWS = 5

# Rows that feature impact is computed on, and, for models of very many features, the
# most predictions that it may take.
_IMPACT_ROWS = 2_500
_IMPACT_PREDICTIONS = 1_000_000
_SEED = 20_240_229

# A probability of 0 or 1 that is wrong would cost infinitely much.
_LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows with what the model says of them and what was true.

    values: float64 (n_rows, k), see `Backend.predict`.
    actual: float64 (n_rows,): the target, or the position of its label; NaN missing.
    """

    columns: Columns
    values: Floats
    actual: Floats

    @property
    def labelled(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.actual)


def prediction_bounds(values: Floats) -> tuple[float, float] | None:
    """The 0.5 and 99.5 % quantiles of finite predictions; None if there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.quantile(finite, (_LOW, _HIGH))
    return float(low), float(high)


def statistics(
    model: Model, training: Columns, target: Floats, holdout: Scored
) -> dict[str, Any]:
    """What statistics.json says, but for the feature impact.

    target: float64 (n_rows,) of the training data, as `Scored.actual`.
    """
    return {
        "training_rows": len(training),
        "holdout_rows": len(holdout.columns),
        "grid": GRID.tolist(),
        "target": _target(model, target),
        "predictions": [_spread_of(column) for column in holdout.values.T],
        "metrics": metrics(model, holdout),
        "features": [
            {"name": feature.name, "kind": feature.kind}
            | _feature(feature, training, position)
            for position, feature in enumerate(model.features)
        ],
    }


def _target(model: Model, target: Floats) -> dict[str, Any]:
    missing = int(np.isnan(target).sum())
    if model.task == "regression":
        return {"missing": missing, **_spread_of(target)}
    codes = target[~np.isnan(target)].astype(int)
    counts = np.bincount(codes, minlength=len(model.labels))
    labels = zip(model.labels, counts.tolist(), strict=True)
    return {"missing": missing, "labels": [list(each) for each in labels]}


def _feature(feature: Feature, columns: Columns, position: int) -> dict[str, Any]:
    if feature.kind == "text":
        texts: list[str] = columns.texts[position].tolist()
        share = texts.count("") / len(texts)
        counts = Counter(filter(None, texts))
        return {"missing": share, **_levels(counts, at_least=_LEAST_TEXT_ROWS)}
    values = columns.matrix[:, position]
    present = values[~np.isnan(values)]
    share = 1 - len(present) / len(values)
    if feature.kind == "numeric":
        distinct = len(np.unique(present))
        return {"missing": share, "distinct": distinct, **_spread_of(values)}
    categories = feature.categories or ()
    counts = Counter(categories[code] for code in present.astype(int).tolist())
    return {"missing": share, **_levels(counts)}


def _levels(counts: Mapping[Any, int], *, at_least: int = 1) -> dict[str, Any]:
    """The most frequent levels with their rows, the rest together."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    listed = [list(each) for each in ordered[:_MOST_LEVELS] if each[1] >= at_least]
    return {
        "distinct": len(ordered),
        "levels": listed,
        "other": sum(counts.values()) - sum(count for _, count in listed),
    }


def _spread_of(values: Floats) -> dict[str, Any]:
    """Mean and quantiles of the finite numbers; the grid begins and ends with the
    smallest and the largest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"mean": None, "quantiles": None}
    return {
        "mean": _plain(np.mean(finite)),
        "quantiles": np.quantile(finite, GRID).tolist(),
    }


def _rmse(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _plain(number: np.floating[Any] | float) -> float | None:
    return float(number) if np.isfinite(number) else None


def metrics(model: Model, scored: Scored) -> dict[str, float | None]:
    """How good the predictions are, on the rows whose target is known."""
    values, actual = scored.values[scored.labelled], scored.actual[scored.labelled]
    if not len(actual):
        return {}
    if model.task == "regression":
        errors = values[:, 0] - actual
        return {
            "rmse": _plain(_rmse(errors)),
            "mae": _plain(np.mean(np.abs(errors))),
        }
    loss = {"log_loss": _plain(log_loss(model, values, actual))}
    if model.task == "binary":
        return loss | {"auc": _auc(values[:, 0], actual == _positive(model))}
    return loss | {"accuracy": float(np.mean(np.argmax(values, axis=1) == actual))}


def _positive(model: Model) -> int:
    """The position of the positive label."""
    assert model.positive_label is not None
    return model.labels.index(model.positive_label)


def log_loss(model: Model, values: Floats, actual: Floats) -> float:
    """Mean of -log of the probability that the true label was given."""
    if model.task == "binary":
        truth = np.where(actual == _positive(model), values[:, 0], 1 - values[:, 0])
    else:
        truth = values[np.arange(len(values)), actual.astype(int)]
    losses = -np.log(np.clip(truth, _LEAST_PROBABILITY, 1))
    return float(np.mean(losses))


def _auc(scores: Floats, is_positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive row scores above a negative one; ties count half."""
    positives = int(is_positive.sum())
    pairs = positives * (len(scores) - positives)
    if not pairs:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return float(above / pairs)


def feature_impact(backend: Backend, holdout: Scored) -> dict[str, Any]:
    """How much worse the predictions get when a column is shuffled.

    Loss with the column shuffled minus loss as it is, log loss or RMSE, on up to 2,500
    rows; "normalised" divides by the largest. A model whose holdout has no targets
    has no impact to tell: an empty object.

    Source: "Feature Impact", permutation.
    """
    model = backend.model
    known = np.flatnonzero(holdout.labelled)
    if not len(known):
        return {}
    most = min(_IMPACT_ROWS, max(_IMPACT_PREDICTIONS // len(model.features), 100))
    rows = np.sort(known[spread(len(known))[:most]])
    columns, actual = holdout.columns.take(rows), holdout.actual[rows]
    loss = _loss(model)
    random = np.random.default_rng(_SEED)
    before = loss(holdout.values[rows], actual)
    impact = []
    for position in range(len(model.features)):
        order = random.permutation(len(rows))
        with _shuffled(columns, position, order) as shuffled:
            impact.append(_plain(loss(backend.predict(shuffled), actual) - before))
    largest = max((each for each in impact if each is not None), default=0.0)
    return {
        "metric": "rmse" if model.task == "regression" else "log_loss",
        "rows": len(rows),
        "raw": impact,
        "normalised": [
            each / largest if each is not None and largest > 0 else 0.0
            for each in impact
        ],
    }


def _loss(model: Model) -> Callable[[Floats, Floats], float]:
    if model.task == "regression":
        return lambda values, actual: _rmse(values[:, 0] - actual)
    return lambda values, actual: log_loss(model, values, actual)


@contextmanager
def _shuffled(
    columns: Columns, position: int, order: NDArray[np.intp]
) -> Iterator[Columns]:
    """The same rows with one column in another order, in the same memory."""
    if position in columns.texts:
        texts = {**columns.texts, position: columns.texts[position][order]}
        yield dataclasses.replace(columns, texts=texts)
        return
    column = columns.matrix[:, position].copy()
    columns.matrix[:, position] = column[order]
    yield columns
    columns.matrix[:, position] = column


def sample(table: pa.Table, rows: int) -> pa.Table:
    """Up to so many rows, spread over the whole table and in its order."""
    return table.take(np.sort(spread(table.num_rows)[:rows]))
