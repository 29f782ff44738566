"""No model, and no damaged text, makes the kernels read past an end.

To be run by `test_bounds`, with numba's bounds checking: without it a mistake ends the
process, or goes unseen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from backends.base import ModelFileRejected
from backends.trees import (
    contrast_kernels,
    from_lightgbm,
    kernels,
    shap_kernels,
    xemp_kernels,
)
from backends.trees.engine import Engine
from backends.trees.ensemble import NotCovered
from backends.trees.explainer import Explainer
from backends.trees.quadrature import rules
from backends.trees.tables import Section, section
from tests.backends.trees.effort import effort
from tests.backends.trees.rows import SPECIAL
from tests.backends.trees.texts import SHAPES, Text, model_texts

# Trees in one word and in several, walked ones and one of a single leaf; categories.
WHOLE = Text(
    seed=11,
    features=4,
    classes=3,
    objective="multiclass num_class:3",
    shapes=sorted(SHAPES),
    leaves=[3, 40, 300, 1, 32, 100, 260, 8, 33],
    categorical=0.3,
    words=3,
    pool=40,
)


def engine_of(made: Text) -> Engine:
    return Engine(from_lightgbm.read(made.build()))


def score_all(engine: Engine) -> None:
    """Both paths, with cells of all kinds."""
    random = np.random.default_rng(1)
    matrix = random.choice(SPECIAL, (130, engine.features))
    matrix[:40] = random.normal(size=(40, engine.features))
    for raw in (False, True):
        engine.score(matrix, raw=raw)
        engine.score(matrix[30:70], raw=raw)
        engine.score(matrix[:1], raw=raw)


def explain_all(made: Text) -> None:
    """All that an explainer tells, by the kernels for many rows and for few."""
    explainer = Explainer(from_lightgbm.read(made.build()))
    random = np.random.default_rng(1)
    matrix = random.choice(SPECIAL, (70, explainer.features))
    matrix[:40] = random.normal(size=(40, explainer.features))
    every, never = np.arange(explainer.features), float("inf")
    share = explainer.weigh(matrix[:3], np.full((3, len(every)), 1 / 3))

    def scale(rows: slice) -> Any:
        return np.ones((len(matrix[rows]), 66))

    for rows in (matrix, matrix[5:20], matrix[:1]):
        explainer.shap(rows, never)
        explainer.xemp(rows, share, every, never)
        explainer.xemp(rows, share, every[:1], never)
    explainer.contrast(matrix[:9], matrix[:66], lambda rows: scale(rows)[:9], never)


@pytest.mark.parametrize(
    ("table", "kernel"),
    [
        (Section.COLUMN_FEATURE, kernels.score_rows),
        (Section.NODE_CONDITION, kernels.score_rows),
        (Section.LEAF_SLOT, kernels.score_rows),
        (Section.COLUMN_FEATURE, kernels.score_each),
        (Section.ONE_WORD, kernels.score_each),
        (Section.STEP, kernels.score_each),
    ],
)
def test_bounds_are_checked(table: Section, kernel: Any) -> None:
    image = engine_of(WHOLE)._image.copy()
    section(image, table)[:] = 1000
    with pytest.raises(IndexError):
        kernel(image, np.zeros((3, 4)), 0, np.empty((3, 3)))


Rows = np.ndarray[Any, Any]


def _xemp(image: Rows, matrix: Rows, kernel: Any) -> None:
    share = np.zeros(section(image, Section.ELEMENT_FEATURE).size)
    slot = np.arange(4, dtype=np.int32)
    kernel(image, matrix, share, slot, np.zeros((len(matrix), 3, 4)))


def _shap(image: Rows, matrix: Rows, kernel: Any) -> None:
    slot = np.arange(4, dtype=np.int32)
    kernel(image, matrix, *rules(4), slot, np.zeros((len(matrix), 3, 4)))


def _contrast(image: Rows, matrix: Rows, kernel: Any) -> None:
    weights, scale = np.zeros((5, 5)), np.ones((len(matrix), len(matrix)))
    slot = np.arange(4, dtype=np.int32)
    out = np.zeros((len(matrix), 3, 4))
    kernel(image, matrix, matrix, scale, weights, weights, slot, out)


def _weigh(image: Rows, matrix: Rows, kernel: Any) -> None:
    share = np.zeros(section(image, Section.ELEMENT_FEATURE).size)
    kernel(image, matrix, np.ones(matrix.shape), share)


@pytest.mark.parametrize(
    ("table", "use", "kernel"),
    [
        (table, use, kernel)
        for use, kernel, tables in (
            (_weigh, xemp_kernels.weigh_exemplars, ["PATH_TEST", "ELEMENT_FEATURE"]),
            (_xemp, xemp_kernels.xemp_rows, ["PATH_TEST", "ELEMENT_FEATURE"]),
            (_xemp, xemp_kernels.xemp_each, ["EDGE_TEST", "EDGE_LEAF"]),
            (_shap, shap_kernels.shap_rows, ["PATH_TEST", "ELEMENT_FEATURE"]),
            (
                *(_shap, shap_kernels.shap_each),
                ["EDGE_TEST", "EDGE_LEAF", "EDGE_FEATURE", "EDGE_UP"],
            ),
            (
                _contrast,
                contrast_kernels.contrast_rows,
                ["PATH_TEST", "ELEMENT_FEATURE"],
            ),
        )
        for table in tables
    ],
)
def test_bounds_of_paths_are_checked(table: str, use: Any, kernel: Any) -> None:
    """Where the code for many points or rows at once checks nothing, its callers do."""
    image = Explainer(from_lightgbm.read(WHOLE.build())).image.copy()
    matrix = np.random.default_rng(1).normal(size=(3, 4))
    use(image, matrix, kernel)
    section(image, Section[table])[:] = 100_000
    with pytest.raises(IndexError):
        use(image, matrix, kernel)


@effort(50)
@given(model_texts())
def test_no_model_is_explained_past_an_end(made: Text) -> None:
    note(repr(made))
    explain_all(made)


@pytest.mark.parametrize("features", [11, 18, 70])
def test_no_long_path_is_explained_past_an_end(features: int) -> None:
    """Of more elements than there are tables, and than points go side by side."""
    explain_all(
        Text(15, features=features, shapes=["zigzag"], leaves=[2 * features, 1])
    )


@effort(80)
@given(model_texts())
def test_no_model_reads_past_an_end(made: Text) -> None:
    note(repr(made))
    score_all(engine_of(made))


@pytest.mark.parametrize("leaves", [290, 20_000])
def test_no_tree_of_categories_alone_reads_past_an_end(leaves: int) -> None:
    score_all(engine_of(Text(seed=13, leaves=[leaves], categorical=1.0)))


def test_no_tree_of_many_leaves_reads_past_an_end() -> None:
    score_all(engine_of(Text(seed=14, leaves=[20_000, 16_384, 1, 5], categorical=0.1)))


@effort(80)
@given(st.data())
def test_damaged_texts_are_refused_or_scored(data: st.DataObject) -> None:
    made = Text(seed=5, leaves=[4, 9], categorical=0.4, features=2)
    words = made.build().split(b" ")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(
            st.sampled_from([b"", b"x", b"nan", b"1e9", b"0.5", words[place] * 2])
            | st.integers(-5, 40).map(lambda number: b"%d" % number)
        )
    try:
        engine = Engine(from_lightgbm.read(b" ".join(words)))
    except (NotCovered, ModelFileRejected):
        return
    score_all(engine)
