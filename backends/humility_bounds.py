"""Bounds of humility rules where nobody gives any, from what a bundle knows.

The 0.5 and 99.5 % quantiles: of holdout predictions for uncertain predictions of a
regression, of the training values for outlying inputs. Binary: the threshold ± 0.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from backends.bundle import STATISTICS
from backends.humility import OutlyingInput, UncertainPrediction
from backends.model import Model

_LOW, _HIGH = 0.005, 0.995
_AROUND_THRESHOLD = 0.1

# Of the target in training, as an override names them.
TARGET_VALUES = ("min", "max", "mean")


class BoundsUnknown(ValueError):
    """The bundle does not tell the numbers; the message says which."""


def read_statistics(folder: Path) -> Mapping[str, Any]:
    """What a bundle says of its training data; raises BoundsUnknown."""
    try:
        content = json.loads((folder / STATISTICS).read_bytes())
    except FileNotFoundError as error:
        raise BoundsUnknown(
            f"The model's bundle holds no {STATISTICS}: numbers from its training "
            "data have to be given"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BoundsUnknown(f"{STATISTICS} of the bundle is not JSON") from error
    if not isinstance(content, dict):
        raise BoundsUnknown(f"{STATISTICS} of the bundle is not an object")
    return content


def uncertain_prediction(
    model: Model, folder: Path, threshold: float
) -> UncertainPrediction:
    """Binary: around the threshold; regression: the quantiles of the holdout.

    threshold: the deployment's.
    Raises BoundsUnknown.
    """
    if model.task == "binary":
        low, high = threshold - _AROUND_THRESHOLD, threshold + _AROUND_THRESHOLD
        # 0.4 - 0.1 should read as 0.3.
        return UncertainPrediction(max(round(low, 10), 0.0), min(round(high, 10), 1.0))
    if model.prediction_bounds is not None:
        return UncertainPrediction(*model.prediction_bounds)
    statistics = read_statistics(folder)
    predictions = _at(statistics, "predictions", 0)
    return UncertainPrediction(*_bounds(statistics, predictions, "predictions"))


def outlying_input(feature: str, folder: Path) -> OutlyingInput:
    """The quantiles of a numeric feature's training values; raises BoundsUnknown."""
    statistics = read_statistics(folder)
    found = _feature(statistics, feature)
    return OutlyingInput(feature, *_bounds(statistics, found, repr(feature)))


def target_value(which: str, folder: Path) -> float:
    """The target's min, max or mean in training; regression. Raises BoundsUnknown."""
    target = _at(read_statistics(folder), "target")
    value = _at(target, "mean")
    if which != "mean":
        value = _at(target, "quantiles", 0 if which == "min" else -1)
    return _number(value, f"the target's {which}")


def most_important_number(model: Model, folder: Path) -> str | None:
    """The numeric feature of the greatest impact that is known; None: none has any."""
    impact = _at(read_statistics(folder), "impact", "normalised")
    if not isinstance(impact, Sequence) or len(impact) != len(model.features):
        return None
    numeric = [
        (value, feature.name)
        for value, feature in zip(impact, model.features, strict=True)
        if feature.kind == "numeric" and isinstance(value, int | float) and value > 0
    ]
    # Of equals the first.
    return max(numeric, key=lambda each: each[0])[1] if numeric else None


def _feature(statistics: Mapping[str, Any], name: str) -> Any:
    features = _at(statistics, "features")
    if isinstance(features, list):
        for each in features:
            if _at(each, "name") == name:
                return each
    return None


def _bounds(
    statistics: Mapping[str, Any], spread: Any, what: str
) -> tuple[float, float]:
    grid, quantiles = _at(statistics, "grid"), _at(spread, "quantiles")
    low, high = _quantile(grid, quantiles, _LOW), _quantile(grid, quantiles, _HIGH)
    return _number(low, f"bounds of {what}"), _number(high, f"bounds of {what}")


def _quantile(grid: Any, quantiles: Any, share: float) -> Any:
    """Read at the share, which lies on the grid."""
    if not isinstance(grid, list) or not isinstance(quantiles, list):
        return None
    for each, value in zip(grid, quantiles, strict=False):
        if isinstance(each, int | float) and abs(each - share) < 1e-9:
            return value
    return None


def _at(content: Any, *path: str | int) -> Any:
    """What lies at a path; None where there is no such place."""
    for step in path:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def _number(value: Any, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # JSON's whole numbers know no limit, and Python reads NaN into the bargain.
        with suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise BoundsUnknown(f"{STATISTICS} of the bundle does not tell {what}")
