"""P7: forecasts in this process, CSV to JSON, against parsing and predicting alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from statistics import median

import pandas as pd

from backends import compiled
from benchmarks.forecasts import DISTANCES, HISTORY, SERIES, Forecasts, make
from benchmarks.report import Outcome, Part
from benchmarks.timing import cpu_seconds, interleave, paired_ratio
from benchmarks.workspace import Workspace, made_once

BAR = 2.0


def measure(workspace: Workspace) -> Outcome:
    """Hold the forecasts against LightGBM's, then time them and their parts."""
    folder = made_once(workspace.folder / "forecasts", make)
    forecasts = Forecasts.load(workspace, folder)
    difference = forecasts.check()
    figures = _figures(forecasts)
    each = {side: median(seconds) for side, seconds in figures.items()}
    details = {f"{side}_cpu_ms": seconds * 1e3 for side, seconds in each.items()}
    details["largest_difference"] = difference
    alone = _sums(figures["parse"], figures["predict"])
    library = _sums(figures["pandas"], figures["lightgbm"])
    return Outcome(
        f"forecasts in process: {SERIES} series × {HISTORY} rows × {DISTANCES}",
        "OMP_NUM_THREADS=1; LightGBM called with num_threads=1",
        f"{compiled.TREES} as a request calls it, one thread",
        [
            Part(
                "CSV to JSON, time ÷ parse and predict alone",
                paired_ratio(figures["answer"], alone),
                "<=",
                BAR,
                details=details,
            ),
            Part(
                "the same ÷ pandas.read_csv and Booster.predict alone",
                paired_ratio(figures["answer"], library),
                "<=",
                None,
                details=details,
            ),
        ],
        {"notes": [_note(each, difference)]},
    )


def _note(each: Mapping[str, float], difference: float) -> str:
    """each: seconds."""
    ms = {side: f"{seconds * 1e3:.1f}" for side, seconds in each.items()}
    return (
        f"CSV to JSON {ms['answer']} ms ({SERIES * DISTANCES / each['answer']:.0f}"
        f" forecasts/s): columns parsed in {ms['parse']}, with timestamps as steps and"
        f" ids as series in {ms['read']}; predicted in {ms['predict']}; pandas reads in"
        f" {ms['pandas']}, LightGBM predicts in {ms['lightgbm']}; one series"
        f" {ms['one_series']} ms; largest difference {difference:.1g}"
    )


def _figures(forecasts: Forecasts) -> dict[str, list[float]]:
    """CPU seconds, round by round."""
    matrix = forecasts.derivation.matrix
    lines = forecasts.body.splitlines(keepends=True)
    one_series = b"".join(lines[: 1 + HISTORY + DISTANCES])

    def by_pandas() -> object:
        return pd.read_csv(io.BytesIO(forecasts.body))

    def by_lightgbm() -> object:
        return forecasts.booster.predict(matrix, num_threads=1)

    return interleave(
        {
            "answer": lambda: cpu_seconds(forecasts.answer),
            "parse": lambda: cpu_seconds(forecasts.parse),
            "read": lambda: cpu_seconds(forecasts.read),
            "predict": lambda: cpu_seconds(forecasts.predict),
            "pandas": lambda: cpu_seconds(by_pandas),
            "lightgbm": lambda: cpu_seconds(by_lightgbm),
            "one_series": lambda: cpu_seconds(lambda: forecasts.answer_to(one_series)),
        }
    )


def _sums(first: list[float], second: list[float]) -> list[float]:
    return [a + b for a, b in zip(first, second, strict=True)]
