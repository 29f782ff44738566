"""Proves that the tree engine explains as slower ways do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.equality import AnswersDiffer
from backends.base import Backend
from backends.explanations import xemp
from backends.explanations.base import NotExplainable, NotInitialized, Strengths
from backends.explanations.materials import Materials
from backends.features import Columns

Floats = NDArray[np.float64]

# Explanations take many times as long as predictions do, the library's most of all.
_ROWS = 40
# Each of these is held against every reference row.
_CONTRASTED = 5

# Of the size of what is compared; graphs compute in float32.
_TOLERANCE = {"lightgbm": 1e-9}
_FLOAT32_TOLERANCE = 1e-4

# Log-odds of probabilities nearer to 0 or 1 have lost digits that raw scores have, and
# so have logarithms of almost nothing, which is taken for a little more.
_EXTREME = {"lightgbm": 1e-4}
_FLOAT32_EXTREME = 1e-2
_NEXT_TO_NOTHING = 1e-12


def prove_explained_alike(
    trees: Backend, library: Backend, columns: Columns, materials: Materials
) -> None:
    """Explain some rows in every way that the engine does.

    SHAP values of a LightGBM model must be the library's own, those of others add up
    to the prediction; XEMP strengths must be what predictions for substituted rows
    come to. Raises AnswersDiffer.
    """
    chosen = np.unique(np.linspace(0, len(columns) - 1, _ROWS).astype(np.intp))
    columns = columns.take(chosen)
    usual = _is_usual(trees, columns)
    _prove_xemp(trees, columns.take(np.flatnonzero(usual)), materials)
    if trees.model.task == "multiclass":
        return
    _prove_shap(trees, library, columns, materials)
    if trees.model.task == "binary":
        few = columns.take(np.arange(min(len(columns), _CONTRASTED)))
        found = _explained(trees, few, "shap_probability", materials)
        if found is not None:
            _prove_additive(trees, found, "SHAP values of the probability")


def _is_usual(trees: Backend, columns: Columns) -> NDArray[np.bool_]:
    """Which predictions tell the raw score behind them to the last digits."""
    values = trees.predict(columns)
    if trees.model.task == "regression":
        return np.asarray(np.isfinite(values[:, 0]))
    if trees.model.task == "multiclass":
        return np.asarray((values > _NEXT_TO_NOTHING).all(axis=1))
    extreme = _EXTREME.get(trees.model.format, _FLOAT32_EXTREME)
    return np.asarray((values[:, 0] > extreme) & (values[:, 0] < 1 - extreme))


class _Unusual(Backend):
    """Says 1 of rows whose predictions are not usual, and 0 of others."""

    def __init__(self, trees: Backend) -> None:
        self.model = replace(trees.model, task="regression")
        self._trees = trees

    def predict(self, columns: Columns) -> Floats:
        return np.where(_is_usual(self._trees, columns), 0.0, 1.0)[:, None]

    def raw_scores(self, columns: Columns) -> Floats:
        return self.predict(columns)


def _prove_xemp(trees: Backend, columns: Columns, materials: Materials) -> None:
    found = _explained(trees, columns, "xemp", materials) if len(columns) else None
    if found is None:
        return
    forever = float("inf")
    try:
        expected = xemp.explain(trees, columns, materials, forever)
    except NotExplainable:
        # No slower way is left to hold them against.
        return
    # 0 where a feature's exemplars all have usual predictions.
    odd = xemp.explain(_Unusual(trees), columns, materials, forever).values
    holds = np.broadcast_to(odd == 0.0, found.values.shape)
    _compare(trees, "XEMP strengths", expected.values[holds], found.values[holds])


def _prove_shap(
    trees: Backend, library: Backend, columns: Columns, materials: Materials
) -> None:
    found = _explained(trees, columns, "shap", materials)
    if found is None:
        return
    _prove_additive(trees, found, "SHAP values")
    if trees.model.format == "lightgbm":
        expected = library.explain(columns, "shap", materials)
        # It has none for files that do not say how many rows took each path.
        if not np.isfinite(expected.values).all():
            return
        every = np.zeros(expected.values.shape)
        every[:, :, found.features] = found.values
        _compare(trees, "SHAP values", expected.values, every)
        base = [np.asarray(each.base) for each in (expected, found)]
        _compare(trees, "base of SHAP values", *base)


def _prove_additive(trees: Backend, found: Strengths, what: str) -> None:
    if found.base is None or found.total is None:
        return
    finite = np.isfinite(found.total).all(axis=1)
    added = found.base + found.values.sum(axis=2)
    _compare(trees, f"total of {what}", found.total[finite], added[finite])


def _explained(
    trees: Backend, columns: Columns, algorithm: str, materials: Materials
) -> Strengths | None:
    """None where such explanations are refused; see `Backend.explain`."""
    try:
        return trees.explain(columns, algorithm, materials)
    except (NotInitialized, NotExplainable):
        return None


def _compare(trees: Backend, what: str, expected: Floats, found: Floats) -> None:
    if expected.shape != found.shape:
        raise AnswersDiffer(f"the {what} have the shape {found.shape}")
    if not found.size:
        return
    allowed = _TOLERANCE.get(trees.model.format, _FLOAT32_TOLERANCE)
    size = max(float(np.abs(expected).max()), 1.0)
    difference = float(np.abs(expected - found).max())
    # Not a number is no small difference.
    if not difference <= allowed * size:
        raise AnswersDiffer(
            f"the {what} are not what a slower way finds, by {difference:.3g}"
        )
