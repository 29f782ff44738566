"""What is read from an ONNX file, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from backends.base import ModelFileRejected
from backends.onnx import Input
from backends.onnx_graph import Graph, Output, inspect, write_served

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING

Make = Callable[..., Any]
Save = Callable[[Any], Path]


def classifier(
    make_graph: Make, tail: Sequence[Any], outputs: dict[str, Any], **labels: Any
) -> Any:
    """Three columns, three classes; what comes after the probabilities is given."""
    node = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=[float(i % 4) / 4 for i in range(9)],
        intercepts=[0.0, 0.1, 0.2],
        post_transform="SOFTMAX",
        **(labels or {"classlabels_ints": [7, 8, 9]}),
    )
    return make_graph([node, *tail], {"X": (FLOAT, [None, 3])}, outputs)


def zip_map(source: str, labels: Sequence[int]) -> Any:
    return helper.make_node(
        "ZipMap", [source], ["maps"], domain="ai.onnx.ml", classlabels_int64s=labels
    )


def zipped(make_graph: Make) -> Any:
    graph = classifier(make_graph, [zip_map("scores", [7, 8, 9])], {})
    graph.graph.output.extend(
        [
            helper.make_tensor_value_info("label", INT64, [None]),
            helper.make_value_info(
                "maps",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        INT64, helper.make_tensor_type_proto(FLOAT, [])
                    )
                ),
            ),
        ]
    )
    return graph


def test_regression_is_described(linear_graph: Make, save: Save) -> None:
    assert inspect(save(linear_graph())) == Graph(
        inputs=(Input("X", "float32", (None, 3)),),
        outputs=(Output("Y", "tensor(float)", (None, 1)),),
        output="Y",
        columns=1,
        labels=(),
        task=None,
        external_data=(),
    )


def test_description_survives_json(make_graph: Make, save: Save) -> None:
    graph = inspect(save(zipped(make_graph)))
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_probabilities_are_found_before_zip_map(make_graph: Make, save: Save) -> None:
    graph = inspect(save(zipped(make_graph)))
    assert (graph.output, graph.columns) == ("scores", 3)
    assert (graph.labels, graph.task) == ((7, 8, 9), "multiclass")
    assert [each.name for each in graph.outputs] == ["label", "maps"]


def test_zip_map_may_be_named(make_graph: Make, save: Save) -> None:
    assert inspect(save(zipped(make_graph)), output="maps").output == "scores"


@pytest.mark.parametrize(
    ("attribute", "labels"),
    [
        ({"classlabels_ints": [3, 1, 2]}, (3, 1, 2)),
        ({"classlabels_strings": ["b", "ä", ""]}, ("b", "ä", "")),
    ],
)
def test_labels_keep_the_order_of_the_classifier(
    make_graph: Make, save: Save, attribute: dict[str, Any], labels: tuple[Any, ...]
) -> None:
    kind = INT64 if "classlabels_ints" in attribute else STRING
    outputs = {"label": (kind, [None]), "scores": (FLOAT, [None, 3])}
    graph = inspect(save(classifier(make_graph, [], outputs, **attribute)))
    assert (graph.output, graph.labels) == ("scores", labels)


def test_label_output_is_asked_before_a_classifier_inside(
    make_graph: Make, save: Save
) -> None:
    names = np.array(["high", "low", "mid"], object)
    tail = [
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "best"], ["name"]),
    ]
    outputs = {"name": (STRING, [None]), "scores": (FLOAT, [None, 3])}
    proto = classifier(make_graph, tail, outputs)
    proto.graph.initializer.append(numpy_helper.from_array(names, "names"))
    assert inspect(save(proto)).labels == ("high", "low", "mid")


def test_labels_of_another_number_are_not_believed(
    make_graph: Make, save: Save
) -> None:
    tail = [helper.make_node("Slice", ["scores", "one", "three", "one"], ["two"])]
    proto = classifier(make_graph, tail, {"two": (FLOAT, [None, 2])})
    for name, value in (("one", 1), ("three", 3)):
        proto.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    assert inspect(save(proto)).labels == ()


@pytest.mark.parametrize(
    ("top", "weights", "task"),
    [
        ("Sigmoid", [[1.0]], "binary"),
        ("Identity", [[1.0]], None),
        ("Softmax", [[1.0, 2.0]], "binary"),
        ("Softmax", [[1.0, 2.0, 3.0]], "multiclass"),
    ],
)
def test_task_is_guessed_only_where_it_shows(
    linear_graph: Make, save: Save, top: str, weights: Any, task: str | None
) -> None:
    assert inspect(save(linear_graph(top=top, weights=weights))).task == task


def test_tree_regressor_is_a_regression(make_graph: Make, save: Save) -> None:
    node = helper.make_node(
        "LinearRegressor", ["X"], ["Y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0]
    )
    graph = make_graph([node], {"X": (FLOAT, [None, 2])}, {"Y": (FLOAT, [None, 1])})
    assert inspect(save(graph)).task == "regression"


def two_outputs(make_graph: Make) -> Any:
    nodes = [
        helper.make_node("Neg", ["X"], ["low"]),
        helper.make_node("Exp", ["X"], ["high"]),
    ]
    tensor = (FLOAT, [None, 1])
    return make_graph(nodes, {"X": tensor}, {"low": tensor, "high": tensor})


def test_several_outputs_need_a_name(make_graph: Make, save: Save) -> None:
    path = save(two_outputs(make_graph))
    with pytest.raises(
        ModelFileRejected,
        match=r"low \(tensor\(float\)\), high .*: name one with --output",
    ):
        inspect(path)
    assert inspect(path, output="high").output == "high"


def test_unknown_output_is_refused_with_the_list(make_graph: Make, save: Save) -> None:
    with pytest.raises(ModelFileRejected, match=r"'mid' is not .* answers low .*high"):
        inspect(save(two_outputs(make_graph)), output="mid")


def test_labels_alone_are_refused(make_graph: Make, save: Save) -> None:
    graph = classifier(make_graph, [], {"label": (INT64, [None])})
    with pytest.raises(ModelFileRejected, match="export it with its probabilities"):
        inspect(save(graph))


def test_three_dimensions_are_refused(make_graph: Make, save: Save) -> None:
    node = helper.make_node("Unsqueeze", ["X", "axes"], ["Y"])
    graph = make_graph(
        [node],
        {"X": (FLOAT, [None, 2])},
        {"Y": (FLOAT, [None, 1, 2])},
        {"axes": np.array([1])},
    )
    with pytest.raises(ModelFileRejected, match="'Y' has 3 dimensions"):
        inspect(save(graph))


@pytest.mark.parametrize(
    "content", [b"", b"tree\nversion=v4\nnum_class=1\n", b"PK\x03\x04", b'{"a": 1}']
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileRejected, match=r"model.onnx .*: export it again"):
        inspect(path)


def test_truncated_file_is_refused_wherever_it_ends(
    linear_graph: Make, tmp_path: Path
) -> None:
    graph = linear_graph()
    # Without the opset that it does not use, the graph needs its last byte.
    del graph.opset_import[1:]
    whole = graph.SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileRejected):
            inspect(path)


def test_onnxruntimes_own_format_is_refused(
    linear_graph: Make, save: Save, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(save(linear_graph())), options)
    with pytest.raises(ModelFileRejected, match="not an ONNX file"):
        inspect(tmp_path / "model.ort")


def test_graph_that_does_not_load_is_refused_with_onnxruntimes_reason(
    linear_graph: Make, save: Save
) -> None:
    graph = linear_graph()
    graph.graph.node[0].op_type = "MatMull"
    with pytest.raises(
        ModelFileRejected, match=r"cannot load source.onnx: .*MatMull.*; export it"
    ):
        inspect(save(graph))


def test_custom_operator_is_refused(make_graph: Make, save: Save) -> None:
    node = helper.make_node("Tokenize", ["X"], ["Y"], domain="com.example")
    tensor = (FLOAT, [None, 1])
    graph = make_graph([node], {"X": tensor}, {"Y": tensor}, domains=["com.example"])
    with pytest.raises(
        ModelFileRejected, match="'Tokenize' of 'com.example' .* standard operators"
    ):
        inspect(save(graph))


def test_custom_operator_in_a_subgraph_is_refused(make_graph: Make, save: Save) -> None:
    tensor = (FLOAT, [None, 1])
    inner = make_graph(
        [helper.make_node("Tokenize", ["X"], ["Z"], domain="com.example")],
        {},
        {"Z": tensor},
    ).graph
    nodes = [
        helper.make_node("If", ["flag"], ["Y"], then_branch=inner, else_branch=inner)
    ]
    graph = make_graph(
        nodes,
        {"X": tensor},
        {"Y": tensor},
        {"flag": np.array(True)},
        domains=["com.example"],
    )
    with pytest.raises(ModelFileRejected, match="Tokenize"):
        inspect(save(graph))


def with_function(make_graph: Make, domain: str) -> Any:
    body = helper.make_function(
        "com.example",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Twice" if domain else "Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17), helper.make_opsetid("com.other", 1)],
    )
    body.node[0].domain = domain
    return make_graph(
        [helper.make_node("Double", ["X"], ["Y"], domain="com.example")],
        {"X": (FLOAT, [None, 1])},
        {"Y": (FLOAT, [None, 1])},
        domains=["com.example", "com.other"],
        functions=[body],
    )


def test_function_of_the_file_itself_is_fine(make_graph: Make, save: Save) -> None:
    assert inspect(save(with_function(make_graph, ""))).output == "Y"


def test_function_of_custom_operators_is_refused(make_graph: Make, save: Save) -> None:
    with pytest.raises(ModelFileRejected, match="'Twice' of 'com.other'"):
        inspect(save(with_function(make_graph, "com.other")))


def test_operator_that_onnxruntime_brings_is_fine(make_graph: Make, save: Save) -> None:
    node = helper.make_node("Gelu", ["X"], ["Y"], domain="com.microsoft")
    tensor = (FLOAT, [None, 1])
    graph = make_graph([node], {"X": tensor}, {"Y": tensor}, domains=["com.microsoft"])
    assert inspect(save(graph)).output == "Y"


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        (TensorProto.UINT8, [None, 2], r"tensor\(uint8\); .* put a Cast"),
        (FLOAT, [None, 3, 32, 32], r"shape \(\?, 3, 32, 32\)"),
        (FLOAT, ["n", 0], r"shape \(n, 0\)"),
        (FLOAT, [4], r"shape \(4\)"),
        (FLOAT, [], r"shape \(\)"),
    ],
)
def test_input_that_no_table_fills_is_refused(
    make_graph: Make, save: Save, kind: int, shape: Any, reason: str
) -> None:
    node = helper.make_node("Cast", ["X"], ["Y"], to=FLOAT)
    graph = make_graph([node], {"X": (kind, shape)}, {"Y": (FLOAT, None)})
    with pytest.raises(ModelFileRejected, match=reason):
        inspect(save(graph))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([None, None], [None, 1], "one of them without a width"),
        ([1, 1], [None, 1], "differ in their number of rows"),
        ([1, 1], [2, 1], "differ in their number of rows"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(
    make_graph: Make, save: Save, first: Any, second: Any, reason: str
) -> None:
    node = helper.make_node("Add", ["A", "B"], ["Y"])
    graph = make_graph(
        [node], {"A": (FLOAT, first), "B": (FLOAT, second)}, {"Y": (FLOAT, None)}
    )
    with pytest.raises(ModelFileRejected, match=reason):
        inspect(save(graph))


def test_weights_listed_as_inputs_are_no_inputs(linear_graph: Make, save: Save) -> None:
    graph = linear_graph()
    graph.graph.input.append(helper.make_tensor_value_info("W", FLOAT, [3, 1]))
    assert inspect(save(graph)).input_names == ("X",)


def test_graph_without_inputs_is_refused(make_graph: Make, save: Save) -> None:
    node = helper.make_node("Identity", ["W"], ["Y"])
    graph = make_graph(
        [node], {}, {"Y": (FLOAT, [1])}, {"W": np.array([1.0], np.float32)}
    )
    with pytest.raises(ModelFileRejected, match="takes no input"):
        inspect(save(graph))


def external(linear_graph: Make, place: str, size: int = 12) -> Any:
    """The linear graph with its weights at a place outside the file."""
    graph = linear_graph()
    tensor = next(each for each in graph.graph.initializer if each.name == "W")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return graph


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    """Written beside the model, in the folder above it and in one below it."""
    data = np.array([1, 2, -1], np.float32).tobytes()
    (tmp_path / "inside").mkdir()
    for folder in (tmp_path, tmp_path / "inside"):
        (folder / "w.bin").write_bytes(data)
    (tmp_path.parent / "w.bin").write_bytes(data)
    return data


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("place", ["w.bin", "./w.bin"])
def test_external_data_beside_the_model_is_listed(
    linear_graph: Make, save: Save, place: str
) -> None:
    assert inspect(save(external(linear_graph, place))).external_data == ("w.bin",)


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("../w.bin", "outside the folder"),
        ("inside/../w.bin", "outside the folder"),
        ("inside\\..\\w.bin", "outside the folder"),
        ("/etc/hostname", "outside the folder"),
        (".//etc/hostname", "outside the folder"),
        ("inside/w.bin", "directly beside"),
        (".w.bin", "directly beside"),
        (".", "directly beside"),
        ("inside", "a link or no file"),
        ("link.bin", "a link or no file"),
        ("near.bin", "a link or no file"),
        ("gone.bin", "is not there"),
        ("", "names no file"),
        ("w.bin\0", "names no file"),
        ("*/_ORT_MEM_ADDR_/*", "directly beside"),
    ],
)
def test_external_data_elsewhere_is_refused(
    linear_graph: Make, save: Save, tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    (tmp_path / "near.bin").symlink_to("w.bin")
    with pytest.raises(
        ModelFileRejected, match=rf"tensor 'W' .*{reason}.*; save the weights inside"
    ):
        inspect(save(external(linear_graph, place)))


@pytest.mark.usefixtures("weights")
def test_external_data_with_two_places_is_refused(
    linear_graph: Make, save: Save
) -> None:
    graph = external(linear_graph, "w.bin")
    graph.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ModelFileRejected, match="names no file"):
        inspect(save(graph))


@pytest.mark.usefixtures("weights")
def test_external_data_that_is_too_short_is_refused(
    linear_graph: Make, save: Save, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 8)
    with pytest.raises(ModelFileRejected, match="cannot load"):
        inspect(save(external(linear_graph, "w.bin")))


def test_external_data_of_a_constant_is_seen(
    make_graph: Make, save: Save, tmp_path: Path
) -> None:
    value = numpy_helper.from_array(np.array([1.0], np.float32), "hidden")
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../w.bin")
    nodes = [
        helper.make_node("Constant", [], ["one"], value=value),
        helper.make_node("Add", ["X", "one"], ["Y"]),
    ]
    tensor = (FLOAT, [None, 1])
    with pytest.raises(ModelFileRejected, match="tensor 'hidden' lies outside"):
        inspect(save(make_graph(nodes, {"X": tensor}, {"Y": tensor})))


def test_served_file_is_a_copy_where_it_can_be(
    linear_graph: Make, save: Save, tmp_path: Path
) -> None:
    source = save(linear_graph())
    write_served(source, tmp_path / "model.onnx", inspect(source))
    assert (tmp_path / "model.onnx").read_bytes() == source.read_bytes()


def test_served_file_answers_the_probabilities_alone(
    make_graph: Make, save: Save, tmp_path: Path
) -> None:
    source = save(zipped(make_graph))
    write_served(source, tmp_path / "model.onnx", inspect(source))
    served = inspect(tmp_path / "model.onnx")
    assert [each.name for each in served.outputs] == ["scores"]
    assert (served.labels, served.columns) == ((7, 8, 9), 3)
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


def test_served_file_keeps_what_subgraphs_need(
    make_graph: Make, save: Save, tmp_path: Path
) -> None:
    branch = make_graph(
        [helper.make_node("Add", ["moved", "moved"], ["twice"])],
        {},
        {"twice": (FLOAT, [None, 3])},
    ).graph
    same = make_graph(
        [helper.make_node("Neg", ["moved"], ["less"])], {}, {"less": (FLOAT, [None, 3])}
    ).graph
    proto = zipped(make_graph)
    proto.graph.node[0].output[1] = "first"
    tail = [
        helper.make_node("Identity", ["first"], ["moved"]),
        helper.make_node(
            "If", ["flag"], ["scores"], then_branch=branch, else_branch=same
        ),
    ]
    zipping = proto.graph.node.pop()
    proto.graph.node.extend([*tail, zipping])
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    source = save(proto)
    write_served(source, tmp_path / "model.onnx", inspect(source))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.run(None, {"X": np.zeros((2, 3), np.float32)})[0].sum() > 3.9


def test_served_file_finds_its_external_data(
    make_graph: Make, linear_graph: Make, save: Save, tmp_path: Path, weights: bytes
) -> None:
    proto = external(linear_graph, "w.bin")
    del proto.graph.output[:]
    nodes = [
        helper.make_node("Concat", ["sum", "sum"], ["both"], axis=1),
        zip_map("both", [0, 1]),
    ]
    proto.graph.node.extend(nodes)
    proto.graph.output.append(zipped(make_graph).graph.output[1])
    source = save(proto)
    graph = inspect(source)
    assert graph.external_data == ("w.bin",)
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_served(source, folder / "model.onnx", graph)
    os.link(tmp_path / "w.bin", folder / "w.bin")
    assert inspect(folder / "model.onnx").output == "both"
