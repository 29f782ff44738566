"""No difference between engine and library escapes the proof."""

from typing import Any

import numpy as np
import pytest

from app.equality import AnswersDiffer, prove_equal
from backends.base import Backend
from backends.features import Columns, DataError
from backends.model import Feature, Model

UP = np.nextafter(0.3, 1)


def card(format: str = "lightgbm", **more: Any) -> Model:
    features = (Feature("x", "numeric"),)
    return Model("", "m", format, "m", "regression", "y", features, **more)


class Fixed(Backend):
    """Answers with what it is given: for many rows, and for single ones."""

    engine = "fixed"

    def __init__(self, model, raw, values, *, raw_singly=None, values_singly=None):
        self.model = model
        self._many = {"raw": raw, "values": values}
        self._single = {
            "raw": raw if raw_singly is None else raw_singly,
            "values": values if values_singly is None else values_singly,
        }

    def predict(self, columns: Columns) -> Any:
        return self._answer("values", columns)

    def raw_scores(self, columns: Columns) -> Any:
        return self._answer("raw", columns)

    def _answer(self, kind: str, columns: Columns) -> Any:
        # The matrix holds row numbers.
        rows = columns.matrix[:, 0].astype(int)
        kept = self._single if len(rows) == 1 else self._many
        return np.array(kept[kind], float)[rows][:, None]


ROWS = Columns(np.arange(3.0)[:, None])
RAW = [0.0, np.nan, -2.0]
VALUES = [0.3, np.inf, 1e-300]


def prove(other: Any, model: Model | None = None, **singly: Any) -> None:
    model = model or card()
    raw, values = other
    trees = Fixed(model, raw, values, **singly)
    prove_equal(trees, Fixed(model, RAW, VALUES), ROWS, "some rows")


def test_same_answers_are_equal() -> None:
    prove((RAW, VALUES))


def test_predictions_may_differ_in_the_last_place() -> None:
    prove((RAW, [UP, np.inf, 1e-300]))
    with pytest.raises(AnswersDiffer, match="prediction of some rows differs in row 0"):
        prove((RAW, [np.nextafter(UP, 1), np.inf, 1e-300]))


@pytest.mark.parametrize(
    "raw",
    [
        [-0.0, np.nan, -2.0],
        [5e-324, np.nan, -2.0],
        [0.0, 1.0, -2.0],
        [0.0, np.nan, np.nan],
        [0.0, np.nan, np.nextafter(-2, 0)],
    ],
)
def test_raw_scores_may_not_differ_at_all(raw: list[float]) -> None:
    with pytest.raises(AnswersDiffer, match="raw score of some rows differs in row"):
        prove((raw, VALUES))
    with pytest.raises(AnswersDiffer, match="raw score of some rows one by one"):
        prove((RAW, VALUES), raw_singly=raw)


@pytest.mark.parametrize(
    "values", [[0.3, -np.inf, 1e-300], [0.3, 1e308, 1e-300], [0.3, np.inf, np.nan]]
)
def test_predictions_of_single_rows_are_proved_too(values: list[float]) -> None:
    with pytest.raises(AnswersDiffer, match="prediction of some rows one by one"):
        prove((RAW, VALUES), values_singly=values)


def test_graphs_may_differ_by_what_float32_rounds() -> None:
    prove((RAW, [0.3000003, np.inf, 1e-300]), card("onnx"))
    with pytest.raises(AnswersDiffer, match="differs in row 0"):
        prove((RAW, [0.30001, np.inf, 1e-300]), card("onnx"))
    with pytest.raises(AnswersDiffer, match="differs in row 1"):
        prove((RAW, [0.3, 1e38, 1e-300]), card("onnx"))


def test_complement_has_the_probabilitys_last_place() -> None:
    features = (Feature("x", "numeric"),)
    model = Model(
        "", "m", "lightgbm", "m", "binary", "y", features, ("no", "yes"), "no"
    )
    near = 1 - np.nextafter(0.999, 1)
    assert abs(near - (1 - 0.999)) > np.spacing(1 - 0.999)
    expected = [1 - 0.999, 0.5, 0.25]
    library = Fixed(model, RAW, expected)
    prove_equal(Fixed(model, RAW, [near, 0.5, 0.25]), library, ROWS, "rows")


def test_rows_that_the_library_refuses_are_a_difference(monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        raise DataError("too large")

    library = Fixed(card("onnx"), RAW, VALUES)
    monkeypatch.setattr(library, "predict", refuse)
    trees = Fixed(card("onnx"), RAW, VALUES)
    with pytest.raises(AnswersDiffer, match="fixed refuses some rows: too large"):
        prove_equal(trees, library, ROWS, "some rows")


def test_other_shape_is_a_difference() -> None:
    class Wide(Fixed):
        def predict(self, columns: Columns) -> Any:
            return np.zeros((len(columns), 2))

    model = card()
    with pytest.raises(AnswersDiffer, match="shape"):
        wide, library = Wide(model, RAW, VALUES), Fixed(model, RAW, VALUES)
        prove_equal(wide, library, ROWS, "rows")
