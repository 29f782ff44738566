"""Nodes of tree operators, whichever way the standard writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered

Positions = NDArray[np.int64]
Bools = NDArray[np.bool_]
# float32 or float64, as the trees compare and add up.
Numbers: TypeAlias = NDArray[Any]

# By their numbers in ai.onnx.ml 5, and one for leaves.
LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF = range(8)


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes and leaves by position, in any order.

    mode: uint8. feature, true, false: int64. threshold. nan_is_true: bool. All (n,);
        a leaf has only a mode.
    roots: int64 (trees,): in the order in which the trees are added up.
    leaf, target, weight: (w,): what each leaf adds to which sum.
    member, category: (k,): MEMBER nodes, and what they compare with.
    """

    mode: NDArray[np.uint8]
    feature: Positions
    threshold: Numbers
    nan_is_true: Bools
    true: Positions
    false: Positions
    roots: Positions
    leaf: Positions
    target: Positions
    weight: Numbers
    member: Positions
    category: Numbers


def damaged(what: str) -> NotCovered:
    """Nodes that are no trees; what: the part of them that does not fit."""
    return NotCovered(f"the trees are not consistent: {what}")
