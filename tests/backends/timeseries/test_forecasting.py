"""Forecasts of trained models: step by step, added up and explained by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from app.compilation import read_ensemble
from backends import compiled, load
from backends.base import Backend
from backends.compiled import TREES, Verdict
from backends.explanations import choosing
from backends.explanations.materials import Materials
from backends.features import Columns
from backends.model import Feature, Model
from backends.timeseries.backend import TargetBackend
from backends.timeseries.forecasting import Forecast, grid_of
from backends.timeseries.pairs import Pairs
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import TrainingRows, training_rows
from backends.trees.engine import Engine
from backends.trees.explainer import Explainer
from tests.backends.timeseries.by_definition import Origin, Rows
from tests.backends.timeseries.random_specs import panel_of

DAYS, AHEAD = 60, 5
LABELS = {"Regression": (), "Binary": ("no", "yes"), "Multiclass": ("a", "b", "c")}

LOG = {"op": "log1p"}
BASELINE = {"op": "baseline", "period": 7}
DIRECT: dict[str, list[dict[str, Any]]] = {
    "plain": [],
    "log": [LOG],
    "baseline": [BASELINE],
    "log of baseline": [LOG, BASELINE],
}
RECURSIVE: dict[str, list[dict[str, Any]]] = {
    "plain": [],
    "log": [LOG],
    "difference": [{"op": "difference", "period": 1}],
    "differences": [{"op": "difference", "period": each} for each in (1, 7)],
    "log of difference": [LOG, {"op": "difference", "period": 7}],
}
both = pytest.mark.parametrize("engine", ["lightgbm", TREES])
EVERY = [("direct", each) for each in DIRECT] + [("recursive", e) for e in RECURSIVE]


def spec_of(strategy: str, transforms: Sequence[Any] = (), **more: Any) -> Spec:
    features = [
        {"name": "lag", "op": "lag"},
        {"name": "lag 6", "op": "lag", "offset": -6},
        {"name": "mean", "op": "rolling", "stat": "mean", "window": 5, "minCount": 2},
        {"name": "max", "op": "rolling", "stat": "max", "window": 3, "source": "raw"},
        {"name": "same day", "op": "seasonal_lag", "period": 7},
        {"name": "weekday", "op": "date", "part": "dayofweek"},
        {"name": "promo", "op": "known", "column": "promo"},
    ]
    if strategy == "direct":
        features.append({"name": "Forecast Distance", "op": "forecast_distance"})
    if "classes" in more:
        features = [each for each in features if each["op"] != "rolling"]
    return load_spec(
        {
            "version": 1,
            "target": "y",
            "datetimeColumn": "when",
            "datetimeFormat": "%Y-%m-%d",
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -7, "end": 0},
            "forecastWindow": {"start": 1, "end": AHEAD},
            "knownInAdvance": ["promo"],
            "strategy": strategy,
            "targetTransform": list(transforms),
            "features": features,
        }
        | more
    )


def rows_of(spec: Spec) -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    first = np.datetime64("2024-01-01")
    found = []
    for level, shop in ((20, "b"), (60, "a")):
        for day in range(DAYS + AHEAD):
            promo = float(random.integers(2))
            value = level + 8 * (day % 7 == 3) + 5 * promo + random.normal(0, 1)
            target: Any = round(float(value), 2)
            if spec.classes:
                target = spec.classes[int(value) % len(spec.classes)]
            if day >= DAYS or random.random() < 0.05 and day < DAYS - 36:
                target = None
            found.append(
                {"when": str(first + day), "shop": shop, "y": target, "promo": promo}
            )
    return found


@dataclass(frozen=True)
class Trained:
    """A model of a spec, what it was trained on and what is asked of it."""

    spec: Spec
    records: list[dict[str, Any]]
    rows: TrainingRows
    boosters: dict[int, lightgbm.Booster]
    backend: TargetBackend
    trees: TargetBackend
    materials: Materials

    def by_engine(self, engine: str) -> TargetBackend:
        found = self.trees if engine == TREES else self.backend
        assert found.engine == engine
        return found

    def forecast(
        self, records: Sequence[Any] | None = None, back: int = 0
    ) -> tuple[Pairs, Forecast]:
        """From the newest target, or so many days before it."""
        panel = panel_of(self.records if records is None else records, self.spec)
        origin = int(np.nanmax(np.where(np.isnan(panel.target), np.nan, panel.steps)))
        origin -= back
        ahead = panel.steps - origin
        rows = np.flatnonzero((ahead >= 1) & (ahead <= AHEAD))
        series = panel.series[rows]
        pairs = Pairs(series, np.full(len(rows), origin), ahead[rows], rows)
        return pairs, self.backend.forecast(panel, grid_of(panel, pairs), pairs)

    def answers(self, matrix: np.ndarray) -> np.ndarray:
        """What the boosters say of derived rows."""
        if self.spec.models:
            of_rows = [
                self.boosters[int(row[-1])].predict(row[None, :-1]) for row in matrix
            ]
            return np.concatenate(of_rows)[:, None]
        found = np.asarray(self.boosters[0].predict(matrix, num_threads=1))
        return found.reshape(len(matrix), -1)


def train(folder: Path, spec: Spec) -> Trained:
    records = rows_of(spec)
    rows = training_rows(panel_of(records, spec))
    objective = {"Regression": "regression", "Binary": "binary"}
    parameters: dict[str, Any] = {
        "objective": objective.get(spec.target_type, "multiclass"),
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "num_threads": 1,
        "verbosity": -1,
    }
    if spec.target_type == "Multiclass":
        parameters["num_class"] = len(spec.classes)
    features = [Feature(name, "numeric") for name in spec.names]
    boosters, files = {}, dict(spec.models) or {0: "model.txt"}
    if spec.models:
        features.append(Feature("Forecast Distance (model)", "numeric"))
    for distance, file in files.items():
        chosen = rows
        if distance:
            chosen = rows.take(rows.pairs.distances == distance)
        data = lightgbm.Dataset(chosen.matrix[:, : len(spec.names)], chosen.y)
        boosters[distance] = lightgbm.train(parameters, data, num_boost_round=15)
        boosters[distance].save_model(folder / file)
    model = Model(
        id="0" * 24,
        name="forecasts",
        format="lightgbm",
        file=next(iter(files.values())),
        task=spec.task,
        target=spec.target,
        features=tuple(features),
        labels=spec.classes,
        positive_label=spec.classes[-1] if spec.task == "binary" else None,
        time_series=spec.raw,
        files=spec.models,
    )
    impact = [*range(len(spec.names), 0, -1), *([0] if spec.models else [])]
    choosing.write(folder, model.features, Columns(rows.matrix), impact)
    backend = TargetBackend(load(folder, model), spec)
    trees = backend if spec.models else TargetBackend(compile(folder, model), spec)
    materials = Materials(folder, model)
    return Trained(spec, records, rows, boosters, backend, trees, materials)


def compile(folder: Path, model: Model) -> Backend:
    arrays = folder / "compiled"
    arrays.mkdir()
    ensemble = read_ensemble(folder, model)
    Engine(ensemble).write(arrays)
    Explainer(ensemble).write(arrays)
    compiled.write(arrays, model.id, Verdict(TREES))
    return load(folder, model, arrays)


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Models by strategy and transforms, each trained once."""
    kept: dict[str, Trained] = {}

    def find(strategy: str, transforms: str = "plain", **more: Any) -> Trained:
        key = repr((strategy, transforms, more))
        if key not in kept:
            known = DIRECT if strategy == "direct" else RECURSIVE
            spec = spec_of(strategy, known[transforms], **more)
            kept[key] = train(tmp_path_factory.mktemp("model"), spec)
        return kept[key]

    return find


def columns_of(found: Forecast) -> Columns:
    return Columns(found.derivation.matrix, offset=found.derivation.offset)


def by_definition(
    each: Trained, pairs: Pairs, records: Sequence[Any], k: int = 0
) -> np.ndarray:
    """Forecasts of pairs in a loop over rows and steps."""
    rows = Rows(records, each.spec)
    found = []
    for row, ahead in zip(pairs.rows.tolist(), pairs.distances.tolist(), strict=True):
        point = rows.shifted(rows.keys[row], -ahead)
        origin = Origin(rows, rows.series[row], point)
        more = [ahead] if each.spec.models else []

        def model(features: Sequence[float], more: list[int] = more) -> float:
            return float(each.answers(np.array([[*features, *more]]))[0, k])

        recursive = each.spec.strategy == "recursive"
        found.append((origin.recursive if recursive else origin.direct)(ahead, model))
    return np.array(found)


# ---- Predictions


@pytest.mark.parametrize("back", [0, 4, 16])
@pytest.mark.parametrize(("strategy", "transforms"), EVERY)
def test_forecasts_are_those_of_a_loop(
    trained: Train, strategy: str, transforms: str, back: int
) -> None:
    each = trained(strategy, transforms)
    pairs, found = each.forecast(back=back)
    assert len(pairs) == 2 * AHEAD
    expected = by_definition(each, pairs, each.records)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-9)
    # There is something to predict.
    assert np.ptp(expected[pairs.series == 0]) > 1


@pytest.mark.parametrize("kind", ["Binary", "Multiclass"])
def test_classes_are_forecast_with_their_probabilities(
    trained: Train, kind: str
) -> None:
    each = trained("direct", targetType=kind, classes=LABELS[kind])
    pairs, found = each.forecast()
    width = 1 if kind == "Binary" else 3
    assert found.values.shape == (2 * AHEAD, width)
    for k in range(width):
        expected = by_definition(each, pairs, each.records, k)
        np.testing.assert_allclose(found.values[:, k], expected, rtol=1e-12)


@pytest.mark.parametrize("transforms", DIRECT)
def test_each_distance_has_its_own_model(trained: Train, transforms: str) -> None:
    files = {str(distance): f"h{distance}.txt" for distance in range(1, AHEAD + 1)}
    each = trained("direct", transforms, models=files)
    pairs, found = each.forecast()
    expected = by_definition(each, pairs, each.records)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-9)
    np.testing.assert_array_equal(found.derivation.matrix[:, -1], pairs.distances)
    assert len(set(found.values[pairs.series == 0, 0])) == AHEAD


@pytest.mark.parametrize("transforms", RECURSIVE)
def test_rows_on_the_way_may_be_missing(trained: Train, transforms: str) -> None:
    each = trained("recursive", transforms)
    first = str(np.datetime64("2024-01-01") + DAYS)
    gone = [row for row in each.records if row["when"] != first]
    pairs, found = each.forecast(gone)
    assert sorted(set(pairs.distances.tolist())) == [2, 3, 4, 5]
    expected = by_definition(each, pairs, gone)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-9)
    # Its promotion is not known then, and all else is.
    unknown = [
        row | ({"promo": None} if row["when"] == first else {}) for row in each.records
    ]
    whole_pairs, whole = each.forecast(unknown)
    kept = whole.values[whole_pairs.distances > 1]
    np.testing.assert_array_equal(found.values, kept)


@pytest.mark.parametrize(("strategy", "transforms"), EVERY)
def test_later_rows_do_not_matter(
    trained: Train, strategy: str, transforms: str
) -> None:
    each = trained(strategy, transforms)
    _, found = each.forecast(back=10)
    spoilt = list(each.records)
    newest = str(np.datetime64("2024-01-01") + DAYS - 1 - 10)
    for place, row in enumerate(spoilt):
        if row["when"] > newest and row["y"] is not None:
            spoilt[place] = row | {"y": 1e5}
    _, other = each.forecast(spoilt, back=10)
    np.testing.assert_array_equal(other.values, found.values)
    np.testing.assert_array_equal(other.derivation.matrix, found.derivation.matrix)


@pytest.mark.parametrize(("strategy", "transforms"), EVERY)
def test_predictions_are_answers_and_offset(
    trained: Train, strategy: str, transforms: str
) -> None:
    each = trained(strategy, transforms)
    _, found = each.forecast()
    columns = columns_of(found)
    expects_offset = "baseline" in transforms or "difference" in transforms
    assert (columns.offset is not None) == expects_offset
    sums = each.answers(columns.matrix)
    if columns.offset is not None:
        sums = sums + columns.offset[:, None]
    values = np.expm1(sums) if "log" in transforms else sums
    predicted = each.backend.predict(columns)
    np.testing.assert_array_equal(predicted, values)
    # What is added up on the way of a recursion is added up here once more.
    exact = 0 if strategy == "direct" else 1e-12
    np.testing.assert_allclose(found.values, predicted, rtol=exact)
    np.testing.assert_allclose(found.sums, sums, rtol=exact)
    raw = each.backend.raw_scores(columns)
    np.testing.assert_allclose(raw, each.answers(columns.matrix), rtol=1e-12)


def test_training_target_is_what_is_added_up(trained: Train) -> None:
    for strategy, transforms in EVERY:
        each = trained(strategy, transforms)
        panel = panel_of(each.records, each.spec)
        pairs = each.rows.pairs
        grid = grid_of(panel, pairs)
        # A model that knows the answers makes the targets.
        if strategy == "direct":
            answers = each.rows.y[:, None]
            backend = TargetBackend(each.backend.inner, each.spec)
            found = backend.forecast(panel, grid, pairs).derivation
            sums = answers[:, 0] + (0 if found.offset is None else found.offset)
            values = np.expm1(sums) if "log" in transforms else sums
            np.testing.assert_allclose(values, panel.target[pairs.rows], rtol=1e-12)


def test_answer_beyond_all_numbers_is_infinite_without_a_warning(
    trained: Train,
) -> None:
    each = trained("direct", "log of baseline")
    _, found = each.forecast()
    offset = np.full(len(found.values), 1e4)
    values = each.backend.predict(Columns(found.derivation.matrix, offset=offset))
    assert np.isposinf(values).all()


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_forecast_beyond_all_numbers_is_infinite_without_a_warning(
    trained: Train, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = trained(strategy, "log")
    monkeypatch.setattr(
        each.backend.inner, "predict", lambda columns: np.full((len(columns), 1), 1e4)
    )
    _, found = each.forecast()
    assert np.isposinf(found.values).all()


# ---- Explanations


def brute_force(each: Trained, columns: Columns) -> np.ndarray:
    """XEMP strengths (n_rows, f), a prediction for each substitution."""
    exemplars = each.materials.exemplars

    def predict(matrix: np.ndarray) -> np.ndarray:
        sums = each.answers(matrix)[:, 0]
        if columns.offset is not None:
            sums = sums + columns.offset
        return np.expm1(sums) if each.spec.is_logarithmic else sums

    own = predict(columns.matrix)
    strengths = np.zeros((len(columns), len(exemplars.features)))
    for place, feature in enumerate(exemplars.features.tolist()):
        for number, weight in enumerate(exemplars.weights[:, place].tolist()):
            if weight:
                changed = columns.matrix.copy()
                changed[:, feature] = exemplars.columns.matrix[number, feature]
                strengths[:, place] += weight * (own - predict(changed))
    return strengths


@both
@pytest.mark.parametrize(("strategy", "transforms"), EVERY)
def test_xemp_is_in_the_targets_units(
    trained: Train, strategy: str, transforms: str, engine: str
) -> None:
    each = trained(strategy, transforms)
    _, forecast = each.forecast()
    columns = columns_of(forecast)
    backend = each.by_engine(engine)
    found = backend.explain(columns, "xemp", each.materials)
    expected = brute_force(each, columns)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-7, atol=1e-9)
    assert np.abs(expected).max() > 0.5
    assert found.base is found.total is None


def test_xemp_explains_the_model_of_each_distance(trained: Train) -> None:
    files = {str(distance): f"h{distance}.txt" for distance in range(1, AHEAD + 1)}
    for transforms in ("baseline", "log of baseline"):
        each = trained("direct", transforms, models=files)
        _, forecast = each.forecast()
        columns = columns_of(forecast)
        found = each.backend.explain(columns, "xemp", each.materials)
        expected = brute_force(each, columns)
        order = [
            each.materials.exemplars.features.tolist().index(f) for f in found.features
        ]
        np.testing.assert_allclose(
            found.values[:, 0], expected[:, order], rtol=1e-7, atol=1e-9
        )


@both
@pytest.mark.parametrize(("strategy", "transforms"), EVERY)
def test_shap_adds_up_to_the_prediction(
    trained: Train, strategy: str, transforms: str, engine: str
) -> None:
    each = trained(strategy, transforms)
    _, forecast = each.forecast()
    columns = columns_of(forecast)
    found = each.by_engine(engine).explain(columns, "shap", each.materials)
    assert found.base is not None and found.total is not None
    sums = found.base[:, 0] + found.values[:, 0].sum(axis=1)
    values = np.expm1(sums) if each.spec.is_logarithmic else sums
    np.testing.assert_allclose(values, forecast.values[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.total[:, 0], sums, rtol=1e-9)
    # What is added back is a part of each row's own base.
    contributions = np.asarray(
        each.boosters[0].predict(columns.matrix, pred_contrib=True, num_threads=1)
    )
    offset = 0 if columns.offset is None else columns.offset
    np.testing.assert_allclose(found.base[:, 0], contributions[:, -1] + offset)
    np.testing.assert_allclose(
        found.values[:, 0], contributions[:, found.features], atol=1e-9
    )
    predicted = each.by_engine(engine).predict(columns)
    np.testing.assert_allclose(predicted, forecast.values, rtol=1e-12)
    if columns.offset is not None:
        assert len(set(found.base[:, 0])) > 1


@pytest.mark.parametrize("algorithm", ["xemp", "shap"])
def test_rows_are_explained_alike_alone_and_together(
    trained: Train, algorithm: str
) -> None:
    for strategy, transforms in EVERY:
        each = trained(strategy, transforms)
        columns = columns_of(each.forecast()[1])
        together = each.backend.explain(columns, algorithm, each.materials)
        for row in (0, 7):
            alone = each.backend.explain(
                columns.take(np.array([row])), algorithm, each.materials
            )
            np.testing.assert_allclose(
                alone.values[0], together.values[row], rtol=1e-9, atol=1e-12
            )
            if alone.base is not None and together.base is not None:
                np.testing.assert_array_equal(alone.base[0], together.base[row])
