"""What an explainer tells is what slower ways find, whatever the model and the rows."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import product
from math import factorial
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.explanations import shapley
from backends.explanations.base import ExplanationTooSlow
from backends.trees import from_lightgbm
from backends.trees.engine import Engine
from backends.trees.ensemble import Ensemble
from backends.trees.explainer import Explainer
from tests.backends.trees import graphs, models
from tests.backends.trees.by_definition import (
    coalition_values,
    counted,
    double_sums,
    path_dependent,
    substituted,
)
from tests.backends.trees.effort import effort
from tests.backends.trees.rows import adversarial
from tests.backends.trees.texts import Text, model_texts

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]

NEVER = float("inf")
KINDS = sorted(models.RECIPES)
# Around where one kernel hands over to the other, and where a block ends.
COUNTS = [0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 511, 512, 513, 1024, 1025]
# More rows than the kernels for few rows take.
MANY = 40


def explainer_of(text: bytes) -> Explainer:
    return Explainer(from_lightgbm.read(text))


def mixed_rows(model: models.Trained, count: int) -> Floats:
    """Rows of the training, and adversarial ones."""
    random = np.random.default_rng(models.SEED)
    made = adversarial(model.text, count - count // 2, random)
    return random.permutation(np.concatenate([model.rows[: count // 2], made]))


def library_shap(booster: lightgbm.Booster, rows: Floats) -> Floats:
    """float64 (n_rows, sums, features + 1), the last what they are added to."""
    found = booster.predict(rows, pred_contrib=True, num_threads=1)
    return np.asarray(found).reshape(len(rows), -1, rows.shape[1] + 1)


def shap(explainer: Explainer, rows: Floats) -> Floats:
    """The same of the explainer."""
    assert explainer.expected is not None
    whole = np.zeros((len(rows), explainer.sums, explainer.features + 1))
    whole[..., explainer.used] = explainer.shap(rows, NEVER)
    whole[..., -1] = explainer.expected
    return whole


def assert_near(
    found: Floats, wanted: Floats, tolerance: float, size: float | None = None
) -> None:
    """The same but for a share of a size, by default that of the largest number."""
    assert found.shape == wanted.shape
    if size is None:
        size = float(np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * size)


# ---- Path-dependent Shapley values


@pytest.mark.parametrize("kind", KINDS)
def test_shap_is_the_librarys(kind: str) -> None:
    """By both kernels; size: of the largest margin."""
    model = models.trained(kind)
    rows = mixed_rows(model, MANY)
    explainer, wanted = explainer_of(model.text), library_shap(model.booster, rows)
    size = float(np.abs(wanted.sum(axis=2)).max())
    assert_near(shap(explainer, rows), wanted, 1e-13, size)
    assert_near(shap(explainer, rows[:16]), wanted[:16], 1e-13, size)
    assert_near(shap(explainer, rows[:1]), wanted[:1], 1e-13, size)


@pytest.mark.parametrize("kind", ["multiclass", "missing zero", "constant trees"])
def test_any_number_of_rows_has_its_shap(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, max(COUNTS))
    explainer, wanted = explainer_of(model.text), library_shap(model.booster, rows)
    for count in COUNTS:
        found = shap(explainer, rows[:count])
        assert_near(found, wanted[:count], 1e-13, float(np.abs(wanted).max()))


def test_more_rows_than_a_call_takes_have_their_shap() -> None:
    model = models.trained("2 leaves")
    rows = mixed_rows(model, 5000)
    wanted = library_shap(model.booster, rows)
    assert_near(shap(explainer_of(model.text), rows), wanted, 1e-13)


@pytest.mark.parametrize("text", [Text(1, leaves=[1]), Text(1, leaves=[1, 1, 1])])
def test_trees_of_one_leaf_explain_nothing(text: Text) -> None:
    ensemble = from_lightgbm.read(text.build())
    explainer = Explainer(ensemble)
    assert explainer.used.size == 0
    assert explainer.expected == pytest.approx([ensemble.value.sum()])
    rows = np.zeros((40, 3))
    for count in (0, 1, 40):
        assert explainer.shap(rows[:count], NEVER).shape == (count, 1, 0)
        assert not explainer.xemp(
            rows[:count], np.empty(0), np.array([2, 0]), NEVER
        ).any()


@cache
def _deep(features: int, leaves: int) -> models.Trained:
    """Trees with paths along most of the features: each parts few rows from many."""
    random = np.random.default_rng(models.SEED)
    rows = random.random((2000, features)).round(3)
    target, left = np.zeros(len(rows)), np.ones(len(rows), bool)
    for feature in range(features):
        parted = left & (rows[:, feature] > 0.93)
        target[parted] = 1000.0 * (features - feature)
        left &= ~parted
    options = {
        "objective": "regression",
        "num_leaves": leaves,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "max_bin": 16,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(rows, target, params=options)
    text = lightgbm.train(options, data, 3).model_to_string().encode()
    return models.Trained(text, models.load(text), rows)


def longest(ensemble: Ensemble) -> int:
    """Different features on the longest path."""
    return max(
        len(set(ensemble.feature[nodes].tolist())) for nodes in _node_paths(ensemble)
    )


def _node_paths(ensemble: Ensemble) -> list[list[int]]:
    found, open_paths = (
        [],
        [
            [int(first)]
            for first, after in zip(
                ensemble.tree_node[:-1], ensemble.tree_node[1:], strict=True
            )
            if first < after
        ],
    )
    tree_of = np.repeat(np.arange(ensemble.trees), np.diff(ensemble.tree_node))
    while open_paths:
        path = open_paths.pop()
        first = ensemble.tree_node[tree_of[path[-1]]]
        for child in (ensemble.left[path[-1]], ensemble.right[path[-1]]):
            if child >= 0:
                open_paths.append([*path, int(first + child)])
            else:
                found.append(path)
    return found


@pytest.mark.parametrize(
    ("features", "leaves", "least"), [(13, 20, 11), (24, 40, 17), (40, 60, 32)]
)
def test_long_paths_have_their_exact_shap(
    features: int, leaves: int, least: int
) -> None:
    """The library's own way through such paths loses digits: it is no measure here."""
    model = _deep(features, leaves)
    ensemble = from_lightgbm.read(model.text)
    assert longest(ensemble) >= least
    rows = np.concatenate([model.rows[:30], 0.93 * model.rows[30:60]])
    explainer = Explainer(ensemble)
    many, few = (
        shap(explainer, rows),
        np.concatenate(
            [shap(explainer, rows[at : at + 10]) for at in range(0, 60, 10)]
        ),
    )
    assert_near(few, many, 1e-13)
    exact = path_dependent(ensemble, rows[[0, 45]])
    assert_near(many[[0, 45], :, :-1], exact, 1e-13)
    assert_near(many, library_shap(model.booster, rows), 1e-6)


def test_paths_longer_than_two_sets_of_points_have_their_exact_shap() -> None:
    """Of 70 features: more than 32 points, in five sets of eight."""
    text = Text(5, features=70, shapes=("to the left",), leaves=(140,))
    ensemble = counted(from_lightgbm.read(text.build()), 5, least=1)
    assert longest(ensemble) > 48
    explainer = Explainer(ensemble)
    rows = adversarial(text.build(), 17, np.random.default_rng(5))
    many, few = shap(explainer, rows), shap(explainer, rows[:16])
    assert_near(few, many[:16], 1e-13)
    assert_near(many[:1, :, :-1], path_dependent(ensemble, rows[:1]), 1e-13)


def _with_counts(text: bytes, ensemble: Ensemble) -> bytes:
    """The text with the counts of an ensemble."""
    assert ensemble.leaf_count is not None and ensemble.node_count is not None
    head, *trees = text.split(b"\nTree=")
    for tree in range(ensemble.trees):
        for key, counts, first in (
            (b"leaf_count", ensemble.leaf_count, ensemble.tree_leaf),
            (b"internal_count", ensemble.node_count, ensemble.tree_node),
        ):
            listed = counts[first[tree] : first[tree + 1]].astype(int).tolist()
            line = key + b"=" + " ".join(map(str, listed)).encode()
            trees[tree] = re.sub(rb"(?m)^" + key + rb"=.*$", line, trees[tree])
    return resized(b"\nTree=".join([head, *trees]))


def resized(text: bytes) -> bytes:
    """A text whose trees were changed, with their sizes in its header."""
    begins = [found.start() for found in re.finditer(rb"(?m)^Tree=", text)]
    sizes = np.diff([*begins, text.index(b"end of trees")]).tolist()
    line = b"tree_sizes=" + " ".join(map(str, sizes)).encode()
    return re.sub(rb"(?m)^tree_sizes=.*$", line, text)


@effort(40)
@given(model_texts(leaves=70), st.integers(0, 2**32 - 1))
def test_shap_of_made_up_models_is_the_librarys(made: Text, seed: int) -> None:
    note(repr(made))
    text = replace(made, tame=True).build()
    ensemble = counted(from_lightgbm.read(text), seed, least=1)
    text = _with_counts(text, ensemble)
    explainer = explainer_of(text)
    rows = adversarial(text, 20, np.random.default_rng(seed))
    wanted = library_shap(models.load(text), rows)
    size = float(np.abs(ensemble.value).sum())
    assert_near(shap(explainer, rows), wanted, 1e-12, size)
    assert_near(shap(explainer, rows[:16]), wanted[:16], 1e-12, size)


@effort(30)
@given(model_texts(leaves=33, trees=3), st.integers(0, 2**32 - 1))
def test_shap_is_that_of_the_definition_where_no_row_went(
    made: Text, seed: int
) -> None:
    """Here the library divides nothing by nothing."""
    note(repr(made))
    text = replace(made, tame=True).build()
    ensemble = counted(from_lightgbm.read(text), seed, least=0)
    explainer = Explainer(ensemble)
    rows = adversarial(text, 17, np.random.default_rng(seed))
    size = float(np.abs(ensemble.value).sum())
    many, few = shap(explainer, rows), shap(explainer, rows[:16])
    assert_near(few, many[:16], 1e-12, size)
    assert_near(many[:2, :, :-1], path_dependent(ensemble, rows[:2]), 1e-12, size)
    sums = Engine(ensemble).score(rows, raw=True)
    assert_near(many.sum(axis=2), sums, 1e-12, size)


def test_models_that_count_no_rows_expect_nothing(tmp_path: Path) -> None:
    served = graphs.Served(graphs.converted("lightgbm regression"), tmp_path)
    assert Explainer(served.read()).expected is None
    text = resized(re.sub(rb"\nleaf_count=.*", b"", Text(3).build()))
    assert explainer_of(text).expected is None


# ---- XEMP


def exemplars_of(rows: Floats, count: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Values for every feature, drawn from rows, and weights that add up to 1."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(rows), (count, rows.shape[1]))
    values = np.take_along_axis(rows, drawn, axis=0)
    weights = random.random(values.shape) * (random.random(values.shape) < 0.8)
    weights[0] += 0.1
    return np.ascontiguousarray(values), weights / weights.sum(axis=0)


def assert_xemp(
    explainer: Explainer, score: Score, rows: Floats, checked: int, size: float
) -> None:
    """By both kernels, for all features and for some in another order.

    checked: as many rows are substituted.
    """
    exemplars, weights = exemplars_of(rows, 4)
    wanted = substituted(score, rows[:checked], exemplars, weights)
    share = explainer.weigh(exemplars, weights)
    every = np.arange(rows.shape[1])
    assert (0.0 <= share).all() and (share <= 1.0 + 1e-12).all()
    many = explainer.xemp(rows, share, every, NEVER)
    assert_near(many[:checked], wanted, 1e-12, size)
    for count in (1, 32):
        few = explainer.xemp(rows[:count], share, every, NEVER)
        assert_near(few, many[:count], 1e-12, size)
    unused = np.setdiff1d(every, explainer.used)
    assert not many[..., unused].any()
    some = every[::-2]
    for count in (2, len(rows)):
        found = explainer.xemp(rows[:count], share, some, NEVER)
        np.testing.assert_array_equal(
            found, explainer.xemp(rows[:count], share, every, NEVER)[..., some]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_xemp_is_what_substituted_rows_come_to(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, MANY)

    def score(some: Floats) -> Floats:
        raw = model.booster.predict(some, raw_score=True, num_threads=1)
        return np.asarray(raw).reshape(len(some), -1)

    size = float(np.abs(score(rows)).max())
    assert_xemp(explainer_of(model.text), score, rows, 34, size)


@effort(40)
@given(model_texts(), st.integers(0, 2**32 - 1))
def test_xemp_of_made_up_models_is_what_substituted_rows_come_to(
    made: Text, seed: int
) -> None:
    note(repr(made))
    text = made.build()
    ensemble = from_lightgbm.read(text)
    engine = Engine(ensemble)
    rows = adversarial(text, 36, np.random.default_rng(seed))
    size = float(np.abs(ensemble.value).sum())
    score: Score = lambda some: engine.score(some, raw=True)  # noqa: E731
    assert_xemp(Explainer(ensemble), score, rows, 34, size)


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_rows_has_its_xemp(count: int) -> None:
    model = models.trained("multiclass")
    rows = mixed_rows(model, max(COUNTS))
    explainer = explainer_of(model.text)
    share = explainer.weigh(*exemplars_of(rows, 4))
    every = np.arange(8)
    found = explainer.xemp(rows[:count], share, every, NEVER)
    by_tens = [
        explainer.xemp(rows[at : min(at + 10, count)], share, every, NEVER)
        for at in range(0, count, 10)
    ]
    wanted = np.concatenate([*by_tens, np.empty((0, 4, 8))])
    assert_near(found, wanted, 1e-13)


def test_no_exemplars_weigh_nothing() -> None:
    explainer = explainer_of(models.trained("plain").text)
    share = explainer.weigh(np.empty((0, 8)), np.empty((0, 8)))
    assert not share.any()
    none = np.empty(0, np.intp)
    for count in (2, 40):
        found = explainer.xemp(np.zeros((count, 8)), share, none, NEVER)
        assert found.shape == (count, 1, 0)


GRAPHS = [
    *("lightgbm regression sets", "lightgbm multiclass sets", "lightgbm rf"),
    *("XGBClassifier binary", "XGBClassifier multiclass", "XGBRegressor two targets"),
    *("RandomForestClassifier multiclass", "RandomForestRegressor two targets"),
    *("GradientBoostingClassifier binary", "DecisionTreeClassifier texts"),
]


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_have_their_xemp_and_contrasts(name: str, tmp_path: Path) -> None:
    """The sums that onnxruntime rounds to float32, here added up in float64."""
    ensemble = graphs.Served(graphs.converted(name), tmp_path).read()
    explainer = Explainer(ensemble)
    rows = graphs.rows(ensemble, 36)
    score: Score = lambda some: double_sums(ensemble, some)  # noqa: E731
    size = float(np.abs(ensemble.value).sum())
    assert_xemp(explainer, score, rows, 4, size)
    assert_contrasts(explainer, score, rows[:2], rows[1:4], size)


# ---- Contrasts


def contrast(
    explainer: Explainer, rows: Floats, reference: Floats, weights: Floats
) -> Floats:
    """float64 (n_rows, sums, features). weights: (n_rows, others)."""
    whole = np.zeros((len(rows), explainer.sums, explainer.features))
    found = explainer.contrast(rows, reference, lambda part: weights[part], NEVER)
    whole[..., explainer.used] = found
    return whole


def assert_contrasts(
    explainer: Explainer, score: Score, rows: Floats, reference: Floats, size: float
) -> None:
    """As over all coalitions; every row and every reference row counts otherwise."""
    random = np.random.default_rng(1)
    weights = random.random((len(rows), len(reference)))
    found = contrast(explainer, rows, reference, weights)
    wanted = coalition_values(score, rows, reference, weights)
    assert_near(found, wanted, 1e-12, size * weights.sum())
    change = score(rows)[:, None] - score(reference)[None]
    added = np.einsum("ro,ros->rs", weights, change)
    assert_near(found.sum(axis=2), added, 1e-12, size * weights.sum())


@pytest.mark.parametrize("kind", [k for k in KINDS if models.RECIPES[k].features <= 8])
def test_contrasts_are_those_of_all_coalitions(kind: str) -> None:
    model = models.trained(kind)
    rows = mixed_rows(model, 6)
    engine = Engine(from_lightgbm.read(model.text))
    score: Score = lambda some: engine.score(some, raw=True)  # noqa: E731
    size = float(np.abs(score(rows)).max())
    # One of the rows is its own reference.
    assert_contrasts(explainer_of(model.text), score, rows[:3], rows[2:], size)


@effort(30)
@given(model_texts(leaves=100, trees=4), st.integers(0, 2**32 - 1))
def test_contrasts_of_made_up_models_are_those_of_all_coalitions(
    made: Text, seed: int
) -> None:
    note(repr(made))
    text = replace(made, tame=True).build()
    ensemble = from_lightgbm.read(text)
    engine = Engine(ensemble)
    rows = adversarial(text, 6, np.random.default_rng(seed))
    score: Score = lambda some: engine.score(some, raw=True)  # noqa: E731
    size = float(np.abs(ensemble.value).sum())
    assert_contrasts(Explainer(ensemble), score, rows[:3], rows[2:], size)


@pytest.mark.parametrize("others", [1, 63, 64, 65, 511, 512, 513, 1100])
def test_any_number_of_reference_rows(others: int) -> None:
    model = models.trained("4000 bins")
    rows = mixed_rows(model, 1103)
    engine = Engine(from_lightgbm.read(model.text))
    score: Score = lambda some: engine.score(some, raw=True)  # noqa: E731
    size = float(np.abs(score(rows)).max())
    reference = rows[3 : 3 + others]
    assert_contrasts(explainer_of(model.text), score, rows[:3], reference, size)


def test_more_rows_than_a_call_contrasts_have_each_its_scale() -> None:
    """Not more than a block goes at once."""
    model = models.trained("4000 bins")
    rows = mixed_rows(model, 800)
    explainer, reference = explainer_of(model.text), rows[600:]
    weights = np.random.default_rng(1).random((600, 200))
    found = contrast(explainer, rows[:600], reference, weights)
    for row in (0, 249, 511, 512, 599):
        one = slice(row, row + 1)
        wanted = contrast(explainer, rows[one], reference, weights[one])
        assert_near(found[one], wanted, 1e-14)


def test_rows_contrast_with_themselves_in_nothing() -> None:
    model = models.trained("multiclass")
    rows = mixed_rows(model, 5)
    found = contrast(explainer_of(model.text), rows, rows, np.eye(5))
    assert not found.any()


def test_long_paths_contrast_additively() -> None:
    model = _deep(40, 60)
    engine = Engine(from_lightgbm.read(model.text))
    rows, reference = model.rows[:20], model.rows[20:70]
    weights = np.full((20, 50), 0.02)
    found = contrast(explainer_of(model.text), rows, reference, weights)
    change = engine.score(rows, raw=True) - engine.score(reference, raw=True).mean()
    assert_near(found.sum(axis=2), change, 1e-12)


def coarse(found: re.Match[bytes]) -> bytes:
    """Leaf values of so few digits that float32 adds them up without rounding."""
    values = np.round(np.array(found[1].split(), np.float64) * 2**14) / 2**14
    return b"leaf_value=" + " ".join(map(repr, values.tolist())).encode()


# The shap library adds up leaves in float32, and keeps its weights so. It has these
# leaves, one, and a half, which are the weights of paths of up to two different
# features, exactly; with more features on a path it is off by float32's rounding.
@pytest.mark.parametrize(
    ("features", "leaves", "tolerance"), [(2, 15, 1e-9), (8, 3, 1e-9), (8, 15, 1e-6)]
)
def test_contrasts_are_the_shap_librarys(
    features: int, leaves: int, tolerance: float
) -> None:
    options = {"objective": "binary", "num_leaves": leaves}
    model = models.train(models.Recipe(options, features=features, trees=20))
    text = resized(re.sub(rb"(?m)^leaf_value=(.*)$", coarse, model.text))
    rows, reference = model.rows[90:130], model.rows[:100]
    explained = shapley._library().TreeExplainer(
        models.load(text),
        # It would draw 100 of more rows.
        reference,
        feature_perturbation="interventional",
    )
    wanted = explained.shap_values(rows, check_additivity=False)
    weights = np.full((40, 100), 0.01)
    found = contrast(explainer_of(text), rows, reference, weights)
    assert_near(found[:, 0], wanted, tolerance)


# ---- Files, threads and time


def test_mapped_paths_explain_as_those_in_memory(tmp_path: Path) -> None:
    model = models.trained("multiclass")
    rows = mixed_rows(model, 20)
    explainer = explainer_of(model.text)
    explainer.write(tmp_path)
    opened = Explainer.open(tmp_path)
    np.testing.assert_array_equal(shap(opened, rows), shap(explainer, rows))
    assert opened.used.tolist() == explainer.used.tolist()
    assert (opened.features, opened.sums) == (8, 4)


def test_any_damaged_word_of_the_paths_is_noticed(tmp_path: Path) -> None:
    explainer_of(Text(21, leaves=[3, 6]).build()).write(tmp_path)
    path = tmp_path / "paths.int32"
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not as they were written"):
            Explainer.open(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 4, 100, 400, 3000])
def test_cut_paths_are_noticed(size: int, tmp_path: Path) -> None:
    explainer_of(models.trained("plain").text).write(tmp_path)
    path = tmp_path / "paths.int32"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"paths\.int32"):
        Explainer.open(tmp_path)


def test_missing_paths_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Explainer.open(tmp_path)


def test_tables_of_the_engine_are_no_paths(tmp_path: Path) -> None:
    Engine(from_lightgbm.read(models.trained("plain").text)).write(tmp_path)
    (tmp_path / "tables.int32").rename(tmp_path / "paths.int32")
    with pytest.raises(ValueError, match="other tables"):
        Explainer.open(tmp_path)


def _answers(kind: str) -> list[Callable[[slice], Floats]]:
    """All that an explainer tells, of some rows."""
    model = models.trained(kind)
    explainer, rows = explainer_of(model.text), mixed_rows(model, 60)
    share = explainer.weigh(*exemplars_of(rows, 4))
    every = np.arange(rows.shape[1])

    def scale(some: slice) -> Floats:
        return np.full((len(range(60)[some]), 5), 0.2)

    return [
        lambda some: explainer.shap(rows[some], NEVER),
        lambda some: explainer.xemp(rows[some], share, every, NEVER),
        lambda some: explainer.contrast(rows[some], rows[:5], scale, NEVER),
    ]


def test_threads_at_once_explain_as_one() -> None:
    kinds = ["255 leaves", "multiclass", "5000 categories"]
    answers = [answer for kind in kinds for answer in _answers(kind)]
    parts = [slice(0, 60), slice(3, 10), slice(20, 59)]
    jobs = [*product(answers, parts)] * 4
    wanted = [answer(part) for answer, part in jobs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda job: job[0](job[1]), jobs))
    finally:
        sys.setswitchinterval(interval)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_time_that_is_over_stops_every_explanation() -> None:
    explainer = explainer_of(models.trained("plain").text)
    rows, past = np.zeros((3, 8)), time.monotonic() - 1.0
    share = explainer.weigh(rows[:1], np.ones((1, 8)))
    with pytest.raises(ExplanationTooSlow):
        explainer.shap(rows, past)
    with pytest.raises(ExplanationTooSlow):
        explainer.xemp(rows, share, explainer.used, past)
    with pytest.raises(ExplanationTooSlow):
        explainer.contrast(rows, rows, lambda some: np.ones((3, 3)), past)


def test_time_is_looked_at_between_calls() -> None:
    """A deadline that passes on the way: contrasts tell it by their own scale."""
    model = models.trained("4000 bins")
    rows = mixed_rows(model, 600)
    asked = []

    def scale(some: slice) -> Floats:
        asked.append(some)
        time.sleep(0.3)
        return np.ones((len(rows[some]), 200))

    with pytest.raises(ExplanationTooSlow):
        explainer_of(model.text).contrast(
            rows, rows[:200], scale, time.monotonic() + 0.2
        )
    assert len(asked) == 1


def test_weights_of_contrasts_are_shapleys() -> None:
    from backends.trees.explainer import _contrast_weights

    plus, minus = _contrast_weights(12)
    for a, b in product(range(13), range(13)):
        ways = factorial(a + b)
        gain = factorial(a - 1) * factorial(b) / ways if a else 0.0
        loss = factorial(a) * factorial(b - 1) / ways if b else 0.0
        assert plus[a, b] == pytest.approx(gain, rel=1e-13)
        assert minus[a, b] == pytest.approx(loss, rel=1e-13)
