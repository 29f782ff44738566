"""The tree operators of ai.onnx.ml: what each answers.

Rules that the standard leaves open are those of onnxruntime's
tree_ensemble_aggregator.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered, Transform
from backends.trees.onnx import linked_nodes, listed_nodes
from backends.trees.onnx.attributes import floats, name_at, text
from backends.trees.onnx.flatten import Trees, flatten
from backends.trees.onnx.graph import attributes_of
from backends.trees.onnx.nodes import Nodes

# By the number that onnxruntime gives them; the standard swaps 1 and 2.
_POST_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_EACH = {
    "NONE": "identity",
    "LOGISTIC": "float_logistic",
    "SOFTMAX": "float_softmax",
    "SOFTMAX_ZERO": "float_softmax_zero",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a tensor that was made of the trees' sums.

    trees: arrays of the ensemble. base: (sums,). single: the trees add up in float32.
    """

    trees: dict[str, Any]
    base: NDArray[Any]
    outputs: int
    single: bool
    divisor: float = 1.0
    transform: Transform = Transform()


def read_operator(node: Any, columns: NDArray[np.int64], kind: Any) -> Answer:
    """What a tree operator answers; kind: numpy's type that it adds up in."""
    attributes = attributes_of(node)
    if node.op_type == "TreeEnsembleClassifier":
        return _classifier(attributes, columns, kind)
    if node.op_type == "TreeEnsembleRegressor":
        nodes = listed_nodes.read(attributes, "target", kind)
        aggregate = text(attributes, "aggregate_function", "SUM")
    else:
        if kind == np.float64:
            raise NotCovered("the trees answer float64 numbers")
        nodes = linked_nodes.read(attributes, kind)
        aggregate = name_at(attributes, "aggregate_function", 1, _AGGREGATES)
    if aggregate not in ("SUM", "AVERAGE"):
        raise NotCovered(f"the trees' answers are not added up but {aggregate}")
    sums = attributes.get("n_targets", 0)
    if not isinstance(sums, int):
        raise NotCovered("the trees do not say how many values they answer")
    trees = flatten(nodes, sums, columns)
    base = floats(attributes, "base_values", kind)
    post = _post_transform(attributes)
    return Answer(
        trees=trees.arrays,
        base=_base(base if len(base) else np.zeros(sums, kind), trees),
        outputs=sums,
        single=kind == np.float32,
        divisor=float(len(nodes.roots)) if aggregate == "AVERAGE" else 1.0,
        # onnxruntime transforms several answers only, but for PROBIT.
        transform=Transform("identity" if sums == 1 else _each(post, kind)),
    )


def _classifier(
    attributes: Mapping[str, Any], columns: NDArray[np.int64], kind: Any
) -> Answer:
    nodes = listed_nodes.read(attributes, "class", kind)
    labels = _labels(attributes)
    classes = set(np.unique(nodes.target).tolist())
    base = floats(attributes, "base_values", kind)
    post = _post_transform(attributes)
    if labels < 2:
        raise NotCovered("the trees know one class only")
    if labels == 2 and len(base) > 1:
        raise NotCovered("the trees start from a value for each of two classes")
    if labels == 2 and classes == {0}:
        return _one_sum(nodes, columns, base, post)
    trees = flatten(nodes, labels, columns)
    if labels == 2 and not trees.always[1]:
        raise NotCovered("the trees give some rows no value of the second class")
    if len(base) not in (0, 1 if labels == 2 else labels):
        raise NotCovered("the trees start from another number of values than classes")
    start = np.zeros(labels, kind)
    start[: len(base)] = base
    return Answer(
        trees=trees.arrays,
        base=_base(start, trees) if labels == 2 else start,
        outputs=labels,
        single=kind == np.float32,
        transform=Transform(_each(post, kind)),
    )


def _labels(attributes: Mapping[str, Any]) -> int:
    for name in ("classlabels_strings", "classlabels_int64s"):
        if isinstance(attributes.get(name), list | np.ndarray):
            return len(attributes[name])
    return 0


def _one_sum(
    nodes: Nodes,
    columns: NDArray[np.int64],
    base: NDArray[Any],
    post: str,
) -> Answer:
    """Two classes, of which the trees score one: the second, whatever they call it."""
    trees = flatten(nodes, 1, columns)
    name = "float_logistic_opposites"
    if post != "LOGISTIC":
        is_mixed = (nodes.weight < 0).any()
        name = "float_opposites" if is_mixed else "float_complements"
    return Answer(
        trees=trees.arrays,
        base=base if len(base) else np.zeros(1, base.dtype),
        outputs=2,
        single=base.dtype == np.float32,
        transform=Transform(name),
    )


def _base(base: NDArray[Any], trees: Trees) -> NDArray[Any]:
    """What is added to the sums: nothing where no leaf adds anything, as it happens."""
    if len(base) != len(trees.always):
        raise NotCovered("the trees start from another number of values than they have")
    if (trees.ever & ~trees.always & (base != 0)).any():
        raise NotCovered("the trees give some rows no value of a sum")
    return np.where(trees.ever, base, base.dtype.type(0.0))


def _each(post: str, kind: Any) -> str:
    """The transform of several answers."""
    if kind == np.float64 and post == "SOFTMAX":
        return "softmax"
    if kind == np.float64 and post == "SOFTMAX_ZERO":
        raise NotCovered("the trees transform float64 numbers by SOFTMAX_ZERO")
    return _EACH[post]


def _post_transform(attributes: Mapping[str, Any]) -> str:
    if isinstance(attributes.get("post_transform"), int):
        name = name_at(attributes, "post_transform", 0, _POST_TRANSFORMS)
    else:
        name = text(attributes, "post_transform", "NONE")
    if name not in _EACH:
        raise NotCovered(f"the trees' answers are transformed by {name}")
    return name
