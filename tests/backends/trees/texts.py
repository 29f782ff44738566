"""LightGBM model texts that no training would write, and that the library loads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.backends.trees.rows import SMALL

THRESHOLDS = np.array([*SMALL, *(-value for value in SMALL), np.inf, -np.inf, 1e300])
THRESHOLDS = np.concatenate([THRESHOLDS, [0.1, 0.25, 1.0, 1.5, 2.0, -1.0, -7.25]])
CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING = (0, 4, 8)
EDGES = [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 96, 97, 128, 129, 255, 256, 257]

OBJECTIVES = {
    1: ["regression", "regression sqrt", "binary sigmoid:1", "binary sigmoid:0.37"]
    + ["poisson", "cross_entropy", "cross_entropy_lambda", ""],
    2: ["multiclass num_class:2", "multiclassova num_class:2 sigmoid:1.5", ""],
    3: ["multiclass num_class:3", "multiclassova num_class:3 sigmoid:0.2", ""],
    7: ["multiclass num_class:7", ""],
}


@dataclass(frozen=True)
class Text:
    """What a model text is made of; all that is not said here the seed decides.

    shapes: of the trees, in turns. leaves: of each tree, class by class.
    categorical: share of splits that are so. words: at most so many in a set.
    pool: how many different thresholds there are, beside those of THRESHOLDS.
    tame: leaves of about the same size, as of a trained model; else of any.
    """

    seed: int
    features: int = 3
    classes: int = 1
    objective: str = "regression"
    is_averaged: bool = False
    shapes: Sequence[str] = ("random",)
    leaves: Sequence[int] = (4,)
    categorical: float = 0.0
    words: int = 2
    missing: Sequence[int] = MISSING
    pool: int = 0
    tame: bool = True

    def build(self) -> bytes:
        random = np.random.default_rng(self.seed)
        thresholds = np.concatenate([THRESHOLDS, random.normal(size=self.pool)])
        trees = [
            self._tree(number, leaves, thresholds, random)
            for number, leaves in enumerate(self.leaves)
        ]
        return text_of(
            trees,
            features=self.features,
            classes=self.classes,
            objective=self.objective,
            is_averaged=self.is_averaged,
        )

    def _tree(
        self,
        number: int,
        leaves: int,
        thresholds: NDArray[np.float64],
        random: np.random.Generator,
    ) -> Mapping[str, Any]:
        value = random.normal(size=leaves)
        if not self.tame:
            value *= 10.0 ** random.integers(-330, 290, leaves)
            value[random.random(leaves) < 0.1] = -0.0
        if leaves == 1:
            return {"num_leaves": 1, "num_cat": 0, "leaf_value": value}
        nodes = leaves - 1
        left, right = SHAPES[self.shapes[number % len(self.shapes)]](leaves, random)
        threshold = random.choice(thresholds, nodes)
        kind = random.choice(self.missing, nodes)
        kind = kind | DEFAULT_LEFT * random.integers(0, 2, nodes)
        is_categorical = random.random(nodes) < self.categorical
        kind[is_categorical] |= CATEGORICAL
        sets = [_words(self.words, random) for _ in range(is_categorical.sum())]
        # Now and then two splits share a set.
        threshold[is_categorical] = random.permutation(len(sets))
        threshold[is_categorical & (random.random(nodes) < 0.1)] = 0
        tree = {
            "num_leaves": leaves,
            "num_cat": len(sets),
            "split_feature": random.integers(0, self.features, nodes),
            "split_gain": np.ones(nodes),
            "threshold": threshold,
            "decision_type": kind,
            "left_child": left,
            "right_child": right,
            "leaf_value": value,
            "leaf_weight": np.ones(leaves),
            "leaf_count": np.ones(leaves, int),
            "internal_value": np.zeros(nodes),
            "internal_weight": np.ones(nodes),
            "internal_count": np.ones(nodes, int),
        }
        if sets:
            tree["cat_boundaries"] = np.cumsum([0, *map(len, sets)])
            tree["cat_threshold"] = np.concatenate(sets)
        return tree


def text_of(
    trees: Sequence[Mapping[str, Any]],
    *,
    features: int,
    classes: int = 1,
    objective: str = "regression",
    is_averaged: bool = False,
) -> bytes:
    """A model text of trees; each is what stands in its lines, by key."""
    written = [
        f"Tree={number}\n{_lines(tree)}is_linear=0\nshrinkage=1\n\n\n"
        for number, tree in enumerate(trees)
    ]
    head = {
        "version": "v4",
        "num_class": classes,
        "num_tree_per_iteration": classes,
        "label_index": 0,
        "max_feature_idx": features - 1,
        **({"objective": objective} if objective else {}),
    }
    names = {
        "feature_names": " ".join(f"Column_{i}" for i in range(features)),
        "feature_infos": " ".join(["[-1:1]"] * features),
        "tree_sizes": " ".join(str(len(tree)) for tree in written),
    }
    average = "average_output\n" if is_averaged else ""
    lines = f"tree\n{_lines(head)}{average}{_lines(names)}\n"
    tail = "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"
    return f"{lines}{''.join(written)}{tail}\npandas_categorical:null\n".encode()


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key}={_spelled(value)}\n" for key, value in values.items())


def _spelled(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return " ".join(map(repr, value.tolist()))
    return str(value)


def _words(most: int, random: np.random.Generator) -> NDArray[np.uint32]:
    """A set of categories: empty, sparse, dense or full, of up to so many words."""
    words = random.integers(0, 2**32, random.integers(0, most + 1), dtype=np.uint32)
    sparse = np.uint32(1) << random.integers(0, 32, len(words)).astype(np.uint32)
    full, none = np.full_like(words, 2**32 - 1), np.zeros_like(words)
    return [words, sparse, ~sparse, full, none][random.integers(5)]


Children = tuple[NDArray[np.int64], NDArray[np.int64]]


def _grown(leaves: int, pick: Callable[[int], int]) -> Children:
    """Split leaves one after the other, as training numbers nodes and leaves.

    pick: of so many leaves the one to split.
    """
    left, right = np.empty(leaves - 1, int), np.empty(leaves - 1, int)
    above: list[tuple[NDArray[np.int64], int] | None] = [None]
    for node in range(leaves - 1):
        leaf = pick(node + 1)
        parent = above[leaf]
        if parent is not None:
            parent[0][parent[1]] = node
        left[node], right[node] = ~leaf, ~(node + 1)
        above[leaf] = left, node
        above.append((right, node))
    return left, right


def _random(leaves: int, random: np.random.Generator) -> Children:
    return _grown(leaves, lambda count: int(random.integers(count)))


def _to_the_left(leaves: int, random: np.random.Generator) -> Children:
    return _grown(leaves, lambda count: 0)


def _to_the_right(leaves: int, random: np.random.Generator) -> Children:
    return _grown(leaves, lambda count: count - 1)


def _zigzag(leaves: int, random: np.random.Generator) -> Children:
    return _grown(leaves, lambda count: count - 1 - (count > 1 and count % 2))


def _balanced(leaves: int, random: np.random.Generator) -> Children:
    queue = deque([0])

    def pick(count: int) -> int:
        leaf = queue.popleft()
        queue.extend([leaf, count])
        return leaf

    return _grown(leaves, pick)


def _shuffled(leaves: int, random: np.random.Generator) -> Children:
    """A random tree whose nodes, but for the root, and leaves have any number."""
    left, right = _random(leaves, random)
    nodes = np.concatenate([[0], 1 + random.permutation(leaves - 2)])
    ends = random.permutation(leaves)
    moved = []
    for children in (left, right):
        is_node = children >= 0
        renamed = np.where(
            is_node, nodes[children * is_node], ~ends[~children * ~is_node]
        )
        moved.append(np.empty_like(renamed))
        moved[-1][nodes] = renamed
    return moved[0], moved[1]


SHAPES: Mapping[str, Callable[[int, np.random.Generator], Children]] = {
    "random": _random,
    "balanced": _balanced,
    "to the left": _to_the_left,
    "to the right": _to_the_right,
    "zigzag": _zigzag,
    "shuffled": _shuffled,
}


@st.composite
def model_texts(draw: st.DrawFn, *, leaves: int = 300, trees: int = 6) -> Text:
    """Texts of small models, of any mixture of what the format knows."""
    classes = draw(st.sampled_from([1, 1, 1, *OBJECTIVES]))
    rounds = draw(st.integers(1, max(1, trees // classes)))
    sizes = st.integers(1, 20) | st.sampled_from([e for e in EDGES if e <= leaves])
    sizes |= st.integers(1, leaves)
    return Text(
        seed=draw(st.integers(0, 2**32 - 1)),
        features=draw(st.integers(1, 6)),
        classes=classes,
        objective=draw(st.sampled_from(OBJECTIVES[classes])),
        is_averaged=draw(st.booleans()),
        shapes=draw(st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=4)),
        leaves=draw(
            st.lists(sizes, min_size=rounds * classes, max_size=rounds * classes)
        ),
        categorical=draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])),
        words=draw(st.sampled_from([0, 1, 2, 3, 8, 40])),
        missing=draw(st.sampled_from([*((kind,) for kind in MISSING), MISSING])),
        pool=draw(st.sampled_from([0, 0, 20, 400, 3000])),
        tame=draw(st.sampled_from([True, True, False])),
    )
