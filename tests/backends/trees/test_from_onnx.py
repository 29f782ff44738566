"""What is read of an ONNX file answers what onnxruntime answers, or is not read."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from backends.base import ModelFileRejected
from backends.trees.engine import Engine
from backends.trees.ensemble import Ensemble, NotCovered
from tests.backends.trees import graphs, reference
from tests.backends.trees.effort import effort, times_effort
from tests.backends.trees.equality import assert_same_bits
from tests.backends.trees.graphs import Served, listed, of_trees, stump

Floats = NDArray[np.float64]

# onnxruntime's Exp and Sigmoid are approximations of its own, unlike what its trees
# compute with the C library's expf. Exp is off by a unit in the last place or two, and
# so is what it is multiplied with; Sigmoid by as much as it would be around one half.
UNITS = {"float_exp": 3}
SIGMOID = 1.2e-7


def assert_same_answers(served: Served, ensemble: Ensemble, matrix: Floats) -> None:
    """Engine and reference add up the same; onnxruntime answers the same bits."""
    engine = Engine(ensemble)
    sums = engine.score(matrix, raw=True)
    assert_same_bits(sums, reference.sums(ensemble, matrix), matrix)
    found, wanted = engine.score(matrix), served.answers(matrix)
    name = ensemble.transform.name
    if name in UNITS:
        assert_near(found, wanted, units=UNITS[name])
    elif any(node.op_type == "Sigmoid" for node in onnx.load(served.path).graph.node):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=SIGMOID)
    elif name == "softmax":
        # In float64, and not rounded to float32 at the end.
        assert_near(found, wanted, units=1)
    else:
        assert_same_bits(found, wanted, matrix)


def assert_near(found: Floats, wanted: Floats, *, units: int) -> None:
    """The same but for so many units in the last place of float32."""
    assert found.shape == wanted.shape
    with np.errstate(invalid="ignore"):
        is_near = np.abs(found - wanted) <= units * np.spacing(
            np.abs(wanted).astype(np.float32)
        )
    assert (is_near | (found == wanted) | (np.isnan(found) & np.isnan(wanted))).all()


def check(graph: Any, folder: Path, count: int = 60) -> Ensemble:
    """Read a graph and compare the answers to rows made for it."""
    served = Served(graph, folder)
    ensemble = served.read()
    matrix = graphs.rows(ensemble, times_effort(count))
    if graph.graph.input[0].type.tensor_type.elem_type in (6, 7):
        # Other numbers would be refused.
        with np.errstate(invalid="ignore"):
            matrix = np.trunc(np.clip(np.nan_to_num(matrix), -(2**31) + 1, 2**31 - 1))
    assert_same_answers(served, ensemble, matrix)
    return ensemble


def refusal(graph: Any, folder: Path) -> str:
    with pytest.raises(NotCovered) as caught:
        Served(graph, folder).read()
    return str(caught.value)


@pytest.mark.parametrize("name", graphs.RECIPES)
def test_converted_models_answer_what_onnxruntime_does(
    name: str, tmp_path: Path
) -> None:
    check(graphs.converted(name), tmp_path, 300)


def test_one_row_is_answered_as_many_are(tmp_path: Path) -> None:
    served = Served(graphs.converted("lightgbm multiclass sets"), tmp_path)
    ensemble = served.read()
    matrix = graphs.rows(ensemble, 30)
    engine = Engine(ensemble)
    singly = np.concatenate([engine.score(matrix[k : k + 1]) for k in range(30)])
    assert_same_bits(singly, served.answers(matrix), matrix)


def test_chains_of_equals_become_the_sets_they_were(tmp_path: Path) -> None:
    ensemble = Served(graphs.converted("lightgbm regression sets"), tmp_path).read()
    assert (np.diff(ensemble.tree_leaf) == np.diff(ensemble.tree_node) + 1).all()
    assert np.diff(ensemble.tree_leaf).max() == 15
    sets = np.diff(ensemble.set_word)
    assert len(sets) > 10 and sets.max() > 1


# Nodes

MODES = [f"BRANCH_{each}" for each in ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ")]
VALUES = [-3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 0.5, 1.0, 30.0, 31.0, 3.4e38]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nan", [0, 1])
def test_every_mode_compares_as_onnxruntime(
    mode: str, nan: int, tmp_path: Path
) -> None:
    is_equal = mode in ("BRANCH_EQ", "BRANCH_NEQ")
    if mode == "BRANCH_EQ" and nan:
        pytest.skip("not covered")
    values = [
        each for each in VALUES if not is_equal or 0 <= each < 99 and each % 1 == 0
    ]
    forest = [
        stump(mode, value, adds=(((k, 1.0),), ((k, 2.0),)), nan=nan)
        for k, value in enumerate(values)
    ]
    attributes = listed(forest) | {"n_targets": len(values)}
    check(of_trees("TreeEnsembleRegressor", columns=1, **attributes), tmp_path, 200)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"mode": "BRANCH_EQ", "value": 2.5}, "a number that is not a category"),
        ({"mode": "BRANCH_EQ", "value": -1.0}, "a number that is not a category"),
        ({"mode": "BRANCH_EQ", "value": 1e9}, "a number that is not a category"),
        ({"mode": "BRANCH_EQ", "value": np.nan}, "a number that is not a category"),
        ({"mode": "BRANCH_EQ", "nan": 1}, "missing value for a member"),
        ({"mode": "BRANCH_LEQ", "value": np.nan}, "nothing is less than"),
        ({"mode": "BRANCH_LT", "value": -np.inf}, "nothing is less than"),
        ({"mode": "BRANCH_GTE", "value": -np.inf}, "nothing is less than"),
        ({"mode": "BRANCH_GUESS"}, "the modes of its nodes"),
        ({"column": 4}, "the columns that its nodes take"),
        ({"column": -1}, "the columns that its nodes take"),
    ],
)
def test_other_nodes_are_not_covered(
    node: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    attributes = listed([stump(**node)])
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **attributes)
    assert reason in refusal(graph, tmp_path)


def linked(
    modes: Sequence[int], splits: Sequence[float], **attributes: Any
) -> dict[str, Any]:
    """Nodes of ai.onnx.ml 5 in a row: each adds 1 if true, the last -1 if false."""
    count = len(modes)
    return {
        "nodes_modes": numpy_helper.from_array(np.array(modes, np.uint8)),
        "nodes_splits": graphs.single(splits),
        "nodes_featureids": [0] * count,
        "nodes_truenodeids": list(range(count)),
        "nodes_trueleafs": [1] * count,
        "nodes_falsenodeids": [*range(1, count), count],
        "nodes_falseleafs": [0] * (count - 1) + [1],
        "leaf_targetids": [0] * (count + 1),
        "leaf_weights": graphs.single([*np.arange(1.0, count + 1), -1.0]),
        "tree_roots": [0],
        "n_targets": 1,
        **attributes,
    }


@pytest.mark.parametrize(
    "members",
    [
        [[1, 2, 3]],
        [[0, 30]],
        [[0]],
        [list(range(30))],
        # From here on onnxruntime looks values up without their fractions.
        [[0, 31]],
        [list(range(31))],
        [[40, 2], [1000, 0, 77]],
        [list(range(0, 5000, 3))],
    ],
)
def test_sets_have_the_members_that_onnxruntime_finds(
    members: list[list[float]], tmp_path: Path
) -> None:
    values = [each for one in members for each in [*one, np.nan]]
    attributes = linked([6] * len(members), [0.0] * len(members))
    attributes["membership_values"] = graphs.single(values)
    check(of_trees("TreeEnsemble", columns=1, **attributes), tmp_path, 300)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, np.nan, 40.0], "small sets"),
        ([1.0, np.nan], "its sets of members"),
        ([1.0, np.nan, np.nan, 2.0], "its sets of members"),
        ([1.0, np.nan, 2.0, np.nan, 3.0], "its sets of members"),
        ([1.5, np.nan, 2.0], "not a category"),
        ([], "its sets of members"),
    ],
)
def test_other_sets_are_not_covered(
    values: list[float], reason: str, tmp_path: Path
) -> None:
    attributes = linked([6, 6], [0.0, 0.0], membership_values=graphs.single(values))
    graph = of_trees("TreeEnsemble", columns=1, **attributes)
    assert reason in refusal(graph, tmp_path)


def test_small_sets_beside_equals_are_covered(tmp_path: Path) -> None:
    attributes = linked([6, 4, 5, 0], [0.0, 7.0, 8.0, 9.5])
    attributes["membership_values"] = graphs.single([1.0, 2.0])
    check(of_trees("TreeEnsemble", columns=1, **attributes), tmp_path, 200)


def test_a_tree_may_be_a_leaf(tmp_path: Path) -> None:
    attributes = linked([0], [0.0])
    attributes |= {"nodes_falsenodeids": [0], "leaf_targetids": [0]}
    attributes["leaf_weights"] = graphs.single([7.0])
    check(of_trees("TreeEnsemble", columns=1, **attributes), tmp_path)


def test_a_listed_tree_may_be_a_leaf(tmp_path: Path) -> None:
    forest = [[{"adds": ((0, 3.0),)}], stump(), [{"adds": ((0, -1.0),)}]]
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **listed(forest))
    ensemble = check(graph, tmp_path)
    assert np.diff(ensemble.tree_node).tolist() == [0, 1, 0]


# Sums and answers

POSTS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]


def sums_forest(
    classes: Sequence[Sequence[int]], *, positive: bool = False
) -> list[list[dict[str, Any]]]:
    """Stumps whose leaves add to these sums, one after the other."""
    random = np.random.default_rng(graphs.SEED)
    forest = []
    for tree in range(5):
        weights = random.normal(size=(2, 9)).astype(np.float32).astype(float)
        weights = abs(weights) if positive else weights
        of_tree = classes[tree % len(classes)]
        adds = [
            tuple((k, float(weight)) for k, weight in zip(of_tree, side, strict=False))
            for side in weights
        ]
        forest.append(stump(value=float(tree - 2), adds=adds, column=tree % 4))
    return forest


@pytest.mark.parametrize("post", POSTS)
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
@pytest.mark.parametrize(
    ("classes", "base"),
    [
        ([[0]], []),
        ([[0]], [0.3]),
        ([[0], [1], [2]], []),
        ([[0, 1, 2]], [0.1, -2.0, 3.0]),
        ([[0, 1], [2]], [0.1, -2.0, 3.0]),
        ([[0], [2]], [0.1, 5.0, 3.0]),
    ],
)
def test_regressors_answer_what_onnxruntime_does(
    post: str,
    aggregate: str,
    classes: list[list[int]],
    base: list[float],
    tmp_path: Path,
) -> None:
    attributes = listed(sums_forest(classes)) | {
        "n_targets": 1 if classes == [[0]] else 3,
        "post_transform": post,
        "aggregate_function": aggregate,
        "base_values": base,
    }
    if not base:
        del attributes["base_values"]
    check(of_trees("TreeEnsembleRegressor", **attributes), tmp_path)


@pytest.mark.parametrize("post", POSTS)
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    ("labels", "classes", "base"),
    [
        (2, [[0]], []),
        (2, [[0]], [-0.3]),
        (2, [[1]], []),
        (2, [[0, 1]], []),
        (2, [[0, 1]], [0.7]),
        (2, [[0], [1]], []),
        (3, [[0], [1], [2]], []),
        (3, [[0, 1, 2]], [0.1, -2.0, 3.0]),
        (3, [[0], [2]], [0.1, -2.0, 3.0]),
        (5, [[0], [1, 2, 4], [3]], [0.1, -2.0, 3.0, 0.0, 1.0]),
    ],
)
def test_classifiers_answer_what_onnxruntime_does(
    post: str,
    positive: bool,
    labels: int,
    classes: list[list[int]],
    base: list[float],
    tmp_path: Path,
) -> None:
    attributes = listed(sums_forest(classes, positive=positive), "class") | {
        "classlabels_int64s": list(range(labels)),
        "post_transform": post,
    }
    if base:
        attributes["base_values"] = base
    check(of_trees("TreeEnsembleClassifier", **attributes), tmp_path)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("aggregate", [0, 1])
def test_numbered_transforms_are_those_of_onnxruntime(
    number: int, aggregate: int, tmp_path: Path
) -> None:
    """The standard has SOFTMAX as 1 and LOGISTIC as 2."""
    attributes = linked(
        [0, 3, 2], [0.5, 1.0, 0.1], post_transform=number, aggregate_function=aggregate
    )
    attributes |= {"leaf_targetids": [0, 1, 2, 0], "n_targets": 3}
    check(of_trees("TreeEnsemble", columns=1, **attributes), tmp_path)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_numbers_may_lie_in_tensors(kind: int, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    attributes = listed(sums_forest([[0]])) | {"n_targets": 1, "base_values": [0.1]}
    for name in ("nodes_values", "target_weights", "base_values"):
        values = np.array(attributes.pop(name), dtype) / 3
        attributes[f"{name}_as_tensor"] = numpy_helper.from_array(values)
    graph = of_trees("TreeEnsembleRegressor", kind=kind, **attributes)
    ensemble = check(graph, tmp_path, 200)
    assert ensemble.single == (kind == TensorProto.FLOAT)


def test_whole_numbers_are_compared_as_float32(tmp_path: Path) -> None:
    forest = [
        stump(value=16777216.0),
        stump("BRANCH_GT", 2.0),
        stump("BRANCH_LT", 2.0**31),
        stump("BRANCH_EQ", 1.0),
        stump("BRANCH_NEQ", 16777216.0 / 32),
    ]
    attributes = listed(forest, "class") | {"classlabels_int64s": [0, 1]}
    graph = of_trees("TreeEnsembleClassifier", kind=TensorProto.INT64, **attributes)
    check(graph, tmp_path, 300)


def with_base(classes: Sequence[Sequence[int]], **more: Any) -> Any:
    attributes = listed(sums_forest(classes), "class")
    attributes |= {"classlabels_int64s": [0, 1]} | more
    return of_trees("TreeEnsembleClassifier", **attributes)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        # Rows that do not fit such an input are refused where the graph is run.
        (
            of_trees(
                "TreeEnsembleClassifier",
                kind=TensorProto.INT32,
                **listed([stump()], "class") | {"classlabels_int64s": [0, 1]},
            ),
            "int32",
        ),
        # onnxruntime adds nothing to a sum that no leaf of a row has added to.
        (
            of_trees(
                "TreeEnsembleRegressor",
                n_targets=2,
                base_values=[1.0, 1.0],
                **listed([stump(adds=(((0, 1.0),), ((1, 1.0),)))]),
            ),
            "no value of a sum",
        ),
        # It forgets what the trees added to the second of two classes.
        (with_base([[0, 1]], base_values=[0.5, 0.5]), "each of two classes"),
        (with_base([[0]], base_values=[0.5, 0.5]), "each of two classes"),
        (with_base([[0]], classlabels_int64s=[7]), "one class only"),
        (with_base([[0]], post_transform="PROBIT"), "PROBIT"),
        (
            of_trees(
                "TreeEnsembleClassifier",
                classlabels_int64s=[0, 1],
                **listed([stump(adds=(((0, 1.0),), ((1, 1.0),)))], "class"),
            ),
            "no value of the second class",
        ),
        (
            of_trees(
                "TreeEnsembleRegressor",
                n_targets=1,
                aggregate_function="MAX",
                **listed([stump()]),
            ),
            "not added up but MAX",
        ),
        (
            of_trees(
                "TreeEnsembleRegressor",
                n_targets=1,
                **listed([stump(adds=(((0, 1.0), (0, 2.0)), ()))]),
            ),
            "add to a sum twice",
        ),
        # It takes the node's threshold for the value.
        (
            of_trees(
                "TreeEnsembleRegressor",
                n_targets=1,
                **listed([stump(adds=(((0, 1.0),), ()))]),
            ),
            "leaves without a value",
        ),
        (
            of_trees("TreeEnsembleRegressor", n_targets=10**9, **listed([stump()])),
            "answer 1000000000 values",
        ),
    ],
)
def test_what_onnxruntime_adds_up_otherwise_is_not_covered(
    graph: Any, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(graph, tmp_path)


# The graph around the trees


def regressor(**more: Any) -> Any:
    forest = [stump(value=k / 3 - 1, column=k) for k in range(graphs.COLUMNS)]
    forest.append(stump("BRANCH_GT", 1.5, adds=(((0, 0.25),), ((0, -4.0),)), column=2))
    return graphs.trees("TreeEnsembleRegressor", n_targets=1, **(listed(forest) | more))


def before(
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, list[int | None]]],
    weights: dict[str, NDArray[Any]] | None = None,
) -> Any:
    return graphs.graph([*nodes, regressor(taken="T")], inputs, weights=weights)


FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
node = helper.make_node


@pytest.mark.parametrize(
    "graph",
    [
        before([node("Identity", ["X"], ["T"])], {"X": (FLOAT, [None, 4])}),
        before([node("Cast", ["X"], ["T"], to=FLOAT)], {"X": (DOUBLE, [None, 4])}),
        before(
            [
                node("Cast", ["X"], ["D"], to=DOUBLE),
                node("Cast", ["D"], ["T"], to=FLOAT),
            ],
            {"X": (FLOAT, [None, 4])},
        ),
        before(
            [
                node("Cast", ["d"], ["e"], to=FLOAT),
                node("Concat", ["c", "a"], ["f"], axis=1),
                node("Concat", ["f", "e", "b"], ["T"], axis=-1),
            ],
            {
                "a": (FLOAT, [None, 1]),
                "b": (FLOAT, [None, 1]),
                "c": (FLOAT, [None, 1]),
                "d": (DOUBLE, [None, 1]),
            },
        ),
        before(
            [node("Gather", ["X", "places"], ["T"], axis=1)],
            {"X": (FLOAT, [None, 3])},
            {"places": np.array([2, 0, 0, 1])},
        ),
        before(
            [
                helper.make_node(
                    "ArrayFeatureExtractor",
                    ["X", "places"],
                    ["T"],
                    domain="ai.onnx.ml",
                )
            ],
            {"X": (FLOAT, [None, 6])},
            {"places": np.array([[5, 0, 1, 1]])},
        ),
        before(
            [
                helper.make_node(
                    "FeatureVectorizer",
                    ["a", "b"],
                    ["T"],
                    domain="ai.onnx.ml",
                    inputdimensions=[3, 1],
                )
            ],
            {"a": (FLOAT, [None, 3]), "b": (FLOAT, [None, 1])},
        ),
        before(
            [
                node("Reshape", ["a", "shape"], ["column"]),
                node("Concat", ["b", "column"], ["T"], axis=1),
            ],
            {"a": (FLOAT, [None]), "b": (FLOAT, [None, 3])},
            {"shape": np.array([-1, 1])},
        ),
    ],
)
def test_inputs_may_be_arranged_before_the_trees(graph: Any, tmp_path: Path) -> None:
    check(graph, tmp_path)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            before(
                [node("Mul", ["X", "two"], ["T"])],
                {"X": (FLOAT, [None, 4])},
                {"two": np.array([2.0], np.float32)},
            ),
            "computes with its inputs before the trees (operator Mul)",
        ),
        (
            before([node("Cast", ["X"], ["T"], to=INT64)], {"X": (FLOAT, [None, 4])}),
            "(operator Cast)",
        ),
        (
            before([node("Cast", ["X"], ["T"], to=DOUBLE)], {"X": (FLOAT, [None, 4])}),
            "were float32 before",
        ),
        (
            before(
                [node("Concat", ["X", "X"], ["T"], axis=0)], {"X": (FLOAT, [None, 4])}
            ),
            "(operator Concat)",
        ),
        (
            before(
                [node("Gather", ["X", "places"], ["T"], axis=1)],
                {"X": (FLOAT, [None, 4])},
                {"places": np.array([-1, 0])},
            ),
            "(operator Gather)",
        ),
        (before([], {"T": (TensorProto.STRING, [None, 4])}), "takes texts"),
        (before([], {"T": (FLOAT, [None, 3, 4])}), "no tables"),
        (before([], {"X": (FLOAT, [None, 4])}), "no table of the graph's inputs"),
        (before([], {"T": (FLOAT, [None, 2**40])}), ""),
    ],
)
def test_what_computes_with_inputs_is_not_covered(
    graph: Any, reason: str, tmp_path: Path
) -> None:
    served = Served(before([], {"X": (FLOAT, [None, 4])}), tmp_path)
    served.path.write_bytes(graph.SerializeToString())
    with pytest.raises(NotCovered) as caught:
        served.read()
    assert reason in str(caught.value)


def test_doubled_columns_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    names = ["X", *(f"X{k}" for k in range(40)), "T"]
    doubling = [
        node("Concat", [first, first], [second], axis=1)
        for first, second in itertools.pairwise(names)
    ]
    graph = before(doubling, {"X": (FLOAT, [None, 4])})
    assert "repeats its inputs" in refusal(graph, tmp_path)


def after(
    nodes: Sequence[Any], weights: dict[str, NDArray[Any]] | None = None, **more: Any
) -> Any:
    """A regressor and nodes that make Y of its answer P."""
    return graphs.graph(
        [regressor(made="P", **more), *nodes], {"X": (FLOAT, [None, 4])}, "Y", weights
    )


def constant(value: float) -> NDArray[np.float32]:
    return np.array([value], np.float32)


PAIR = [
    node("Sub", ["one", "p"], ["q"]),
    node("Concat", ["q", "p"], ["Y"], axis=1),
]


@pytest.mark.parametrize(
    ("graph", "transform"),
    [
        (after([node("Identity", ["P"], ["Y"])]), "identity"),
        (after([node("Cast", ["P"], ["Y"], to=FLOAT)]), "identity"),
        (
            after([node("Reshape", ["P", "s"], ["Y"])], {"s": np.array([-1])}),
            "identity",
        ),
        (
            after([node("Div", ["P", "n"], ["Y"])], {"n": constant(5.0)}),
            "identity",
        ),
        (
            after(
                [node("Div", ["P", "n"], ["D"]), node("Add", ["b", "D"], ["Y"])],
                {"n": constant(3.0), "b": constant(0.1)},
            ),
            "identity",
        ),
        (after([node("Mul", ["P", "n"], ["Y"])], {"n": constant(1.0)}), "identity"),
        (after([node("Mul", ["n", "P"], ["Y"])], {"n": constant(0.3)}), "float_scale"),
        (after([node("Exp", ["P"], ["Y"])]), "float_exp"),
        (
            after(
                [node("Exp", ["P"], ["E"]), node("Mul", ["E", "n"], ["Y"])],
                {"n": constant(0.3)},
            ),
            "float_exp",
        ),
        (after([node("Sigmoid", ["P"], ["Y"])]), "float_logistic"),
        (
            after(
                [node("Mul", ["P", "n"], ["E"]), node("Sigmoid", ["E"], ["Y"])],
                {"n": constant(1.7)},
            ),
            "float_logistic",
        ),
        (
            after([node("Identity", ["P"], ["p"]), *PAIR], {"one": constant(1.0)}),
            "float_complements",
        ),
        (
            after([node("Sigmoid", ["P"], ["p"]), *PAIR], {"one": constant(1.0)}),
            "float_logistic_complements",
        ),
    ],
)
def test_what_follows_the_trees_becomes_a_transform(
    graph: Any, transform: str, tmp_path: Path
) -> None:
    assert check(graph, tmp_path).transform.name == transform


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (after([node("Tanh", ["P"], ["Y"])]), "operator Tanh"),
        (
            after([node("Exp", ["P"], ["E"]), node("Exp", ["E"], ["Y"])]),
            "operator Exp",
        ),
        (
            after(
                [node("Add", ["P", "b"], ["Y"])], {"b": constant(1)}, base_values=[1.0]
            ),
            "operator Add",
        ),
        (after([node("Add", ["P", "P"], ["Y"])]), "does more than its trees: Add"),
        (
            after([node("Mul", ["P", "n"], ["Y"])], {"n": np.ones((4, 1), np.float32)}),
            "operator Mul",
        ),
        (
            after([node("Concat", ["P", "P"], ["Y"], axis=1)]),
            "does more than its trees: Concat",
        ),
        (
            after([node("Identity", ["P"], ["p"]), *PAIR], {"one": constant(2.0)}),
            "operator",
        ),
        (
            graphs.graph([node("Identity", ["X"], ["Y"])], {"X": (FLOAT, [None, 4])}),
            "has no trees",
        ),
    ],
)
def test_other_nodes_after_the_trees_are_not_covered(
    graph: Any, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(graph, tmp_path)


def test_several_tree_operators_are_not_covered(tmp_path: Path) -> None:
    graph = graphs.graph(
        [regressor(made="P"), regressor(made="Q"), node("Sum", ["P", "Q"], ["Y"])],
        {"X": (FLOAT, [None, 4])},
    )
    assert "does more than its trees: Sum" in refusal(graph, tmp_path)


def test_labels_are_no_answer(tmp_path: Path) -> None:
    attributes = listed(sums_forest([[0]]), "class")
    graph = of_trees("TreeEnsembleClassifier", classlabels_int64s=[0, 1], **attributes)
    graph.graph.output[0].name = "label"
    assert "labels" in refusal(graph, tmp_path)


# Files that nobody trained


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("nodes_truenodeids", 0, 0),
        ("nodes_truenodeids", 0, 2),
        ("nodes_truenodeids", 0, 9),
        ("nodes_falsenodeids", 0, -1),
        ("nodes_nodeids", 1, 2),
        ("nodes_nodeids", 1, 2**40),
        ("nodes_treeids", 2, 1),
        ("nodes_treeids", 5, 0),
        ("target_treeids", 0, 7),
        ("target_nodeids", 0, 7),
        ("target_ids", 0, 1),
        ("target_ids", 0, -1),
    ],
)
def test_damaged_lists_are_not_covered(
    name: str, place: int, value: int, tmp_path: Path
) -> None:
    attributes = listed([stump(), stump()])
    attributes[name][place] = value
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **attributes)
    assert "not consistent" in refusal(graph, tmp_path)


@pytest.mark.parametrize("name", sorted(listed([])))
def test_lists_of_another_length_are_not_covered(name: str, tmp_path: Path) -> None:
    attributes = listed([stump(), stump()])
    attributes[name] = attributes[name][:-1]
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **attributes)
    assert refusal(graph, tmp_path)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_EQ"])
def test_nodes_that_lead_to_themselves_are_not_covered(
    mode: str, tmp_path: Path
) -> None:
    loop = [{"mode": mode, "true": 5, "false": k, "value": 1.0} for k in (4, 3)]
    forest = [[*stump(), *loop, {"adds": ((0, 1.0),)}]]
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **listed(forest))
    assert "not consistent" in refusal(graph, tmp_path)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_EQ"])
def test_trees_may_be_thousands_of_levels_deep(mode: str, tmp_path: Path) -> None:
    """onnxruntime itself is not asked: it builds trees by recursion."""
    depth = 30_000
    tree: list[dict[str, Any]] = []
    for k in range(depth):
        value = float(k % 50)
        tree.append(
            {"mode": mode, "value": value, "true": 2 * k + 1, "false": 2 * k + 2}
        )
        tree.append({"adds": ((0, float(k)),)})
    tree.append({"adds": ((0, -1.0),)})
    graph = of_trees("TreeEnsembleRegressor", n_targets=1, **listed([tree]))
    ensemble = Served(graph, tmp_path).read()
    assert len(ensemble.value) == depth + 1
    # The first that is at least 49, or equal to it.
    assert reference.leaf(ensemble, 0, np.array([49.0, 0, 0, 0])) == 49


def test_a_file_without_a_graph_is_rejected(tmp_path: Path) -> None:
    served = Served(graphs.converted("RandomForestRegressor regression"), tmp_path)
    served.path.write_bytes(b"")
    with pytest.raises(ModelFileRejected, match="holds no graph"):
        served.read()


def test_a_part_of_a_file_is_rejected(tmp_path: Path) -> None:
    served = Served(graphs.converted("RandomForestRegressor regression"), tmp_path)
    served.path.write_bytes(served.path.read_bytes()[:-3000])
    with pytest.raises(ModelFileRejected, match="only a part of one"):
        served.read()


def test_functions_of_its_own_are_not_covered(tmp_path: Path) -> None:
    graph = after([node("Identity", ["P"], ["Y"])])
    graph.functions.append(onnx.FunctionProto(name="Identity", domain="here"))
    assert "functions of its own" in refusal(graph, tmp_path)


def test_weights_outside_of_the_file_are_not_covered(tmp_path: Path) -> None:
    graph = after([node("Mul", ["P", "n"], ["Y"])], {"n": constant(2.0)})
    onnx.external_data_helper.set_external_data(graph.graph.initializer[0], "secret")
    graph.graph.initializer[0].ClearField("raw_data")
    assert "operator Mul" in refusal(graph, tmp_path)


@given(st.data())
@effort(150)
def test_mutated_files_raise_nothing_else(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["lightgbm binary sets", "XGBClassifier binary"]))
    graph = onnx.ModelProto()
    graph.CopyFrom(graphs.converted(name))
    trees = graph.graph.node[0]
    for _ in range(data.draw(st.integers(1, 4))):
        _mutate(data, data.draw(st.sampled_from(trees.attribute)))
    with tempfile.TemporaryDirectory() as folder:
        try:
            ensemble = Served(graph, Path(folder)).read()
        except NotCovered:
            return
    # What is read has only indexes that lie within, which the engine checks too.
    Engine(ensemble).score(graphs.rows(ensemble, 5))


def _mutate(data: st.DataObject, attribute: Any) -> None:
    """Change, drop or repeat values of a node's attribute, or its type."""
    for values, drawn in (
        (attribute.ints, st.sampled_from([-1, 0, 1, 2, 7, 50, 2**31, -(2**63)])),
        (attribute.floats, st.sampled_from([0.0, -1.0, 2.5, np.nan, np.inf, 1e9])),
        (attribute.strings, st.sampled_from([b"LEAF", b"BRANCH_EQ", b"", b"X"])),
    ):
        if len(values):
            place = data.draw(st.integers(0, len(values) - 1))
            action = data.draw(st.sampled_from(["set", "set", "set", "cut", "add"]))
            if action == "set":
                values[place] = data.draw(drawn)
            elif action == "cut":
                del values[place:]
            else:
                values.append(values[place])
    if data.draw(st.integers(0, 9)) == 0:
        attribute.type = data.draw(st.sampled_from([1, 2, 3, 4, 6, 7, 8]))


# Trees that nobody trained

numbers = st.one_of(
    st.sampled_from(VALUES),
    st.floats(-3, 3, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
categories = st.sampled_from([0, 1, 2, 3, 22, 23, 24, 25, 30, 31, 32, 40, 100, 2000])
weights = st.floats(-100, 100, width=32)


@st.composite
def grown(draw: st.DrawFn, modes: Sequence[str], adds: Any) -> list[dict[str, Any]]:
    """A tree of these modes; EQ nodes in chains that share their true branch."""
    nodes: list[dict[str, Any]] = [{}]
    ends = [0]
    for _ in range(draw(st.integers(0, 9))):
        place = ends.pop(draw(st.integers(0, len(ends) - 1)))
        mode = draw(st.sampled_from(modes))
        is_equal = mode in ("BRANCH_EQ", "BRANCH_NEQ")
        length = draw(st.integers(1, 5)) if mode == "BRANCH_EQ" else 1
        column = draw(st.integers(0, 2))
        true = len(nodes)
        nodes.append({})
        ends.append(true)
        for _ in range(length):
            nodes[place] = {
                "mode": mode,
                "column": column,
                "value": float(draw(categories if is_equal else numbers)),
                "true": true,
                "false": len(nodes),
                "nan": 0 if mode == "BRANCH_EQ" else draw(st.integers(0, 1)),
            }
            place = len(nodes)
            nodes.append({})
        ends.append(place)
    for end in ends:
        nodes[end] = {"adds": draw(adds)}
    return nodes


@st.composite
def regressors(draw: st.DrawFn) -> Any:
    modes = draw(st.lists(st.sampled_from(MODES), min_size=1, max_size=3))
    targets = draw(st.integers(1, 3))
    if draw(st.booleans()):
        adds: Any = st.tuples(*(st.tuples(st.just(k), weights) for k in range(targets)))
    else:
        adds = st.tuples(st.tuples(st.integers(0, targets - 1), weights))
    forest = draw(st.lists(grown(modes, adds), min_size=1, max_size=5))
    return of_trees(
        "TreeEnsembleRegressor",
        columns=3,
        n_targets=targets,
        aggregate_function=draw(st.sampled_from(["SUM", "AVERAGE"])),
        post_transform=draw(st.sampled_from(POSTS)),
        **listed(forest),
    )


@given(regressors(), st.integers(0, 2**32 - 1))
@effort(200)
def test_any_trees_answer_what_onnxruntime_does(graph: Any, seed: int) -> None:
    note(str(graph.graph.node[0]))
    with tempfile.TemporaryDirectory() as folder:
        served = Served(graph, Path(folder))
        ensemble = served.read()
        assert_same_answers(served, ensemble, graphs.rows(ensemble, 40, seed))


@given(st.data())
@effort(100)
def test_any_linked_trees_answer_what_onnxruntime_does(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    modes = data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    largest = data.draw(st.sampled_from([29, 3000]))
    splits, members = [], []
    for mode in modes:
        splits.append(
            float(data.draw(st.integers(0, 99) if mode in (4, 5) else numbers))
        )
        if mode == 6:
            members += data.draw(
                st.lists(st.integers(0, largest), min_size=1, max_size=9)
            )
            # Whatever is drawn, the sets are of one kind.
            members += [4000.0] if largest > 99 else []
            members.append(np.nan)
    if largest > 99:
        modes = [0 if mode in (4, 5) else mode for mode in modes]
    attributes = linked(modes, splits)
    if members:
        attributes["membership_values"] = graphs.single(members)
    attributes["nodes_missing_value_tracks_true"] = [
        0 if mode in (4, 6) else data.draw(st.integers(0, 1)) for mode in modes
    ]
    with tempfile.TemporaryDirectory() as folder:
        served = Served(of_trees("TreeEnsemble", columns=1, **attributes), Path(folder))
        ensemble = served.read()
        assert_same_answers(served, ensemble, graphs.rows(ensemble, 60))
