import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from backends.base import ModelFileRejected
from backends.onnx import open_session, run
from backends.onnx_graph import write_without_zip_maps
from backends.tensors.from_graph import inspect
from backends.tensors.graph import Graph
from backends.tensors.tensor import Tensor
from tests.tensors import (
    FLOAT,
    fixed_classifier,
    graph_of,
    many_sided,
    open_axes,
    picture_classifier,
    save,
    text_to_text,
)


def inspected(graph: Any, folder: Path) -> Graph:
    return inspect(save(graph, folder / "graph.onnx"))


def refused(graph: Any, folder: Path) -> str:
    with pytest.raises(ModelFileRejected) as error:
        inspected(graph, folder)
    return str(error.value)


def test_softmax_makes_a_categorical(tmp_path: Path) -> None:
    graph = inspected(picture_classifier(), tmp_path)
    assert graph.inputs == (Tensor("x", "float32", (1, 8, 8)),)
    [probs] = graph.outputs
    assert (probs.tensor, probs.type) == (
        Tensor("probs", "float32", (10,)),
        "categorical",
    )
    assert probs.labels == ()


def test_each_tensor_has_its_type(tmp_path: Path) -> None:
    graph = inspected(many_sided(), tmp_path)
    assert {each.name: each.dtype for each in graph.inputs} == {
        "series": "float32",
        "sizes": "float32",
        "count": "int64",
        "flag": "bool",
        "word": "string",
    }
    assert {each.tensor.name: each.type for each in graph.outputs} == {
        "sums": "numeric",
        "scaled": "numeric",
        "total": "numeric",
        "chance": "binary",
        "said": "text",
    }


@pytest.mark.parametrize("graph", [many_sided(), fixed_classifier(), text_to_text()])
def test_facts_survive_json(tmp_path: Path, graph: Any) -> None:
    found = inspected(graph, tmp_path)
    assert Graph.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_fixed_number_of_rows_is_kept(tmp_path: Path) -> None:
    graph = inspected(fixed_classifier(), tmp_path)
    assert [each.rows for each in graph.inputs] == [1]


def test_open_sizes_of_outputs_are_measured(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)]
    graph = graph_of(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", "wide"])})
    assert inspected(graph, tmp_path).outputs[0].tensor.shape == (6,)


def test_sizes_behind_open_axes_stay_open(tmp_path: Path) -> None:
    graph = inspected(open_axes(), tmp_path)
    assert [each.tensor.shape for each in graph.outputs] == [(2,), (None, 2)]


def test_zip_map_is_the_tensor_behind_it(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (40, 3)).astype(np.float32)
    fitted = LogisticRegression().fit(x, np.where(x[:, 0] > 0, "yes", "no"))
    source = save(to_onnx(fitted, x[:1]), tmp_path / "zipped.onnx")
    graph = inspect(source)
    assert graph.has_zip_map
    label, scores = graph.outputs
    assert label.type == "text"
    assert (scores.type, scores.labels) == ("categorical", ("no", "yes"))
    assert scores.tensor.shape == (2,)
    write_without_zip_maps(source, tmp_path / "served.onnx")
    session, feed = open_session(tmp_path / "served.onnx"), {graph.inputs[0].name: x}
    answers = run(session, feed, [scores.tensor.name])
    expected = fitted.predict_proba(x)
    np.testing.assert_allclose(answers[scores.tensor.name], expected, atol=1e-6)


def test_scores_that_are_an_output_too_are_there_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["scores"], axis=-1),
        helper.make_node(
            "ZipMap",
            ["scores"],
            ["zipped"],
            domain="ai.onnx.ml",
            classlabels_strings=["a", "b"],
        ),
    ]
    shape = (FLOAT, ["n", 2])
    graph = graph_of(nodes, {"x": shape}, {"scores": shape})
    zipped = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, [])
    )
    graph.graph.output.append(
        helper.make_value_info("zipped", helper.make_sequence_type_proto(zipped))
    )
    [scores] = inspected(graph, tmp_path).outputs
    assert (scores.tensor.name, scores.labels) == ("scores", ("a", "b"))
    write_without_zip_maps(tmp_path / "graph.onnx", tmp_path / "served.onnx")
    [left] = open_session(tmp_path / "served.onnx").get_outputs()
    assert left.name == "scores"


def test_labels_that_an_output_picks_from_are_read(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (60, 3)).astype(np.float32)
    y = np.array(["low", "middle", "high"])[np.digitize(x[:, 0], [-0.5, 0.5])]
    fitted = MLPClassifier((4,), max_iter=2000, random_state=1).fit(x, y)
    graph = inspected(to_onnx(fitted, x[:1], options={"zipmap": False}), tmp_path)
    [scores] = [each for each in graph.outputs if each.type == "categorical"]
    assert scores.labels == ("high", "low", "middle")


def test_two_heads_take_no_labels_of_one_another(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["a"], axis=-1),
        helper.make_node("Softmax", ["a"], ["b"], axis=-1),
        helper.make_node("ArgMax", ["a"], ["place"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "place"], ["label"]),
    ]
    shape = (FLOAT, ["n", 2])
    graph = graph_of(
        nodes,
        {"x": shape},
        {"a": shape, "b": shape, "label": (7, ["n"])},
        {"names": np.array([7, 9])},
    )
    assert [each.labels for each in inspected(graph, tmp_path).outputs] == [(), (), ()]


def test_graph_that_mixes_rows_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)]
    graph = graph_of(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", "k"])})
    text = refused(graph, tmp_path)
    assert "output 'y' has the shape (1, 1) for 2 rows" in text


def test_graph_that_was_made_for_one_row_only_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "one"], ["y"])]
    graph = graph_of(
        nodes,
        {"x": (FLOAT, ["n", 3])},
        {"y": (FLOAT, ["n", 3])},
        {"one": np.array([1, 3])},
    )
    assert "export it with an open first dimension" in refused(graph, tmp_path)


def test_inputs_of_different_numbers_of_rows_are_refused(tmp_path: Path) -> None:
    graph = graph_of(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        {"a": (FLOAT, ["n", 3]), "b": (FLOAT, [1, 3])},
        {"c": (FLOAT, ["n", 3])},
    )
    assert "differ in their number of rows" in refused(graph, tmp_path)


def test_what_is_no_tensor_of_rows_is_refused(tmp_path: Path) -> None:
    scalar = graph_of(
        [helper.make_node("Add", ["a", "a"], ["b"])],
        {"a": (FLOAT, [])},
        {"b": (FLOAT, [])},
    )
    assert "no axis for the rows" in refused(scalar, tmp_path)
    weight = np.array([1.0], np.float32)
    alone = graph_of(
        [helper.make_node("Identity", ["w"], ["b"])],
        {},
        {"b": (FLOAT, [1])},
        {"w": weight},
    )
    assert "takes no input" in refused(alone, tmp_path)


def test_foreign_operators_are_refused(tmp_path: Path) -> None:
    graph = graph_of(
        [helper.make_node("Magic", ["a"], ["b"], domain="org.example")],
        {"a": (FLOAT, ["n", 1])},
        {"b": (FLOAT, ["n", 1])},
    )
    graph.opset_import.append(helper.make_opsetid("org.example", 1))
    assert "'Magic'" in refused(graph, tmp_path)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"tree\nversion=v4\n")
    with pytest.raises(ModelFileRejected):
        inspect(tmp_path / "x.onnx")
