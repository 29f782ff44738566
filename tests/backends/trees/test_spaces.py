"""Scales are linear in the trees' sums, and none is told of what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.explanations.xemp import space
from backends.features import Columns
from backends.model import Feature, Model, Task
from backends.trees import from_lightgbm, spaces
from backends.trees.backend import TreesBackend
from backends.trees.engine import Engine
from backends.trees.ensemble import Transform
from backends.trees.explainer import Explainer
from backends.trees.spaces import Scores
from backends.trees.transforms import CODES
from tests.backends.trees.rows import adversarial
from tests.backends.trees.texts import Text

Floats = NDArray[np.float64]

LABELS = {"regression": (), "binary": ("no", "yes"), "multiclass": ("a", "b", "c")}
PAIRS = [name for name in CODES if name.endswith(("opposites", "complements"))]

# Transforms of binary models, with the number of sums; a pair is made of one.
BINARY = [(name, 1) for name in CODES if "softmax" not in name]
BINARY += [(name, 2) for name in CODES if name not in PAIRS]
LOGISTIC = ("sigmoid", "float_logistic", "softmax", "float_softmax")
LOGISTIC += ("float_logistic_opposites", "float_logistic_complements")
ADDED_UP = ("identity", "float_scale", "float_complements")


class Made:
    """Trees with a transform, as a backend."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        transform: Transform,
        sums: int,
        *,
        format: str = "onnx",
        positive: int = 1,
        divisor: float = 3.0,
    ) -> None:
        text = Text(7, classes=sums, leaves=[5] * sums * 3, objective="").build()
        self.ensemble = replace(
            from_lightgbm.read(text),
            base=np.linspace(-0.5, 0.7, sums) if format == "onnx" else np.zeros(sums),
            divisor=divisor,
            transform=transform,
            outputs=2 if transform.name in PAIRS else sums,
        )
        labels = LABELS[task]
        self.model = Model(
            *("0" * 24, "m", format, "model.bin", task, "y"),
            features=tuple(Feature(f"x{k}", "numeric") for k in range(3)),
            labels=labels,
            positive_label=labels[positive] if task == "binary" else None,
        )
        self.engine, explainer = Engine(self.ensemble), Explainer(self.ensemble)
        self.engine.write(folder)
        explainer.write(folder)
        self.image = explainer.image
        self.backend = TreesBackend(folder, self.model)
        self.rows = adversarial(text, 100, np.random.default_rng(7))

    def predicted(self) -> Floats:
        return self.backend.predict(Columns(self.rows))

    def of(self, scores: Scores) -> Floats:
        raw = self.engine.score(self.rows, raw=True)
        return scores.of(raw - self.ensemble.base)

    def raw(self) -> Floats:
        """What the transform is given."""
        sums = self.engine.score(self.rows, raw=True) - self.ensemble.base
        return sums / self.ensemble.divisor + self.ensemble.base

    def assert_scale(self, scores: Scores | None, wanted: Floats) -> None:
        assert scores is not None
        assert np.ptp(wanted, axis=0).min() > 0.1
        # Transforms in float32 have about seven digits, and log-odds lose some.
        single = self.ensemble.transform.name.startswith("float")
        tolerance = 1e-5 if single else 1e-12
        np.testing.assert_allclose(self.of(scores), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize(("name", "sums"), BINARY)
def test_binary_scales(name: str, sums: int, positive: int, tmp_path: Path) -> None:
    # A softmax takes no parameter.
    parameter = 1.0 if name in ("softmax", "identity") else 0.37
    transform = Transform(name, parameter)
    made = Made(tmp_path, "binary", transform, sums, positive=positive)
    log_odds = spaces.log_odds(made.image, made.model)
    margin = spaces.margin(made.image, made.model)
    probability = spaces.probability(made.image, made.model)
    if name in LOGISTIC:
        wanted = space("binary", made.predicted())
        made.assert_scale(log_odds, wanted)
        made.assert_scale(margin, wanted)
        assert probability is None
        return
    assert log_odds is None
    if name in ADDED_UP:
        made.assert_scale(margin, made.predicted())
        made.assert_scale(probability, made.predicted())
        return
    assert probability is None
    if name == "float_opposites":
        made.assert_scale(margin, made.predicted())
    else:
        assert margin is None


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("divisor", [1.0, 8.0])
@pytest.mark.parametrize("name", ["sigmoid", "log1p_exp", "identity"])
def test_margin_of_lightgbm_is_its_raw_score(
    name: str, divisor: float, positive: int, tmp_path: Path
) -> None:
    """Of a forest the mean of its trees; before the sigmoid's parameter."""
    transform = Transform(name, 0.37)
    made = Made(
        *(tmp_path, "binary", transform, 1),
        format="lightgbm",
        positive=positive,
        divisor=divisor,
    )
    sign = 1.0 if positive else -1.0
    made.assert_scale(spaces.margin(made.image, made.model), sign * made.raw())
    log_odds = spaces.log_odds(made.image, made.model)
    if name == "sigmoid":
        made.assert_scale(log_odds, space("binary", made.predicted()))
    else:
        assert log_odds is None


@pytest.mark.parametrize("name", [name for name in CODES if name not in PAIRS])
def test_multiclass_scales(name: str, tmp_path: Path) -> None:
    made = Made(tmp_path, "multiclass", Transform(name), 3)
    log_odds = spaces.log_odds(made.image, made.model)
    if name in ("softmax", "float_softmax"):
        made.assert_scale(log_odds, space("multiclass", made.predicted()))
    else:
        assert log_odds is None
    assert spaces.margin(made.image, made.model) is None
    assert spaces.probability(made.image, made.model) is None


@pytest.mark.parametrize("format", ["onnx", "lightgbm"])
@pytest.mark.parametrize(
    "name", [name for name in CODES if name not in PAIRS and "softmax" not in name]
)
def test_regression_scales(name: str, format: str, tmp_path: Path) -> None:
    parameter = 1.0 if name == "identity" else 2.5
    made = Made(tmp_path, "regression", Transform(name, parameter), 1, format=format)
    log_odds = spaces.log_odds(made.image, made.model)
    margin = spaces.margin(made.image, made.model)
    is_scaled = name == "float_scale" and format == "onnx"
    made.assert_scale(margin, made.predicted() if is_scaled else made.raw())
    if name in ("identity", "float_scale"):
        made.assert_scale(log_odds, made.predicted())
    else:
        assert log_odds is None
    assert spaces.probability(made.image, made.model) is None


def test_every_transform_of_ensembles_is_known() -> None:
    """A new one is to be thought of here."""
    assert set(spaces._NAMES.values()) == set(CODES)
    assert set(LOGISTIC) | set(ADDED_UP) | {
        *("exp", "signed_square", "log1p_exp", "float_exp", "float_softmax_zero"),
        "float_opposites",
    } == set(CODES)


def test_scores_are_those_of_sums_before_divisor_and_base() -> None:
    scores = Scores(np.array([[2.0, -1.0]]), np.array([5.0]))
    assert scores.of(np.array([[1.0, 4.0], [0.0, 0.0]])).tolist() == [[3.0], [5.0]]
