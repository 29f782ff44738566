"""A tree ensemble as flat arrays, whatever file it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

# What counts as missing in a numeric split; the numbers are LightGBM's.
MISSING_NONE = 0
MISSING_ZERO = 1
MISSING_NAN = 2

# LightGBM takes numbers as small as this for zero: kZeroThreshold, a float32.
LIGHTGBM_ZERO = float(np.float32(1e-35))


class NotCovered(Exception):
    """The engine does not score such a model; the message says what it has."""


@dataclass(frozen=True, slots=True)
class Transform:
    """What makes an answer of a row's sums; see `backends.trees.transforms`."""

    name: str = "identity"
    parameter: float = 1.0


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees, each node's and leaf's number counted within its tree, root first.

    features: columns of a row. sums: values that the trees of a row add up to.
    outputs: values in an answer, which the transform makes of the sums.

    tree_node, tree_leaf: int32 (trees + 1,): where each tree's nodes and leaves begin.
        A tree of one leaf has no nodes.
    tree_sum: int32 (trees,): the sum that the tree's leaves add to; -1 where a leaf
        has a value for every sum.

    feature: int32 (nodes,).
    threshold: float64 (nodes,): numeric splits send a row left if its value is at most
        this. In a categorical split not used.
    left, right: int32 (nodes,): the child node, or ~leaf.
    missing: uint8 (nodes,): MISSING_NONE (NaN is taken for zero), MISSING_ZERO (zero
        and NaN are missing) or MISSING_NAN. In a categorical split not used: what is
        missing or negative goes right.
    default_left: bool (nodes,): where a missing value goes.
    category_set: int32 (nodes,): the set of categories that go left; -1 in a numeric
        split.
    set_word: int32 (sets + 1,): where each set's words begin in category_bits.
    category_bits: uint32 (words,): bit c % 32 of word c // 32 stands for category c.

    value: float64, or float32 if single: (leaves,), or (leaves, sums) where tree_sum
        is -1 (then it is so in all trees).
    base: float64 (sums,): added to the trees' sums.
    divisor: the sums are divided by it before base is added, but not in raw scores
        (random forests).

    single: rows are rounded to float32 before they are compared, and leaves are added
        up in float32, as ONNX has it.
    exact_categories: a value that is not whole is in no set; else it is cut off.
    zero: values of at most this size are taken for 0.0; negative: none.

    node_count, leaf_count: float64 (nodes,), (leaves,): rows of the training data that
        came by; None if the file does not say.
    """

    features: int
    sums: int
    outputs: int
    tree_node: Ints
    tree_leaf: Ints
    tree_sum: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing: NDArray[np.uint8]
    default_left: NDArray[np.bool_]
    category_set: Ints
    set_word: Ints
    category_bits: NDArray[np.uint32]
    value: NDArray[Any]
    base: Floats
    divisor: float = 1.0
    transform: Transform = field(default_factory=Transform)
    single: bool = False
    exact_categories: bool = False
    zero: float = LIGHTGBM_ZERO
    node_count: Floats | None = None
    leaf_count: Floats | None = None

    @property
    def trees(self) -> int:
        return len(self.tree_sum)
