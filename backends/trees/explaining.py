"""Explains a model's predictions by what its trees add up to."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends.explanations.base import Strengths, refuse_multiclass
from backends.explanations.probability import logistic, slopes
from backends.trees import spaces
from backends.trees.spaces import Scores
from backends.trees.tables import Number, Section, section

if TYPE_CHECKING:
    from backends.explanations.materials import Materials
    from backends.model import Model
    from backends.trees.engine import Engine
    from backends.trees.explainer import Explainer

Floats = NDArray[np.float64]

# What float32 sums of leaves may be off by, as a share of what is added up.
_SINGLE_ROUNDING = 1e-6


class Explaining:
    """A model's explanations as far as they follow from those of the trees' sums.

    Each method answers None where they do not. They raise what `Backend.explain` does.
    """

    def __init__(
        self, model: Model, engine: Engine, explainer: Explainer, materials: Materials
    ) -> None:
        """materials: of the model's bundle."""
        self._model = model
        self._engine = engine
        self._explainer = explainer
        self._materials = materials
        image = explainer.image
        self._log_odds = spaces.log_odds(image, model)
        self._margin = spaces.margin(image, model)
        self._probability = spaces.probability(image, model)
        is_single = section(image, Section.NUMBERS)[Number.SINGLE]
        self._rounding = _SINGLE_ROUNDING if is_single else 0.0

    def xemp(self, matrix: Floats, deadline: float) -> Strengths | None:
        """XEMP, where its scale is linear in the sums."""
        if self._log_odds is None:
            return None
        features = self._materials.exemplars.features
        found = self._explainer.xemp(matrix, self._shares, features, deadline)
        return Strengths(features, _combined(self._log_odds, found))

    def shap(self, matrix: Floats, deadline: float) -> Strengths | None:
        """Shapley values of the margin.

        Path-dependent where the model file says how many training rows took each path;
        else over the bundle's reference rows.
        """
        refuse_multiclass(self._model)
        if self._margin is None:
            return None
        if self._explainer.expected is None:
            return self._contrasted(self._margin, matrix, deadline)
        found = self._explainer.shap(matrix, deadline)
        total = self._margin.of(self._sums(matrix))
        base = self._margin.of(self._explainer.expected[None])
        return Strengths(
            self._explainer.used,
            _combined(self._margin, found),
            base=np.broadcast_to(base, total.shape),
            total=total,
        )

    def shap_probability(
        self, matrix: Floats, answers: Floats, deadline: float
    ) -> Strengths | None:
        """Shapley values that add up to a binary model's probability.

        Over the bundle's reference rows: each one's margin contributions, multiplied
        so that they add up to its difference in probability.

        answers: float64 (n_rows, 1), the predictions.
        Source: the shap library's TreeExplainer, model_output="probability".
        """
        refuse_multiclass(self._model)
        if self._probability is not None:
            return self._contrasted(self._probability, matrix, deadline)
        if self._log_odds is None:
            return None
        scores = self._log_odds
        own = scores.of(self._sums(matrix))
        others = scores.of(self._reference_sums)[:, 0]

        def scale(rows: slice) -> Floats:
            return slopes(own[rows], others) / len(others)

        found = self._explainer.contrast(matrix, self._reference, scale, deadline)
        return Strengths(
            self._explainer.used,
            _combined(scores, found),
            base=np.broadcast_to(logistic(others).mean(), answers.shape),
            total=answers,
            rounding=self._rounding,
        )

    def _contrasted(self, scores: Scores, matrix: Floats, deadline: float) -> Strengths:
        """Shapley values of scores over the reference rows, each counting alike."""
        others = self._reference

        def scale(rows: slice) -> Floats:
            return np.full((len(matrix[rows]), len(others)), 1.0 / len(others))

        found = self._explainer.contrast(matrix, others, scale, deadline)
        total = scores.of(self._sums(matrix))
        base = scores.of(self._reference_sums).mean(axis=0)
        return Strengths(
            self._explainer.used,
            _combined(scores, found),
            base=np.broadcast_to(base, total.shape),
            total=total,
            rounding=self._rounding,
        )

    def _sums(self, matrix: Floats) -> Floats:
        """float64 (n_rows, sums): what the trees add up to, before divisor and base."""
        base = section(self._explainer.image, Section.BASE)
        return np.asarray(self._engine.score(matrix, raw=True) - base)

    @cached_property
    def _shares(self) -> Floats:
        exemplars = self._materials.exemplars
        matrix = np.ascontiguousarray(exemplars.columns.matrix)
        weights = np.zeros_like(matrix)
        weights[:, exemplars.features] = exemplars.weights
        return self._explainer.weigh(matrix, weights)

    @cached_property
    def _reference(self) -> Floats:
        return np.ascontiguousarray(self._materials.reference.matrix)

    @cached_property
    def _reference_sums(self) -> Floats:
        return self._sums(self._reference)


def _combined(scores: Scores, found: Floats) -> Floats:
    """float64 (n_rows, scores, f) of contributions to the sums (n_rows, sums, f)."""
    if scores.factors.size == 1:
        return np.asarray(found * scores.factors[0, 0])
    return np.asarray(np.einsum("cs,nsf->ncf", scores.factors, found, optimize=True))
