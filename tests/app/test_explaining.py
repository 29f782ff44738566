"""What is told of a row's strengths: which rows, which classes, which features."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import explaining
from app.explaining import Explaining, Explanations
from backends import load
from backends.base import Backend
from backends.explanations import choosing
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    NotInitialized,
    Strengths,
)
from backends.explanations.exemplars import Exemplars
from backends.explanations.materials import Materials
from backends.explanations.strength import SYMBOLS, symbols
from backends.features import Columns, Decoder
from backends.model import Feature, Model
from tests.specimens import Specimen


class Prepared(Backend):
    """Has strengths prepared for each row; the first feature holds its number."""

    engine = "test"
    nbytes = 0

    def __init__(
        self,
        task: str,
        values: np.ndarray,
        *,
        order: list[int] | None = None,
        base: float | np.ndarray | None = None,
        total: np.ndarray | None = None,
        width: int | None = None,
        rounding: float = 0.0,
    ) -> None:
        """values: (n_rows, classes, f); total: (n_rows,); width: of the model.

        base: of all rows, or (n_rows,).
        """
        width = width or values.shape[2]
        labels = tuple("abcdef"[: values.shape[1]]) if task == "multiclass" else ()
        self.model = Model(
            *("f" * 24, "m", "lightgbm", "model.txt", task, "y"),
            features=tuple(Feature(f"x{i}", "numeric") for i in range(max(width, 1))),
            labels=labels,
        )
        given = range(values.shape[2]) if order is None else order
        self.order = np.array(given, np.intp)
        self.all = values
        self.base, self.total, self.rounding = base, total, rounding
        self.asked: list[int] = []

    def predict(self, columns: Columns) -> np.ndarray:
        raise NotImplementedError

    raw_scores = predict

    def explain(self, columns: Columns, *given: Any) -> Strengths:
        rows = columns.matrix[:, 0].astype(int)
        self.asked += rows.tolist()
        return Strengths(
            self.order,
            self.all[rows],
            base=self._base(rows),
            total=None if self.total is None else self.total[rows, None],
            rounding=self.rounding,
        )

    def _base(self, rows: np.ndarray) -> np.ndarray | None:
        if self.base is None:
            return None
        return np.broadcast_to(self.base, len(self.all))[rows, None]

    def materials(self) -> Materials:
        found = Materials(Path("nowhere"), self.model)
        width = len(self.order)
        columns = Columns(np.zeros((1, width)))
        found.__dict__["exemplars"] = Exemplars(
            self.order, columns, np.ones((1, width))
        )
        return found

    def told(self, values: np.ndarray, **wishes: Any) -> Explanations:
        wishes = {"algorithm": "xemp", "most": 3} | wishes
        matrix = np.zeros((len(values), len(self.model.features)))
        matrix[:, :1] = np.arange(len(values))[:, None]
        wanted = Explaining(self.materials(), **wishes)
        return wanted.explain(self, Columns(matrix), values)


def strengths(*rows: list[float]) -> np.ndarray:
    return np.array(rows)[:, None, :]


ONE = np.zeros((1, 1))


# ---- Rows


@pytest.mark.parametrize(
    ("low", "high", "explained"),
    [
        (None, None, [1, 1, 1, 1, 1]),
        (0.3, None, [1, 0, 0, 0, 0]),
        (None, 0.7, [0, 0, 0, 0, 1]),
        (0.3, 0.7, [1, 0, 0, 0, 1]),
        (0.7, 0.3, [1, 1, 1, 1, 1]),
        (0.0, 0.0, [1, 1, 1, 1, 1]),
        (0.0, 1.0, [0, 0, 0, 0, 0]),
    ],
)
def test_rows_below_low_or_above_high_are_explained(
    low: float | None, high: float | None, explained: list[int]
) -> None:
    values = np.array([[0.1], [0.3], [0.5], [0.7], [0.9]])
    backend = Prepared("binary", np.ones((5, 1, 2)))
    found = backend.told(values, low=low, high=high)
    assert found.explained.astype(int).tolist() == explained
    # Those that are not are not computed either.
    assert backend.asked == np.flatnonzero(explained).tolist()
    assert found.strengths.shape == (5, 1, 2)


def test_bounds_are_held_against_the_likeliest_class() -> None:
    values = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.4, 0.0]])
    backend = Prepared("multiclass", np.ones((3, 3, 2)))
    found = backend.told(values, low=0.55, high=0.7)
    assert found.explained.tolist() == [True, True, False]


def test_shap_explains_every_row_whatever_the_bounds() -> None:
    backend = Prepared("binary", np.ones((2, 1, 2)), base=0.0, total=np.full(2, 2.0))
    found = backend.told(np.array([[0.4], [0.6]]), algorithm="shap", low=0, high=1)
    assert found.explained.all()


def test_rows_in_the_middle_keep_their_own_explanations() -> None:
    values = np.array([[0.9], [0.5], [0.1], [0.5], [0.8]])
    prepared = np.arange(5.0)[:, None, None] + [[[1.0, 2.0]]]
    found = Prepared("binary", prepared).told(values, low=0.2, high=0.7)
    assert found.strengths[[0, 2, 4], 0].tolist() == [[2, 1], [4, 3], [6, 5]]


# ---- Features


def test_greatest_strengths_come_first_whatever_their_sign() -> None:
    backend = Prepared(
        "regression", strengths([1.0, -4.0, 0.0, 3.0]), order=[7, 5, 3, 1]
    )
    found = backend.told(ONE)
    assert found.features.tolist() == [[[5, 1, 7]]]
    assert found.strengths.tolist() == [[[-4, 3, 1]]]
    assert found.classes.tolist() == [[0]]
    assert found.remaining is None and found.mismatch is None


def test_features_of_equal_strength_keep_their_order() -> None:
    row = [0.5, -1.0, 1.0, 0.5, -0.5] * 8
    found = Prepared("regression", strengths(row)).told(ONE, most=40)
    expected = sorted(range(40), key=lambda place: -abs(row[place]))
    assert found.features[0, 0].tolist() == expected


@pytest.mark.parametrize(("most", "told"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_fewer_are_told_where_there_are_fewer(most: int, told: int) -> None:
    backend = Prepared("regression", strengths([1.0, 2.0, 3.0]))
    found = backend.told(ONE, most=most)
    assert found.features.shape == found.strengths.shape == (1, 1, told)
    assert found.symbols is not None and found.symbols.shape == (1, 1, told)


def test_model_that_uses_no_feature_has_nothing_to_tell() -> None:
    backend = Prepared("regression", np.zeros((2, 1, 0)))
    found = backend.told(np.zeros((2, 1)))
    assert found.features.shape == (2, 1, 0)


def test_symbols_count_strengths_that_are_not_told() -> None:
    row = [0.4, 0.3, 0.2, 0.1]
    found = Prepared("regression", strengths(row)).told(ONE, most=1)
    # 0.4 of 1.0, not of what is told; above 1 / 2n, not above 2 / n.
    assert found.symbols is not None
    assert [SYMBOLS[each] for each in found.symbols[0, 0]] == ["++"]


@given(
    st.lists(
        st.lists(st.integers(-5, 5).map(float), min_size=6, max_size=6),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 8),
    st.integers(1, 60),
)
def test_blocks_of_any_size_tell_the_same(
    rows: list[list[float]], most: int, block: int
) -> None:
    values = np.zeros((len(rows), 1))
    backend = Prepared("regression", strengths(*rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explaining, "_BLOCK", block)
        found = backend.told(values, most=most)
    assert backend.asked == list(range(len(rows)))
    assert found.symbols is not None
    for row, each in enumerate(rows):
        order = sorted(range(6), key=lambda place: -abs(each[place]))[:most]
        assert found.features[row, 0].tolist() == order
        assert found.strengths[row, 0].tolist() == [each[place] for place in order]
        signs = symbols(np.array(each), 6)[order]
        assert found.symbols[row, 0].tolist() == signs.tolist()


# ---- Classes


CLASSES = np.array([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]).transpose(1, 0, 2)


def test_likeliest_classes_are_told_of_the_likeliest_first() -> None:
    backend = Prepared("multiclass", np.repeat(CLASSES, 2, axis=0))
    values = np.array([[0.2, 0.3, 0.5], [0.4, 0.2, 0.4]])
    found = backend.told(values, top_classes=2)
    # Of equal probabilities the first label's class.
    assert found.classes.tolist() == [[2, 1], [0, 2]]
    assert found.strengths.tolist() == [[[6, 5], [4, 3]], [[2, 1], [6, 5]]]
    assert backend.told(values).classes.tolist() == [[2], [0]]
    assert backend.told(values, top_classes=10).classes.shape == (2, 3)


def test_classes_are_told_in_the_order_they_are_asked_for() -> None:
    backend = Prepared("multiclass", CLASSES)
    found = backend.told(np.array([[0.2, 0.3, 0.5]]), classes=(1, 0))
    assert found.classes.tolist() == [[1, 0]]
    assert found.strengths.tolist() == [[[4, 3], [2, 1]]]


# ---- Adding up


def shap(
    rows: np.ndarray,
    total: np.ndarray,
    *,
    base: float | np.ndarray = 1.0,
    **wishes: Any,
) -> Explanations:
    backend = Prepared("binary", rows[:, None, :], base=base, total=total)
    values = np.full((len(rows), 1), 0.5)
    return backend.told(values, algorithm="shap", **wishes)


def test_base_strengths_and_remainder_add_up() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 9))
    total = 1.5 + rows.sum(axis=1)
    found = shap(rows, total, base=1.5, most=4)
    assert (found.symbols, found.mismatch) == (None, None)
    np.testing.assert_array_equal(found.base, np.full(300, 1.5))
    assert found.remaining is not None
    told = found.strengths[:, 0].sum(axis=1)
    np.testing.assert_allclose(1.5 + told + found.remaining, total, atol=1e-12)
    everything = shap(rows, total, base=1.5, most=9).remaining
    assert everything is not None and not everything.any()


def test_every_row_has_the_base_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    base = np.linspace(-1.0, 3.0, 50)
    # Seven rows a block.
    monkeypatch.setattr("app.explaining._BLOCK", 28)
    found = shap(rows, base + rows.sum(axis=1), base=base)
    assert found.mismatch is None
    np.testing.assert_array_equal(found.base, base)


def test_xemp_has_no_base() -> None:
    assert Prepared("binary", np.ones((2, 1, 2))).told(np.zeros((2, 1))).base is None


def test_features_that_shap_leaves_out_count_as_nothing() -> None:
    rows = np.array([[[0.0, -2.0]], [[1.0, 0.0]]])
    total = rows.sum(axis=(1, 2))
    backend = Prepared("binary", rows, order=[3, 1], width=5, base=0.0, total=total)
    values = np.full((2, 1), 0.5)
    found = backend.told(values, algorithm="shap", most=5)
    assert found.features[:, 0].tolist() == [[1, 0, 2, 3, 4], [3, 0, 1, 2, 4]]
    assert found.strengths[:, 0].tolist() == [[-2, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    few = backend.told(values, algorithm="shap", most=3)
    assert few.features.shape == (2, 1, 3)


def test_small_mismatch_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    rows = np.full((10, 2), 2.0)
    total = np.full(10, 5.0)
    total[3] *= 1 + 1e-4
    total[7] *= 1 + 1e-5
    total[9] *= 1 + 1e-9
    with caplog.at_level(logging.WARNING):
        found = shap(rows, total)
    assert found.mismatch is not None
    assert found.mismatch.rows == 2
    assert found.mismatch.largest == pytest.approx(1e-4, rel=1e-3)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("app.additivity", "WARNING")
    assert "f" * 24 in record.getMessage() and "2 rows" in record.getMessage()


@pytest.mark.parametrize("total", [5.1, -5.0, np.nan, np.inf])
def test_large_mismatch_leaves_no_values(
    total: float, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NotExplainable, match="do not add up .* more than 1%"):
        shap(np.full((1, 2), 2.0), np.array([total]))
    assert "f" * 24 in caplog.text


def test_total_near_zero_is_no_measure_of_large_strengths() -> None:
    rows = np.array([[1000.0, -1003.0]])
    # As far off as float64 rounds such numbers.
    found = shap(rows, np.array([1e-12]), base=3.0)
    assert found.mismatch is None
    assert shap(np.zeros((1, 2)), np.zeros(1), base=0.0).mismatch is None


def test_what_the_model_rounds_is_no_mismatch() -> None:
    # Sums of float32: a millionth of 2 + 8 + 7 may be missing.
    def mismatch(total: float) -> object:
        backend = Prepared(
            "binary",
            strengths([8.0, -7.0]),
            base=2.0,
            total=np.array([total]),
            rounding=1e-6,
        )
        return backend.told(np.array([[0.5]]), algorithm="shap").mismatch

    assert mismatch(3 + 16e-6) is None
    assert mismatch(3 + 40e-6) is not None


def test_every_block_is_looked_at_from_its_first_row_to_its_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.full((1000, 2), 2.0)
    total = np.full(1000, 5.0)
    total[[0, 999]] *= 1 + 1e-4
    found = shap(rows, total)
    assert found.mismatch is not None and found.mismatch.rows == 2
    assert shap(rows, total * (1 + 1e-4)).mismatch.rows == 64  # type: ignore[union-attr]
    # Of blocks with 50 rows each every row is looked at.
    monkeypatch.setattr(explaining, "_BLOCK", 100)
    many = shap(rows, np.full(1000, 5.0) * (1 + 1e-4)).mismatch
    assert many is not None and many.rows == 1000


# ---- What stands in the way


def test_bundle_without_exemplars_is_told_even_where_no_row_is_explained(
    tmp_path: Path,
) -> None:
    backend = Prepared("binary", np.ones((1, 1, 2)))
    wanted = Explaining(
        Materials(tmp_path, backend.model), "xemp", 3, low=0.0, high=1.0
    )
    with pytest.raises(NotInitialized):
        wanted.explain(backend, Columns(np.zeros((1, 2))), np.array([[0.5]]))


# ---- Real models


@pytest.mark.parametrize(
    "name", ["churn", "price", "grade", "onnx-parcel", "onnx-iris"]
)
def test_real_models_are_told_of_in_order(
    specimens: Mapping[str, Specimen], tmp_path: Path, name: str
) -> None:
    specimen = specimens[name]
    model = specimen.model
    backend = load(specimen.folder, model)
    frame = specimen.frame.head(80).astype(object)
    records = frame.where(frame.notna(), None).to_dict("records")
    columns = Decoder(model.features).from_records(records)
    impact = [1.0 + place for place in range(len(model.features))]
    choosing.write(tmp_path, model.features, columns, impact)
    materials = Materials(tmp_path, model)
    values = backend.predict(columns)
    most = 2
    found = Explaining(materials, "xemp", most, top_classes=2).explain(
        backend, columns, values
    )
    every = backend.explain(columns, "xemp", materials)
    for row in range(0, 80, 7):
        for place, label in enumerate(found.classes[row].tolist()):
            row_strengths = every.values[row, label]
            order = sorted(
                range(len(row_strengths)), key=lambda each: -abs(row_strengths[each])
            )[:most]
            expected = every.features[order].tolist()
            assert found.features[row, place].tolist() == expected
            np.testing.assert_allclose(
                found.strengths[row, place], row_strengths[order], atol=1e-6
            )
        likeliest = sorted(range(values.shape[1]), key=lambda each: -values[row, each])
        assert found.classes[row].tolist() == likeliest[:2]


def test_time_that_is_over_ends_the_request(
    specimens: Mapping[str, Specimen], tmp_path: Path
) -> None:
    specimen = specimens["price"]
    backend = load(specimen.folder, specimen.model)
    columns = Decoder(specimen.model.features).from_records(
        [{feature.name: None for feature in specimen.model.features}]
    )
    columns.matrix[:] = 1
    rows = Columns(np.vstack([columns.matrix, columns.matrix * 0]))
    choosing.write(tmp_path, specimen.model.features, rows, [1.0] * 6)
    materials = Materials(tmp_path, specimen.model)
    wanted = Explaining(materials, "xemp", 3, deadline=0.0)
    with pytest.raises(ExplanationTooSlow):
        wanted.explain(backend, columns, backend.predict(columns))
