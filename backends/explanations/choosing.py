"""Chooses exemplars from rows, when a bundle is made."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.bundle import EXEMPLARS
from backends.explanations.exemplars import MOST_FEATURES, MOST_VALUES, Weighted
from backends.features import Columns
from backends.model import Feature

Floats = NDArray[np.float64]
# Values, None where they are missing, and how many rows have them.
Counted = list[tuple[Any, int]]


def write(
    folder: Path,
    features: Sequence[Feature],
    rows: Columns,
    impact: Sequence[float | None],
) -> int:
    """Choose exemplars from rows and write them to a bundle's folder.

    impact: raw permutation impact of each feature; None where it cannot be told.
    Returns how many features are explained.
    """
    entries = [
        {"name": features[position].name, "values": values}
        for position in explained(impact)
        if (values := choose(features[position], rows, position))
    ]
    lines = [
        json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries
    ]
    text = '{"features": [\n' + ",\n".join(lines) + "\n]}\n"
    (folder / EXEMPLARS).write_text(text, encoding="utf-8")
    return len(entries)


def explained(impact: Sequence[float | None]) -> list[int]:
    """Positions of the features worth explaining, that of the greatest impact first.

    A feature whose impact is 0 has no part in any prediction; one whose impact cannot
    be told comes last.
    """
    known = [-math.inf if each is None else each for each in impact]
    order = sorted(
        (position for position, each in enumerate(known) if each != 0),
        key=lambda position: -known[position],
    )
    return order[:MOST_FEATURES]


def choose(feature: Feature, rows: Columns, position: int) -> list[Weighted]:
    """Choose exemplars of one feature; the weights add up to 1.

    Up to ten distinct values are all taken, with their frequencies. Of more levels or
    texts the nine most frequent, and the next one with the weight of all others; of
    more numbers the ten that stand in the middle of a tenth of the rows each. The
    missing value is one more. Infinite numbers are left out, as if their rows were not
    there: most models have no finite prediction for them.

    Returns nothing if there is no value.
    """
    if feature.kind == "text":
        return _weighted(_frequent(_count_texts(rows.texts[position])))
    values = rows.matrix[:, position]
    if feature.kind == "categorical":
        levels = feature.categories or ()
        codes = _frequent(_count(values))
        return _weighted([(c if c is None else levels[int(c)], n) for c, n in codes])
    counted = _count(values[~np.isinf(values)])
    chosen = counted if _are_few(counted) else _middles(counted)
    return _weighted([(c if c is None else _shortest(c), n) for c, n in chosen])


def _weighted(chosen: Counted) -> list[Weighted]:
    whole = sum(rows for _, rows in chosen)
    return [(value, rows / whole) for value, rows in chosen]


def _count(values: Floats) -> Counted:
    """Numbers in ascending order, the missing value behind them, with their rows."""
    present = values[~np.isnan(values)]
    found, rows = np.unique(present, return_counts=True)
    counted: Counted = list(zip(found.tolist(), rows.tolist(), strict=True))
    missing = len(values) - len(present)
    return [*counted, (None, missing)] if missing else counted


def _count_texts(texts: NDArray[np.object_]) -> Counted:
    """Texts in their order, the empty one as the missing value behind them."""
    counts = Counter(texts.tolist())
    missing = counts.pop("", 0)
    counted: Counted = sorted(counts.items())
    return [*counted, (None, missing)] if missing else counted


def _are_few(counted: Counted) -> bool:
    return len(counted) - (None in dict(counted)) <= MOST_VALUES


def _frequent(counted: Counted) -> Counted:
    """The most frequent values, the last of them with the rows of all others."""
    if _are_few(counted):
        return counted
    present = [each for each in counted if each[0] is not None]
    present.sort(key=lambda each: -each[1])
    kept, others = present[: MOST_VALUES - 1], present[MOST_VALUES - 1 :]
    pooled = (others[0][0], sum(rows for _, rows in others))
    return [*kept, pooled, *(each for each in counted if each[0] is None)]


def _middles(counted: Counted) -> Counted:
    """The numbers in the middle of each tenth of the rows, a tenth's rows for each.

    All rows are counted ten times, for a tenth of them to be a whole number.
    """
    present = [each for each in counted if each[0] is not None]
    numbers, rows = map(np.array, zip(*present, strict=True))
    reached = np.cumsum(rows)
    # The first number that (i + 0.5) / 10 of the rows do not exceed.
    middles = (2 * np.arange(MOST_VALUES) + 1) * reached[-1]
    places = np.searchsorted(reached * (2 * MOST_VALUES), middles, side="left")
    found, tenths = np.unique(places, return_counts=True)
    shares = (tenths * reached[-1]).tolist()
    chosen: Counted = list(zip(numbers[found].tolist(), shares, strict=True))
    missing = [(None, n * MOST_VALUES) for value, n in counted if value is None]
    return [*chosen, *missing]


def _shortest(number: float) -> int | float:
    is_whole = number.is_integer() and abs(number) < 2**53
    return int(number) if is_whole else number
