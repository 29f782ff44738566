"""Scores are the library's, bit for bit, whatever the model and the rows."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, note
from numpy.typing import NDArray

from backends.trees import build, from_lightgbm
from backends.trees.engine import Engine
from tests.backends.trees import models, reference
from tests.backends.trees.effort import effort, times_effort
from tests.backends.trees.equality import assert_close, assert_same_bits, distance
from tests.backends.trees.rows import adversarial
from tests.backends.trees.texts import SHAPES, Text, model_texts

COUNTS = [
    *(0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 200, 255, 256),
    *(257, 447, 448, 449, 511, 512, 513, 576, 577, 1000, 1023, 1024, 1025, 1026),
]
KINDS = sorted(models.RECIPES)


def raw(booster: lightgbm.Booster, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the library's trees add up to: float64 (n, sums)."""
    scores = booster.predict(rows, raw_score=True, num_threads=1)
    return np.asarray(scores).reshape(len(rows), -1)


def answers(
    booster: lightgbm.Booster, rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(booster.predict(rows, num_threads=1)).reshape(len(rows), -1)


def engine_of(text: bytes) -> Engine:
    return Engine(from_lightgbm.read(text))


def mixed_rows(model: models.Trained, count: int) -> NDArray[np.float64]:
    """Rows of the training, and adversarial ones."""
    random = np.random.default_rng(models.SEED)
    made = adversarial(model.text, count - count // 3, random)
    return random.permutation(np.concatenate([model.rows[: count // 3], made]))


@pytest.mark.parametrize("kind", KINDS)
def test_raw_scores_are_the_librarys(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, times_effort(1000))
    found = engine_of(model.text).score(rows, raw=True)
    assert_same_bits(found, raw(model.booster, rows), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_scores_as_many_do(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, times_effort(150))
    engine = engine_of(model.text)
    found = [engine.score(rows[i : i + 1], raw=True) for i in range(len(rows))]
    assert_same_bits(np.concatenate(found), raw(model.booster, rows), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_within_a_unit_of_the_librarys(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, times_effort(300))
    engine = engine_of(model.text)
    wanted = answers(model.booster, rows)
    assert_close(engine.score(rows), wanted, rows, units=1)
    one = np.concatenate([engine.score(rows[i : i + 1]) for i in range(60)])
    assert_close(one, wanted[:60], rows, units=1)


@pytest.mark.parametrize("kind", sorted(models.OBJECTIVES))
def test_hardly_an_answer_differs_at_all(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, 1000)
    apart = distance(engine_of(model.text).score(rows), answers(model.booster, rows))
    assert (apart == 0).mean() > 0.95


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["255 leaves", "multiclass", "missing zero"])
def test_any_number_of_rows(kind: str, count: int) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, 1026)[:count]
    found = engine_of(model.text).score(rows, raw=True)
    wanted = raw(model.booster, rows) if count else np.empty((0, found.shape[1]))
    assert_same_bits(found, wanted, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_tables_score_as_those_in_memory(kind: str, tmp_path: Path) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, 200)
    engine = engine_of(model.text)
    engine.write(tmp_path)
    opened = Engine.open(tmp_path)
    assert (opened.features, opened.outputs, opened.sums) == (
        *(engine.features, engine.outputs, engine.sums),
    )
    assert_same_bits(opened.score(rows), engine.score(rows), rows)
    assert_same_bits(opened.score(rows, raw=True), raw(model.booster, rows), rows)
    assert_same_bits(opened.score(rows[:1]), engine.score(rows[:1]), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_worked_out_slowly(kind: str) -> None:
    model = models.trained(kind)
    ensemble = from_lightgbm.read(model.text)
    rows = mixed_rows(model, 12)
    engine = Engine(ensemble)
    assert_same_bits(engine.score(rows, raw=True), reference.sums(ensemble, rows), rows)
    # numpy's exp is not the C library's: units add up in a softmax.
    assert_close(engine.score(rows), reference.answers(ensemble, rows), rows, units=8)


@effort(200)
@given(model_texts())
def test_made_up_models_score_as_in_the_library(made: Text) -> None:
    note(repr(made))
    check_made_up(made, rows=150, single=5)


@effort(60)
@given(model_texts(leaves=1001, trees=4))
def test_large_made_up_models_score_as_in_the_library(made: Text) -> None:
    note(repr(made))
    check_made_up(made, rows=300, single=20)


@pytest.mark.parametrize("categorical", [0.0, 0.3])
@pytest.mark.parametrize("leaves", [2, 32, 33, 256, 257, 1000])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_trees_of_any_shape(shape: str, leaves: int, categorical: float) -> None:
    made = Text(
        seed=leaves,
        features=4,
        shapes=[shape],
        leaves=[leaves, leaves],
        categorical=categorical,
        pool=50,
    )
    check_made_up(made, rows=130, single=20)


@pytest.mark.parametrize(
    "leaves",
    [
        *(build.MOST_MASKED_LEAVES, build.MOST_MASKED_LEAVES + 1),
        *(build.MOST_ROUTED_LEAVES, build.MOST_ROUTED_LEAVES + 1),
        70_000,
    ],
)
def test_trees_of_many_leaves(leaves: int) -> None:
    made = Text(seed=1, leaves=[leaves], pool=30_000, categorical=0.01)
    check_made_up(made, rows=200, single=50)


def test_trees_of_all_sizes_beside_one_another() -> None:
    made = Text(
        seed=2,
        features=5,
        classes=3,
        objective="multiclass num_class:3",
        shapes=sorted(SHAPES),
        leaves=[1, 2, 1000, 300, 33, 1, 64, 257, 5],
        categorical=0.2,
        words=9,
        pool=100,
    )
    check_made_up(made, rows=500, single=100)


def test_categories_beyond_what_masks_can_hold() -> None:
    """Codes by the ten thousand and trees by the hundred: the trees are walked."""
    made = Text(
        seed=3,
        features=8,
        leaves=[31] * 150,
        categorical=0.5,
        words=1500,
        pool=100,
    )
    check_made_up(made, rows=200, single=50)


def test_a_hundred_thousand_features() -> None:
    """The library then goes over to rows as maps from feature to value."""
    text = Text(seed=4, features=100_001, leaves=[200, 200], pool=9).build()
    rows = np.random.default_rng(4).normal(size=(3, 100_001))
    found = engine_of(text).score(rows, raw=True)
    assert_same_bits(found, raw(models.load(text), rows), rows)


def test_hundreds_of_trees_with_one_leaf_each() -> None:
    check_made_up(Text(seed=5, leaves=[1] * 500, tame=False), rows=3, single=2)


def check_made_up(made: Text, *, rows: int, single: int) -> None:
    text = made.build()
    booster, engine = models.load(text), engine_of(text)
    matrix = adversarial(text, rows, np.random.default_rng(made.seed))
    wanted = raw(booster, matrix)
    assert_same_bits(engine.score(matrix, raw=True), wanted, matrix)
    transformed = answers(booster, matrix)
    assert_close(engine.score(matrix), transformed, matrix, units=1)
    for row in range(single):
        one = matrix[row : row + 1]
        assert_same_bits(engine.score(one, raw=True), wanted[row : row + 1], one)
        assert_close(engine.score(one), transformed[row : row + 1], one, units=1)
