"""Explanations of what trees add up to, worked out slowly from their definitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import factorial

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import Ensemble
from tests.backends.trees.reference import _goes_left, _taken, leaves

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]
# Of each feature on a path whether it lets a row through, and of the training rows
# its share.
Elements = dict[int, tuple[bool, Fraction]]


def double_sums(ensemble: Ensemble, matrix: Floats) -> Floats:
    """What the trees add up to in float64, without base: float64 (n, sums)."""
    sums = np.zeros((len(matrix), ensemble.sums))
    reached = leaves(ensemble, matrix)
    for tree in range(ensemble.trees):
        value = ensemble.value[ensemble.tree_leaf[tree] + reached[:, tree]]
        if ensemble.tree_sum[tree] < 0:
            sums += value
        else:
            sums[:, ensemble.tree_sum[tree]] += value
    return sums


def counted(ensemble: Ensemble, seed: int, *, least: int) -> Ensemble:
    """The same ensemble with counts of rows that add up; least: at a leaf."""
    random = np.random.default_rng(seed)
    leaf_count = random.integers(
        least, random.choice([2, 30, 3000]), len(_leaf(ensemble))
    )
    node_count = np.zeros(len(ensemble.feature))

    for tree in range(ensemble.trees):
        node, leaf = ensemble.tree_node[tree], ensemble.tree_leaf[tree]
        order = [0] if ensemble.tree_node[tree + 1] > node else []
        for at in order:
            children = (ensemble.left[node + at], ensemble.right[node + at])
            order += [int(child) for child in children if child >= 0]
        for at in reversed(order):
            for child in (ensemble.left[node + at], ensemble.right[node + at]):
                node_count[node + at] += (
                    node_count[node + child]
                    if child >= 0
                    else leaf_count[leaf + ~child]
                )
        # A tree that no row came to means nothing.
        if order and not node_count[node]:
            return counted(ensemble, seed + 1, least=least)
    return replace(
        ensemble, leaf_count=leaf_count.astype(np.float64), node_count=node_count
    )


def _leaf(ensemble: Ensemble) -> NDArray[np.float64]:
    return ensemble.value.reshape(int(ensemble.tree_leaf[-1]), -1)


def path_dependent(ensemble: Ensemble, rows: Floats) -> Floats:
    """Path-dependent Shapley values of the sums, in fractions: (n, sums, features).

    Of a leaf with elements o and z, its worth when a coalition S is known is the value
    times the product of o over S and of z over the others.
    """
    found = np.zeros((len(rows), ensemble.sums, ensemble.features))
    for row, out in zip(rows, found, strict=True):
        for tree in range(ensemble.trees):
            for leaf, elements in _paths(ensemble, tree, row):
                value = _leaf(ensemble)[ensemble.tree_leaf[tree] + leaf, 0]
                for feature, share in _shares(elements).items():
                    out[ensemble.tree_sum[tree], feature] += value * share
    return found


def _paths(ensemble: Ensemble, tree: int, row: Floats) -> list[tuple[int, Elements]]:
    """The leaves of a tree, with the elements on the way there."""
    first, leaf = ensemble.tree_node[tree], ensemble.tree_leaf[tree]
    assert ensemble.node_count is not None and ensemble.leaf_count is not None
    if ensemble.tree_node[tree + 1] == first:
        return [(0, {})]
    found: list[tuple[int, Elements]] = []
    waiting: list[tuple[int, Elements]] = [(0, {})]
    while waiting:
        at, elements = waiting.pop()
        node = first + at
        feature = int(ensemble.feature[node])
        went_left = _goes_left(ensemble, node, _taken(ensemble, float(row[feature])))
        for child, passes in (
            (int(ensemble.left[node]), went_left),
            (int(ensemble.right[node]), not went_left),
        ):
            count = (
                ensemble.node_count[first + child]
                if child >= 0
                else ensemble.leaf_count[leaf + ~child]
            )
            total = int(ensemble.node_count[node])
            share = Fraction(int(count), total) if total else Fraction(0)
            passed, shared = elements.get(feature, (True, Fraction(1)))
            below = {**elements, feature: (passed and passes, shared * share)}
            (waiting if child >= 0 else found).append(
                (child if child >= 0 else ~child, below)
            )
    return found


def _shares(elements: Elements) -> dict[int, float]:
    """What each element counts for a leaf of value 1."""
    count = len(elements)
    # Coefficient k: the sum over all sets of k elements that are known.
    polynomial = [Fraction(1)]
    for o, z in elements.values():
        polynomial = [
            (polynomial[k] * z if k < len(polynomial) else Fraction(0))
            + (polynomial[k - 1] if o and k else Fraction(0))
            for k in range(len(polynomial) + 1)
        ]
    found = {}
    for feature, (o, z) in elements.items():
        if o == z:
            found[feature] = 0.0
            continue
        rest = _without(polynomial, o, z)
        total = sum(
            (
                Fraction(factorial(k) * factorial(count - 1 - k), factorial(count))
                * rest[k]
                for k in range(count)
            ),
            Fraction(0),
        )
        found[feature] = float(total * (int(o) - z))
    return found


def _without(polynomial: list[Fraction], o: bool, z: Fraction) -> list[Fraction]:
    """Divided by z + o * t."""
    if not o:
        return [each / z for each in polynomial[:-1]]
    quotient = [Fraction(0)] * len(polynomial)
    for k in range(len(polynomial) - 1, 0, -1):
        quotient[k - 1] = polynomial[k] - z * quotient[k]
    return quotient[:-1]


def substituted(
    score: Score, rows: Floats, exemplars: Floats, weights: Floats
) -> Floats:
    """XEMP by one prediction for each substitution: (n, sums, features).

    exemplars, weights: float64 (k, features).
    """
    own = score(rows)
    found = np.empty((*own.shape, rows.shape[1]))
    for feature in range(rows.shape[1]):
        changed = np.repeat(rows, len(exemplars), axis=0)
        changed[:, feature] = np.tile(exemplars[:, feature], len(rows))
        scores = score(changed).reshape(len(rows), len(exemplars), -1)
        mean = np.einsum("k,rks->rs", weights[:, feature], scores)
        found[..., feature] = own - mean
    return found


def coalition_values(
    score: Score, rows: Floats, reference: Floats, weights: Floats
) -> Floats:
    """Interventional Shapley values over all coalitions: (n, sums, features).

    weights: float64 (n, others), what each contrast counts.
    """
    features = rows.shape[1]
    masks = np.array(list(product([False, True], repeat=features)))
    mixed = np.where(
        masks[:, None, None], rows[None, :, None], reference[None, None]
    ).reshape(-1, features)
    scores = score(mixed).reshape(len(masks), len(rows), len(reference), -1)
    worth = np.einsum("ro,mros->mrs", weights, scores)
    sizes = masks.sum(axis=1)
    found = np.zeros((len(rows), worth.shape[2], features))
    for feature in range(features):
        # With the feature and, in the same order, without it.
        known, unknown = worth[masks[:, feature]], worth[~masks[:, feature]]
        size = sizes[~masks[:, feature]]
        share = np.array(
            [
                factorial(k) * factorial(features - 1 - k) / factorial(features)
                for k in size
            ]
        )
        found[..., feature] = np.einsum("m,mrs->rs", share, known - unknown)
    return found
