"""Nodes that ask whether a value is a category, made into sets of categories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered
from backends.trees.onnx.nodes import EQ, MEMBER, NEQ, Bools, Nodes, Positions, damaged

# What a set may hold at most, and how many words all sets may take: 64 MiB.
_HIGHEST_CATEGORY = 2**20
_MOST_WORDS = 2**24

# onnxruntime makes a set of at most so many small categories a chain of comparisons,
# which are exact; in other sets it looks up the value without its fraction.
_CHAINED = 30


def equals_only(nodes: Nodes) -> Nodes:
    """Make NEQ nodes EQ nodes, which NaN always leaves by the false branch."""
    is_unequal = nodes.mode == NEQ
    if (np.isin(nodes.mode, (EQ, MEMBER)) & nodes.nan_is_true).any():
        raise NotCovered("the trees take a missing value for a member of a category")
    return replace(
        nodes,
        mode=np.where(is_unequal, EQ, nodes.mode).astype(np.uint8),
        true=np.where(is_unequal, nodes.false, nodes.true),
        false=np.where(is_unequal, nodes.true, nodes.false),
        nan_is_true=nodes.nan_is_true & ~is_unequal,
    )


def join_chains(nodes: Nodes) -> tuple[Positions, Nodes]:
    """Join EQ nodes that follow each other by the false branch and share the true one.

    This is how converters write sets of categories. Returns each node's position, or
    that of the first in its chain, int64 (n,); and the nodes, the first of a chain
    with the false branch of its last.
    """
    count = len(nodes.mode)
    own = np.arange(count)
    after = nodes.false
    is_joined = (nodes.mode == EQ) & (nodes.mode[after] == EQ) & (after != own)
    is_joined &= nodes.feature == nodes.feature[after]
    is_joined &= nodes.true == nodes.true[after]
    is_joined &= ~np.isin(after, nodes.roots)
    before = own.copy()
    before[after[is_joined]] = own[is_joined]
    if (before != own).sum() != is_joined.sum():
        raise damaged("nodes that two nodes lead to")
    head = _follow(before)
    last = _follow(np.where(is_joined, after, own))
    if (before[head] != head).any():
        raise damaged("nodes that lead to themselves")
    return head, replace(nodes, false=nodes.false[last])


def _follow(link: Positions) -> Positions:
    """Where links end that lead to themselves at the end."""
    for _ in range(int(len(link)).bit_length()):
        further = link[link]
        if (further == link).all():
            break
        link = further
    return link


def category_sets(
    nodes: Nodes, head: Positions, is_equal: Bools, inner: Positions
) -> tuple[Positions, Positions, NDArray[np.uint32], bool]:
    """Each inner node's set, where the sets' words begin, and the words.

    The last says whether only whole values are members.
    """
    equal = np.flatnonzero(is_equal)
    holder = np.concatenate([head[equal], nodes.member])
    category = np.concatenate([nodes.threshold[equal], nodes.category])
    set_of = np.full(len(inner), -1)
    if len(holder) == 0:
        return set_of, np.zeros(1, np.int64), np.empty(0, np.uint32), True
    is_whole = category == np.trunc(category)
    if not (is_whole & (category >= 0) & (category <= _HIGHEST_CATEGORY)).all():
        raise NotCovered(
            "the trees ask whether a value equals a number that is not a category: "
            f"whole, and from 0 to {_HIGHEST_CATEGORY}"
        )
    is_exact = _is_exact(nodes, bool(len(equal)))
    holders, number = np.unique(holder, return_inverse=True)
    codes = category.astype(np.int64)
    words = np.zeros(len(holders), np.int64)
    np.maximum.at(words, number, codes // 32 + 1)
    set_word = np.concatenate([[0], np.cumsum(words)])
    if set_word[-1] > _MOST_WORDS:
        raise NotCovered("the trees have too large sets of categories")
    bits = np.zeros(set_word[-1], np.uint32)
    bit = np.left_shift(np.uint32(1), (codes % 32).astype(np.uint32))
    np.bitwise_or.at(bits, set_word[number] + codes // 32, bit)
    is_holder = np.isin(inner, holders)
    set_of[is_holder] = np.searchsorted(holders, inner[is_holder])
    return set_of, set_word, bits, is_exact


def _is_exact(nodes: Nodes, has_equal: bool) -> bool:
    """Whether only whole values are members of the sets; all sets must agree."""
    holders, number, sizes = np.unique(
        nodes.member, return_inverse=True, return_counts=True
    )
    highest = np.zeros(len(holders), nodes.category.dtype)
    np.maximum.at(highest, number, nodes.category)
    is_chained = (sizes <= _CHAINED) & (highest <= _CHAINED)
    kinds = {True} if has_equal else set()
    kinds |= set(is_chained.tolist())
    if len(kinds) > 1:
        raise NotCovered(
            "the trees have small sets, which fractions are no members of, and large "
            "ones, in which onnxruntime cuts fractions off"
        )
    return kinds.pop()
