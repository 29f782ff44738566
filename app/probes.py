"""Rows made of an ensemble's own thresholds and categories: where answers could differ.

A fault in the order of comparisons, in the treatment of missing values or in a rounding
shows at the edges of splits, which the rows of a data set seldom meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.model import Feature
from backends.trees.ensemble import Ensemble

Floats = NDArray[np.float64]

_SEED = 20
_ROWS = 3000
# Wide models get fewer rows.
_MOST_CELLS = 2**23
_FEWEST_ROWS = 200
# Thresholds, and categories, of a feature that rows are made of.
_MOST_EDGES = 500
_SPECIAL = (
    *(np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-310),
    *(1e-36, -1e-36, 1e-35, -1e-35, float(np.float32(1e-35)), 2e-35),
    *(1.0, -1.0, 0.5, -0.5, 2.5, 1e30, -1e30, 1e308, -1e308),
    *(2.0**31 - 1, 2.0**31, -(2.0**31), 2.0**53, 2.0**63, 3.5e38),
)
_WHOLE = (0.0, 1.0, -1.0, 2.0, 2.0**24 + 1, 2.0**31, -(2.0**53), 2.0**53)


def probe_rows(
    ensemble: Ensemble, features: Sequence[Feature], usual: Floats
) -> Floats:
    """Rows as a decoder may hand them over; the same in every run.

    usual: float64 (n_rows, features), at least one row as clients send them. One half
        of the answer are such rows with a few cells changed, which follow the paths
        of real rows; in the other half every cell is from an edge.
    Returns float64 (n_rows, features).
    """
    random = np.random.default_rng(_SEED)
    width = ensemble.features
    rows = max(min(_ROWS, _MOST_CELLS // width), _FEWEST_ROWS)
    usual = usual[np.arange(rows // 2) % len(usual)]
    mixed = np.empty((rows, width))
    changes = random.random((len(usual), width)) < 2 / width
    for position, edges in enumerate(_edges(ensemble, features)):
        mixed[:, position] = random.choice(edges, rows)
        kept = mixed[: len(usual), position]
        mixed[: len(usual), position] = np.where(
            changes[:, position], kept, usual[:, position]
        )
    return mixed


def _edges(ensemble: Ensemble, features: Sequence[Feature]) -> list[Floats]:
    """Of each feature the values that are worth a try."""
    numeric = ensemble.category_set < 0
    order = np.argsort(ensemble.feature, kind="stable")
    first = np.searchsorted(ensemble.feature[order], np.arange(len(features) + 1))
    edges = []
    for position, feature in enumerate(features):
        nodes = order[first[position] : first[position + 1]]
        thresholds = _some(ensemble.threshold[nodes[numeric[nodes]]])
        codes = _codes(ensemble, ensemble.category_set[nodes[~numeric[nodes]]])
        if feature.dtype == "int64":
            whole = np.concatenate([thresholds, codes])
            whole = np.concatenate([np.floor(whole), np.ceil(whole), _WHOLE])
            found = whole[np.abs(whole) <= 2.0**53]
        else:
            near = _neighbours(thresholds, single=ensemble.single)
            found = np.concatenate([near, codes, codes + 0.5, -codes, _SPECIAL])
        if feature.missing == "error":
            found = found[~np.isnan(found)]
        edges.append(found)
    return edges


def _neighbours(thresholds: Floats, *, single: bool) -> Floats:
    """Each threshold and the numbers beside it."""
    near = [thresholds, *(np.nextafter(thresholds, to) for to in (-np.inf, np.inf))]
    if single:
        rounded = thresholds.astype(np.float32)
        near += [
            np.nextafter(rounded, np.float32(to)).astype(np.float64)
            for to in (-np.inf, np.inf)
        ]
    return np.concatenate(near)


def _codes(ensemble: Ensemble, sets: NDArray[np.int32]) -> Floats:
    """The categories of some sets, and the first beyond each."""
    codes: list[Floats] = [np.empty(0)]
    for each in np.unique(sets)[:_MOST_EDGES]:
        begin, end = ensemble.set_word[each], ensemble.set_word[each + 1]
        bits = np.unpackbits(
            ensemble.category_bits[begin:end].view(np.uint8), bitorder="little"
        )
        codes += [np.flatnonzero(bits).astype(float), np.array([float(bits.size)])]
    return _some(np.concatenate(codes))


def _some(values: Floats) -> Floats:
    """The distinct values; of too many, some of them, the ends included."""
    values = np.unique(values)
    if len(values) <= _MOST_EDGES:
        return values
    return values[np.linspace(0, len(values) - 1, _MOST_EDGES).astype(np.intp)]
