"""The nodes of ONNX tree operators, made into the flat arrays of an ensemble.

Where the standard and onnxruntime differ, it is as onnxruntime does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import MISSING_NAN, NotCovered

Positions = NDArray[np.int64]
Bools = NDArray[np.bool_]
# float32 or float64, as the trees compare and add up.
Numbers: TypeAlias = NDArray[Any]

# By their numbers in ai.onnx.ml 5, and one for leaves.
LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF = range(8)
_MODES = {
    b"BRANCH_LEQ": LEQ,
    b"BRANCH_LT": LT,
    b"BRANCH_GTE": GTE,
    b"BRANCH_GT": GT,
    b"BRANCH_EQ": EQ,
    b"BRANCH_NEQ": NEQ,
    b"LEAF": LEAF,
}

# What a set may hold at most, and how many words all sets may take: 64 MiB.
_HIGHEST_CATEGORY = 2**20
_MOST_WORDS = 2**24
# How many values all leaves may have: 1 GiB.
_MOST_VALUES = 2**28
MOST_SUMS = 10_000

# onnxruntime makes a set of at most so many small categories a chain of comparisons,
# which are exact; in other sets it looks up the value without its fraction.
_CHAINED = 30


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


@dataclass(frozen=True, slots=True)
class Trees:
    """What `flatten` makes of nodes.

    arrays: the fields of an Ensemble that describe its trees, by name.
    ever, always: bool (sums,): some leaf adds to the sum; a leaf of each row does.
    """

    arrays: dict[str, Any]
    ever: Bools
    always: Bools


def read_listed(attributes: Mapping[str, Any], target: str, kind: Any) -> Nodes:
    """Nodes as ai.onnx.ml 1 to 3 list them: trees and nodes have numbers.

    target: how the attributes of leaves' values begin, "target" or "class".
    kind: numpy's type of the numbers that the trees compare and add up.
    Raises NotCovered.
    """
    ids = _ints(attributes, "nodes_nodeids")
    count = len(ids)
    modes = attributes.get("nodes_modes", ())
    if not isinstance(modes, list):
        raise _damaged("the modes of its nodes")
    mode = np.array([_MODES.get(each, 255) for each in modes], np.uint8)
    if len(mode) != count or count == 0 or (mode == 255).any():
        raise _damaged("the modes of its nodes")
    starts, tree_of, number_of = _segments(_ints(attributes, "nodes_treeids", count))
    find = _finder(tree_of, ids)
    is_leaf = mode == LEAF
    true, false = (
        find(tree_of, np.where(is_leaf, ids, _ints(attributes, name, count)))
        for name in ("nodes_truenodeids", "nodes_falsenodeids")
    )
    holder = _ints(attributes, f"{target}_nodeids")
    trees = _ints(attributes, f"{target}_treeids", len(holder))
    leaf = find(number_of(trees), holder)
    # Old converters wrote values for nodes too, which onnxruntime passes over.
    is_used = is_leaf[leaf]
    return Nodes(
        mode=mode,
        feature=_ints(attributes, "nodes_featureids", count),
        threshold=_floats(attributes, "nodes_values", kind, count),
        nan_is_true=_tracks(attributes, count),
        true=true,
        false=false,
        roots=starts,
        leaf=leaf[is_used],
        target=_ints(attributes, f"{target}_ids", len(holder))[is_used],
        weight=_floats(attributes, f"{target}_weights", kind, len(holder))[is_used],
        member=np.empty(0, np.int64),
        category=np.empty(0, np.float32),
    )


def read_linked(attributes: Mapping[str, Any], kind: Any) -> Nodes:
    """Nodes as ai.onnx.ml 5 links them: by position, and leaves apart.

    kind: numpy's type of the numbers that the trees compare and add up.

    Raises NotCovered.
    """
    mode = np.reshape(attributes.get("nodes_modes", ()), -1)
    count = len(mode)
    if count == 0 or mode.dtype != np.uint8 or (mode > MEMBER).any():
        raise _damaged("the modes of its nodes")
    target = _ints(attributes, "leaf_targetids")
    weight = _floats(attributes, "leaf_weights", kind, len(target))
    # A leaf of its own for each edge that ends in one.
    ends, places, leaves = [], count, []
    for way in ("true", "false"):
        end = _ints(attributes, f"nodes_{way}nodeids", count).copy()
        to_leaf = _ints(attributes, f"nodes_{way}leafs", count) != 0
        if ((end < 0) | (end >= np.where(to_leaf, len(target), count))).any():
            raise _damaged("what its nodes lead to")
        leaves.append(end[to_leaf])
        end[to_leaf] = np.arange(places, places + to_leaf.sum())
        places += int(to_leaf.sum())
        ends.append(end)
    held = np.concatenate(leaves)
    roots = _ints(attributes, "tree_roots")
    if len(roots) == 0 or (roots < 0).any() or (roots >= count).any():
        raise _damaged("its roots")
    member, category = _members(attributes, mode, kind)

    def with_leaves(values: NDArray[Any], value: int = 0) -> NDArray[Any]:
        padding = np.full(places - count, value, values.dtype)
        return np.concatenate([values, padding])

    return Nodes(
        mode=with_leaves(mode, LEAF),
        feature=with_leaves(_ints(attributes, "nodes_featureids", count)),
        threshold=with_leaves(_floats(attributes, "nodes_splits", kind, count)),
        nan_is_true=with_leaves(_tracks(attributes, count)),
        true=with_leaves(ends[0]),
        false=with_leaves(ends[1]),
        roots=roots,
        leaf=np.arange(count, places),
        target=target[held],
        weight=weight[held],
        member=member,
        category=category,
    )


def flatten(nodes: Nodes, sums: int, columns: Positions) -> Trees:
    """Make trees of nodes: each tree's nodes and leaves, parents before children.

    columns: the feature that the trees take in each of their columns.
    Raises NotCovered.
    """
    _check_values(nodes, sums)
    nodes = _equals_only(nodes)
    is_leaf = nodes.mode == LEAF
    is_equal = nodes.mode == EQ
    head, nodes = _join_chains(nodes)
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
    set_of, set_word, bits, is_exact = _category_sets(nodes, head, is_equal, inner)
    is_upward = np.isin(nodes.mode[inner], (GTE, GT))
    left = np.where(is_upward, nodes.false[inner], nodes.true[inner])
    right = np.where(is_upward, nodes.true[inner], nodes.false[inner])
    feature = nodes.feature[inner]
    if ((feature < 0) | (feature >= len(columns))).any():
        raise _damaged("the columns that its nodes take")
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


def _ints(
    attributes: Mapping[str, Any], name: str, count: int | None = None
) -> Positions:
    values = attributes.get(name, np.empty(0, np.int64))
    if not isinstance(values, np.ndarray) or values.dtype != np.int64:
        raise _damaged(f"{name}, which are no whole numbers")
    values = values.reshape(-1)
    if count is not None and len(values) != count:
        raise _damaged(f"{name}, a list of another length")
    return values


def _floats(
    attributes: Mapping[str, Any], name: str, kind: Any, count: int | None = None
) -> Numbers:
    """Numbers of this kind: a list, which holds float32, or a tensor of the kind."""
    as_tensor = attributes.get(f"{name}_as_tensor")
    is_list = as_tensor is None or np.size(as_tensor) == 0
    values = attributes.get(name) if is_list else as_tensor
    if values is None:
        values = np.empty(0, kind)
    if not isinstance(values, np.ndarray):
        raise _damaged(f"{name}, which are no numbers")
    if values.dtype not in (kind, np.float32):
        raise NotCovered(f"the trees have {values.dtype} numbers in {name}")
    values = values.reshape(-1).astype(kind)
    if count is not None and len(values) != count:
        raise _damaged(f"{name}, a list of another length")
    return values


def read_base(attributes: Mapping[str, Any], kind: Any) -> Numbers:
    """What is added to the sums; empty if nothing is."""
    return _floats(attributes, "base_values", kind)


def _tracks(attributes: Mapping[str, Any], count: int) -> Bools:
    """Where NaN takes the true branch though the comparison fails."""
    tracks = _ints(attributes, "nodes_missing_value_tracks_true")
    if len(tracks) == 0:
        return np.zeros(count, bool)
    if len(tracks) != count:
        raise _damaged("nodes_missing_value_tracks_true, a list of another length")
    return np.asarray(tracks == 1)


def _members(
    attributes: Mapping[str, Any], mode: NDArray[np.uint8], kind: Any
) -> tuple[Positions, Numbers]:
    """MEMBER nodes' values: their lists stand one after another, NaN between them."""
    values = _floats(attributes, "membership_values", kind)
    is_end = np.isnan(values)
    number = np.cumsum(is_end)[~is_end]
    nodes = np.flatnonzero(mode == MEMBER)
    if len(np.unique(number)) != len(nodes) or (number >= len(nodes)).any():
        raise _damaged("its sets of members")
    return nodes[number], values[~is_end]


def _segments(
    trees: Positions,
) -> tuple[Positions, Positions, Callable[[Positions], Positions]]:
    """Where trees begin, each node's tree counted from 0, and that of a tree's id."""
    starts = np.flatnonzero(np.diff(trees, prepend=trees[0] - 1))
    ids = trees[starts]
    order = np.argsort(ids)
    if (np.diff(ids[order]) == 0).any():
        raise _damaged("a tree whose nodes do not stand together")

    def number_of(wanted: Positions) -> Positions:
        place = np.searchsorted(ids, wanted, sorter=order)
        number = order[np.minimum(place, len(ids) - 1)]
        if (ids[number] != wanted).any():
            raise _damaged("values for a tree that is not there")
        return number

    lengths = np.diff(starts, append=len(trees))
    return starts, np.repeat(np.arange(len(starts)), lengths), number_of


def _finder(
    trees: Positions, ids: Positions
) -> Callable[[Positions, Positions], Positions]:
    """Finds positions of nodes by tree and number."""

    def key(trees: Positions, ids: Positions) -> Positions:
        if ((ids < 0) | (ids >= 2**31)).any():
            raise _damaged("the numbers of its nodes")
        return trees << 31 | ids

    keys = key(trees, ids)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    if (np.diff(ordered) == 0).any():
        raise _damaged("two nodes of one number")

    def find(trees: Positions, ids: Positions) -> Positions:
        wanted = key(trees, ids)
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        if (ordered[place] != wanted).any():
            raise _damaged("what its nodes lead to")
        return order[place]

    return find


def _equals_only(nodes: Nodes) -> Nodes:
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


def _join_chains(nodes: Nodes) -> tuple[Positions, Nodes]:
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
        raise _damaged("nodes that two nodes lead to")
    head = _follow(before)
    last = _follow(np.where(is_joined, after, own))
    if (before[head] != head).any():
        raise _damaged("nodes that lead to themselves")
    return head, replace(nodes, false=nodes.false[last])


def _follow(link: Positions) -> Positions:
    """Where links end that lead to themselves at the end."""
    for _ in range(int(len(link)).bit_length()):
        further = link[link]
        if (further == link).all():
            break
        link = further
    return link


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
        raise _damaged("nodes that two nodes lead to, or none")
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
        raise _damaged("nodes that lead to themselves")
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


def _category_sets(
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


def _check_values(nodes: Nodes, sums: int) -> None:
    """Raise NotCovered for leaves whose values cannot be added up."""
    if not 0 < sums <= MOST_SUMS:
        raise NotCovered(f"the trees answer {sums} values")
    if ((nodes.target < 0) | (nodes.target >= sums)).any():
        raise _damaged("the sums that its leaves add to")
    pairs = np.sort(nodes.leaf * sums + nodes.target)
    if (np.diff(pairs) == 0).any():
        raise NotCovered("the trees have leaves that add to a sum twice")
    if sums == 1 and len(nodes.leaf) != (nodes.mode == LEAF).sum():
        raise NotCovered("the trees have leaves without a value")


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


def _damaged(what: str) -> NotCovered:
    return NotCovered(f"the trees are not consistent: {what}")
