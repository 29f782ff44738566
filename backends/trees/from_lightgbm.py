"""LightGBM text models as ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.lightgbm_text import LightGBMFile, keys_of, parts
from backends.lightgbm_text import read as read_file
from backends.trees.ensemble import Ensemble, NotCovered, Transform

# Bits of a split's decision_type.
_CATEGORICAL = 1
_DEFAULT_LEFT = 2
_MISSING_SHIFT = 2

_SIGMOIDS = ("binary", "multiclassova")
_EXPONENTIALS = ("poisson", "gamma", "tweedie")
# Those that train on the root of the target, if they are told to, and square it again.
_ROOTED = ("regression", "regression_l1", "fair", "quantile", "mape")


def read(text: bytes) -> Ensemble:
    """Read a model text.

    Raises ModelFileRejected for a text that is damaged, NotCovered for linear trees,
    NaN in thresholds and objectives that are not known here.
    """
    file = read_file(text)
    if file.linear_tree:
        raise NotCovered("linear trees")
    _, texts, _ = parts(text)
    trees = [keys_of(each) for each in texts]
    # The library takes any number but 0 for yes.
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise NotCovered("linear trees")
    leaves = [int(each["num_leaves"]) for each in trees]
    nodes = [count - 1 for count in leaves]
    kind = _column(trees, "decision_type", nodes, np.uint8)
    threshold = _column(trees, "threshold", nodes, np.float64)
    missing = (kind >> _MISSING_SHIFT).astype(np.uint8)
    if missing.max(initial=0) > 2:
        raise NotCovered("a missing type that is not known")
    is_categorical = kind & _CATEGORICAL > 0
    if np.isnan(threshold).any():
        raise NotCovered("a threshold that is no number")
    sets, set_word, bits = _sets(trees, threshold, is_categorical, nodes)
    return Ensemble(
        features=len(file.feature_names),
        sums=file.outputs,
        outputs=file.outputs,
        tree_node=_firsts(nodes),
        tree_leaf=_firsts(leaves),
        tree_sum=np.arange(len(trees), dtype=np.int32) % np.int32(file.outputs),
        feature=_column(trees, "split_feature", nodes, np.int32),
        threshold=threshold,
        left=_column(trees, "left_child", nodes, np.int32),
        right=_column(trees, "right_child", nodes, np.int32),
        missing=missing,
        default_left=kind & _DEFAULT_LEFT > 0,
        category_set=sets,
        set_word=set_word,
        category_bits=bits,
        value=_column(trees, "leaf_value", leaves, np.float64),
        base=np.zeros(file.outputs),
        divisor=float(len(trees) // file.outputs) if file.average_output else 1.0,
        transform=_transform(file),
        node_count=_counts(trees, "internal_count", nodes),
        leaf_count=_counts(trees, "leaf_count", leaves),
    )


def _counts(
    trees: Sequence[Mapping[str, str]], key: str, counts: Sequence[int]
) -> NDArray[np.float64] | None:
    """Rows that came by in training; None if not every tree of several leaves tells."""
    try:
        return _column(
            [
                _told(tree, key, count)
                for tree, count in zip(trees, counts, strict=True)
            ],
            key,
            counts,
            np.float64,
        )
    except NotCovered:
        return None


def _told(tree: Mapping[str, str], key: str, count: int) -> Mapping[str, str]:
    # A tree of one leaf does not say how many rows came to it, and need not.
    return tree if count != 1 or tree.get(key) else {key: "0"}


def _column(
    trees: Sequence[Mapping[str, str]], key: str, counts: Sequence[int], dtype: Any
) -> NDArray[Any]:
    """One key of all trees, end to end. Raises NotCovered if a tree has too few."""
    each = [_numbers(tree.get(key, ""), dtype) for tree in trees]
    if [len(part) for part in each] != list(counts):
        raise NotCovered(f"trees without {key}")
    return np.concatenate(each)


def _numbers(text: str, dtype: Any) -> NDArray[Any]:
    try:
        return np.array(text.split(), dtype)
    except (ValueError, OverflowError) as error:
        raise NotCovered(f"numbers beyond their range ({error})") from error


def _firsts(counts: Sequence[int]) -> NDArray[np.int32]:
    return np.cumsum([0, *counts], dtype=np.int32)


def _sets(
    trees: Sequence[Mapping[str, str]],
    threshold: NDArray[np.float64],
    is_categorical: NDArray[np.bool_],
    nodes: Sequence[int],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    """Sets of categories of all trees: each node's, their beginnings, their words."""
    begins, bits, counts = [], [], []
    words = 0
    for tree in trees:
        bounds = _numbers(tree.get("cat_boundaries", "0"), np.int64)
        begins.append(bounds[:-1] + words)
        bits.append(_numbers(tree.get("cat_threshold", ""), np.uint32))
        counts.append(len(bounds) - 1)
        words += len(bits[-1])
    # A categorical split's threshold is the position of its set in its tree.
    first = np.repeat(_firsts(counts)[:-1], nodes)
    position = np.where(is_categorical, threshold, 0.0).astype(np.int32)
    return (
        np.where(is_categorical, first + position, -1).astype(np.int32),
        np.concatenate([*begins, [words]]).astype(np.int32),
        np.concatenate([*bits, np.empty(0, np.uint32)]),
    )


def _transform(file: LightGBMFile) -> Transform:
    """What the objective makes of the sums; none without an objective of its own."""
    name, *words = file.objective.split() or [""]
    if name in _SIGMOIDS:
        return Transform("sigmoid", _sigmoid(file.objective, words))
    if name == "multiclass":
        return Transform("softmax")
    if name in _EXPONENTIALS:
        return Transform("exp")
    if name == "cross_entropy":
        return Transform("sigmoid", 1.0)
    if name == "cross_entropy_lambda":
        return Transform("log1p_exp")
    if "sqrt" not in words:
        return Transform("identity")
    if name not in _ROOTED:
        raise NotCovered(f"the objective {file.objective!r}")
    return Transform("signed_square")


def _sigmoid(objective: str, words: Sequence[str]) -> float:
    options = dict(word.partition(":")[::2] for word in words)
    try:
        parameter = float(options["sigmoid"])
    except (KeyError, ValueError):
        parameter = 0.0
    if not 0.0 < parameter < np.inf:
        raise NotCovered(f"the objective {objective!r}")
    return parameter
