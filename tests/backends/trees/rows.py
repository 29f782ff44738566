"""Rows that a tree engine may trip over, made of a model's own text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

SMALLEST = 5e-324
ZERO = np.float32(1e-35)
# Around zero, and around what LightGBM takes for zero: float32(1e-35).
SMALL = [
    *(0.0, SMALLEST, 1e-310, 2.2250738585072014e-308, 1e-36, 1e-35, 1e-34),
    *map(float, (ZERO, np.nextafter(ZERO, np.float32(0)), np.nextafter(ZERO, 1))),
    *(np.nextafter(float(ZERO), 0.0), np.nextafter(float(ZERO), 1.0)),
]
LARGE = [1e300, 1.7976931348623157e308, 3.5e38, np.inf]
# Codes that no training has seen, or that are none.
CODES = [
    *(0.5, 0.999999999, 1.0, 2.7, 31.0, 31.999, 32.0, 33.0, 63.0, 64.0, 65536.0),
    *(2.0**31 - 1, 2.0**31, 2.0**31 + 1, 2.0**32, 2.0**32 + 1, 2.0**40, 2.0**53),
    *(2.0**63, 2.0**64, 1e18),
]
SPECIAL = np.array([*SMALL, *LARGE, *CODES])
SPECIAL = np.unique(np.concatenate([SPECIAL, -SPECIAL, [np.nan]]))
SPECIAL = np.concatenate([SPECIAL, [0.0, -0.0, np.nan]])


def adversarial(
    text: bytes, rows: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """float64 (rows, features): thresholds, their neighbours, categories, specials.

    Each column draws from what the trees of the text compare that column with.
    """
    pools = _pools(text)
    matrix = np.empty((rows, len(pools)))
    for feature, pool in enumerate(pools):
        is_special = random.random(rows) < random.choice([0.1, 0.5])
        matrix[:, feature] = random.choice(pool, rows)
        matrix[is_special, feature] = random.choice(SPECIAL, is_special.sum())
    return matrix


def _pools(text: bytes) -> list[NDArray[np.float64]]:
    """For each feature: its thresholds, the numbers beside them, codes around them."""
    [last] = re.findall(rb"^max_feature_idx=(\d+)$", text, re.MULTILINE)
    pools: list[list[NDArray[np.float64]]] = [[] for _ in range(int(last) + 1)]
    codes = np.zeros(len(pools))
    for tree in text.split(b"\nTree=")[1:]:
        features = _numbers(tree, b"split_feature").astype(int)
        thresholds = _numbers(tree, b"threshold")
        is_categorical = _numbers(tree, b"decision_type").astype(int) & 1 == 1
        sizes = 32 * np.diff(_numbers(tree, b"cat_boundaries"))
        known = sizes[thresholds[is_categorical].astype(int)]
        np.maximum.at(codes, features[is_categorical], known)
        for feature in np.unique(features):
            mine = (features == feature) & ~is_categorical
            pools[feature].append(thresholds[mine])
    for feature in np.flatnonzero(codes):
        pools[feature].append(np.arange(-1.0, codes[feature] + 34))
    return [_with_neighbours(np.concatenate([*pool, [0.0, 1.0]])) for pool in pools]


def _numbers(tree: bytes, key: bytes) -> NDArray[np.float64]:
    found = re.search(rb"^" + key + rb"=(.*)$", tree, re.MULTILINE)
    return np.array(found[1].split() if found else [], np.float64)


def _with_neighbours(pool: NDArray[np.float64]) -> NDArray[np.float64]:
    pool = np.unique(pool)
    with np.errstate(over="ignore", invalid="ignore"):
        single = pool.astype(np.float32)
        beside = [
            np.nextafter(pool, -np.inf),
            np.nextafter(pool, np.inf),
            single.astype(np.float64),
            np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
            pool + 0.5,
            -pool,
        ]
    # Half of what is drawn are the thresholds themselves.
    return np.concatenate([*[pool] * len(beside), *beside])
