"""ONNX graphs of trees: trained and converted, or put together by hand."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from backends.features import Columns
from backends.model import Feature, Model
from backends.onnx import OnnxBackend
from backends.trees import from_onnx
from backends.trees.ensemble import Ensemble

SEED = 20260801
COLUMNS = 4
TREES = 12

SPECIAL = np.array(
    [
        *(0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e-60, -1e-60, np.nan),
        *(np.inf, -np.inf, 3.4e38, -3.4e38, 1e300, -1e300),
        *(0.5, -0.5, 0.999, 1.0, 2.0, 2.5, 2.999, -1.0, -2.0, 30.0, 31.0, 32.0, 40.0),
        *(16777216.0, 16777217.0, 2.0**31, 2.0**32 + 2, 2.0**63, 1e18),
    ]
)


class Served:
    """A graph in a bundle: what the engine reads of it, what onnxruntime answers."""

    def __init__(self, graph: Any, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "model.onnx"
        self.path.write_bytes(graph.SerializeToString())
        widths = [_width(each) for each in graph.graph.input]
        self.model = Model(
            id="0" * 24,
            name="test",
            format="onnx",
            file=self.path.name,
            task="regression",
            target="y",
            features=tuple(Feature(f"f{k}", "numeric") for k in range(sum(widths))),
            output=graph.graph.output[-1].name,
        )

    def read(self) -> Ensemble:
        return from_onnx.read(self.path, self.model)

    def answers(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """What onnxruntime answers: float64 (n, outputs)."""
        backend = OnnxBackend(self.folder, self.model)
        return backend.raw_scores(Columns(matrix, {}))


def _width(value: Any) -> int:
    sizes = value.type.tensor_type.shape.dim
    return sizes[1].dim_value if len(sizes) == 2 else 1


def rows(ensemble: Ensemble, count: int, seed: int = SEED) -> NDArray[np.float64]:
    """What the trees compare with, the numbers beside it, codes, and specials."""
    random = np.random.default_rng(seed)
    thresholds = np.unique(ensemble.threshold)
    single = thresholds.astype(np.float32)
    with np.errstate(over="ignore"):
        beside = [
            np.nextafter(thresholds, -np.inf),
            np.nextafter(thresholds, np.inf),
            np.nextafter(single, np.float32(-np.inf)),
            np.nextafter(single, np.float32(np.inf)),
        ]
    codes = np.arange(-2.0, 34 + 32 * np.diff(ensemble.set_word).max(initial=0))
    numbers = random.normal(size=20)
    pool = np.concatenate([thresholds, *beside, numbers, codes, codes[:8] + 0.5])
    matrix = random.choice(pool, (count, ensemble.features))
    is_special = random.random(matrix.shape) < 0.15
    matrix[is_special] = random.choice(SPECIAL, is_special.sum())
    return matrix


# By hand


def graph(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[int, Sequence[int | None]]],
    output: str = "Y",
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    ml: int = 3,
    opset: int = 17,
) -> Any:
    """A model of nodes; inputs: name → (type, shape)."""
    made = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def trees(
    operator: str, *, taken: str = "X", made: str = "Y", **attributes: Any
) -> Any:
    """A tree operator as a node."""
    outputs = ["label", made] if operator == "TreeEnsembleClassifier" else [made]
    return helper.make_node(
        operator, [taken], outputs, domain="ai.onnx.ml", **attributes
    )


def of_trees(
    operator: str, *, columns: int = COLUMNS, kind: int = 1, **attributes: Any
) -> Any:
    """A model that is a tree operator and nothing else."""
    ml = 5 if operator == "TreeEnsemble" else 3
    return graph([trees(operator, **attributes)], {"X": (kind, [None, columns])}, ml=ml)


def listed(
    forest: Sequence[Sequence[Mapping[str, Any]]], values: str = "target"
) -> dict[str, Any]:
    """The attributes of ai.onnx.ml 1 to 3.

    forest: trees of nodes {mode, column, value, true, false, nan} and leaves {adds:
        ((sum, weight), …)}; a node's number is its position.
    """
    kinds = {"mode": "LEAF", "column": 0, "value": 0.0, "true": 0, "false": 0, "nan": 0}
    names = dict(
        mode="modes",
        column="featureids",
        value="values",
        true="truenodeids",
        false="falsenodeids",
        nan="missing_value_tracks_true",
    )
    lists: dict[str, list[Any]] = {f"nodes_{name}": [] for name in names.values()}
    lists |= {"nodes_treeids": [], "nodes_nodeids": []}
    names_of_values = ("ids", "nodeids", "treeids", "weights")
    lists |= {f"{values}_{name}": [] for name in names_of_values}
    for number, nodes in enumerate(forest):
        for position, node in enumerate(nodes):
            lists["nodes_treeids"].append(number)
            lists["nodes_nodeids"].append(position)
            for key, name in names.items():
                lists[f"nodes_{name}"].append(node.get(key, kinds[key]))
            for added in node.get("adds", ()):
                entry = (added[0], position, number, added[1])
                for name, each in zip(names_of_values, entry, strict=True):
                    lists[f"{values}_{name}"].append(each)
    return lists


def stump(
    mode: str = "BRANCH_LEQ",
    value: float = 0.0,
    adds: Sequence[Any] = (((0, 1.0),), ((0, -2.0),)),
    **node: Any,
) -> list[dict[str, Any]]:
    """A tree of one node; adds: what its true and its false leaf add to which sum."""
    first = {"mode": mode, "value": value, "true": 1, "false": 2, **node}
    return [first, {"adds": adds[0]}, {"adds": adds[1]}]


def single(values: Sequence[float]) -> Any:
    """A tensor of float32, as attributes of ai.onnx.ml 5 are."""
    return numpy_helper.from_array(np.array(values, np.float32))


# Trained and converted


@functools.cache
def _data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Three columns of numbers, one of codes from 0 to 79; a target."""
    random = np.random.default_rng(SEED)
    matrix = random.normal(size=(400, COLUMNS))
    matrix[:, 3] = random.integers(0, 80, 400)
    matrix = matrix.astype(np.float32).astype(np.float64)
    target = matrix[:, 0] - matrix[:, 1] * matrix[:, 2] + np.sin(matrix[:, 3] * 7)
    return matrix, target


def _target(task: str) -> NDArray[Any]:
    target = _data()[1]
    targets: dict[str, Callable[[], NDArray[Any]]] = {
        "regression": lambda: target,
        "positive": lambda: np.abs(target) + 0.1,
        "binary": lambda: (target > 0).astype(int),
        "texts": lambda: np.array(["no", "yes"])[(target > 0).astype(int)],
        "multiclass": lambda: np.digitize(target, [-1, 1]),
        "two targets": lambda: np.column_stack([target, -target]),
    }
    return targets[task]()


def _lightgbm(
    objective: str, task: str, *, sets: bool, double: bool = False, **options: Any
) -> Any:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common import data_types

    matrix, _ = _data()
    trained = lightgbm.train(
        {
            "objective": objective,
            "num_leaves": 15,
            "min_data_in_leaf": 3,
            "min_data_per_group": 1,
            "cat_smooth": 1,
            "num_threads": 1,
            "verbosity": -1,
            "seed": SEED,
            **options,
        },
        lightgbm.Dataset(
            matrix, _target(task), categorical_feature=[3] if sets else "auto"
        ),
        TREES,
    )
    kind = data_types.DoubleTensorType if double else data_types.FloatTensorType
    return convert_lightgbm(
        trained, initial_types=[("X", kind([None, COLUMNS]))], zipmap=False
    )


def _xgboost(estimator: str, task: str, *, gaps: bool = True, **options: Any) -> Any:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    matrix = _data()[0].copy()
    if gaps:
        matrix[::7, :2] = np.nan
    fitted = getattr(xgboost, estimator)(
        n_estimators=TREES, max_depth=4, n_jobs=1, random_state=SEED, **options
    ).fit(matrix, _target(task))
    return convert_xgboost(
        fitted, initial_types=[("X", FloatTensorType([None, COLUMNS]))]
    )


def _sklearn(
    estimator: str, task: str, *, dtype: type = np.float32, **options: Any
) -> Any:
    import sklearn.ensemble
    import sklearn.tree
    from skl2onnx import to_onnx

    matrix = _data()[0].astype(dtype)
    package = sklearn.tree if hasattr(sklearn.tree, estimator) else sklearn.ensemble
    if package is sklearn.ensemble:
        options["n_estimators"] = TREES
    fitted = getattr(package, estimator)(random_state=SEED, **options)
    fitted.fit(matrix, _target(task))
    zipmap = {"zipmap": False} if hasattr(fitted, "classes_") else {}
    return to_onnx(fitted, matrix[:1], options={type(fitted): zipmap})


def _recipes() -> dict[str, Callable[[], Any]]:
    recipes: dict[str, Callable[[], Any]] = {}
    objectives = {
        "binary": "binary",
        "regression": "regression",
        "regression_l1": "regression",
        "huber": "regression",
        "quantile": "regression",
        "poisson": "positive",
        "gamma": "positive",
        "tweedie": "positive",
        "multiclass": "multiclass",
        "multiclassova": "multiclass",
    }
    for objective, task in objectives.items():
        classes = {"num_class": 3} if task == "multiclass" else {}
        for sets in (False, True):
            name = f"lightgbm {objective}{' sets' if sets else ''}"
            recipes[name] = functools.partial(
                _lightgbm, objective, task, sets=sets, **classes
            )
    averaged = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
    recipes["lightgbm rf"] = functools.partial(
        _lightgbm, "regression", "regression", sets=True, **averaged
    )
    for objective in ("regression", "poisson"):
        recipes[f"lightgbm {objective} double"] = functools.partial(
            _lightgbm, objective, objectives[objective], sets=True, double=True
        )
    for estimator, task, options in (
        ("XGBClassifier", "binary", {}),
        ("XGBClassifier", "multiclass", {}),
        ("XGBRFClassifier", "binary", {}),
        ("XGBRegressor", "regression", {}),
        ("XGBRegressor", "two targets", {}),
        ("XGBRegressor", "binary", {"objective": "reg:logistic"}),
        ("XGBRegressor", "positive", {"objective": "count:poisson"}),
        ("XGBRegressor", "positive", {"objective": "reg:gamma"}),
        ("XGBRegressor", "positive", {"objective": "reg:tweedie"}),
        ("XGBRFRegressor", "regression", {}),
    ):
        name = " ".join([estimator, task, *options.values()])
        recipes[name] = functools.partial(_xgboost, estimator, task, **options)
    for kind in ("RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree"):
        for task in ("binary", "texts", "multiclass"):
            recipes[f"{kind}Classifier {task}"] = functools.partial(
                _sklearn, f"{kind}Classifier", task
            )
        for task in ("regression", "two targets"):
            recipes[f"{kind}Regressor {task}"] = functools.partial(
                _sklearn, f"{kind}Regressor", task
            )
    for task in ("binary", "texts", "multiclass"):
        recipes[f"GradientBoostingClassifier {task}"] = functools.partial(
            _sklearn, "GradientBoostingClassifier", task
        )
    recipes["GradientBoostingRegressor"] = functools.partial(
        _sklearn, "GradientBoostingRegressor", "regression"
    )
    recipes["GradientBoostingClassifier exponential"] = functools.partial(
        _sklearn, "GradientBoostingClassifier", "binary", loss="exponential"
    )
    for task in ("binary", "multiclass"):
        for dtype in (np.float64, np.int64):
            recipes[f"RandomForestClassifier {task} {dtype.__name__}"] = (
                functools.partial(_sklearn, "RandomForestClassifier", task, dtype=dtype)
            )
    return recipes


RECIPES = _recipes()


@functools.cache
def converted(name: str) -> Any:
    """The graph of a recipe."""
    with warnings.catch_warnings():
        # The converters' own.
        warnings.simplefilter("ignore")
        return RECIPES[name]()
