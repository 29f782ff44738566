"""Nodes as ai.onnx.ml 1 to 3 list them: trees and nodes have numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backends.trees.onnx.attributes import floats, ints, tracks_true
from backends.trees.onnx.nodes import (
    EQ,
    GT,
    GTE,
    LEAF,
    LEQ,
    LT,
    NEQ,
    Nodes,
    Positions,
    damaged,
)

_MODES = {
    b"BRANCH_LEQ": LEQ,
    b"BRANCH_LT": LT,
    b"BRANCH_GTE": GTE,
    b"BRANCH_GT": GT,
    b"BRANCH_EQ": EQ,
    b"BRANCH_NEQ": NEQ,
    b"LEAF": LEAF,
}


def read(attributes: Mapping[str, Any], target: str, kind: Any) -> Nodes:
    """Read the nodes of an operator.

    target: how the attributes of leaves' values begin, "target" or "class".
    kind: numpy's type of the numbers that the trees compare and add up.
    Raises NotCovered.
    """
    ids = ints(attributes, "nodes_nodeids")
    count = len(ids)
    modes = attributes.get("nodes_modes", ())
    if not isinstance(modes, list):
        raise damaged("the modes of its nodes")
    mode = np.array([_MODES.get(each, 255) for each in modes], np.uint8)
    if len(mode) != count or count == 0 or (mode == 255).any():
        raise damaged("the modes of its nodes")
    starts, tree_of, number_of = _segments(ints(attributes, "nodes_treeids", count))
    find = _finder(tree_of, ids)
    is_leaf = mode == LEAF
    true, false = (
        find(tree_of, np.where(is_leaf, ids, ints(attributes, name, count)))
        for name in ("nodes_truenodeids", "nodes_falsenodeids")
    )
    holder = ints(attributes, f"{target}_nodeids")
    trees = ints(attributes, f"{target}_treeids", len(holder))
    leaf = find(number_of(trees), holder)
    # Old converters wrote values for nodes too, which onnxruntime passes over.
    is_used = is_leaf[leaf]
    return Nodes(
        mode=mode,
        feature=ints(attributes, "nodes_featureids", count),
        threshold=floats(attributes, "nodes_values", kind, count),
        nan_is_true=tracks_true(attributes, count),
        true=true,
        false=false,
        roots=starts,
        leaf=leaf[is_used],
        target=ints(attributes, f"{target}_ids", len(holder))[is_used],
        weight=floats(attributes, f"{target}_weights", kind, len(holder))[is_used],
        member=np.empty(0, np.int64),
        category=np.empty(0, np.float32),
    )


def _segments(
    trees: Positions,
) -> tuple[Positions, Positions, Callable[[Positions], Positions]]:
    """Where trees begin, each node's tree counted from 0, and that of a tree's id."""
    starts = np.flatnonzero(np.diff(trees, prepend=trees[0] - 1))
    ids = trees[starts]
    order = np.argsort(ids)
    if (np.diff(ids[order]) == 0).any():
        raise damaged("a tree whose nodes do not stand together")

    def number_of(wanted: Positions) -> Positions:
        place = np.searchsorted(ids, wanted, sorter=order)
        number = order[np.minimum(place, len(ids) - 1)]
        if (ids[number] != wanted).any():
            raise damaged("values for a tree that is not there")
        return number

    lengths = np.diff(starts, append=len(trees))
    return starts, np.repeat(np.arange(len(starts)), lengths), number_of


def _finder(
    trees: Positions, ids: Positions
) -> Callable[[Positions, Positions], Positions]:
    """Finds positions of nodes by tree and number."""

    def key(trees: Positions, ids: Positions) -> Positions:
        if ((ids < 0) | (ids >= 2**31)).any():
            raise damaged("the numbers of its nodes")
        return trees << 31 | ids

    keys = key(trees, ids)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    if (np.diff(ordered) == 0).any():
        raise damaged("two nodes of one number")

    def find(trees: Positions, ids: Positions) -> Positions:
        wanted = key(trees, ids)
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        if (ordered[place] != wanted).any():
            raise damaged("what its nodes lead to")
        return order[place]

    return find
