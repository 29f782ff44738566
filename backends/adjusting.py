"""Predictions of models whose margin has an offset, or whose answer an exposure.

LightGBM leaves what it was given as `init_score` out of what it predicts: it is added
to the sum of the trees here, before the link, and an exposure, whose logarithm it was,
is multiplied by behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from backends.explanations.probability import logistic
from backends.features import Columns
from backends.model import Link, Model

Floats = NDArray[np.float64]


def predictions(model: Model, margins: Floats, columns: Columns) -> Floats:
    """Make predictions of margins: link⁻¹(margin + offset) · exposure.

    model: one with a link. margins: float64 (n_rows, 1), of a binary model for
        `labels[1]`, whichever label is the positive one.
    columns: the rows; without an offset it is 0, without an exposure 1.
    Returns float64 (n_rows, 1), see `Backend.predict`.
    """
    assert model.link is not None
    if columns.offset is not None:
        margins = margins + columns.offset[:, None]
    # What is not finite is refused when all is done.
    with np.errstate(over="ignore", invalid="ignore"):
        answers = _INVERSES[model.link](margins)
        if columns.exposure is not None:
            answers = answers * columns.exposure[:, None]
    flip = model.task == "binary" and model.positive_label == model.labels[0]
    return 1.0 - answers if flip else answers


_INVERSES: Mapping[Link, Callable[[Floats], Floats]] = {
    "identity": np.asarray,
    "log": np.exp,
    "logit": logistic,
}
