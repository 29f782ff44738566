"""Where the nodes and leaves of an ensemble lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import Ensemble, Ints, NotCovered

Longs = NDArray[np.int64]


class Shape:
    """The trees seen from above, and from left to right.

    leaves: int (trees,). tree, leaf_tree: int (nodes,), (leaves,): the tree of each.
    left, right: int (nodes,): children counted over all trees, a leaf as ~leaf.
    order: int (nodes,): the nodes, tree by tree, each tree's from the root downwards.
    place: int (nodes,): of each node its place in that order, within its tree.
    slot, leaf_slot: int (nodes,), (leaves,): a root's slot is 0, those of the children
        of the node in place k are 2 * k + 1 and 2 * k + 2.
    start, stop: int (nodes,): positions of the leaves below the left child.
    position: int (leaves,): from left to right, within the tree.

    Raises NotCovered if a root does not lead to all nodes of its tree.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        nodes = np.diff(ensemble.tree_node)
        self.leaves = np.diff(ensemble.tree_leaf).astype(np.int64)
        self.tree = np.repeat(np.arange(ensemble.trees), nodes)
        self.leaf_tree = np.repeat(np.arange(ensemble.trees), self.leaves)
        self.left = self._children(ensemble, ensemble.left)
        self.right = self._children(ensemble, ensemble.right)
        levels = self._levels(ensemble.tree_node[:-1][nodes > 0].astype(np.int64))
        downwards = np.concatenate([*levels, np.empty(0, np.int64)])
        if len(downwards) != len(self.tree):
            raise NotCovered("nodes that no row reaches")
        self.order = downwards[np.argsort(self.tree[downwards], kind="stable")]
        self.place = np.empty(len(self.tree), np.int64)
        self.place[self.order] = (
            np.arange(len(self.tree)) - ensemble.tree_node[self.tree[self.order]]
        )
        self.slot = np.zeros(len(self.tree), np.int64)
        self.leaf_slot = np.zeros(len(self.leaf_tree), np.int64)
        for side, children in ((1, self.left), (2, self.right)):
            slot, is_node = 2 * self.place + side, children >= 0
            self.slot[children[is_node]] = slot[is_node]
            self.leaf_slot[~children[~is_node]] = slot[~is_node]
        self._below = np.ones(len(self.tree) + 1, np.int64)
        for level in reversed(levels):
            self._below[level] = self.below(self.left[level]) + self.below(
                self.right[level]
            )
        self._put(levels)

    def below(self, child: Longs) -> Longs:
        """How many leaves lie below each child; a leaf is one itself."""
        # The last place is no node's and holds 1.
        return self._below[np.maximum(child, -1)]

    def _children(self, ensemble: Ensemble, child: Ints) -> Longs:
        node = ensemble.tree_node[self.tree] + child.astype(np.int64)
        leaf = ensemble.tree_leaf[self.tree] + ~child.astype(np.int64)
        return np.where(child >= 0, node, ~leaf)

    def _levels(self, level: Longs) -> list[Longs]:
        """The nodes of all trees by their distance from the root."""
        levels = []
        while level.size:
            levels.append(level)
            level = np.concatenate([self.left[level], self.right[level]])
            level = level[level >= 0]
        return levels

    def _put(self, levels: list[Longs]) -> None:
        """Give leaves their positions, and nodes those below their left child."""
        self.start = np.zeros(len(self.tree), np.int64)
        self.position = np.zeros(len(self.leaf_tree), np.int64)
        for level in levels:
            left, right = self.left[level], self.right[level]
            begin = self.start[level]
            for child, first in ((left, begin), (right, begin + self.below(left))):
                is_node = child >= 0
                self.start[child[is_node]] = first[is_node]
                self.position[~child[~is_node]] = first[~is_node]
        self.stop = self.start + self.below(self.left)
