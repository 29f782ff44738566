"""Small LightGBM models of every kind, trained in a moment, the same in every run."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

SEED = 20260801
CATEGORICAL = (0, 1, 2)


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with.

    missing, zeros, infinite: shares of the training values that are so.
    categories: levels of the first three columns; 0: these are numbers as well.
    scale: of the numbers; digits: to which they are rounded before.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 800
    features: int = 8
    trees: int = 8
    missing: float = 0.0
    zeros: float = 0.0
    infinite: float = 0.0
    categories: int = 0
    scale: float = 1.0
    digits: int = 2
    dtype: type = np.float64


def _recipe(trained: Mapping[str, Any], **options: Any) -> Recipe:
    return Recipe(options=options, **trained)


GAPS = {"missing": 0.2, "zeros": 0.2}
VARIED_SETS = {
    "cat_smooth": 1,
    "cat_l2": 0.1,
    "min_data_per_group": 1,
    "min_data_in_leaf": 1,
    "max_cat_to_onehot": 1,
}
FORCED = {
    "feature": 3,
    "threshold": 0.25,
    "left": {"feature": 4, "threshold": -0.5},
    "right": {"feature": 3, "threshold": 1.0},
}

SPLITS: Mapping[str, Recipe] = {
    "plain": Recipe(),
    "missing none": _recipe(GAPS, use_missing=False),
    "missing zero": _recipe(GAPS, zero_as_missing=True),
    "missing NaN": _recipe(GAPS),
    "mostly missing": Recipe(missing=0.7, zeros=0.1),
    "missing zero, categories": _recipe(
        {**GAPS, "categories": 12}, zero_as_missing=True, **VARIED_SETS
    ),
    "missing none, categories": _recipe(
        {**GAPS, "categories": 12}, use_missing=False, **VARIED_SETS
    ),
    "2 categories": _recipe({"categories": 2}, **VARIED_SETS),
    "one category against the rest": _recipe(
        {"categories": 6, "missing": 0.1}, max_cat_to_onehot=10, cat_smooth=1
    ),
    "32 categories": _recipe({"categories": 32}, **VARIED_SETS),
    "33 categories": _recipe({"categories": 33, "missing": 0.1}, **VARIED_SETS),
    "400 categories": _recipe(
        {"categories": 400, "rows": 2000}, max_cat_threshold=200, **VARIED_SETS
    ),
    "5000 categories": _recipe(
        {"categories": 5000, "rows": 4000},
        max_cat_threshold=2000,
        num_leaves=12,
        **VARIED_SETS,
    ),
    "2 leaves": _recipe(GAPS, num_leaves=2),
    "3 leaves": _recipe(GAPS, num_leaves=3),
    "32 leaves": _recipe(GAPS, num_leaves=32, min_data_in_leaf=3),
    "33 leaves": _recipe(GAPS, num_leaves=33, min_data_in_leaf=3),
    "64 leaves": _recipe(GAPS, num_leaves=64, min_data_in_leaf=3),
    "65 leaves": _recipe(GAPS, num_leaves=65, min_data_in_leaf=3),
    "255 leaves": _recipe(
        {**GAPS, "categories": 40, "rows": 1500},
        num_leaves=255,
        **VARIED_SETS,
    ),
    "1000 leaves": _recipe(
        {**GAPS, "rows": 3000, "trees": 4}, num_leaves=1000, min_data_in_leaf=1
    ),
    "1000 leaves, 300 categories": _recipe(
        {"categories": 300, "rows": 3000, "trees": 4, "missing": 0.05},
        num_leaves=1000,
        **VARIED_SETS,
    ),
    "constant trees": _recipe({}, min_data_in_leaf=700),
    "one tree": Recipe(trees=1),
    "one feature": Recipe(features=1),
    "many features never used": _recipe({"features": 60, "trees": 2}, num_leaves=4),
    "4000 bins": _recipe(
        {"rows": 4000, "digits": 9, "features": 3},
        max_bin=5000,
        min_data_in_bin=1,
        num_leaves=100,
    ),
    "300 bins": _recipe(
        {"rows": 2000, "digits": 9, "trees": 30}, max_bin=300, min_data_in_bin=1
    ),
    "float32 rows": Recipe(dtype=np.float32, digits=9),
    "values of 1e-35": Recipe(scale=1e-35, missing=0.1),
    "values of 1e-35, zero missing": _recipe({"scale": 1e-35}, zero_as_missing=True),
    "values of 1e300": Recipe(scale=1e300, missing=0.1),
    "infinite values": Recipe(infinite=0.2, missing=0.1),
    "monotone": _recipe(GAPS, monotone_constraints=[0, 0, 0, 1, -1, 1, 0, 0]),
    "extra trees": _recipe({**GAPS, "categories": 9}, extra_trees=True),
    "path smooth": _recipe(GAPS, path_smooth=5.0, min_data_in_leaf=3),
    "dart": _recipe({**GAPS, "trees": 20}, boosting="dart", drop_rate=0.5),
    "goss": _recipe(GAPS, data_sample_strategy="goss"),
    "not from the average": _recipe(GAPS, boost_from_average=False),
    "forced splits": _recipe(GAPS, forcedsplits_filename=FORCED, min_data_in_leaf=3),
}
_FOREST = {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}
OBJECTIVES: Mapping[str, Recipe] = {
    "random forest": _recipe(GAPS, **_FOREST),
    "random forest, binary": _recipe(GAPS, objective="binary", **_FOREST),
    "random forest, multiclass": _recipe(
        {**GAPS, "categories": 5}, objective="multiclass", num_class=3, **_FOREST
    ),
    "binary": _recipe(GAPS, objective="binary"),
    "binary sigmoid": _recipe(GAPS, objective="binary", sigmoid=0.3),
    "binary weighted": _recipe(GAPS, objective="binary", scale_pos_weight=7.5),
    "binary unbalanced": _recipe(GAPS, objective="binary", is_unbalance=True),
    "binary not from the average": _recipe(
        GAPS, objective="binary", boost_from_average=False
    ),
    "multiclass": _recipe(
        {**GAPS, "categories": 9}, objective="multiclass", num_class=4, **VARIED_SETS
    ),
    "multiclass, 255 leaves": _recipe(
        {**GAPS, "rows": 1500, "trees": 2},
        objective="multiclass",
        num_class=3,
        num_leaves=255,
        min_data_in_leaf=1,
    ),
    "multiclass dart": _recipe(
        GAPS, objective="multiclass", num_class=3, boosting="dart"
    ),
    "a class never seen": _recipe(GAPS, objective="multiclass", num_class=5, unseen=1),
    "30 classes": _recipe(
        {"rows": 1500, "trees": 2}, objective="multiclass", num_class=30
    ),
    "multiclassova": _recipe(GAPS, objective="multiclassova", num_class=3),
    "multiclassova sigmoid": _recipe(
        GAPS, objective="multiclassova", num_class=3, sigmoid=2.5
    ),
    "reg_sqrt": _recipe(GAPS, reg_sqrt=True),
    "reg_sqrt forest": _recipe(GAPS, reg_sqrt=True, **_FOREST),
    **{
        f"{name}{suffix}": _recipe(GAPS, objective=name, **options)
        for name in ("regression_l1", "huber", "fair", "quantile", "mape")
        for suffix, options in (("", {}), (" reg_sqrt", {"reg_sqrt": True}))
    },
    **{
        name: _recipe(GAPS, objective=name)
        for name in (
            "poisson",
            "gamma",
            "tweedie",
            "cross_entropy",
            "cross_entropy_lambda",
        )
    },
    "poisson forest": _recipe(GAPS, objective="poisson", **_FOREST),
    "custom objective": _recipe(GAPS, objective="custom"),
    "custom objective, 3 sums": _recipe(GAPS, objective="custom", num_class=3),
}
RECIPES = {**SPLITS, **OBJECTIVES}
LINEAR = _recipe(GAPS, linear_tree=True)


@dataclass(frozen=True)
class Trained:
    """A model's text, the booster that the library makes of it, and training rows."""

    text: bytes
    booster: lightgbm.Booster
    rows: np.ndarray


@functools.cache
def trained(name: str) -> Trained:
    """The model of a recipe; the booster is read from its text."""
    return train(RECIPES[name])


def train(recipe: Recipe) -> Trained:
    rows, effect = _training_rows(recipe)
    options = {
        "objective": "regression",
        "seed": SEED,
        "deterministic": True,
        "num_threads": 1,
        "verbosity": -1,
        "num_leaves": 15,
        **recipe.options,
    }
    data = lightgbm.Dataset(
        rows,
        _target(options, effect),
        categorical_feature=list(CATEGORICAL) if recipe.categories else [],
    )
    if options["objective"] == "custom":
        options["objective"] = _away_from(options.get("num_class", 1))
    with tempfile.TemporaryDirectory() as folder:
        if "forcedsplits_filename" in options:
            forced = Path(folder, "forced.json")
            forced.write_text(json.dumps(options["forcedsplits_filename"]))
            options["forcedsplits_filename"] = str(forced)
        text = lightgbm.train(options, data, recipe.trees).model_to_string()
    return Trained(text.encode(), load(text.encode()), np.asarray(rows, np.float64))


def load(text: bytes) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=text.decode())


def _training_rows(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """A matrix and, for each row, the effect that trees are to find."""
    random = np.random.default_rng(SEED)
    shape = (recipe.rows, recipe.features)
    rows = random.normal(size=shape).round(recipe.digits)
    if recipe.categories:
        rows[:, :3] = random.integers(0, recipe.categories, (len(rows), 3))
    effect = random.normal(size=len(rows)) * 0.2
    for column in range(recipe.features):
        # What a category does has nothing to do with its number.
        value = np.sin(rows[:, column] * 37.0 * (column < 3) + rows[:, column])
        effect += value * (rows[:, column // 2] > 0.3)
    first = 3 if recipe.categories else 0
    rows[:, first:] *= recipe.scale
    rows[:, first:][random.random(rows[:, first:].shape) < recipe.zeros] = 0.0
    is_infinite = random.random(rows[:, first:].shape) < recipe.infinite
    rows[:, first:][is_infinite] = np.copysign(np.inf, rows[:, first:][is_infinite])
    rows[random.random(shape) < recipe.missing] = np.nan
    return rows.astype(recipe.dtype), effect


def _target(options: Mapping[str, Any], effect: np.ndarray) -> np.ndarray:
    objective, classes = options["objective"], options.get("num_class", 1)
    if objective in ("multiclass", "multiclassova"):
        classes -= options.get("unseen", 0)
        cuts = np.quantile(effect, np.linspace(0, 1, classes + 1)[1:-1])
        return np.digitize(effect, cuts)
    if objective == "binary":
        return (effect > 0.5).astype(int)
    if objective.startswith("cross_entropy"):
        return 1 / (1 + np.exp(-effect))
    if objective in ("poisson", "gamma", "tweedie"):
        return np.exp(effect)
    return effect * 10


def _away_from(outputs: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Squared distance from the label, and from its multiples for further sums."""

    def gradient(scores: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        wanted = np.outer(data.get_label(), np.arange(1, outputs + 1))
        wanted = wanted.reshape(scores.shape)
        return scores - wanted, np.ones(scores.shape)

    return gradient
