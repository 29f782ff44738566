"""A backend of trees explains as any other would, only sooner."""

from __future__ import annotations

import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.explanations import shapley, xemp
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    NotInitialized,
    Strengths,
)
from backends.explanations.exemplars import Exemplars
from backends.explanations.materials import Materials
from backends.features import Columns
from backends.lightgbm import LightGBMBackend
from backends.model import Feature, Link, Model, Task
from backends.trees import explaining, from_lightgbm
from backends.trees.backend import TreesBackend
from backends.trees.engine import Engine
from backends.trees.ensemble import Ensemble
from backends.trees.explainer import Explainer
from tests.backends.trees import graphs, models
from tests.backends.trees.by_definition import coalition_values, substituted
from tests.backends.trees.effort import effort
from tests.backends.trees.rows import adversarial
from tests.backends.trees.test_explainer import coarse, exemplars_of, resized

Floats = NDArray[np.float64]
ALGORITHMS = ("xemp", "shap", "shap_probability")

TASKS: dict[str, Task] = {
    "plain": "regression",
    "missing zero, categories": "regression",
    "random forest": "regression",
    "poisson": "regression",
    "reg_sqrt": "regression",
    "cross_entropy": "regression",
    "binary": "binary",
    "binary sigmoid": "binary",
    "random forest, binary": "binary",
    "cross_entropy_lambda": "binary",
    "multiclass": "multiclass",
    "random forest, multiclass": "multiclass",
    "multiclassova": "multiclass",
}
# Of these the predictions are not linear in the sums, on any scale.
BENT = ("poisson", "reg_sqrt", "cross_entropy", "cross_entropy_lambda", "multiclassova")
LINEAR = sorted(set(TASKS) - set(BENT))


def model_of(
    task: Task, features: int, *, classes: int = 3, positive: int = 1, **card: Any
) -> Model:
    labels = tuple("abcdefg"[: {"regression": 0, "binary": 2}.get(task, classes)])
    return Model(
        *("0" * 24, "m", card.pop("format", "lightgbm"), "model.txt", task, "y"),
        features=tuple(Feature(f"x{k}", "numeric") for k in range(features)),
        labels=labels,
        positive_label=labels[positive] if task == "binary" else None,
        **card,
    )


def served(folder: Path, ensemble: Ensemble, model: Model) -> TreesBackend:
    Engine(ensemble).write(folder)
    Explainer(ensemble).write(folder)
    return TreesBackend(folder, model)


def materials_of(
    model: Model, rows: Floats, *, features: NDArray[np.intp] | None = None
) -> Materials:
    """Exemplars drawn from rows, for some of the features; and rows for reference."""
    found = Materials(Path("nowhere"), model)
    if features is None:
        features = np.arange(rows.shape[1])
    values, weights = exemplars_of(rows, 5)
    exemplars = Exemplars(features, Columns(values), weights[:, features])
    found.__dict__["exemplars"] = exemplars
    found.__dict__["reference"] = Columns(rows)
    return found


class Case:
    """A trained model as a backend of trees, and what it is explained with."""

    def __init__(self, kind: str, folder: Path, **card: Any) -> None:
        trained = models.trained(kind)
        ensemble = from_lightgbm.read(trained.text)
        self.folder = folder
        self.model = model_of(
            TASKS[kind], ensemble.features, classes=ensemble.outputs, **card
        )
        random = np.random.default_rng(models.SEED)
        made = adversarial(trained.text, 40, random)
        self.rows = random.permutation(np.concatenate([trained.rows[:40], made]))
        self.materials = materials_of(self.model, self.rows[:30])
        self.backend = served(folder, ensemble, self.model)
        (folder / "model.txt").write_bytes(trained.text)

    def explain(
        self, algorithm: str, rows: Floats | None = None, **more: Any
    ) -> Strengths:
        columns = Columns(self.rows if rows is None else rows)
        return self.backend.explain(columns, algorithm, self.materials, **more)

    def predicted(self, rows: Floats) -> Floats:
        return self.backend.predict(Columns(rows))

    def score(self, rows: Floats) -> Floats:
        return xemp.space(self.model.task, self.predicted(rows))


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(request.param, tmp_path)


def of_kinds(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", kinds, indirect=True)


def near(found: Any, wanted: Any, tolerance: float) -> None:
    """As close as a share of the largest number, or of 1."""
    size = max(float(np.abs(wanted).max(initial=0.0)), 1.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * size)


# ---- XEMP


@of_kinds(*TASKS)
def test_xemp_is_what_substituted_predictions_come_to(case: Case) -> None:
    found = case.explain("xemp")
    exemplars = case.materials.exemplars
    wanted = substituted(
        case.score, case.rows, exemplars.columns.matrix, exemplars.weights
    )
    assert found.values.shape == wanted.shape
    near(found.values, wanted, 1e-9)
    assert found.base is None and found.total is None


@cache
def _kept(kind: str, positive: int) -> Case:
    """A case for many examples: what it has mapped outlives its folder."""
    with TemporaryDirectory() as folder:
        given = {"positive": positive} if TASKS[kind] == "binary" else {}
        return Case(kind, Path(folder), **given)


@effort(60)
@given(
    st.sampled_from(LINEAR),
    st.integers(0, 1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
)
def test_xemp_is_that_of_the_general_path(
    kind: str, positive: int, seed: int, count: int
) -> None:
    case = _kept(kind, positive)
    random = np.random.default_rng(seed)
    rows = random.permutation(case.rows)[:count]
    features = random.permutation(rows.shape[1])[: random.integers(1, 9)]
    materials = materials_of(case.model, case.rows[::-1], features=features)
    columns = Columns(rows)
    # What is asked with is kept from the first explanation on.
    backend = case.backend
    backend._explaining = explaining.Explaining(
        backend.model, backend._engine, _explainer(kind), materials
    )
    found = backend.explain(columns, "xemp", materials)
    wanted = xemp.explain(backend, columns, materials, float("inf"))
    assert found.features.tolist() == wanted.features.tolist()
    near(found.values, wanted.values, 1e-9)


@cache
def _explainer(kind: str) -> Explainer:
    return Explainer(from_lightgbm.read(models.trained(kind).text))


@of_kinds(*BENT)
def test_bent_predictions_take_the_general_path(case: Case) -> None:
    columns = Columns(case.rows)
    found = case.explain("xemp")
    wanted = xemp.explain(case.backend, columns, case.materials, float("inf"))
    np.testing.assert_array_equal(found.values, wanted.values)
    assert case.backend._explaining is not None
    assert case.backend._explaining.xemp(case.rows, float("inf")) is None


@pytest.mark.parametrize(
    ("kind", "link"), [("plain", "identity"), ("binary", "logit"), ("poisson", "log")]
)
def test_xemp_of_rows_with_offset_is_that_of_the_general_path(
    kind: str, link: Link, tmp_path: Path
) -> None:
    beside: dict[str, Any] = {"offset": "shift", "link": link}
    if link == "log":
        beside["exposure"] = "time"
    case = Case(kind, tmp_path, **beside)
    random = np.random.default_rng(1)
    shift = random.normal(size=len(case.rows))
    time_seen = random.random(len(case.rows)) + 0.5 if link == "log" else None
    columns = Columns(case.rows, offset=shift, exposure=time_seen)
    found = case.backend.explain(columns, "xemp", case.materials)
    wanted = xemp.explain(case.backend, columns, case.materials, float("inf"))
    near(found.values, wanted.values, 1e-9)


def test_xemp_of_no_feature_tells_of_none(tmp_path: Path) -> None:
    case = Case("binary", tmp_path)
    none = Exemplars(np.empty(0, np.intp), Columns(np.empty((0, 8))), np.empty((0, 0)))
    case.materials.__dict__["exemplars"] = none
    assert case.explain("xemp").values.shape == (80, 1, 0)


# ---- SHAP of the margin


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("kind", [k for k in TASKS if TASKS[k] != "multiclass"])
def test_shap_is_the_librarys(kind: str, positive: int, tmp_path: Path) -> None:
    given = {"positive": positive} if TASKS[kind] == "binary" else {}
    case = Case(kind, tmp_path, **given)
    found = case.explain("shap")
    library = LightGBMBackend(tmp_path, case.model)
    wanted = library.explain(Columns(case.rows), "shap", case.materials)
    values = np.zeros(wanted.values.shape)
    values[..., found.features] = found.values
    near(values, wanted.values, 1e-12)
    assert found.base is not None and wanted.base is not None
    near(found.base, wanted.base, 1e-12)
    assert found.total is not None and wanted.total is not None
    near(found.total, wanted.total, 1e-12)
    near(found.base + found.values.sum(axis=2), found.total, 1e-12)
    assert found.rounding == 0.0


@of_kinds("multiclass", "multiclassova")
@pytest.mark.parametrize("algorithm", ["shap", "shap_probability"])
def test_shap_refuses_multiclass(case: Case, algorithm: str) -> None:
    with pytest.raises(NotExplainable, match="Multiclass models cannot be used"):
        case.explain(algorithm)


# ---- SHAP of the probability


def _pairwise(case: Case, rows: Floats) -> Floats:
    """Each contrast's margin, made to add up to the difference of probabilities."""
    reference = case.materials.reference.matrix
    found = np.zeros((len(rows), 1, rows.shape[1]))
    for other in reference:
        part = coalition_values(case.score, rows, other[None], np.ones((len(rows), 1)))
        change = case.predicted(rows) - case.predicted(other[None])
        margins = case.score(rows) - case.score(other[None])
        near_enough = np.abs(margins) < 1e-9
        chance = case.predicted(rows)
        flat = chance * (1 - chance)
        slope = np.where(
            near_enough, flat, change / np.where(near_enough, 1.0, margins)
        )
        found += part * slope[:, :, None] / len(reference)
    return found


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("kind", ["binary", "binary sigmoid", "random forest, binary"])
def test_shap_of_the_probability_is_the_margins_made_to_fit(
    kind: str, positive: int, tmp_path: Path
) -> None:
    case = Case(kind, tmp_path, positive=positive)
    # One of the rows is a reference row too.
    found = case.explain("shap_probability", case.rows[29:])
    assert found.base is not None and found.total is not None
    np.testing.assert_array_equal(found.total, case.predicted(case.rows[29:]))
    base = case.predicted(case.rows[:30]).mean(axis=0)
    near(found.base, np.broadcast_to(base, found.total.shape), 1e-14)
    near(found.base + found.values.sum(axis=2), found.total, 1e-12)
    wanted = _pairwise(case, case.rows[29:32])
    near(found.values[:3], wanted[..., found.features], 1e-9)


# As of margins, see `test_explainer`: here the library's float32 is exact.
@pytest.mark.parametrize(
    ("features", "leaves", "tolerance"), [(2, 15, 1e-9), (8, 3, 1e-9), (8, 15, 1e-6)]
)
def test_shap_of_the_probability_is_the_shap_librarys(
    features: int, leaves: int, tolerance: float, tmp_path: Path
) -> None:
    options = {"objective": "binary", "num_leaves": leaves}
    trained = models.train(models.Recipe(options, features=features, trees=20))
    text = resized(re.sub(rb"(?m)^leaf_value=(.*)$", coarse, trained.text))
    model = model_of("binary", features)
    backend = served(tmp_path, from_lightgbm.read(text), model)
    rows, reference = trained.rows[90:130], trained.rows[:100]
    library = shapley._library().TreeExplainer(
        models.load(text),
        reference,
        feature_perturbation="interventional",
        model_output="probability",
    )
    wanted = library.shap_values(rows, check_additivity=False)
    materials = materials_of(model, reference)
    found = backend.explain(Columns(rows), "shap_probability", materials)
    values = np.zeros((40, features))
    values[:, found.features] = found.values[:, 0]
    near(values, wanted, tolerance)
    assert found.base is not None
    near(found.base, np.full((40, 1), library.expected_value), tolerance)


@of_kinds("cross_entropy_lambda")
def test_shap_of_a_bent_probability_takes_the_general_path(case: Case) -> None:
    rows = case.rows[:3]
    found = case.explain("shap_probability", rows)
    assert found.base is not None and found.total is not None
    near(found.base + found.values.sum(axis=2), case.predicted(rows), 1e-9)
    near(found.values, _pairwise(case, rows), 1e-9)


def test_shap_of_a_probability_with_an_offset_is_refused(tmp_path: Path) -> None:
    case = Case("binary", tmp_path, offset="shift", link="logit")
    columns = Columns(case.rows, offset=np.ones(len(case.rows)))
    with pytest.raises(NotExplainable, match="with an offset"):
        case.backend.explain(columns, "shap_probability", case.materials)
    # The margin is that of the trees alone.
    found = case.backend.explain(columns, "shap", case.materials)
    assert found.total is not None
    near(found.total, case.backend.raw_scores(columns), 1e-14)


@of_kinds("plain", "poisson")
def test_regression_has_no_other_shap_for_probabilities(case: Case) -> None:
    found, wanted = case.explain("shap_probability"), case.explain("shap")
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.base is not None and wanted.base is not None
    np.testing.assert_array_equal(found.base, wanted.base)


# ---- Graphs


class Graph:
    """A converted model as a backend of trees."""

    def __init__(self, name: str, task: Task, folder: Path, positive: int) -> None:
        given = graphs.Served(graphs.converted(name), folder)
        self.ensemble = given.read()
        self.model = replace(
            model_of(task, self.ensemble.features, positive=positive),
            format="onnx",
            file=given.model.file,
            output=given.model.output,
        )
        self.backend = served(folder, self.ensemble, self.model)
        self.rows = graphs.rows(self.ensemble, 40)
        self.materials = materials_of(self.model, self.rows[:20])

    def explain(self, algorithm: str) -> Strengths:
        return self.backend.explain(Columns(self.rows), algorithm, self.materials)

    def predicted(self, rows: Floats) -> Floats:
        return self.backend.predict(Columns(rows))

    def log_odds(self, rows: Floats) -> Floats:
        return xemp.space("binary", self.predicted(rows))

    def assert_shapley(self, found: Strengths, score: Any) -> None:
        """As over all coalitions of features, within float32's rounding."""
        reference = self.materials.reference.matrix
        weights = np.full((3, len(reference)), 1 / len(reference))
        wanted = coalition_values(score, self.rows[:3], reference, weights)
        near(found.values[:3], wanted[..., found.features], 2e-5)
        self.assert_additive(found, score)

    def assert_additive(self, found: Strengths, score: Any) -> None:
        assert found.base is not None and found.total is not None
        reference = self.materials.reference.matrix
        base = score(reference).mean(axis=0)
        near(found.base, np.broadcast_to(base, found.total.shape), 2e-5)
        near(found.total, score(self.rows), 2e-5)
        added = found.base + found.values.sum(axis=2)
        sizes = np.abs(found.base) + np.abs(found.values).sum(axis=2)
        allowed = 1e-12 + found.rounding * sizes
        assert (np.abs(added - found.total) <= allowed).all()


LOGISTIC = [
    *("XGBClassifier binary", "lightgbm binary sets"),
    *("GradientBoostingClassifier binary", "GradientBoostingClassifier texts"),
]
# Their trees add up to the probability.
AVERAGED = [
    *("RandomForestClassifier binary", "ExtraTreesClassifier texts"),
    *("DecisionTreeClassifier binary", "RandomForestClassifier binary float64"),
]


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("name", LOGISTIC)
def test_boosted_graphs_are_explained_by_their_log_odds(
    name: str, positive: int, tmp_path: Path
) -> None:
    graph = Graph(name, "binary", tmp_path, positive)
    graph.assert_shapley(graph.explain("shap"), graph.log_odds)
    graph.assert_additive(graph.explain("shap_probability"), graph.predicted)
    found = graph.explain("xemp")
    general = xemp.explain(
        graph.backend, Columns(graph.rows), graph.materials, float("inf")
    )
    near(found.values, general.values, 2e-5)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("name", AVERAGED)
def test_averaging_graphs_are_explained_by_their_probability(
    name: str, positive: int, tmp_path: Path
) -> None:
    graph = Graph(name, "binary", tmp_path, positive)
    for algorithm in ("shap", "shap_probability"):
        graph.assert_shapley(graph.explain(algorithm), graph.predicted)
    found = graph.explain("xemp")
    general = xemp.explain(
        graph.backend, Columns(graph.rows), graph.materials, float("inf")
    )
    np.testing.assert_array_equal(found.values, general.values)


@pytest.mark.parametrize(
    "name",
    [
        *("XGBRegressor regression", "RandomForestRegressor regression"),
        *("lightgbm regression sets", "lightgbm rf", "lightgbm regression double"),
        *("GradientBoostingRegressor", "XGBRFRegressor regression"),
    ],
)
def test_graphs_of_regression_are_explained_by_their_target(
    name: str, tmp_path: Path
) -> None:
    graph = Graph(name, "regression", tmp_path, 1)
    graph.assert_shapley(graph.explain("shap"), graph.predicted)
    exemplars = graph.materials.exemplars
    wanted = substituted(
        graph.predicted, graph.rows, exemplars.columns.matrix, exemplars.weights
    )
    near(graph.explain("xemp").values, wanted, 2e-5)


def test_graphs_with_a_logarithm_are_explained_by_it(tmp_path: Path) -> None:
    graph = Graph("lightgbm poisson sets", "regression", tmp_path, 1)
    graph.assert_shapley(
        graph.explain("shap"), lambda rows: np.log(graph.predicted(rows))
    )


@pytest.mark.parametrize(
    "name", ["XGBClassifier multiclass", "lightgbm multiclass sets"]
)
def test_multiclass_graphs_have_their_xemp(name: str, tmp_path: Path) -> None:
    graph = Graph(name, "multiclass", tmp_path, 1)
    general = xemp.explain(
        graph.backend, Columns(graph.rows), graph.materials, float("inf")
    )
    near(graph.explain("xemp").values, general.values, 2e-5)


# ---- Files, threads and time


def test_damaged_paths_explain_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and predictions go on."""
    case = Case("binary", tmp_path)
    path = tmp_path / "paths.int32"
    content = path.read_bytes()
    for damaged in (None, content[:-4], b"", content[:400] + b"?" + content[401:]):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        for algorithm in ALGORITHMS:
            with caplog.at_level(logging.ERROR), pytest.raises(NotExplainable):
                case.explain(algorithm)
            assert "cannot be explained" in caplog.text
            caplog.clear()
    assert case.predicted(case.rows).shape == (80, 1)
    path.write_bytes(content)
    assert case.explain("shap").values.shape == (80, 1, 8)


@pytest.mark.parametrize("kind", ["many features never used", "multiclass"])
def test_paths_of_another_model_explain_nothing(kind: str, tmp_path: Path) -> None:
    case = Case("plain", tmp_path)
    (tmp_path / "paths.int32").unlink()
    Explainer(from_lightgbm.read(models.trained(kind).text)).write(tmp_path)
    with pytest.raises(NotExplainable):
        case.explain("xemp")


@of_kinds("binary")
def test_threads_at_once_are_told_the_same(case: Case) -> None:
    """The first of them make what all of them use."""
    jobs = [
        (algorithm, part)
        for part in (slice(0, 80), slice(5, 12), slice(70, 71)) * 5
        for algorithm in ALGORITHMS
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda job: case.explain(job[0], case.rows[job[1]]), jobs)
        )
    for (algorithm, part), each in zip(jobs, found, strict=True):
        wanted = case.explain(algorithm, case.rows[part])
        np.testing.assert_array_equal(each.values, wanted.values)


@of_kinds("binary")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_time_that_is_over_is_told(case: Case, algorithm: str) -> None:
    with pytest.raises(ExplanationTooSlow):
        case.explain(algorithm, deadline=time.monotonic() - 1.0)


@of_kinds("binary")
def test_bundles_without_materials_are_not_initialized(case: Case) -> None:
    case.materials = Materials(case.folder, case.model)
    for algorithm in ("xemp", "shap_probability"):
        with pytest.raises(NotInitialized):
            case.explain(algorithm)
    # Counts of the training rows are all that this one needs.
    assert case.explain("shap").values.shape == (80, 1, 8)
