"""Statistics, metrics and impact agree with slower ways to compute them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from app import reference
from app.reference import Scored
from backends.base import Backend
from backends.features import Columns
from backends.model import Feature, Model

X = Feature("x", "numeric")
TOWN = Feature("town", "categorical", categories=("Oslo", "Rome", "Nome"))
NOTE = Feature("note", "text", dtype="string", missing="empty")


def card(task: str, **changes: object) -> Model:
    labels = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c")}.get(task, ())
    values = {
        "features": (X, TOWN, NOTE),
        "labels": labels,
        "positive_label": "yes" if task == "binary" else None,
    }
    return Model("", "m", "lightgbm", "model.txt", task, "y", **(values | changes))


class Linear(Backend):
    """Answers 2 x + code of town + length of note."""

    nbytes = 0

    def __init__(self) -> None:
        self.model = card("regression")

    def predict(self, columns: Columns) -> np.ndarray:
        lengths = np.array([len(text) for text in columns.texts[2]])
        matrix = np.nan_to_num(columns.matrix)
        return (2 * matrix[:, 0] + matrix[:, 1] + lengths)[:, None]

    raw_scores = predict


def rows(count: int) -> Columns:
    rng = np.random.default_rng(0)
    matrix = np.full((count, 3), np.nan)
    matrix[:, 0] = rng.normal(size=count)
    matrix[:, 1] = rng.integers(0, 2, count)
    matrix[: count // 4, 0] = np.nan
    texts = np.array(["", "b", "b", "ccc"] * (count // 4), dtype=object)
    texts[-4:] = "rare"
    return Columns(matrix, {2: texts})


def test_statistics_describe_each_column() -> None:
    columns = rows(400)
    target = np.arange(400.0)
    target[:10] = np.nan
    scored = Scored(columns, np.arange(400.0)[:, None], target)
    found = reference.statistics(card("regression"), columns, target, scored)
    x, town, note = found["features"]
    present = columns.matrix[100:, 0]
    assert (x["name"], x["kind"], x["missing"]) == ("x", "numeric", 0.25)
    assert x["distinct"] == 300
    np.testing.assert_allclose(x["mean"], present.mean())
    np.testing.assert_array_equal(x["quantiles"], np.quantile(present, found["grid"]))
    assert x["quantiles"][0] == present.min() and x["quantiles"][-1] == present.max()
    counts = {"Oslo": int((columns.matrix[:, 1] == 0).sum())}
    counts["Rome"] = 400 - counts["Oslo"]
    assert dict(town["levels"]) == counts
    assert (town["distinct"], town["other"]) == (2, 0)
    assert note == {
        "name": "note",
        "kind": "text",
        "missing": 99 / 400,
        "distinct": 3,
        "levels": [["b", 198], ["ccc", 99]],
        "other": 4,
    }
    assert found["target"]["missing"] == 10
    assert found["predictions"][0]["quantiles"][100] == 199.5
    json.dumps(found, allow_nan=False)


def test_rare_levels_are_counted_together() -> None:
    levels = tuple(f"town {i}" for i in range(150))
    columns = Columns(np.repeat(np.arange(150.0), 2)[:, None])
    model = card(
        "regression", features=(Feature("t", "categorical", categories=levels),)
    )
    scored = Scored(columns, np.zeros((300, 1)), np.zeros(300))
    (town,) = reference.statistics(model, columns, np.zeros(300), scored)["features"]
    assert (town["distinct"], len(town["levels"]), town["other"]) == (150, 100, 100)


def test_column_without_a_number_has_no_quantiles() -> None:
    columns = Columns(np.array([[np.nan], [np.inf]]))
    model = card("regression", features=(X,))
    scored = Scored(columns, np.full((2, 1), np.nan), np.full(2, np.nan))
    found = reference.statistics(model, columns, np.full(2, np.nan), scored)
    assert found["features"][0]["quantiles"] is None
    assert found["metrics"] == {}
    json.dumps(found, allow_nan=False)


def test_class_frequencies_stand_with_their_labels() -> None:
    target = np.array([0, 2, 2, np.nan])
    columns = Columns(np.zeros((4, 1)))
    scored = Scored(columns, np.full((4, 3), 1 / 3), target)
    model = card("multiclass", features=(X,))
    found = reference.statistics(model, columns, target, scored)
    assert found["target"] == {"missing": 1, "labels": [["a", 1], ["b", 0], ["c", 2]]}
    assert len(found["predictions"]) == 3


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 10, 60) / 10
    actual = rng.integers(0, 2, 60).astype(float)
    pairs = [
        (a > b) + (a == b) / 2 for a in scores[actual == 1] for b in scores[actual == 0]
    ]
    scored = Scored(Columns(np.zeros((60, 1))), scores[:, None], actual)
    metrics = reference.metrics(card("binary"), scored)
    assert metrics["auc"] == pytest.approx(np.mean(pairs), rel=1e-12)


def test_metrics_follow_the_positive_label() -> None:
    values = np.array([[0.9], [0.2], [0.6]])
    actual = np.array([0.0, 1.0, np.nan])
    scored = Scored(Columns(np.zeros((3, 1))), values, actual)
    first = card("binary", positive_label="no")
    expected = -(np.log(0.9) + np.log(0.8)) / 2
    assert reference.metrics(first, scored) == {
        "log_loss": pytest.approx(expected),
        "auc": 1.0,
    }


def test_metrics_of_one_class_have_no_auc() -> None:
    scored = Scored(Columns(np.zeros((2, 1))), np.ones((2, 1)), np.ones(2))
    assert reference.metrics(card("binary"), scored)["auc"] is None


def test_metrics_of_other_tasks() -> None:
    columns = Columns(np.zeros((2, 1)))
    scored = Scored(columns, np.array([[1.0], [4.0]]), np.array([1.0, 2.0]))
    found = reference.metrics(card("regression"), scored)
    assert found == {"rmse": pytest.approx(np.sqrt(2)), "mae": 1.0}
    values = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = reference.metrics(
        card("multiclass"), Scored(columns, values, np.array([0.0, 1.0]))
    )
    loss = -(np.log(0.5) + np.log(0.1)) / 2
    assert found == {"log_loss": pytest.approx(loss), "accuracy": 0.5}


def test_impact_grows_with_what_a_column_does() -> None:
    backend, columns = Linear(), rows(4000)
    before = columns.matrix.copy()
    values = backend.predict(columns)
    impact = reference.feature_impact(backend, Scored(columns, values, values[:, 0]))
    x, town, note = impact["raw"]
    assert impact["normalised"] == [x / x, town / x, note / x]
    assert x > note > town > 0
    assert (impact["metric"], impact["rows"]) == ("rmse", 2500)
    # RMSE of a difference of two draws: the standard deviation times the root of 2.
    assert town == pytest.approx(np.std(columns.matrix[:, 1]) * np.sqrt(2), rel=0.05)
    np.testing.assert_array_equal(columns.matrix, before)


def test_impact_is_the_same_in_every_run() -> None:
    backend, columns = Linear(), rows(400)
    values = backend.predict(columns)
    scored = Scored(columns, values, values[:, 0])
    assert reference.feature_impact(backend, scored) == reference.feature_impact(
        backend, scored
    )


def test_impact_needs_targets() -> None:
    backend, columns = Linear(), rows(40)
    scored = Scored(columns, backend.predict(columns), np.full(40, np.nan))
    assert reference.feature_impact(backend, scored) == {}


def test_bounds_are_quantiles_of_finite_predictions() -> None:
    values = np.append(np.arange(1001.0), np.nan)[:, None]
    assert reference.prediction_bounds(values) == (5.0, 995.0)
    assert reference.prediction_bounds(np.full((2, 1), np.inf)) is None


def test_sample_keeps_the_order_of_the_file() -> None:
    table = pa.table({"x": range(1000)})
    kept = reference.sample(table, 50)["x"].to_pylist()
    assert kept == sorted(kept) and len(set(kept)) == 50
    assert reference.sample(table, 5000).num_rows == 1000
