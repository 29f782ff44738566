"""Statistics of windows: each row of a matrix is reduced by itself.

What comes of a row depends on nothing but the values in it: not on how many rows come
together, nor on what a series had before the window. A running sum over the series
would be faster, and a little different in training and in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.spec import Rolling, Statistic

Floats = NDArray[np.float64]


def reduce_rows(windows: Floats, feature: Rolling) -> Floats:
    """Take a feature's statistic of each row; NaN is no value.

    windows: float64 (n, window), oldest first.
    Returns float64 (n,): NaN in rows with fewer values than `min_count`, or with too
    few for the statistic.
    """
    windows = np.ascontiguousarray(windows)
    present = ~np.isnan(windows)
    count = present.sum(axis=1)
    with np.errstate(all="ignore"):
        found = _STATISTICS[feature.stat](windows, present, count, feature)
    return np.where(count >= feature.min_count, found, np.nan)


Counts = NDArray[np.int64]
Present = NDArray[np.bool_]


def _sum(windows: Floats, present: Present, count: Counts, _: Rolling) -> Floats:
    total: Floats = np.where(present, windows, 0.0).sum(axis=1)
    return np.where(count > 0, total, np.nan)


def _mean(windows: Floats, present: Present, count: Counts, feature: Rolling) -> Floats:
    return _sum(windows, present, count, feature) / count


def _std(windows: Floats, present: Present, count: Counts, feature: Rolling) -> Floats:
    mean = _mean(windows, present, count, feature)
    apart = np.where(present, windows - mean[:, None], 0.0)
    free = count - feature.ddof
    spread = np.sqrt((apart * apart).sum(axis=1) / free)
    return np.where(free > 0, spread, np.nan)


def _min(windows: Floats, _: Present, __: Counts, ___: Rolling) -> Floats:
    return np.asarray(np.fmin.reduce(windows, axis=1))


def _max(windows: Floats, _: Present, __: Counts, ___: Rolling) -> Floats:
    return np.asarray(np.fmax.reduce(windows, axis=1))


def _count(_: Floats, __: Present, count: Counts, ___: Rolling) -> Floats:
    return count.astype(np.float64)


def _first(windows: Floats, _: Present, __: Counts, ___: Rolling) -> Floats:
    return windows[:, 0]


def _last(windows: Floats, _: Present, __: Counts, ___: Rolling) -> Floats:
    return windows[:, -1]


def _median(windows: Floats, _: Present, count: Counts, __: Rolling) -> Floats:
    return _between(windows, count, 0.5)


def _quantile(windows: Floats, _: Present, count: Counts, feature: Rolling) -> Floats:
    return _between(windows, count, feature.quantile)


def _between(windows: Floats, count: Counts, part: float) -> Floats:
    """The value that a part of those in each row are below, linearly between two."""
    places: Floats = (count - 1) * np.float64(part)
    # Missing values are sorted behind all others.
    ordered = np.sort(windows, axis=1)
    lower = np.maximum(np.floor(places), 0).astype(np.intp)
    upper = np.minimum(lower + 1, windows.shape[1] - 1)
    rows = np.arange(len(windows))
    low, beyond = ordered[rows, lower], places - lower
    # Nothing is added to a value that is met: the next may be missing.
    high = np.where(beyond > 0, ordered[rows, upper], low)
    return np.asarray(low + (high - low) * beyond)


def _most_frequent(
    windows: Floats, present: Present, count: Counts, _: Rolling
) -> Floats:
    """Of values as frequent as each other the smallest: the first category."""
    ordered = np.sort(windows, axis=1)
    places = np.arange(windows.shape[1])
    begins = np.ones(ordered.shape, np.bool_)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    lengths = np.where(places < count[:, None], places - starts + 1, 0)
    found: Floats = ordered[np.arange(len(ordered)), lengths.argmax(axis=1)]
    return found


_STATISTICS: Mapping[Statistic, Callable[[Floats, Present, Counts, Rolling], Floats]]
_STATISTICS = {
    "mean": _mean,
    "std": _std,
    "min": _min,
    "max": _max,
    "sum": _sum,
    "median": _median,
    "count": _count,
    "first": _first,
    "last": _last,
    "quantile": _quantile,
    "most_frequent": _most_frequent,
}


def newest(windows: Floats) -> Floats:
    """The last value of each row that is not missing, NaN if there is none."""
    places = np.where(np.isnan(windows), -1, np.arange(windows.shape[1])).max(axis=1)
    return np.where(places >= 0, windows[np.arange(len(windows)), places], np.nan)
