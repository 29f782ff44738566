"""P6: XEMP strengths in this process, against LightGBM's plain predictions."""

from __future__ import annotations

from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from backends import compiled
from benchmarks.explained import ROWS, SINGLE_ROWS, Explained
from benchmarks.report import Outcome, Part
from benchmarks.timing import cpu_seconds, interleave, paired_ratio
from benchmarks.workspace import Workspace

BAR = 0.75
# Each is held against some hundred predictions.
_CHECKED_ROWS = 40

Floats = NDArray[np.float64]


def measure(workspace: Workspace) -> Outcome:
    """Hold strengths against predictions for substituted rows, then time both sides."""
    parts: list[Part] = []
    notes: list[str] = []
    for name in workspace.names("P6"):
        explained = Explained.load(workspace, name)
        difference = _check(explained)
        figures = _figures(explained)
        parts += _parts(explained, figures, difference)
        notes.append(_note(explained, figures, difference))
    return Outcome(
        f"XEMP strengths in process: {ROWS} rows",
        "OMP_NUM_THREADS=1; LightGBM called with num_threads=1",
        f"{compiled.TREES} as a request calls it, one thread",
        parts,
        {"notes": notes},
    )


def _check(explained: Explained) -> float:
    """The largest difference. Raises WrongAnswer."""
    wanted = _by_substitution(explained, explained.rows[:_CHECKED_ROWS])
    together = explained.explain(explained.columns, "xemp").values[:, 0]
    one_by_one = np.concatenate(
        [found.values[:, 0] for found in explained.explain_each("xemp")]
    )
    return max(
        explained.check("XEMP strengths", together[:_CHECKED_ROWS], wanted),
        explained.check(
            "XEMP strengths row by row", one_by_one[:_CHECKED_ROWS], wanted
        ),
        # The rows that are timed one by one, and have not been substituted.
        explained.check("XEMP strengths both ways", one_by_one, together[:SINGLE_ROWS]),
    )


def _by_substitution(explained: Explained, rows: Floats) -> Floats:
    """Strengths by LightGBM's raw scores of every row with every exemplar.

    They are log-odds, or in target units, as strengths are. Returns float64 (n_rows,
    f), in the order of the exemplars' features.
    """
    exemplars = explained.materials.exemplars
    own = explained.library_margins(rows)
    strengths = np.empty((len(rows), len(exemplars.features)))
    for place, feature in enumerate(exemplars.features):
        chosen = np.flatnonzero(exemplars.weights[:, place])
        others = np.repeat(rows, len(chosen), axis=0)
        values = exemplars.columns.matrix[chosen, feature]
        others[:, feature] = np.tile(values, len(rows))
        margins = explained.library_margins(others).reshape(len(rows), -1)
        strengths[:, place] = own - margins @ exemplars.weights[chosen, place]
    return strengths


def _figures(explained: Explained) -> dict[str, list[float]]:
    """What is done to CPU seconds a row, round by round."""

    def library(rows: Floats) -> object:
        return explained.booster.predict(rows, num_threads=1)

    each_row = [columns.matrix for columns in explained.each_row]

    def one_by_one() -> None:
        for row in each_row:
            library(row)

    predict = partial(explained.backend.predict, explained.columns)
    return interleave(
        {
            "xemp": partial(explained.seconds_a_row, "xemp"),
            "lightgbm": lambda: cpu_seconds(partial(library, explained.rows)) / ROWS,
            "prediction": lambda: cpu_seconds(predict) / ROWS,
            "one_row": partial(explained.seconds_one_by_one, "xemp"),
            "lightgbm_one_row": lambda: cpu_seconds(one_by_one) / SINGLE_ROWS,
            "told": partial(explained.seconds_told, "xemp"),
        }
    )


def _parts(
    explained: Explained, figures: dict[str, list[float]], difference: float
) -> list[Part]:
    features, exemplars = _sizes(explained)
    details = {
        f"{side}_cpu_us_a_row": median(each) * 1e6 for side, each in figures.items()
    }
    details |= {
        "features": features,
        "exemplars": exemplars,
        "largest_difference": difference,
    }
    return [
        Part(
            f"model {explained.name}, {features} features, rows/s ÷ LightGBM's predict",
            paired_ratio(figures["lightgbm"], figures["xemp"]),
            ">=",
            BAR,
            details=details,
        ),
        Part(
            f"model {explained.name}, time ÷ the engine's own plain prediction",
            paired_ratio(figures["xemp"], figures["prediction"]),
            "<=",
            None,
            details=details,
        ),
    ]


def _sizes(explained: Explained) -> tuple[int, int]:
    """How many features are explained, and how many exemplars they have together."""
    exemplars = explained.materials.exemplars
    return len(exemplars.features), int(np.count_nonzero(exemplars.weights))


def _note(
    explained: Explained, figures: dict[str, list[float]], difference: float
) -> str:
    each = {side: median(seconds) for side, seconds in figures.items()}
    features, exemplars = _sizes(explained)
    return (
        f"{explained.name}: {exemplars / features:.1f} exemplars a feature; trees"
        f" {1 / each['xemp']:.0f} rows/s, with the choice of what is told"
        f" {1 / each['told']:.0f}; LightGBM predicts {1 / each['lightgbm']:.0f}, trees"
        f" {1 / each['prediction']:.0f}; one row {each['one_row'] * 1e6:.0f} µs,"
        f" LightGBM predicts in {each['lightgbm_one_row'] * 1e6:.0f}; largest"
        f" difference {difference:.1g}"
    )
