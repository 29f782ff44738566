"""Shapley values are those of the definition, whoever asks for them and when."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

import backends
from backends.base import Backend
from backends.explanations import shapley
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    NotInitialized,
    Strengths,
)
from backends.explanations.materials import Materials
from backends.features import Columns, Decoder
from backends.model import Model
from backends.onnx import OnnxBackend
from tests.specimens import Specimen

NEVER = float("inf")


def materials_of(reference: Any, model: Model, folder: Path) -> Materials:
    """A bundle's, of a data frame or a matrix of reference rows."""
    if isinstance(reference, np.ndarray):
        names = [feature.name for feature in model.features]
        table = pa.table(dict(zip(names, reference.T, strict=True)))
    else:
        table = pa.Table.from_pandas(reference, preserve_index=False)
    pq.write_table(table, folder / "reference.parquet")
    return Materials(folder, model)


def columns_of(frame: Any, model: Model) -> Columns:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return Decoder(model.features).from_table(table)


def mixture(row: Columns, background: Columns, mine: tuple[int, ...]) -> Columns:
    """The background with some of a row's features."""
    matrix = background.matrix.copy()
    texts = {position: cells.copy() for position, cells in background.texts.items()}
    for position in mine:
        matrix[:, position] = row.matrix[0, position]
        if position in texts:
            texts[position][:] = row.texts[position][0]
    return Columns(matrix, texts)


def brute_force(
    score: Callable[[Columns], np.ndarray], row: Columns, background: Columns
) -> np.ndarray:
    """Shapley values by their definition: over all coalitions of the others."""
    features = row.matrix.shape[1]
    worth = {
        mine: score(mixture(row, background, mine)).mean()
        for size in range(features + 1)
        for mine in combinations(range(features), size)
    }
    values = np.zeros(features)
    for mine, before in worth.items():
        for position in set(range(features)) - set(mine):
            share = factorial(len(mine)) * factorial(features - len(mine) - 1)
            after = worth[tuple(sorted((*mine, position)))]
            values[position] += share / factorial(features) * (after - before)
    return values


def log_odds(values: np.ndarray) -> np.ndarray:
    return np.log(values / (1 - values))


def rescaled(backend: Backend, row: Columns, background: Columns) -> np.ndarray:
    """Values of the log-odds over one reference row after the other, each multiplied
    by the difference in probability over that in log-odds."""

    def score(rows: Columns) -> np.ndarray:
        return log_odds(backend.predict(rows)[:, 0])

    values = np.zeros(row.matrix.shape[1])
    for number in range(len(background)):
        other = background.take(np.array([number]))
        change = backend.predict(row) - backend.predict(other)
        slope = change[0, 0] / (score(row) - score(other))[0]
        values += slope * brute_force(score, row, other)
    return values / len(background)


@pytest.mark.parametrize("name", ["churn", "onnx-risk", "onnx-parcel"])
def test_values_of_the_probability_are_those_of_the_definition(
    name: str, specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    specimen = specimens[name]
    backend = backends.load(specimen.folder, specimen.model)
    materials = materials_of(specimen.frame[20:26], backend.model, tmp_path)
    columns = columns_of(specimen.frame[:3], backend.model)
    found = shapley.explain_probability(backend, columns, materials, NEVER)

    rows = [columns.take(np.array([row])) for row in range(3)]
    expected = [rescaled(backend, row, materials.reference) for row in rows]
    tolerance = 1e-12 if name == "churn" else 1e-6
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found.total, backend.predict(columns))
    np.testing.assert_allclose(found.base, backend.predict(materials.reference).mean())
    assert_adds_up(found)


@pytest.mark.parametrize("name", ["churn", "onnx-risk", "onnx-parcel"])
def test_values_are_those_of_the_definition(
    name: str, specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    specimen = specimens[name]
    backend = backends.load(specimen.folder, specimen.model)
    materials = materials_of(specimen.frame[20:26], backend.model, tmp_path)
    columns = columns_of(specimen.frame[:3], backend.model)
    found = shapley.explain_margin(backend, columns, materials, NEVER)

    def score(rows: Columns) -> np.ndarray:
        return log_odds(backend.predict(rows)[:, 0])

    expected = [
        brute_force(score, columns.take(np.array([row])), materials.reference)
        for row in range(3)
    ]
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=1e-6)
    if name == "churn":
        np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.total[:, 0], score(columns), rtol=1e-12)
    np.testing.assert_allclose(found.base, score(materials.reference).mean())
    assert_adds_up(found)


def assert_adds_up(found: Strengths) -> None:
    assert found.base is not None and found.total is not None
    assert found.base.shape == found.total.shape
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=2), found.total, rtol=1e-12, atol=1e-12
    )


def test_regression_is_explained_in_target_units_wherever_asked(
    specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    specimen = specimens["onnx-price"]
    backend = backends.load(specimen.folder, specimen.model)
    materials = materials_of(specimen.frame[50:], backend.model, tmp_path)
    columns = columns_of(specimen.frame[:50], backend.model)
    found = backend.explain(columns, "shap", materials)
    again = backend.explain(columns, "shap_probability", materials)
    np.testing.assert_array_equal(found.total, backend.predict(columns))
    np.testing.assert_array_equal(found.values, again.values)
    # Of a linear model: weight times distance from the mean of the background.
    slopes = np.linalg.lstsq(
        np.c_[columns.matrix, np.ones(50)], found.total[:, 0], rcond=None
    )[0][:3]
    distances = columns.matrix - shapley._sample(materials.reference).matrix.mean(
        axis=0
    )
    np.testing.assert_allclose(found.values[:, 0], slopes * distances, atol=1e-5)
    assert_adds_up(found)


Make = Callable[..., Any]
WIDTH = 12


@pytest.fixture
def squared(make_graph: Make, serve: Callable[..., OnnxBackend]) -> OnnxBackend:
    """The square of a sum of twelve features, more than are explained exactly."""
    weights = np.linspace(-1, 1.5, WIDTH).reshape(-1, 1)
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["sum"]),
        helper.make_node("Mul", ["sum", "sum"], ["Y"]),
    ]
    graph = make_graph(
        nodes,
        {"X": (TensorProto.DOUBLE, [None, WIDTH])},
        {"Y": (TensorProto.DOUBLE, [None, 1])},
        {"W": weights},
    )
    return serve(graph, [f"x{i}" for i in range(WIDTH)])


def numbers(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH))


def test_sampled_values_are_exact_for_pairs_of_features(
    squared: OnnxBackend, tmp_path: Path
) -> None:
    materials = materials_of(numbers(4, seed=1), squared.model, tmp_path)
    columns = Columns(numbers(1, seed=2))
    found = squared.explain(columns, "shap", materials)
    expected = brute_force(
        lambda rows: squared.predict(rows)[:, 0], columns, materials.reference
    )
    np.testing.assert_allclose(found.values[0, 0], expected, rtol=1e-9, atol=1e-9)
    assert_adds_up(found)


@pytest.fixture
def bent(make_graph: Make, serve: Callable[..., OnnxBackend]) -> OnnxBackend:
    """A probability of twelve features; how they interact depends on all of them."""
    weights = np.random.default_rng(3).normal(size=(2, WIDTH, 6))
    nodes = [
        helper.make_node("MatMul", ["X", "V"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "W"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["Y"]),
    ]
    graph = make_graph(
        nodes,
        {"X": (TensorProto.DOUBLE, [None, WIDTH])},
        {"Y": (TensorProto.DOUBLE, [None, 1])},
        {"V": weights[0], "W": weights[1][:6, :1]},
    )
    names = [f"x{i}" for i in range(WIDTH)]
    return serve(graph, names, task="binary", labels=("no", "yes"))


@pytest.mark.parametrize("algorithm", ["shap", "shap_probability"])
def test_sampled_values_add_up_on_every_row(
    bent: OnnxBackend, algorithm: str, tmp_path: Path
) -> None:
    materials = materials_of(numbers(300, seed=4), bent.model, tmp_path)
    found = bent.explain(Columns(numbers(100, seed=5)), algorithm, materials)
    assert_adds_up(found)
    assert len(shapley._sample(materials.reference)) == 100


def test_rows_are_explained_alike_in_any_company(
    bent: OnnxBackend, tmp_path: Path
) -> None:
    materials = materials_of(numbers(30, seed=4), bent.model, tmp_path)
    columns = Columns(numbers(70, seed=5))
    together = bent.explain(columns, "shap", materials).values
    alone = [
        bent.explain(columns.take(np.array([row])), "shap", materials).values[0]
        for row in (0, 63, 64, 69)
    ]
    # Sums over a matrix are rounded differently for one row and for many.
    np.testing.assert_allclose(together[[0, 63, 64, 69]], alone, rtol=0, atol=1e-12)
    none = bent.explain(columns.take(np.arange(0)), "shap", materials)
    assert none.values.shape == (0, 1, WIDTH)


def test_threads_get_the_same_values(
    bent: OnnxBackend, specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    specimen = specimens["onnx-risk"]
    other = backends.load(specimen.folder, specimen.model)
    (tmp_path / "other").mkdir()
    mine = materials_of(numbers(20, seed=4), bent.model, tmp_path)
    works: list[tuple[Backend, Columns, Materials]] = [
        (bent, Columns(numbers(3, seed)), mine) for seed in range(6)
    ]
    theirs = materials_of(specimen.frame[:20], other.model, tmp_path / "other")
    columns = columns_of(specimen.frame, other.model)
    works += [(other, columns.take(np.arange(i, i + 3)), theirs) for i in range(6)]

    def explain(work: tuple[Backend, Columns, Materials]) -> bytes:
        backend, columns, materials = work
        return backend.explain(columns, "shap", materials).values.tobytes()

    before = np.random.get_state()  # noqa: NPY002
    alone = list(map(explain, works))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(explain, works * 4))
    assert together == alone * 4
    after = np.random.get_state()  # noqa: NPY002
    assert str(before) == str(after)


# Run here, and in a process of its own.
EXPLAIN = """
import numpy as np
from backends.explanations.materials import Materials
from backends.explanations import shapley
from backends.features import Columns
from backends.model import Feature, Model

class Bent:
    model = Model("0" * 24, "m", "f", "f", "regression", "y",
                  tuple(Feature(f"x{i}", "numeric") for i in range(12)))
    def predict(self, columns):
        return np.prod(1 + columns.matrix / 8, axis=1, keepdims=True)

np.random.seed(seed)
columns = Columns(np.arange(24.0).reshape(2, 12) / 10)
materials = Materials(folder, Bent.model)
found = shapley.explain_margin(Bent(), columns, materials, float("inf"))
told = found.values.tobytes().hex()
"""

PROGRAM = f"""
import sys
from pathlib import Path
from app.lean import settle_pyarrow_without_pandas
settle_pyarrow_without_pandas()
import backends.explanations.materials, backends.explanations.shapley
heavy = {{"shap", "pandas", "sklearn", "matplotlib", "numba"}} & set(sys.modules)
assert not heavy, heavy
folder, seed = Path(sys.argv[1]), 1
{EXPLAIN}
print(told)
"""


def test_processes_get_the_same_values_and_nothing_is_said(tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(WIDTH)]
    table = pa.table(dict(zip(names, numbers(20, seed=1).T, strict=True)))
    pq.write_table(table, tmp_path / "reference.parquet")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    here: dict[str, Any] = {"folder": tmp_path, "seed": 2}
    # No other test's random numbers are to change.
    state = np.random.get_state()  # noqa: NPY002
    exec(EXPLAIN, here)
    np.random.set_state(state)  # noqa: NPY002
    assert done.stdout.strip() == here["told"] != ""


def test_multiclass_is_refused_in_the_documented_words(
    specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    for name in ("plan", "onnx-iris"):
        specimen = specimens[name]
        backend = backends.load(specimen.folder, specimen.model)
        columns = columns_of(specimen.frame[:1], backend.model)
        for algorithm in ("shap", "shap_probability"):
            with pytest.raises(
                NotExplainable,
                match="^Multiclass models cannot be used for Prediction Explanations$",
            ):
                backend.explain(columns, algorithm, Materials(tmp_path, backend.model))


def test_bundle_without_reference_rows_is_not_initialized(
    squared: OnnxBackend, tmp_path: Path
) -> None:
    columns = Columns(numbers(1, seed=2))
    materials = Materials(tmp_path, squared.model)
    with pytest.raises(NotInitialized):
        squared.explain(columns, "shap", materials)


def test_time_is_kept_while_the_model_is_asked(
    squared: OnnxBackend, tmp_path: Path
) -> None:
    materials = materials_of(numbers(100, seed=1), squared.model, tmp_path)
    columns = Columns(numbers(3000, seed=2))
    with pytest.raises(ExplanationTooSlow, match="send fewer rows"):
        squared.explain(columns, "shap", materials, time.monotonic() - 1)
    started = time.monotonic()
    with pytest.raises(ExplanationTooSlow):
        squared.explain(columns, "shap", materials, started + 0.5)
    assert 0.5 <= time.monotonic() - started < 5


def test_loading_the_library_takes_none_of_the_time(
    squared: OnnxBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = materials_of(numbers(100, seed=1), squared.model, tmp_path)
    columns = Columns(numbers(1, seed=2))
    squared.explain(columns, "shap", materials)
    library = shapley._library

    def slowly() -> Any:
        time.sleep(1.5)
        return library()

    # As when a process first explains; what is loaded by then takes no time again.
    monkeypatch.setattr(shapley, "_library", cache(slowly))
    squared.explain(columns, "shap", materials, time.monotonic() + 1)


def test_mixtures_without_a_number_are_no_explanation(
    make_graph: Make, serve: Callable[..., OnnxBackend], tmp_path: Path
) -> None:
    graph = make_graph(
        [helper.make_node("Log", ["X"], ["Y"])],
        {"X": (TensorProto.DOUBLE, [None, 1])},
        {"Y": (TensorProto.DOUBLE, [None, 1])},
    )
    backend = serve(graph, ["a"])
    materials = materials_of(np.array([[1.0], [-1.0]]), backend.model, tmp_path)
    with pytest.raises(NotExplainable, match="not all finite"):
        backend.explain(Columns(np.array([[2.0]])), "shap", materials)


def test_mixtures_that_the_graph_refuses_are_no_explanation(
    make_graph: Make, serve: Callable[..., OnnxBackend], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["place"]),
        helper.make_node("Gather", ["W", "place"], ["Y"]),
    ]
    graph = make_graph(
        nodes,
        {name: (TensorProto.INT64, [None, 1]) for name in "ab"},
        {"Y": (TensorProto.DOUBLE, [None, 1])},
        {"W": np.arange(10.0)},
    )
    backend = serve(graph, ["a", "b"])
    materials = materials_of(np.array([[5.0, 0.0]]), backend.model, tmp_path)
    columns = Columns(np.array([[0.0, 5.0]]))
    with pytest.raises(NotExplainable, match="refuses rows that explanations need"):
        backend.explain(columns, "shap", materials)


def test_single_feature_takes_all(
    make_graph: Make, serve: Callable[..., OnnxBackend], tmp_path: Path
) -> None:
    graph = make_graph(
        [helper.make_node("Exp", ["X"], ["Y"])],
        {"X": (TensorProto.DOUBLE, [None, 1])},
        {"Y": (TensorProto.DOUBLE, [None, 1])},
    )
    backend = serve(graph, ["a"])
    materials = materials_of(np.array([[0.0]]), backend.model, tmp_path)
    found = backend.explain(Columns(np.array([[1.0], [0.0]])), "shap", materials)
    np.testing.assert_allclose(found.values[:, 0, 0], [np.e - 1, 0], atol=1e-15)
    assert found.features.tolist() == [0]


def test_feature_that_no_row_changes_adds_nothing(
    squared: OnnxBackend, tmp_path: Path
) -> None:
    reference, rows = numbers(20, seed=1), numbers(4, seed=2)
    reference[:, 3] = rows[:, 3] = 1.5
    materials = materials_of(reference, squared.model, tmp_path)
    values = squared.explain(Columns(rows), "shap", materials).values
    assert np.abs(values[:, 0, 3]).max() < 1e-12
