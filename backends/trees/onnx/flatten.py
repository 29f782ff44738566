"""Nodes of tree operators, made into the flat arrays of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_NAN, NotCovered
from backends.trees.onnx.categories import category_sets, equals_only, join_chains
from backends.trees.onnx.nodes import (
    EQ,
    GT,
    GTE,
    LEAF,
    LT,
    MEMBER,
    Bools,
    Nodes,
    Numbers,
    Positions,
    damaged,
)

# How many values all leaves may have: 1 GiB.
_MOST_VALUES = 2**28
_MOST_SUMS = 10_000


@dataclass(frozen=True, slots=True)
class Trees:
    """What `flatten` makes of nodes.

    arrays: the fields of an Ensemble that describe its trees, by name.
    ever, always: bool (sums,): some leaf adds to the sum; a leaf of each row does.
    """

    arrays: dict[str, Any]
    ever: Bools
    always: Bools


def flatten(nodes: Nodes, sums: int, columns: Positions) -> Trees:
    """Make trees of nodes: each tree's nodes and leaves, parents before children.

    columns: the feature that the trees take in each of their columns.
    Raises NotCovered.
    """
    _check_values(nodes, sums)
    nodes = equals_only(nodes)
    is_leaf = nodes.mode == LEAF
    is_equal = nodes.mode == EQ
    head, nodes = join_chains(nodes)
    is_kept = head == np.arange(len(head))
    inner = np.flatnonzero(is_kept & ~is_leaf)
    tree, depth = _trace(nodes, inner, is_kept)
    leaves = np.flatnonzero(is_leaf)
    inner = inner[np.lexsort((depth[inner], tree[inner]))]
    leaves = leaves[np.lexsort((depth[leaves], tree[leaves]))]
    tree_node = _starts(tree[inner], len(nodes.roots))
    tree_leaf = _starts(tree[leaves], len(nodes.roots))
    # As children, leaves are the complements of their numbers.
    child = np.empty(len(head), np.int64)
    child[inner] = np.arange(len(inner)) - tree_node[tree[inner]]
    child[leaves] = ~(np.arange(len(leaves)) - tree_leaf[tree[leaves]])
    place = np.empty(len(head), np.int64)
    place[leaves] = np.arange(len(leaves))
    set_of, set_word, bits, is_exact = category_sets(nodes, head, is_equal, inner)
    is_upward = np.isin(nodes.mode[inner], (GTE, GT))
    left = np.where(is_upward, nodes.false[inner], nodes.true[inner])
    right = np.where(is_upward, nodes.true[inner], nodes.false[inner])
    feature = nodes.feature[inner]
    if ((feature < 0) | (feature >= len(columns))).any():
        raise damaged("the columns that its nodes take")
    value, tree_sum, always = _leaf_values(nodes, place, tree, tree_leaf, sums)
    return Trees(
        arrays={
            "tree_node": tree_node.astype(np.int32),
            "tree_leaf": tree_leaf.astype(np.int32),
            "tree_sum": tree_sum.astype(np.int32),
            "feature": columns[feature].astype(np.int32),
            "threshold": _thresholds(nodes, inner),
            "left": child[left].astype(np.int32),
            "right": child[right].astype(np.int32),
            "missing": np.full(len(inner), MISSING_NAN, np.uint8),
            "default_left": nodes.nan_is_true[inner] != is_upward,
            "category_set": set_of.astype(np.int32),
            "set_word": set_word.astype(np.int32),
            "category_bits": bits,
            "value": value,
            "exact_categories": is_exact,
        },
        ever=np.bincount(nodes.target, minlength=sums) > 0,
        always=always,
    )


def _check_values(nodes: Nodes, sums: int) -> None:
    """Raise NotCovered for leaves whose values cannot be added up."""
    if not 0 < sums <= _MOST_SUMS:
        raise NotCovered(f"the trees answer {sums} values")
    if ((nodes.target < 0) | (nodes.target >= sums)).any():
        raise damaged("the sums that its leaves add to")
    pairs = np.sort(nodes.leaf * sums + nodes.target)
    if (np.diff(pairs) == 0).any():
        raise NotCovered("the trees have leaves that add to a sum twice")
    if sums == 1 and len(nodes.leaf) != (nodes.mode == LEAF).sum():
        raise NotCovered("the trees have leaves without a value")


def _trace(
    nodes: Nodes, inner: Positions, is_kept: Bools
) -> tuple[Positions, Positions]:
    """Each node's tree and its depth; raises NotCovered unless they are trees."""
    count = len(nodes.mode)
    children = np.concatenate([nodes.true[inner], nodes.false[inner]])
    expected = is_kept.astype(np.int64)
    expected[nodes.roots] -= 1
    if (
        len(np.unique(nodes.roots)) != len(nodes.roots)
        or (np.bincount(children, minlength=count) != expected).any()
    ):
        raise damaged("nodes that two nodes lead to, or none")
    parent = np.arange(count)
    parent[children] = np.concatenate([inner, inner])
    depth = (parent != np.arange(count)).astype(np.int64)
    for _ in range(count.bit_length()):
        depth += depth[parent]
        parent = parent[parent]
    tree = np.full(count, -1)
    tree[nodes.roots] = np.arange(len(nodes.roots))
    tree = tree[parent]
    if (tree[is_kept] < 0).any():
        raise damaged("nodes that lead to themselves")
    return tree, depth


def _starts(tree: Positions, trees: int) -> Positions:
    """Where each tree's items begin, of items ordered by tree: (trees + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(tree, minlength=trees))])


def _thresholds(nodes: Nodes, inner: Positions) -> NDArray[np.float64]:
    """The highest value that goes left; 0 in a categorical split."""
    mode, threshold = nodes.mode[inner], nodes.threshold[inner]
    is_numeric = ~np.isin(mode, (EQ, MEMBER))
    # Strict comparisons leave the threshold itself to the other side.
    is_strict = np.isin(mode, (LT, GTE))
    if (is_numeric & np.isnan(threshold)).any() or np.isneginf(
        threshold[is_strict]
    ).any():
        raise NotCovered("the trees compare with a number that nothing is less than")
    with np.errstate(over="ignore"):
        below = np.nextafter(threshold, threshold.dtype.type(-np.inf))
    highest = np.where(is_strict, below, threshold)
    return np.where(is_numeric, highest, 0.0).astype(np.float64)


def _leaf_values(
    nodes: Nodes,
    place: Positions,
    tree: Positions,
    tree_leaf: Positions,
    sums: int,
) -> tuple[Numbers, Positions, Bools]:
    """Leaves' values, the sum that each tree adds to, and those that all rows have."""
    trees, leaves = len(nodes.roots), int(tree_leaf[-1])
    owner = tree[nodes.leaf]
    pairs, counts = np.unique(owner * sums + nodes.target, return_counts=True)
    is_full = counts == np.diff(tree_leaf)[pairs // sums]
    always = np.zeros(sums, bool)
    always[pairs[is_full] % sums] = True
    # Trees that add each leaf to one sum, the same one.
    single = np.bincount(pairs // sums, minlength=trees) == 1
    if single.all() and is_full.all():
        value = np.zeros(leaves, nodes.weight.dtype)
        value[place[nodes.leaf]] = nodes.weight
        return value, pairs % sums, always
    if leaves * sums > _MOST_VALUES:
        raise NotCovered("the trees have too many leaves for so many answers")
    table = np.zeros((leaves, sums), nodes.weight.dtype)
    table[place[nodes.leaf], nodes.target] = nodes.weight
    return table, np.full(trees, -1), always
