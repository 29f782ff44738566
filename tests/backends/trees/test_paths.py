"""The tables of paths say what the trees do, from the root to every leaf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.trees import from_lightgbm
from backends.trees.conditions import Conditions
from backends.trees.ensemble import Ensemble, NotCovered
from backends.trees.explainer import Explainer
from backends.trees.quadrature import rules
from backends.trees.tables import Section, section
from tests.backends.trees import models
from tests.backends.trees.by_definition import counted
from tests.backends.trees.effort import effort
from tests.backends.trees.texts import SHAPES, Text, model_texts

Step = tuple[int, int]


@dataclass(frozen=True)
class Path:
    """To a leaf or a node: steps of a node and the side taken, 1 being right."""

    tree: int
    child: int
    steps: tuple[Step, ...]

    @property
    def is_leaf(self) -> bool:
        return self.child < 0


def walk(ensemble: Ensemble) -> Iterator[Path]:
    """All paths, tree by tree, those above first and from left to right.

    Nodes and leaves are counted over all trees.
    """
    for tree in range(ensemble.trees):
        node, leaf = ensemble.tree_node[tree], ensemble.tree_leaf[tree]
        if ensemble.tree_node[tree + 1] == node:
            yield Path(tree, ~int(leaf), ())
            continue
        waiting = [Path(tree, int(node), ())]
        while waiting:
            path = waiting.pop()
            if path.steps:
                yield path
            if path.is_leaf:
                continue
            for side, children in ((1, ensemble.right), (0, ensemble.left)):
                child = int(children[path.child])
                below = int(node) + child if child >= 0 else ~(int(leaf) + ~child)
                waiting.append(Path(tree, below, (*path.steps, (path.child, side))))


def count_at(ensemble: Ensemble, child: int) -> float:
    assert ensemble.node_count is not None and ensemble.leaf_count is not None
    counts = ensemble.node_count if child >= 0 else ensemble.leaf_count
    return float(counts[child if child >= 0 else ~child])


def share(ensemble: Ensemble, path: Path, feature: int) -> float:
    """Of the rows at nodes that ask the feature those that went on, multiplied."""
    ends = [*[node for node, _ in path.steps[1:]], path.child]
    found = 1.0
    for (node, _), end in zip(path.steps, ends, strict=True):
        if ensemble.feature[node] == feature:
            total = count_at(ensemble, node)
            found *= count_at(ensemble, end) / total if total else 0.0
    return found


def tables_of(ensemble: Ensemble) -> dict[Section, NDArray[Any]]:
    image = Explainer(ensemble).image
    return {which: section(image, which) for which in Section}


def check(ensemble: Ensemble) -> None:
    tables = tables_of(ensemble)
    condition = Conditions(ensemble, np.ones(len(ensemble.feature), bool)).condition

    def test(step: Step) -> int:
        return int(2 * condition[step[0]] + step[1])

    paths = list(walk(ensemble))
    for path in paths:
        if path.is_leaf:
            check_path(ensemble, tables, path, [test(step) for step in path.steps])
    leaves = sum(path.is_leaf for path in paths)
    assert tables[Section.PATH_FIRST].size == leaves + 1
    np.testing.assert_array_equal(tables[Section.PATH_TREE], ensemble.tree_leaf)
    np.testing.assert_array_equal(tables[Section.VALUE], ensemble.value.ravel())
    for tree in range(ensemble.trees):
        edges = [path for path in paths if path.tree == tree and path.steps]
        first = tables[Section.EDGE_FIRST][tree]
        assert tables[Section.EDGE_FIRST][tree + 1] == first + len(edges)
        for number, path in enumerate(edges):
            at = int(first) + number
            assert tables[Section.EDGE_TEST][at] == test(path.steps[-1])
            check_edge(ensemble, tables, edges, number, at)


def check_path(
    ensemble: Ensemble,
    tables: dict[Section, NDArray[Any]],
    path: Path,
    tests: list[int],
) -> None:
    """The elements are the features, each once, and ask what the path asks of them."""
    feature = [int(ensemble.feature[node]) for node, _ in path.steps]
    begin, end = tables[Section.PATH_FIRST][~path.child : ~path.child + 2]
    listed = tables[Section.ELEMENT_FEATURE][begin:end].tolist()
    assert listed == sorted(set(feature))
    for element, its in zip(range(begin, end), listed, strict=True):
        first, after = tables[Section.ELEMENT_TEST][element : element + 2]
        asked = tables[Section.PATH_TEST][first:after].tolist()
        wanted = [t for t, f in zip(tests, feature, strict=True) if f == its]
        assert sorted(asked) == sorted(wanted)
        found = tables[Section.ELEMENT_SHARE][element]
        assert found == pytest.approx(share(ensemble, path, its), rel=1e-12)


def check_edge(
    ensemble: Ensemble,
    tables: dict[Section, NDArray[Any]],
    edges: list[Path],
    number: int,
    at: int,
) -> None:
    """Edges are counted from 1, from left to right, and know those above them."""
    path = edges[number]
    steps = [edge.steps for edge in edges]
    feature = [int(ensemble.feature[node]) for node, _ in path.steps]
    assert tables[Section.EDGE_FEATURE][at] == feature[-1]
    above = path.steps[:-1]
    parent = steps.index(above) + 1 if above else 0
    assert tables[Section.EDGE_PARENT][at] == parent
    same = [k for k in range(len(above)) if feature[k] == feature[-1]]
    up = steps.index(path.steps[: same[-1] + 1]) + 1 if same else 0
    assert tables[Section.EDGE_UP][at] == up
    # Those below follow at once.
    below = sum(each[: len(path.steps)] == path.steps for each in steps)
    assert tables[Section.EDGE_SKIP][at] == number + 1 + below
    leaf = ~path.child if path.is_leaf else -1
    assert tables[Section.EDGE_LEAF][at] == leaf
    wanted = share(ensemble, path, feature[-1])
    assert tables[Section.EDGE_SHARE][at] == pytest.approx(wanted, rel=1e-12)


@effort(25)
@given(model_texts(leaves=33, trees=4), st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_tables_say_what_the_trees_do(made: Text, seed: int, least: int) -> None:
    note(repr(made))
    check(counted(from_lightgbm.read(made.build()), seed, least=least))


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_any_shape_has_its_paths(shape: str) -> None:
    text = Text(3, features=4, shapes=[shape], leaves=[60, 1, 2], categorical=0.3)
    check(counted(from_lightgbm.read(text.build()), 3, least=1))


@pytest.mark.parametrize("kind", ["multiclass", "constant trees", "forced splits"])
def test_trained_trees_have_their_paths(kind: str) -> None:
    check(from_lightgbm.read(models.trained(kind).text))


def test_shares_of_what_was_not_counted_are_nothing() -> None:
    ensemble = from_lightgbm.read(Text(3, leaves=[9]).build())
    uncounted = replace(ensemble, node_count=None)
    tables = tables_of(uncounted)
    assert not tables[Section.ELEMENT_SHARE].any()
    assert not tables[Section.EDGE_SHARE].any()
    assert not tables[Section.EXPECTED].size


def test_expected_is_the_mean_of_leaves_by_their_rows() -> None:
    ensemble = counted(
        from_lightgbm.read(Text(3, classes=2, objective="", leaves=[9, 1]).build()),
        *(3,),
        least=1,
    )
    assert ensemble.leaf_count is not None
    mean = np.average(ensemble.value[:9], weights=ensemble.leaf_count[:9])
    found = tables_of(ensemble)[Section.EXPECTED]
    assert found.tolist() == pytest.approx([mean, ensemble.value[9]])


def test_nodes_that_no_row_reaches_are_not_covered() -> None:
    ensemble = from_lightgbm.read(Text(3, leaves=[5]).build())
    # The root leads to leaves only.
    alone = replace(ensemble, left=ensemble.left.copy(), right=ensemble.right.copy())
    alone.left[0], alone.right[0] = -1, -2
    with pytest.raises(NotCovered, match="no row reaches"):
        Explainer(alone)


@pytest.mark.parametrize("elements", [1, 2, 7, 16, 17, 40])
def test_rules_are_exact_for_their_elements(elements: int) -> None:
    points, weights = rules(elements)
    last = (elements - 1) >> 1
    assert points.shape == weights.shape and points.shape[1] % 8 == 0
    for power in range(elements):
        found = (weights[last] * points[last] ** power).sum()
        assert found == pytest.approx(1 / (power + 1), rel=1e-13)
    assert ((points > 0) & (points < 1)).all()
