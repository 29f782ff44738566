import re

import numpy as np
import pytest

from backends.trees import kernel_cache
from backends.trees.engine import Engine
from benchmarks.bars import trees
from benchmarks.specimens.made_up import MadeUp
from benchmarks.workspace import Workspace, WrongAnswer

JUDGED = MadeUp(
    "judged",
    "regression",
    numeric=4,
    trees=9,
    level_counts=(5,),
    missing=0.1,
    leaves=4,
    training_rows=500,
    bars=frozenset({"P1", "P3"}),
)
SHOWN = MadeUp(
    "shown",
    "multiclass",
    numeric=4,
    trees=9,
    classes=3,
    leaves=4,
    training_rows=500,
)
AGAINST_HTTP = MadeUp("other", "regression", 4, 9, bars=frozenset({"P1"}))


@pytest.fixture
def workspace(tmp_path, pytestconfig, monkeypatch):
    kernel_cache.prepare(pytestconfig.cache.mkdir("kernels"))
    for name, little in {"_ROWS": 130, "_SINGLE_ROWS": 5, "_SECONDS": 0.0}.items():
        monkeypatch.setattr(trees, name, little)
    specimens = (JUDGED, SHOWN, AGAINST_HTTP)
    for specimen in (JUDGED, SHOWN):
        folder = tmp_path / "models" / specimen.name
        folder.mkdir(parents=True)
        specimen.train(folder)
    return Workspace(tmp_path, {each.name: each for each in specimens}, "", {})


def test_only_models_with_other_bars_are_judged(workspace):
    outcome = trees.measure(workspace)
    bars = [(part.name.split(",")[0], part.good, part.bar) for part in outcome.parts]
    assert bars == [
        ("model judged", ">=", 20.0),
        ("model judged", "<=", 0.25),
        ("shown (no bar", ">=", None),
        ("shown (no bar", "<=", None),
    ]
    assert all(part.ratio > 0 for part in outcome.parts)


def test_note_names_both_sides_rates(workspace):
    notes = trees.measure(workspace).details["notes"]
    for name, note in zip(("judged", "shown"), notes, strict=True):
        assert re.match(rf"{name}: trees \d+ rows/s .* LightGBM \d+ ", note)


@pytest.mark.parametrize(
    ("rows", "what"), [(130, "all rows"), (65, "on threads"), (1, "row by row")]
)
def test_engine_that_differs_by_a_bit_is_not_timed(workspace, monkeypatch, rows, what):
    score = Engine.score

    def one_bit_off(engine, matrix, *, raw=False):
        scores = score(engine, matrix, raw=raw)
        return np.nextafter(scores, np.inf) if len(matrix) == rows else scores

    monkeypatch.setattr(Engine, "score", one_bit_off)
    with pytest.raises(WrongAnswer, match=f"model judged, {what}: .* rows differ"):
        trees.measure(workspace)
