"""From an ensemble to the tables of its paths, which explanations are computed from.

A row reaches a leaf if each feature on the path lets it through. What an explanation
asks is what the leaf would be worth to the row if some of the features were others; so
a path is cut into elements, one for each of its features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.trees.build import numbers, round_thresholds, scales
from backends.trees.conditions import Conditions
from backends.trees.ensemble import Ensemble, Floats
from backends.trees.shape import Longs, Shape
from backends.trees.tables import Section, Tables, firsts


def build_paths(ensemble: Ensemble) -> Tables:
    """Make the tables. Raises NotCovered for a model beyond what int32 can count."""
    ensemble = replace(ensemble, threshold=round_thresholds(ensemble))
    shape = Shape(ensemble)
    everywhere = np.ones(len(ensemble.feature), bool)
    conditions = Conditions(ensemble, everywhere)
    leaf, node, goes_right, share = _steps(ensemble, shape)
    feature = ensemble.feature[node].astype(np.int64)
    order = np.lexsort((node, feature, leaf))
    leaf, node, feature = leaf[order], node[order], feature[order]
    goes_right, share = goes_right[order], share[order]
    begins = np.ones(len(leaf), bool)
    begins[1:] = (leaf[1:] != leaf[:-1]) | (feature[1:] != feature[:-1])
    first = np.flatnonzero(begins)
    leaves = len(shape.leaf_tree)
    return {
        **conditions.tables(),
        **_edges(ensemble, conditions, shape),
        Section.TREE_SUM: ensemble.tree_sum,
        Section.VALUE: ensemble.value,
        Section.NUMBERS: numbers(ensemble),
        Section.SCALES: scales(ensemble),
        Section.BASE: ensemble.base,
        Section.EXPECTED: _expected(ensemble),
        Section.PATH_TREE: ensemble.tree_leaf,
        Section.PATH_FIRST: firsts(np.bincount(leaf[first], minlength=leaves)),
        Section.ELEMENT_FEATURE: feature[first],
        Section.ELEMENT_SHARE: np.multiply.reduceat(share, first)
        if len(first)
        else share,
        Section.ELEMENT_TEST: np.append(first, len(leaf)),
        Section.PATH_TEST: 2 * conditions.condition[node] + goes_right,
    }


def _steps(
    ensemble: Ensemble, shape: Shape
) -> tuple[Longs, Longs, NDArray[np.bool_], Floats]:
    """All steps of all paths: the leaf, the node, the side taken, and the share of the
    rows at the node that took it; 0 if the ensemble does not know."""
    parent, leaf_parent = _parents(shape)
    counts = _share(ensemble, shape)
    leaf = np.flatnonzero(leaf_parent >= 0)
    step = leaf_parent[leaf]
    found = []
    while leaf.size:
        found.append((leaf, step))
        step = parent[step >> 1]
        going = step >= 0
        leaf, step = leaf[going], step[going]
    if not found:
        empty = np.empty(0, np.int64)
        return empty, empty, np.empty(0, bool), np.empty(0)
    leaf, step = (np.concatenate(each) for each in zip(*found, strict=True))
    return leaf, step >> 1, step & 1 > 0, counts[step]


def _parents(shape: Shape) -> tuple[Longs, Longs]:
    """Of each node and each leaf the step that leads there: twice the node above, one
    more where it goes right; -1 of roots."""
    parent = np.full(len(shape.tree), -1)
    leaf_parent = np.full(len(shape.leaf_tree), -1)
    step = 2 * np.arange(len(shape.tree))
    for side, child in enumerate((shape.left, shape.right)):
        is_node = child >= 0
        parent[child[is_node]] = step[is_node] + side
        leaf_parent[~child[~is_node]] = step[~is_node] + side
    return parent, leaf_parent


def _share(ensemble: Ensemble, shape: Shape) -> Floats:
    """float64 (2 * nodes,): of each step the share of the rows at its node."""
    share = np.zeros(2 * len(shape.tree))
    if ensemble.node_count is None or ensemble.leaf_count is None:
        return share
    for side, child in enumerate((shape.left, shape.right)):
        is_node = child >= 0
        count = np.empty(len(child))
        count[is_node] = ensemble.node_count[child[is_node]]
        count[~is_node] = ensemble.leaf_count[~child[~is_node]]
        # Where no row came by there is nothing to share.
        total = np.where(ensemble.node_count > 0, ensemble.node_count, np.inf)
        share[side::2] = count / total
    return share


def _edges(ensemble: Ensemble, conditions: Conditions, shape: Shape) -> Tables:
    """All edges, those of a tree from the root downwards and from left to right."""
    parent, _ = _parents(shape)
    child = np.column_stack((shape.left, shape.right)).reshape(-1)
    node = np.arange(len(child)) >> 1
    feature = ensemble.feature[node]
    number, up = _number_edges(shape, parent), _next_above(feature, parent)
    order = np.lexsort((number, shape.tree[node]))
    share = _share(ensemble, shape)
    # Those above come first, and are whole by then.
    for step in order[up[order] >= 0].tolist():
        share[step] *= share[up[step]]
    # An edge's number after the edges above it; 0 where there is none.
    numbers_after = np.append(number, 0)
    tables = {
        Section.EDGE_TEST: 2 * conditions.condition[node] + np.arange(len(child)) % 2,
        Section.EDGE_FEATURE: feature,
        Section.EDGE_PARENT: numbers_after[parent[node]],
        Section.EDGE_UP: numbers_after[up],
        Section.EDGE_SKIP: number + 2 * shape.below(child) - 1,
        Section.EDGE_LEAF: np.where(child < 0, ~child, -1),
        Section.EDGE_SHARE: share,
    }
    first = firsts(2 * np.bincount(shape.tree, minlength=ensemble.trees))
    return {
        Section.EDGE_FIRST: first,
        **{section: table[order] for section, table in tables.items()},
    }


def _number_edges(shape: Shape, parent: Longs) -> Longs:
    """int (2 * nodes,): the number of each step's edge in its tree."""
    number = np.zeros(2 * len(shape.tree) + 1, np.int64)
    nodes = np.flatnonzero(parent < 0)
    while nodes.size:
        # The last place is no edge's and stays 0: the root's number.
        incoming = number[parent[nodes]]
        number[2 * nodes] = incoming + 1
        number[2 * nodes + 1] = incoming + 2 * shape.below(shape.left[nodes])
        nodes = np.concatenate([shape.left[nodes], shape.right[nodes]])
        nodes = nodes[nodes >= 0]
    return number[:-1]


def _next_above(feature: Longs, parent: Longs) -> Longs:
    """int (2 * nodes,): the next step above that asks the same feature, or -1."""
    above = np.repeat(parent, 2)
    searching = np.flatnonzero(above >= 0)
    while searching.size:
        differs = feature[above[searching]] != feature[searching]
        searching = searching[differs]
        above[searching] = parent[above[searching] >> 1]
        searching = searching[above[searching] >= 0]
    return above


def _expected(ensemble: Ensemble) -> Floats:
    """float64 (sums,): the mean over the training rows of what the trees add up to.

    Empty if the ensemble does not know how many rows came to its leaves, or says that
    none came to a tree. Source: LightGBM's Tree::ExpectedValue.
    """
    if ensemble.node_count is None or ensemble.leaf_count is None:
        return np.empty(0)
    # Only files whose leaves have one value each tell.
    tree = np.repeat(np.arange(ensemble.trees), np.diff(ensemble.tree_leaf))
    has_nodes = np.diff(ensemble.tree_node) > 0
    total = np.ones(ensemble.trees)
    total[has_nodes] = ensemble.node_count[ensemble.tree_node[:-1][has_nodes]]
    if not (total > 0).all():
        return np.empty(0)
    share = np.where(has_nodes[tree], ensemble.leaf_count, 1.0) / total[tree]
    mean = np.bincount(tree, share * ensemble.value, ensemble.trees)
    return np.asarray(np.bincount(ensemble.tree_sum, mean, ensemble.sums), float)
