"""P3: rows a second of the tree engine in this process, against LightGBM's own."""

from __future__ import annotations

import ctypes
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from backends import compiled
from backends.trees import from_lightgbm, kernel_cache
from backends.trees.engine import Engine
from benchmarks.report import Outcome, Part
from benchmarks.single_row import SingleRow, addresses, prepared
from benchmarks.specimens.base import matrix
from benchmarks.timing import interleave, paired_ratio
from benchmarks.workspace import Workspace, WrongAnswer

MANY = 20.0
ONE = 0.25
_ROWS = 10_000
# Asked one by one, in turn.
_SINGLE_ROWS = 1000
_SEED = 31
_THREADS = 2
# The engine is so much quicker that one pass over the rows would be too short to time.
_SECONDS = 0.3

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Sides:
    """One specimen's model on both sides, and the rows.

    rows: float64 (n_rows, n_columns); made_in: seconds that reading the model and
    writing the engine's tables took.
    """

    name: str
    rows: Matrix
    booster: lgb.Booster
    single: SingleRow
    engine: Engine
    pool: ThreadPoolExecutor
    made_in: float


def measure(workspace: Workspace) -> Outcome:
    """Hold the engine's raw scores against LightGBM's, bit for bit; then time both."""
    kernel_cache.prepare(workspace.kernels)
    parts: list[Part] = []
    notes: list[str] = []
    for name in workspace.names("P3"):
        with _sides(workspace, name) as sides:
            _check(sides)
            figures = _figures(sides)
        parts += _parts(name, figures, judged=workspace.specimens[name].is_deployed)
        notes.append(_note(sides, figures))
    return Outcome(
        f"raw scores in process: {_ROWS} rows, and one row",
        "OMP_NUM_THREADS=1; LightGBM called with num_threads=1",
        f"{compiled.TREES} over tables in files, one thread",
        parts,
        {"notes": notes},
    )


@contextmanager
def _sides(workspace: Workspace, name: str) -> Iterator[_Sides]:
    booster = lgb.Booster(model_file=workspace.model(name))
    begun = time.perf_counter()
    engine = _engine(workspace, name)
    seconds = time.perf_counter() - begun
    rows = matrix(workspace.specimens[name].frame(_ROWS, _SEED))
    with prepared(booster) as single, ThreadPoolExecutor(_THREADS) as pool:
        yield _Sides(name, rows, booster, single, engine, pool, seconds)


def _engine(workspace: Workspace, name: str) -> Engine:
    """The engine over tables in files, as a worker has it."""
    folder = workspace.folder / "engines" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    Engine(from_lightgbm.read(workspace.model(name).read_bytes())).write(folder)
    return Engine.open(folder)


def _check(sides: _Sides) -> None:
    """Raises WrongAnswer unless every way of scoring finds the very same bits."""
    wanted = _by_library(sides).reshape(_ROWS, -1)
    one_by_one = [
        sides.engine.score(sides.rows[row : row + 1], raw=True)[0]
        for row in range(_SINGLE_ROWS)
    ]
    fast = []
    for row in addresses(sides.rows[:_SINGLE_ROWS]):
        sides.single.score(row)
        fast.append(sides.single.scores.copy())
    _same(f"model {sides.name}, all rows", _by_engine(sides), wanted)
    _same(f"model {sides.name}, on threads", _on_threads(sides), wanted)
    wanted = wanted[:_SINGLE_ROWS]
    _same(f"model {sides.name}, row by row", np.array(one_by_one), wanted)
    _same(f"model {sides.name}, LightGBM row by row", np.array(fast), wanted)


def _same(what: str, found: Matrix, wanted: Matrix) -> None:
    differs = found.view(np.int64) != wanted.view(np.int64)
    if differs.any():
        row, column = np.argwhere(differs)[0]
        raise WrongAnswer(
            f"{what}: {differs.any(axis=1).sum()} rows differ; row {row} has "
            f"{found[row, column]!r}, LightGBM {wanted[row, column]!r}"
        )


def _by_library(sides: _Sides) -> Matrix:
    scores = sides.booster.predict(sides.rows, num_threads=1, raw_score=True)
    return np.asarray(scores, np.float64)


def _by_engine(sides: _Sides) -> Matrix:
    return sides.engine.score(sides.rows, raw=True)


def _on_threads(sides: _Sides) -> Matrix:
    blocks = np.array_split(sides.rows, _THREADS)
    score = partial(sides.engine.score, raw=True)
    return np.concatenate(list(sides.pool.map(score, blocks)))


def _figures(sides: _Sides) -> dict[str, list[float]]:
    """Way of scoring to seconds a row, round by round."""
    single_rows = [sides.rows[row : row + 1] for row in range(_SINGLE_ROWS)]
    return interleave(
        {
            "engine": partial(_seconds_a_row, partial(_by_engine, sides)),
            "lightgbm": partial(_seconds_a_row, partial(_by_library, sides)),
            "threads": partial(_seconds_a_row, partial(_on_threads, sides)),
            "one_row": partial(_row_by_row, sides.engine, single_rows),
            "single_row_fast": partial(
                _row_by_row_fast, sides.single, addresses(sides.rows[:_SINGLE_ROWS])
            ),
        }
    )


def _seconds_a_row(score: Callable[[], Matrix]) -> float:
    passes, seconds, begun = 0, 0.0, time.perf_counter()
    while passes == 0 or seconds < _SECONDS:
        score()
        passes += 1
        seconds = time.perf_counter() - begun
    return seconds / (passes * _ROWS)


def _row_by_row(engine: Engine, rows: list[Matrix]) -> float:
    begun = time.perf_counter()
    for row in rows:
        engine.score(row, raw=True)
    return (time.perf_counter() - begun) / len(rows)


def _row_by_row_fast(single: SingleRow, rows: list[ctypes.c_void_p]) -> float:
    begun = time.perf_counter()
    for row in rows:
        single.score(row)
    return (time.perf_counter() - begun) / len(rows)


def _parts(name: str, figures: dict[str, list[float]], *, judged: bool) -> list[Part]:
    """Without bars for the specimens that only show that there is no cliff."""
    model = f"model {name}" if judged else f"{name} (no bar, no cliff)"
    details: dict[str, Any] = {
        f"{side}_us_a_row": median(each) * 1e6 for side, each in figures.items()
    }
    return [
        Part(
            f"{model}, {_ROWS} rows, rows/s ÷ LightGBM's",
            paired_ratio(figures["lightgbm"], figures["engine"]),
            ">=",
            MANY if judged else None,
            details=details,
        ),
        Part(
            f"{model}, one row, time ÷ LightGBM's",
            paired_ratio(figures["one_row"], figures["single_row_fast"]),
            "<=",
            ONE if judged else None,
            details=details,
        ),
    ]


def _note(sides: _Sides, figures: dict[str, list[float]]) -> str:
    each = {side: median(seconds) for side, seconds in figures.items()}
    return (
        f"{sides.name}: trees {1 / each['engine']:.0f} rows/s "
        f"({each['engine'] * 1e6:.2f} µs a row), on {_THREADS} threads "
        f"{1 / each['threads']:.0f}; LightGBM {1 / each['lightgbm']:.0f} "
        f"({each['lightgbm'] * 1e6:.1f}); one row {each['one_row'] * 1e6:.1f} µs, "
        f"LightGBM {each['single_row_fast'] * 1e6:.1f}; tables of "
        f"{sides.engine.nbytes / 1e6:.1f} MB made in {sides.made_in:.1f} s"
    )
