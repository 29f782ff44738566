"""Exemplars: the values of each feature that XEMP puts in its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.bundle import EXEMPLARS, BundleRejected
from backends.features import Columns, DataError, Decoder
from backends.model import Feature, Label

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


def read(folder: Path, features: Sequence[Feature]) -> Exemplars | None:
    """Read a bundle's exemplars; None if it has none.

    features: the model's.
    Raises BundleRejected for anything that packaging would not have written for them.
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
