"""XEMP is what substituting one value at a time and predicting again gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import load
from backends.base import Backend
from backends.explanations import choosing, xemp
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    NotInitialized,
    Strengths,
)
from backends.explanations.exemplars import Exemplars
from backends.explanations.materials import Materials
from backends.features import Columns, DataError, Decoder
from backends.model import Feature, Model, Task
from tests.specimens import Specimen

FEATURES = (
    Feature("x", "numeric"),
    Feature("note", "text", dtype="string", missing="empty"),
    Feature("town", "categorical", categories=("Oslo", "Rome", "Nome")),
    Feature("unused", "numeric"),
)
MODEL = Model(
    *("0" * 24, "m", "lightgbm", "model.txt", "regression", "y"), features=FEATURES
)


class Additive(Backend):
    """Answers 2 x + length of note + square of town, a missing one as -1."""

    engine = "test"
    nbytes = 0

    def __init__(self) -> None:
        self.model = MODEL
        self.asked: list[int] = []

    def predict(self, columns: Columns) -> np.ndarray:
        self.asked.append(len(columns))
        return sum(self.parts(columns))[:, None]

    raw_scores = predict

    def parts(self, columns: Columns) -> list[np.ndarray]:
        x, _, town, _ = np.nan_to_num(columns.matrix, nan=-1).T
        lengths = np.array([len(text) for text in columns.texts[1]], np.float64)
        return [2 * x, lengths, town**2, np.zeros(len(x))]


class Answering(Backend):
    """Answers what a function of the matrix does."""

    engine = "test"
    nbytes = 0

    def __init__(self, model: Model, answer: Callable[..., np.ndarray]) -> None:
        self.model = model
        self.predict = answer  # type: ignore[method-assign]

    def predict(self, columns: Columns) -> np.ndarray:
        raise NotImplementedError

    raw_scores = predict


def materials(exemplars: Exemplars) -> Materials:
    found = Materials(Path("nowhere"), MODEL)
    found.__dict__["exemplars"] = exemplars
    return found


def people(rows: int, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    matrix = np.full((rows, 4), np.nan)
    matrix[:, 0] = rng.integers(-5, 5, rows)
    matrix[:, 2] = rng.integers(0, 3, rows)
    matrix[:, 3] = rng.normal(size=rows)
    matrix[rng.random(rows) < 0.2, 2] = np.nan
    notes = rng.choice(["", "a", "be", "sea"], rows)
    return Columns(matrix, {1: notes.astype(object)})


def packaged(specimen: Specimen, folder: Path, columns: Columns) -> Materials:
    features = specimen.model.features
    choosing.write(folder, features, columns, [1.0] * len(features))
    return Materials(folder, specimen.model)


def decoded(specimen: Specimen, rows: int) -> Columns:
    frame = specimen.frame.head(rows).astype(object)
    records = frame.where(frame.notna(), None).to_dict("records")
    return Decoder(specimen.model.features).from_records(records)


def by_hand(task: Task, values: Sequence[float]) -> list[float]:
    if task == "regression":
        return list(values)
    clipped = [min(max(value, 1e-15), 1 - 1e-15) for value in values]
    if task == "binary":
        return [math.log(value / (1 - value)) for value in clipped]
    logs = [math.log(value) for value in clipped]
    return [each - sum(logs) / len(logs) for each in logs]


def brute_force(
    backend: Backend, columns: Columns, exemplars: Exemplars, row: int
) -> np.ndarray:
    """One row's strengths, (classes, f): a prediction for each substitution."""
    task = backend.model.task

    def score(rows: Columns) -> np.ndarray:
        return np.array(by_hand(task, backend.predict(rows)[0].tolist()))

    here = np.array([row])
    own = score(columns.take(here))
    strengths = []
    for place, feature in enumerate(exemplars.features.tolist()):
        strength = own.copy()
        for number in range(len(exemplars.columns)):
            changed = columns.take(here)
            changed.matrix[0, feature] = exemplars.columns.matrix[number, feature]
            if feature in changed.texts:
                text = exemplars.columns.texts[feature][number]
                changed.texts[feature][0] = text
            weight = exemplars.weights[number, place]
            if weight:
                strength -= weight * score(changed)
        strengths.append(strength)
    return np.transpose(strengths)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("churn", 1e-12),
        ("price", 1e-10),
        ("plan", 1e-12),
        # Graphs compute in float32, not quite the same for one row and for many.
        ("onnx-price", 1e-5),
        # A probability near 1 leaves few digits to the other.
        ("onnx-risk", 1e-3),
        ("onnx-parcel", 1e-5),
        ("onnx-iris", 1e-5),
    ],
)
def test_strengths_are_those_of_substituting_by_hand(
    specimens: Mapping[str, Specimen], tmp_path: Path, name: str, tolerance: float
) -> None:
    specimen = specimens[name]
    backend = load(specimen.folder, specimen.model)
    columns = decoded(specimen, 120)
    told = packaged(specimen, tmp_path, columns)
    few = columns.take(np.arange(6))
    found = backend.explain(few, "xemp", told)
    classes = len(specimen.model.labels) if specimen.model.task == "multiclass" else 1
    assert found.values.shape == (6, classes, len(specimen.model.features))
    assert found.features is told.exemplars.features
    assert found.base is None and found.total is None
    assert np.abs(found.values).max() > 0.01
    for row in range(len(few)):
        expected = brute_force(backend, few, told.exemplars, row)
        np.testing.assert_allclose(found.values[row], expected, rtol=0, atol=tolerance)


def test_difference_of_rows_is_that_of_their_log_odds(
    specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    # As recorded answers have it: for rows equal but for one feature, the difference
    # of that feature's strengths is that of the predictions.
    specimen = specimens["churn"]
    backend = load(specimen.folder, specimen.model)
    told = packaged(specimen, tmp_path, decoded(specimen, 200))
    pair = decoded(specimen, 1).take(np.zeros(2, np.intp))
    pair.matrix[:, 0] = [2, 60]
    (first, second) = backend.predict(pair)[:, 0]
    place = told.exemplars.features.tolist().index(0)
    strengths = backend.explain(pair, "xemp", told).values[:, 0, place]
    difference = math.log(second / (1 - second)) - math.log(first / (1 - first))
    assert abs(difference) > 0.1
    assert strengths[1] - strengths[0] == pytest.approx(difference, abs=1e-10)


def test_spaces_are_those_of_the_tasks() -> None:
    values = np.array([[0.0, 1.0], [0.25, 0.75], [1e-18, 1 - 1e-16]])
    tasks: dict[Task, slice] = {
        "regression": slice(1),
        "binary": slice(1),
        "multiclass": slice(2),
    }
    for task, taken in tasks.items():
        part = values[:, taken]
        expected = [by_hand(task, row) for row in part.tolist()]
        np.testing.assert_allclose(xemp.space(task, part), expected, rtol=1e-14)


def test_softmax_gives_back_raw_scores_less_their_mean() -> None:
    raw = np.random.default_rng(0).normal(size=(20, 5)) * 3
    powers = np.exp(raw)
    found = xemp.space("multiclass", powers / powers.sum(axis=1, keepdims=True))
    expected = raw - raw.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-12)


# ---- Any rows, any exemplars


WEIGHTS = st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=3, max_size=3)


@st.composite
def weighted(draw: st.DrawFn) -> Exemplars:
    """Three exemplars of some features in some order, some of them of weight 0."""
    features = draw(st.permutations(range(4)))[: draw(st.integers(0, 4))]
    lists = [draw(WEIGHTS.filter(any)) for _ in features]
    shares = np.array(lists, np.float64).reshape(-1, 3).T
    columns = people(3, draw(st.integers(0, 99)))
    weights = shares / shares.sum(axis=0)
    return Exemplars(np.array(features, np.intp), columns, weights)


@given(exemplars=weighted(), rows=st.integers(0, 9), most=st.integers(1, 40))
def test_each_feature_has_its_own_part_in_blocks_of_any_size(
    exemplars: Exemplars, rows: int, most: int
) -> None:
    backend, columns = Additive(), people(rows, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xemp, "_ROWS", most)
        found = backend.explain(columns, "xemp", materials(exemplars))
    assert max(backend.asked[1:], default=0) <= most
    own, others = backend.parts(columns), backend.parts(exemplars.columns)
    assert found.values.shape == (rows, 1, len(exemplars.features))
    for place, feature in enumerate(exemplars.features.tolist()):
        baseline = others[feature] @ exemplars.weights[:, place]
        strengths = found.values[:, 0, place]
        np.testing.assert_allclose(strengths, own[feature] - baseline, atol=1e-12)
        if feature == 3:
            # Not nearly: nothing that it is replaced by changes anything.
            assert not strengths.any()


@given(st.integers(0, 99), st.integers(0, 3))
def test_only_exemplar_that_is_the_value_gives_nothing(seed: int, place: int) -> None:
    columns = people(1, seed)
    exemplars = Exemplars(
        np.array([place]), columns.take(np.array([0])), np.ones((1, 1))
    )
    backend = Additive()
    found = backend.explain(columns, "xemp", materials(exemplars))
    assert found.values.tolist() == [[[0.0]]]
    # Nothing was predicted but the row itself.
    assert backend.asked == [1]


def test_exemplars_of_no_weight_are_not_predicted() -> None:
    exemplars = Exemplars(np.array([0]), people(3), np.array([[0.0], [1.0], [0.0]]))
    exemplars.columns.matrix[:, 0] = [7, 8, 9]
    backend = Additive()
    backend.explain(people(10, 1), "xemp", materials(exemplars))
    assert backend.asked == [10, 10]


# ---- Bounds


def wide(features: int) -> tuple[Backend, Materials]:
    names = tuple(Feature(f"x{each}", "numeric") for each in range(features))
    model = Model(*("", "m", "onnx", "m.onnx", "regression", "y"), features=names)
    asked: list[int] = []

    def answer(columns: Columns) -> np.ndarray:
        asked.append(len(columns))
        return columns.matrix.sum(axis=1, keepdims=True)

    backend = Answering(model, answer)
    backend.asked = asked  # type: ignore[attr-defined]
    matrix = np.arange(10.0)[:, None] + np.zeros(features)
    most = min(features, 50)
    weights = np.full((10, most), 0.1)
    return backend, materials(Exemplars(np.arange(most), Columns(matrix), weights))


def test_wide_models_are_asked_in_bounded_blocks() -> None:
    backend, told = wide(3000)
    columns = Columns(np.full((20, 3000), 0.5))
    found = backend.explain(columns, "xemp", told)
    np.testing.assert_allclose(found.values, -4)
    asked = backend.asked[1:]  # type: ignore[attr-defined]
    assert sum(asked) == 20 * 50 * 10
    assert max(asked) * 3000 <= 2**20
    assert len(asked) == 29


def test_many_rows_are_asked_together() -> None:
    backend, told = wide(3)
    backend.explain(Columns(np.full((2000, 3), 0.5)), "xemp", told)
    asked = backend.asked[1:]  # type: ignore[attr-defined]
    assert sum(asked) == 2000 * 3 * 10
    assert max(asked) <= 16_384 and len(asked) == 4


def test_time_is_looked_at_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, told = wide(3)
    columns = Columns(np.full((2000, 3), 0.5))
    with pytest.raises(ExplanationTooSlow, match="send fewer rows"):
        backend.explain(columns, "xemp", told, deadline=0.0)
    backend.asked.clear()  # type: ignore[attr-defined]
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(xemp, "time", clock)
    with pytest.raises(ExplanationTooSlow):
        backend.explain(columns, "xemp", told, deadline=1.5)
    # The rows themselves, then two blocks.
    assert len(backend.asked) == 3  # type: ignore[attr-defined]


# ---- What cannot be explained


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_predictions_that_are_not_finite_explain_nothing(value: float) -> None:
    _, told = wide(3)
    model = told._model

    def answer(columns: Columns) -> np.ndarray:
        is_seven = (columns.matrix == 7).any(axis=1, keepdims=True)
        return np.where(is_seven, value, 1.0)

    with pytest.raises(NotExplainable, match="prediction is not finite"):
        Answering(model, answer).explain(Columns(np.zeros((2, 3))), "xemp", told)


def test_rows_that_a_model_refuses_explain_nothing() -> None:
    _, told = wide(3)

    def answer(columns: Columns) -> np.ndarray:
        if (columns.matrix == 7).any():
            raise DataError("the graph refuses the rows: 7")
        return columns.matrix[:, :1]

    with pytest.raises(NotExplainable, match="another value: the graph refuses .* 7"):
        Answering(MODEL, answer).explain(Columns(np.zeros((2, 3))), "xemp", told)


def test_bundle_without_exemplars_is_not_initialized(tmp_path: Path) -> None:
    with pytest.raises(NotInitialized):
        Additive().explain(people(1), "xemp", Materials(tmp_path, MODEL))


def test_inputs_are_left_as_they_were() -> None:
    columns, before = people(5), people(5)
    exemplars = Exemplars(np.arange(4), people(2, 3), np.full((2, 4), 0.5))
    found = Additive().explain(columns, "xemp", materials(exemplars))
    assert isinstance(found, Strengths)
    np.testing.assert_array_equal(columns.matrix, before.matrix)
    assert columns.texts[1].tolist() == before.texts[1].tolist()
