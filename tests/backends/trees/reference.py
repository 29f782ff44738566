"""What an ensemble answers, worked out slowly, as Ensemble describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_NAN, MISSING_ZERO, Ensemble, Transform


def sums(ensemble: Ensemble, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw scores: what the trees of each row add up to, and base; not divided.

    matrix: float64 (n, features). Returns float64 (n, sums), which hold float32 values
    if the ensemble is single.
    """
    return _totals(ensemble, matrix, 1.0)


def answers(ensemble: Ensemble, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the model answers of each row: float64 (n, outputs)."""
    totals = _totals(ensemble, matrix, ensemble.divisor)
    if len(totals) == 0:
        return np.empty((0, ensemble.outputs))
    with np.errstate(all="ignore"):
        finished = finish(totals, ensemble.transform)
    assert finished.shape == (len(matrix), ensemble.outputs)
    return finished


def leaves(ensemble: Ensemble, matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """The leaf that each row comes to in each tree: int64 (n, trees)."""
    return np.array(
        [
            [leaf(ensemble, tree, row) for tree in range(ensemble.trees)]
            for row in np.asarray(matrix, np.float64)
        ],
        np.int64,
    ).reshape(len(matrix), ensemble.trees)


def leaf(ensemble: Ensemble, tree: int, row: NDArray[np.float64]) -> int:
    """Walk one tree with one row; the leaf's number within the tree."""
    first = ensemble.tree_node[tree]
    if ensemble.tree_node[tree + 1] == first:
        return 0
    child = 0
    while child >= 0:
        node = first + child
        value = _taken(ensemble, float(row[ensemble.feature[node]]))
        went_left = _goes_left(ensemble, node, value)
        child = int(ensemble.left[node] if went_left else ensemble.right[node])
    return ~child


def _taken(ensemble: Ensemble, value: float) -> float:
    """The value that the splits see."""
    if ensemble.single:
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    return 0.0 if abs(value) <= ensemble.zero else value


def _goes_left(ensemble: Ensemble, node: int, value: float) -> bool:
    if ensemble.category_set[node] >= 0:
        return _is_member(ensemble, int(ensemble.category_set[node]), value)
    missing = ensemble.missing[node]
    if np.isnan(value):
        if missing in (MISSING_ZERO, MISSING_NAN):
            return bool(ensemble.default_left[node])
        value = 0.0
    if missing == MISSING_ZERO and value == 0.0:
        return bool(ensemble.default_left[node])
    return bool(value <= ensemble.threshold[node])


def _is_member(ensemble: Ensemble, category_set: int, value: float) -> bool:
    if not np.isfinite(value):
        return False
    if ensemble.exact_categories and value != np.trunc(value):
        return False
    category = int(value)
    start, stop = ensemble.set_word[category_set : category_set + 2]
    if category < 0 or category // 32 >= stop - start:
        return False
    word = int(ensemble.category_bits[start + category // 32])
    return bool(word >> category % 32 & 1)


def _totals(
    ensemble: Ensemble, matrix: NDArray[np.float64], divisor: float
) -> NDArray[np.float64]:
    kind = np.float32 if ensemble.single else np.float64
    base = ensemble.base.astype(kind)
    totals = np.zeros((len(matrix), ensemble.sums), kind)
    reached = leaves(ensemble, matrix)
    with np.errstate(all="ignore"):
        for tree in range(ensemble.trees):
            value = ensemble.value[ensemble.tree_leaf[tree] + reached[:, tree]]
            if ensemble.tree_sum[tree] < 0:
                totals += value
            else:
                totals[:, ensemble.tree_sum[tree]] += value
        if divisor != 1.0:
            totals /= kind(divisor)
        totals += base
    return totals.astype(np.float64)


def finish(sums: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    """The transforms a second time: float64 (n, sums) to float64 (n, outputs)."""
    return _TRANSFORMS[transform.name](sums, transform.parameter)


def _softmax(sums: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    return np.asarray(powers / _row_sums(powers))


def _row_sums(values: NDArray[Any]) -> NDArray[Any]:
    """One column after the other, as the libraries add them up: (n, 1)."""
    return np.asarray(np.add.accumulate(values, axis=1)[:, -1:])


def _single(
    transform: Callable[[NDArray[np.float32], np.float32], NDArray[np.float32]],
) -> Callable[[NDArray[np.float64], float], NDArray[np.float64]]:
    """A transform that computes in float32."""

    def widened(sums: NDArray[np.float64], parameter: float) -> NDArray[np.float64]:
        finished = transform(sums.astype(np.float32), np.float32(parameter))
        assert finished.dtype == np.float32
        return finished.astype(np.float64)

    return widened


def _exp(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The float32 nearest to exp, as the C library's expf finds it."""
    return np.exp(scores.astype(np.float64)).astype(np.float32)


def _logistic(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    one = np.float32(1.0)
    value = one / (one + _exp(-np.abs(scores)))
    return np.where(scores < 0, one - value, value)


def _single_softmax(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = _exp(sums - sums.max(axis=1, keepdims=True))
    return powers / _row_sums(powers)


def _complements(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    pair = np.concatenate([1.0 - sums, sums], axis=1)
    return pair.astype(np.float32).astype(np.float64)


def _softmax_zero(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = sums.max(axis=1, keepdims=True)
    is_zero = np.abs(sums) <= np.float32(1e-7)
    powers = _exp(sums - highest)
    values = np.where(is_zero, sums * _exp(-highest), powers)
    return values / _row_sums(np.where(is_zero, np.float32(0.0), powers))


def _pair(
    negative: NDArray[np.float32], positive: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.concatenate([negative, positive], axis=1)


_ONE = np.float32(1.0)
_TRANSFORMS: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    "identity": lambda sums, _: sums,
    "sigmoid": lambda sums, slope: 1.0 / (1.0 + np.exp(-slope * sums)),
    "softmax": lambda sums, _: _softmax(sums),
    "exp": lambda sums, _: np.exp(sums),
    "signed_square": lambda sums, _: np.sign(sums) * sums * sums,
    "log1p_exp": lambda sums, _: np.log1p(np.exp(sums)),
    "float_scale": _single(lambda sums, scale: sums * scale),
    "float_exp": _single(lambda sums, scale: _exp(sums) * scale),
    "float_logistic": _single(lambda sums, scale: _logistic(sums * scale)),
    "float_softmax": _single(lambda sums, _: _single_softmax(sums)),
    "float_softmax_zero": _single(lambda sums, _: _softmax_zero(sums)),
    "float_opposites": _single(lambda sums, scale: _pair(-sums * scale, sums * scale)),
    "float_complements": lambda sums, _: _complements(sums),
    "float_logistic_opposites": _single(
        lambda sums, scale: _pair(_logistic(-sums * scale), _logistic(sums * scale))
    ),
    "float_logistic_complements": _single(
        lambda sums, scale: _pair(
            _ONE - _logistic(sums * scale), _logistic(sums * scale)
        )
    ),
}
