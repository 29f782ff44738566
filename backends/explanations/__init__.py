"""Explanation algorithms: which features made a prediction what it is, and how much."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from backends.explanations.base import Strengths

if TYPE_CHECKING:
    from backends.base import Backend
    from backends.explanations.materials import Materials
    from backends.features import Columns

# What explains any model, by what it predicts for other rows.
ALGORITHMS = {
    "xemp": "backends.explanations.xemp:explain",
    "shap": "backends.explanations.shapley:explain_margin",
    "shap_probability": "backends.explanations.shapley:explain_probability",
}


def explain(
    algorithm: str,
    backend: Backend,
    columns: Columns,
    materials: Materials,
    deadline: float,
) -> Strengths:
    """Explain rows by one of ALGORITHMS; see `Backend.explain`."""
    module, _, name = ALGORITHMS[algorithm].partition(":")
    found: Strengths = getattr(import_module(module), name)(
        backend, columns, materials, deadline
    )
    return found
