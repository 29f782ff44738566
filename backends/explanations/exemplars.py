"""Exemplars: the values of each feature that XEMP puts in its place."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.bundle import EXEMPLARS, BundleRejected
from backends.features import Columns, DataError, Decoder
from backends.model import Feature, Label

Floats = NDArray[np.float64]
# A value, None where it is missing, and how frequent it is.
Weighted = tuple[Label | None, float]

# Features that are explained, and exemplars of each beside the missing value.
MOST_FEATURES = 50
MOST_VALUES = 10

# Frequencies that were rounded to six digits still add up to 1.
_TOLERANCE = 1e-5
# Far above any real file, whose texts are cells of a table.
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Up to ten values of each feature that is explained, and how frequent they are.

    features: int (f,): positions among the model's features, the one of the greatest
        impact first; at most 50.
    columns: a row for the first exemplar of every feature, one for the second, and so
        on; where a feature has fewer, and in features that are not explained, it holds
        something or other.
    weights: float64 (len(columns), f): frequencies, each column adds up to 1; 0 where
        a feature has fewer exemplars.
    """

    features: NDArray[np.intp]
    columns: Columns
    weights: NDArray[np.float64]


# ---- Choosing


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


# A value, None where it is missing, and its rows.
Counted = list[tuple[Any, float]]


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
    """The numbers in the middle of each tenth of the rows, a tenth's rows for each."""
    present = [each for each in counted if each[0] is not None]
    numbers, rows = map(np.array, zip(*present, strict=True))
    reached = np.cumsum(rows)
    # The first number that (i + 0.5) / 10 of the rows do not exceed, in whole numbers.
    middles = (2 * np.arange(MOST_VALUES) + 1) * reached[-1]
    places = np.searchsorted(reached * (2 * MOST_VALUES), middles, side="left")
    found, tenths = np.unique(places, return_counts=True)
    shares = (tenths / MOST_VALUES * reached[-1]).tolist()
    chosen: Counted = list(zip(numbers[found].tolist(), shares, strict=True))
    return [*chosen, *(each for each in counted if each[0] is None)]


def _shortest(number: float) -> int | float:
    is_whole = number.is_integer() and abs(number) < 2**53
    return int(number) if is_whole else number


# ---- Reading


def read(folder: Path, features: Sequence[Feature]) -> Exemplars | None:
    """Read a bundle's exemplars; None if it has none.

    features: the model's.
    Raises BundleRejected for anything that `write` would not have written for them.
    """
    path = folder / EXEMPLARS
    if not path.exists():
        return None
    try:
        return _decode(_entries(path), features)
    except (DataError, RecursionError, ValueError) as error:
        raise BundleRejected(f"{EXEMPLARS}: {error}") from error


def _entries(path: Path) -> dict[str, list[Weighted]]:
    """The name of each feature with its exemplars, of the right form."""
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"the file is larger than {_MAX_BYTES} bytes")
    content = json.loads(path.read_bytes(), parse_constant=_refuse)
    listed = content.get("features") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise ValueError("an object with a list of features is expected")
    if len(listed) > MOST_FEATURES:
        raise ValueError(f"{len(listed)} features, more than {MOST_FEATURES}")
    entries: dict[str, list[Weighted]] = {}
    for entry in listed:
        name, values = _entry(entry)
        if name in entries:
            raise ValueError(f"the feature {name!r} stands there twice")
        _check(name, values)
        entries[name] = values
    return entries


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _entry(entry: Any) -> tuple[str, list[Any]]:
    if not isinstance(entry, dict) or entry.keys() != {"name", "values"}:
        raise ValueError("a feature has a name and values, and nothing else")
    name, values = entry["name"], entry["values"]
    if not isinstance(name, str) or not isinstance(values, list):
        raise ValueError("a feature's name is a text, its values are a list")
    return name, values


def _check(name: str, values: list[Any]) -> None:
    """Raise ValueError unless these are pairs of a value and a proper weight."""
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in values):
        raise ValueError(f"{name!r}: a value stands in a pair with its weight")
    # The missing value may be one more.
    if len(values) > MOST_VALUES + 1:
        raise ValueError(f"{name!r}: {len(values)} values, more than {MOST_VALUES + 1}")
    weights = [weight for _, weight in values]
    if not all(type(weight) in (int, float) for weight in weights):
        raise ValueError(f"{name!r}: a weight is a number")
    # Not 0 <= 1e999 <= 1 either.
    if not all(0 <= weight <= 1 + _TOLERANCE for weight in weights):
        raise ValueError(f"{name!r}: a weight is from 0 to 1")
    if not abs(sum(weights) - 1) <= _TOLERANCE:
        raise ValueError(f"{name!r}: the weights add up to {sum(weights)}, not to 1")


def _decode(
    entries: dict[str, list[Weighted]], features: Sequence[Feature]
) -> Exemplars:
    """Raises ValueError and DataError."""
    positions = {feature.name: place for place, feature in enumerate(features)}
    if unknown := [name for name in entries if name not in positions]:
        raise ValueError(f"the model takes no feature {unknown[0]!r}")
    order = np.array([positions[name] for name in entries], np.intp)
    rows = max(map(len, entries.values()), default=0)
    matrix = np.full((rows, len(features)), np.nan)
    texts = {
        place: np.full(rows, "", dtype=object)
        for place, feature in enumerate(features)
        if feature.kind == "text"
    }
    weights = np.zeros((rows, len(entries)))
    for column, (name, pairs) in enumerate(entries.items()):
        found = _decode_one(features[positions[name]], [value for value, _ in pairs])
        matrix[: len(pairs), order[column]] = found.matrix[:, 0]
        if found.texts:
            texts[int(order[column])][: len(pairs)] = found.texts[0]
        shares = np.array([weight for _, weight in pairs], np.float64)
        weights[: len(pairs), column] = shares / shares.sum()
    return Exemplars(order, Columns(matrix, texts), weights)


def _decode_one(feature: Feature, values: list[Any]) -> Columns:
    """One feature's values by the rules that requests are read by."""
    records = [{feature.name: value} for value in values]
    found = Decoder((feature,)).from_records(records, refuse_unknown=True)
    if np.isinf(found.matrix).any():
        raise ValueError(f"{feature.name!r}: a number that is not finite")
    return found
