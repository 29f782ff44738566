"""P5: SHAP values of all features in this process, against LightGBM's pred_contrib."""

from __future__ import annotations

from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from backends import compiled
from backends.explanations.base import Strengths
from benchmarks.explained import ROWS, SINGLE_ROWS, Explained
from benchmarks.report import Outcome, Part
from benchmarks.timing import cpu_seconds, interleave, paired_ratio
from benchmarks.workspace import Workspace, WrongAnswer

MANY = 30.0
ONE = 1.0

Floats = NDArray[np.float64]


def measure(workspace: Workspace) -> Outcome:
    """Hold the engine's values against LightGBM's, then time both."""
    parts: list[Part] = []
    notes: list[str] = []
    for name in workspace.names("P5"):
        explained = Explained.load(workspace, name)
        difference = _check(explained)
        figures = _figures(explained)
        parts += _parts(name, figures, difference)
        notes.append(_note(name, figures, difference))
    return Outcome(
        f"SHAP values in process: {ROWS} rows, and one row",
        "OMP_NUM_THREADS=1; LightGBM called with num_threads=1",
        f"{compiled.TREES} as a request calls it, one thread",
        parts,
        {"notes": notes},
    )


def _check(explained: Explained) -> float:
    """The largest difference. Raises WrongAnswer."""
    wanted = _by_library(explained, explained.rows)
    together = _contributions(explained, explained.explain(explained.columns, "shap"))
    one_by_one = np.concatenate(
        [_contributions(explained, each) for each in explained.explain_each("shap")]
    )
    return max(
        explained.check("SHAP values", together, wanted),
        explained.check("SHAP values row by row", one_by_one, wanted[:SINGLE_ROWS]),
    )


def _contributions(explained: Explained, found: Strengths) -> Floats:
    """As LightGBM lays them out: float64 (n_rows, n_columns + 1), the base last."""
    if found.base is None:
        raise WrongAnswer(f"model {explained.name}: SHAP values without their base")
    values = np.zeros((len(found.values), explained.rows.shape[1] + 1))
    values[:, found.features] = found.values[:, 0]
    values[:, -1] = found.base[:, 0]
    return values


def _by_library(explained: Explained, rows: Floats) -> Floats:
    found = explained.booster.predict(rows, num_threads=1, pred_contrib=True)
    return np.asarray(found, np.float64)


def _figures(explained: Explained) -> dict[str, list[float]]:
    """Way of explaining to CPU seconds a row, round by round."""
    library = partial(_by_library, explained)
    each_row = [columns.matrix for columns in explained.each_row]

    def one_by_one() -> None:
        for row in each_row:
            library(row)

    return interleave(
        {
            "engine": partial(explained.seconds_a_row, "shap"),
            "lightgbm": lambda: cpu_seconds(partial(library, explained.rows)) / ROWS,
            "one_row": partial(explained.seconds_one_by_one, "shap"),
            "lightgbm_one_row": lambda: cpu_seconds(one_by_one) / SINGLE_ROWS,
            "told": partial(explained.seconds_told, "shap"),
        }
    )


def _parts(name: str, figures: dict[str, list[float]], difference: float) -> list[Part]:
    details = {
        f"{side}_cpu_us_a_row": median(each) * 1e6 for side, each in figures.items()
    }
    details["largest_difference"] = difference
    return [
        Part(
            f"model {name}, {ROWS} rows, rows/s ÷ pred_contrib's",
            paired_ratio(figures["lightgbm"], figures["engine"]),
            ">=",
            MANY,
            details=details,
        ),
        Part(
            f"model {name}, one row, pred_contrib's time ÷ the engine's",
            paired_ratio(figures["lightgbm_one_row"], figures["one_row"]),
            ">=",
            ONE,
            details=details,
        ),
    ]


def _note(name: str, figures: dict[str, list[float]], difference: float) -> str:
    each = {side: median(seconds) for side, seconds in figures.items()}
    return (
        f"{name}: trees {1 / each['engine']:.0f} rows/s, with the choice of what is"
        f" told {1 / each['told']:.0f}; LightGBM {1 / each['lightgbm']:.0f}; one row"
        f" {each['one_row'] * 1e6:.0f} µs, LightGBM"
        f" {each['lightgbm_one_row'] * 1e6:.0f}; largest difference {difference:.1g}"
    )
