"""Nodes as ai.onnx.ml 5 links them: by position, and leaves apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.onnx.attributes import floats, ints, tracks_true
from backends.trees.onnx.nodes import LEAF, MEMBER, Nodes, Numbers, Positions, damaged


def read(attributes: Mapping[str, Any], kind: Any) -> Nodes:
    """Read the nodes of an operator.

    kind: numpy's type of the numbers that the trees compare and add up.
    Raises NotCovered.
    """
    mode = np.reshape(attributes.get("nodes_modes", ()), -1)
    count = len(mode)
    if count == 0 or mode.dtype != np.uint8 or (mode > MEMBER).any():
        raise damaged("the modes of its nodes")
    target = ints(attributes, "leaf_targetids")
    weight = floats(attributes, "leaf_weights", kind, len(target))
    # A leaf of its own for each edge that ends in one.
    ends, places, leaves = [], count, []
    for way in ("true", "false"):
        end = ints(attributes, f"nodes_{way}nodeids", count).copy()
        to_leaf = ints(attributes, f"nodes_{way}leafs", count) != 0
        if ((end < 0) | (end >= np.where(to_leaf, len(target), count))).any():
            raise damaged("what its nodes lead to")
        leaves.append(end[to_leaf])
        end[to_leaf] = np.arange(places, places + to_leaf.sum())
        places += int(to_leaf.sum())
        ends.append(end)
    held = np.concatenate(leaves)
    roots = ints(attributes, "tree_roots")
    if len(roots) == 0 or (roots < 0).any() or (roots >= count).any():
        raise damaged("its roots")
    member, category = _members(attributes, mode, kind)

    def with_leaves(values: NDArray[Any], value: int = 0) -> NDArray[Any]:
        padding = np.full(places - count, value, values.dtype)
        return np.concatenate([values, padding])

    return Nodes(
        mode=with_leaves(mode, LEAF),
        feature=with_leaves(ints(attributes, "nodes_featureids", count)),
        threshold=with_leaves(floats(attributes, "nodes_splits", kind, count)),
        nan_is_true=with_leaves(tracks_true(attributes, count)),
        true=with_leaves(ends[0]),
        false=with_leaves(ends[1]),
        roots=roots,
        leaf=np.arange(count, places),
        target=target[held],
        weight=weight[held],
        member=member,
        category=category,
    )


def _members(
    attributes: Mapping[str, Any], mode: NDArray[np.uint8], kind: Any
) -> tuple[Positions, Numbers]:
    """MEMBER nodes' values: their lists stand one after another, NaN between them."""
    values = floats(attributes, "membership_values", kind)
    is_end = np.isnan(values)
    number = np.cumsum(is_end)[~is_end]
    nodes = np.flatnonzero(mode == MEMBER)
    if len(np.unique(number)) != len(nodes) or (number >= len(nodes)).any():
        raise damaged("its sets of members")
    return nodes[number], values[~is_end]
