"""Shapley values of any model, by what it predicts for mixtures of rows.

A row's features are taken over one coalition after another into the bundle's
reference rows, and what the model predicts then, on average, is the coalition's worth.
The shap library says which coalitions are asked and what their worths come to.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    Strengths,
    refuse_multiclass,
)
from backends.explanations.probability import logistic, slopes
from backends.explanations.xemp import space
from backends.features import Columns, DataError

if TYPE_CHECKING:
    from backends.base import Backend
    from backends.explanations.materials import Materials

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
Score = Callable[[Columns], Floats]

# Reference rows that a coalition's worth is averaged over. The error of the average
# falls with the root of their number and the cost grows with it: beyond 100 rows, the
# library's own choice, a tenth less error costs a fifth more time.
_BACKGROUND = 100
_SEED = 20_240_229

# Up to so many features every coalition is asked: 1,024 of them for 10 features, five
# times as many as are sampled for 11. Each further feature would double them.
_MOST_EXACT = 10

# Orders in which the features join one by one, and leave again, where coalitions are
# sampled. Already one gives the values of a model whose features interact in pairs at
# most; ten are the library's own choice.
_ORDERS = 10

# Cells of mixed rows that are predicted at once: 8 MB.
_BLOCK_CELLS = 1_048_576

# Rows whose coalitions are held at once: 10 MB of worths at 1,000 features.
_BLOCK_ROWS = 64

# The library draws from numpy's global random numbers.
_drawing = threading.Lock()


def explain_margin(
    backend: Backend, columns: Columns, materials: Materials, deadline: float
) -> Strengths:
    """Shapley values that add up to log-odds, of regression to target units.

    Exact for models of few features, else sampled; the same row gets the same values
    whatever rows come with it. See `Backend.explain`.
    """
    refuse_multiclass(backend.model)
    return explain_score(
        lambda rows: space(backend.model.task, backend.predict(rows))[:, 0],
        *(columns, materials, deadline),
    )


def explain_probability(
    backend: Backend, columns: Columns, materials: Materials, deadline: float
) -> Strengths:
    """Shapley values that add up to the positive label's probability.

    The values of the log-odds over each reference row, multiplied so that they add up
    to its difference in probability. Regression has none: its values are those of
    `shap`. See `Backend.explain`.

    Source: the shap library's TreeExplainer, model_output="probability".
    """
    model = backend.model
    refuse_multiclass(model)
    if model.task == "regression":
        return backend.explain(columns, "shap", materials, deadline)
    if model.link is not None:
        raise NotExplainable(
            "SHAP values that add up to the probability are not told of models with an"
            " offset: the deployment's shap_output=margin tells them of the margin"
        )

    def score(rows: Columns) -> Floats:
        return space(model.task, backend.predict(rows))[:, 0]

    background = _sample(materials.reference)
    own, others = score(columns), _known(score, background)
    weights = slopes(own[:, None], others) / len(others)
    worths = weights @ others, weights.sum(axis=1) * own
    total = backend.predict(columns)
    return Strengths(
        features=np.arange(columns.matrix.shape[1]),
        values=_explained(score, columns, background, weights, worths, deadline),
        base=np.broadcast_to(logistic(others).mean(), total.shape),
        total=total,
    )


def explain_score(
    score: Score, columns: Columns, materials: Materials, deadline: float
) -> Strengths:
    """Shapley values that add up to a score.

    score: rows to float64 (n_rows,).

    Raises NotInitialized, ExplanationTooSlow, and NotExplainable where the score is
    not finite.
    """
    background = _sample(materials.reference)
    base, total = np.mean(_known(score, background)), score(columns)
    weights = np.full((len(columns), len(background)), 1.0 / len(background))
    worths = np.full(len(columns), base), total
    return Strengths(
        features=np.arange(columns.matrix.shape[1]),
        values=_explained(score, columns, background, weights, worths, deadline),
        base=worths[0][:, None],
        total=total[:, None],
    )


def _explained(
    score: Score,
    columns: Columns,
    background: Columns,
    weights: Floats,
    worths: tuple[Floats, Floats],
    deadline: float,
) -> Floats:
    """Shapley values of a score, of its weighted sum over the background.

    weights: float64 (n_rows, background). worths: float64 (n_rows,) twice, the weighted
    sums of none of a row's features and of all.
    Returns float64 (n_rows, 1, features).
    """
    started = time.monotonic()
    with _drawing:
        _library()
    # Sending fewer rows would not load the library sooner.
    deadline += time.monotonic() - started
    nobody, everybody = worths
    values = np.empty_like(columns.matrix)
    for start in range(0, len(columns), _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(columns)))
        mixtures = _Mixtures(
            score, columns.take(rows), background, weights[rows], deadline
        )
        values[rows] = _values(mixtures, nobody[rows], everybody[rows])
    if not (np.isfinite(values).all() and np.isfinite(nobody).all()):
        raise NotExplainable(
            "The model's answers for mixtures of the rows and its reference rows are"
            " not all finite numbers: explanationAlgorithm=xemp may explain it"
        )
    return values[:, None, :]


def _sample(reference: Columns) -> Columns:
    """Up to _BACKGROUND of the rows, always the same ones."""
    if len(reference) <= _BACKGROUND:
        return reference
    random = np.random.default_rng(_SEED)
    return reference.take(
        np.sort(random.choice(len(reference), _BACKGROUND, replace=False))
    )


def _known(score: Score, rows: Columns) -> Floats:
    """What rows that nobody sent score."""
    try:
        return score(rows)
    except DataError as error:
        raise NotExplainable(
            "The model refuses rows that explanations need, in which a row's values"
            f" are mixed with those of reference rows: {error}"
        ) from error


class _Mixtures:
    """Reference rows that took over some of a row's features, and what they score."""

    def __init__(
        self,
        score: Score,
        columns: Columns,
        background: Columns,
        weights: Floats,
        deadline: float,
    ) -> None:
        self.features = columns.matrix.shape[1]
        self._score = score
        self._columns = columns
        self._background = background
        self._weights = weights
        self._deadline = deadline

    def worths(self, masks: Masks) -> Floats:
        """The weighted scores of the mixtures of each row by each mask, added up.

        masks: bool (m, features): the features that are the row's.
        Returns float64 (m, n_rows). Raises ExplanationTooSlow.
        """
        rows, size = len(self._columns), len(self._background)
        found = np.empty(rows * len(masks))
        # Row by row, so that what a row is scored with does not hang on the others.
        step = max(_BLOCK_CELLS // (size * self.features), 1)
        for row in range(rows):
            for start in range(0, len(masks), step):
                if time.monotonic() > self._deadline:
                    raise ExplanationTooSlow
                mixed = self._mix(row, masks[start : start + step])
                place = row * len(masks) + start
                scores = _known(self._score, mixed).reshape(-1, size)
                found[place : place + len(scores)] = scores @ self._weights[row]
        return found.reshape(rows, len(masks)).T

    def _mix(self, row: int, masks: Masks) -> Columns:
        """A copy of the background for each mask, one after the other."""
        matrix = np.where(
            masks[:, None, :], self._columns.matrix[row], self._background.matrix
        )
        texts = {}
        for position, mine in self._columns.texts.items():
            theirs = self._background.texts[position]
            # The row's text behind theirs: strings are picked, never copied.
            both = np.append(theirs, mine[row : row + 1])
            picked = np.where(masks[:, position, None], len(theirs), range(len(theirs)))
            texts[position] = both[picked.ravel()]
        return Columns(matrix.reshape(-1, self.features), texts)


def _values(mixtures: _Mixtures, nobody: Floats, everybody: Floats) -> Floats:
    """The values of each feature of each row.

    nobody, everybody: float64 (n_rows,), the worths of no feature and of all.
    Returns float64 (n_rows, n_features).
    """
    asked: list[Masks] = []
    worths: Floats = np.empty((0, len(everybody)))

    def record(masks: Floats) -> Floats:
        asked.append(masks > 0.5)
        return np.zeros((len(masks), 1))

    def replay(masks: Floats) -> Floats:
        nonlocal worths
        heard, worths = worths[: len(masks)], worths[len(masks) :]
        return heard

    # Once to see which coalitions are asked, whatever the answers, and once to hear
    # them: the model is asked in between, when nobody waits for the random numbers.
    _play(mixtures.features, record)
    masks = np.concatenate(asked)
    worths = np.empty((len(masks), len(everybody)))
    is_none, is_all = ~masks.any(axis=1), masks.all(axis=1)
    worths[is_none], worths[is_all] = nobody, everybody
    mixed = ~is_none & ~is_all
    worths[mixed] = mixtures.worths(masks[mixed])
    return _play(mixtures.features, replay).T


@cache
def _library() -> Any:
    """The shap library: seconds, and pandas, scikit-learn and pictures with them."""
    # What its imports say is for its authors, and for who has no place for fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        import shap
    return shap


def _play(features: int, game: Callable[[Floats], Floats]) -> Floats:
    """Let the library play a game of so many features, each there (1) or not (0).

    game: float64 (m, features) of zeros and ones to float64 (m, k).
    Returns float64 (features, k).
    """
    nobody, everybody = np.zeros((1, features)), np.ones((1, features))
    options: dict[str, Any] = {"silent": True}
    with _drawing:
        shap = _library()
        # Nobody else's numbers are to change; ruff would have us draw from elsewhere.
        state = np.random.get_state()  # noqa: NPY002
        try:
            if features <= _MOST_EXACT:
                explainer = shap.ExactExplainer(game, nobody)
            else:
                explainer = shap.PermutationExplainer(game, nobody, seed=_SEED)
                options["max_evals"] = _ORDERS * (2 * features + 1)
            values: Floats = explainer(everybody, **options).values[0]
        finally:
            np.random.set_state(state)  # noqa: NPY002
    return values
