"""io.json is read strictly, and the graph fills in what it leaves out."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from backends import bundle
from backends.bundle import BundleRejected
from backends.model import Model
from backends.strict_json import SpecError, Value
from backends.tensors import fitting
from backends.tensors.graph import Graph, Output
from backends.tensors.io_json import (
    by_name,
    defaults,
    from_json,
    read,
    spec_of,
    to_json,
)
from backends.tensors.spec import Field, Picture, TensorSpec
from backends.tensors.tensor import Tensor

GRAPH = Graph(
    inputs=(
        Tensor("x", "float32", (1, 8, 8)),
        Tensor("sizes", "float32", (4,)),
        Tensor("note", "string", (1,)),
    ),
    outputs=(
        Output(Tensor("probs", "float32", (3,)), "categorical", ("a", "b", "c")),
        Output(Tensor("mask", "float32", (8, 8, 1)), "numeric"),
        Output(Tensor("both", "float32", (5,)), "numeric"),
    ),
)
SOFTMAX = {"activation": "softmax"}
SHARED = {"inputs": {"a": {"tensor": "x"}, "b": {"tensor": "x"}}}
GREY = Picture(8, 8, "L", "NCHW", 0.0, 1.0, (0.0,), (1.0,))


def one(*shape: int | None, dtype: str = "float32") -> Graph:
    """A graph of one input, x, and of one output, y, of the same shape."""
    tensor = Tensor("x", dtype, shape)
    kind = "text" if dtype == "string" else "numeric"
    return Graph((tensor,), (Output(Tensor("y", dtype, shape), kind),))


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """Reads an io.json with this content."""

    def reading(content: Any, graph: Graph = GRAPH) -> TensorSpec:
        path = tmp_path / "io.json"
        path.write_text(json.dumps(content))
        return read(path, graph)

    return reading


def input_of(spec: TensorSpec) -> Field:
    return spec.inputs[0]


def test_nothing_said_is_what_the_graph_says(said: Any) -> None:
    spec = said({})
    assert spec == defaults(GRAPH)
    assert [(each.name, each.type, each.shape) for each in spec.inputs] == [
        ("x", "numeric", (1, 8, 8)),
        ("sizes", "numeric", (4,)),
        ("note", "text", (1,)),
    ]
    probs, mask, both = spec.outputs
    assert (probs.type, probs.labels, probs.shape) == (
        "categorical",
        ("a", "b", "c"),
        (3,),
    )
    assert (mask.shape, both.shape) == ((8, 8, 1), (5,))


def test_picture_needs_its_type_only_where_all_else_is_plain(said: Any) -> None:
    field = input_of(said({"inputs": {"x": {"type": "image"}}}, one(1, 8, 8)))
    assert field == Field("x", "image", "x", (8, 8, 1), picture=GREY)
    field = input_of(
        said({"inputs": {"x": {"type": "image"}}}, one(4, 6, 3, dtype="uint8"))
    )
    assert field.picture == Picture(4, 6, "RGB", "NHWC", 0.0, 255.0)


def test_picture_has_all_that_is_said(said: Any) -> None:
    content = {
        "type": "image",
        "tensor": "x",
        "shape": [8, 8, 3],
        "layout": "NCHW",
        "color": "BGR",
        "range": [-1, 1],
        "mean": [0.1, 0.2, 0.3],
        "std": 0.5,
        "fit": "crop",
        "resample": "lanczos",
    }
    field = input_of(said({"inputs": {"photo": content}}, one(3, 8, 8)))
    assert field.picture == Picture(
        *(8, 8, "BGR", "NCHW", -1.0, 1.0),
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.5, 0.5),
        fit="crop",
        resample="lanczos",
    )


def test_picture_without_axis_of_channels_is_grey(said: Any) -> None:
    picture = {"x": {"type": "image"}}
    field = input_of(said({"inputs": picture}, one(8, 6)))
    assert field.picture is not None
    assert (field.picture.layout, field.picture.color) == ("NHW", "L")
    assert field.shape == (8, 6, 1)


def test_field_of_another_name_is_the_only_tensor(said: Any) -> None:
    spec = said({"inputs": {"picture": {}}, "outputs": {"z": {}}}, one(3))
    assert [each.tensor for each in (*spec.inputs, *spec.outputs)] == ["x", "y"]


def test_several_fields_share_a_tensor_of_columns(said: Any) -> None:
    spec = said(
        {
            "inputs": {
                "age": {"tensor": "x"},
                "place": {"tensor": "x", "shape": [2]},
                "kind": {"tensor": "x", "labels": ["p", "q"], "encoding": "one-hot"},
                "is_new": {"tensor": "x", "type": "binary"},
            },
            "outputs": {
                "price": {"tensor": "y"},
                "class": {
                    "tensor": "y",
                    "labels": [1, 2, 3, 4],
                    "activation": "softmax",
                },
                "risk": {"tensor": "y", "type": "binary", "activation": "sigmoid"},
            },
        },
        one(6),
    )
    assert [each.shape for each in spec.inputs] == [(1,), (2,), (1,), (1,)]
    assert [each.width for each in spec.inputs] == [1, 2, 2, 1]
    assert [each.shape for each in spec.outputs] == [(1,), (4,), (1,)]
    assert spec.outputs[1].labels == ("1", "2", "3", "4")
    assert spec.outputs[1].activation == "softmax"


def test_classes_as_columns_are_one_hot(said: Any) -> None:
    labels = {"inputs": {"x": {"labels": ["p", "q", "r"]}}}
    assert input_of(said(labels, one(3))).one_hot
    assert not input_of(said(labels, one(1))).one_hot
    assert not input_of(said(labels, one(dtype="int64"))).one_hot


def test_texts_may_be_classes_without_labels(said: Any) -> None:
    spec = said({"inputs": {"x": {"type": "categorical"}}}, one(dtype="string"))
    assert input_of(spec) == Field("x", "categorical", "x", dtype="string")


def test_scores_without_labels_are_numbered(said: Any) -> None:
    spec = said({"outputs": {"y": {"type": "categorical"}}}, one(3))
    assert spec.outputs[0].labels == ("0", "1", "2")


@pytest.mark.parametrize("text", ["a\nb\nc", "a\r\nb\r\nc\r\n", "\ufeffa\nb\nc\n"])
def test_labels_may_stand_in_a_file(said: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_bytes(text.encode())
    content = {"outputs": {"probs": {"labels": "labels.txt"}}}
    assert said(content).outputs[0].labels == ("a", "b", "c")


@pytest.mark.parametrize(
    "text", [b"a\n\nc", b"\xff\xfe\nb\nc", b"a\nb", b"a\nb\nb", b""]
)
def test_file_of_other_labels_is_refused(
    said: Any, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / "labels.txt").write_bytes(text)
    with pytest.raises(SpecError, match=r"^outputs\.probs"):
        said({"outputs": {"probs": {"labels": "labels.txt"}}})


def field(side: str, name: str, **content: Any) -> dict[str, Any]:
    return {side: {name: content}}


@pytest.mark.parametrize(
    "content, graph, path",
    [
        ([], GRAPH, "the spec: an object"),
        ({"input": {}}, GRAPH, "input: unknown key"),
        ({"inputs": {}}, GRAPH, "inputs: one at least"),
        (
            {"inputs": {"x": {}}},
            GRAPH,
            "inputs: nothing fills the graph's",
        ),
        ({"inputs": {"z": {}}}, GRAPH, "inputs.z: the graph has no tensor"),
        (field("inputs", "z", tensor="q"), GRAPH, "inputs.z.tensor: the graph has no"),
        (field("inputs", "x", type="picture"), one(3), "inputs.x.type: unknown"),
        (field("inputs", "x", type="text"), one(3), "inputs.x.type: the tensor is of"),
        (field("inputs", "x", shape=[4]), one(3), "inputs.x.shape: the tensor's rows"),
        (field("inputs", "x", shape=[]), one(3), "inputs.x.shape: a list of sizes"),
        (field("inputs", "x", shape=[0]), one(3), "inputs.x.shape[0]: a whole"),
        (field("inputs", "x", shape=[None]), one(3), "inputs.x.shape: the tensor's"),
        (field("inputs", "x", type="binary"), one(3), "inputs.x: the tensor's rows"),
        (field("inputs", "x", type="binary", shape=[1]), one(1), "inputs.x.shape: unk"),
        (field("inputs", "x", type="categorical"), one(1), "inputs.x.labels: missing"),
        (field("inputs", "x", labels=["a", "a"]), one(1), "inputs.x.labels[1]: 'a' is"),
        (field("inputs", "x", labels=[1, "1"]), one(1), "inputs.x.labels[1]: '1' is"),
        (field("inputs", "x", labels=[0.5]), one(1), "inputs.x.labels[0]: a text or"),
        (field("inputs", "x", labels=[True]), one(1), "inputs.x.labels[0]: a text or"),
        (field("inputs", "x", labels=[""]), one(1), "inputs.x.labels[0]: a text that"),
        (field("inputs", "x", labels="../a"), one(1), "inputs.x.labels: the name of"),
        (field("inputs", "x", labels="none"), one(1), "inputs.x.labels: 'none' cannot"),
        (field("inputs", "x", activation="none"), one(1), "inputs.x.activation: unk"),
        (
            field("inputs", "x", labels=["a"], encoding="one-hot"),
            one(dtype="string"),
            "inputs.x.encoding: a tensor of texts",
        ),
        (field("outputs", "probs", labels=["a"]), GRAPH, "outputs.probs.labels: at"),
        (
            field("outputs", "probs", labels=["a", "b"]),
            GRAPH,
            "outputs.probs.labels: the tensor's rows have the shape [3], and there",
        ),
        (
            field("outputs", "y", activation="softmax"),
            one(3),
            "outputs.y.activation: softmax is over",
        ),
        (
            field("outputs", "y", activation="sigmoid"),
            one(3, dtype="int64"),
            "outputs.y.activation: the tensor is of int64",
        ),
        (field("outputs", "y", type="categorical"), one(None), "outputs.y.labels: mis"),
        (
            SHARED,
            one(3),
            "inputs.b: ",
        ),
        (
            SHARED,
            one(1, 2),
            "inputs.a.tensor: its rows have the shape [1, 2]",
        ),
        (
            SHARED,
            one(2, dtype="string"),
            "inputs.a.type: a text needs a tensor of its own",
        ),
        ({"inputs": {"": {"tensor": "x"}}}, one(3), "inputs.'': a text is expected"),
        ({"inputs": {"a\0": {"tensor": "x"}}}, one(3), "inputs."),
    ],
)
def test_mistake_names_its_place(
    said: Any, content: Any, graph: Graph, path: str
) -> None:
    with pytest.raises(SpecError) as error:
        said(content, graph)
    assert str(error.value).startswith(path)


@pytest.mark.parametrize(
    "changes, graph, path",
    [
        ({"shape": [8, 8]}, one(3, 8, 8), ".shape: [height, width, channels]"),
        ({"shape": [8, 8, 2]}, one(2, 8, 8), ".shape[2]: a picture has"),
        ({"shape": [8, 8, 4]}, one(4, 8, 8), ".shape[2]: at most 3"),
        ({"shape": [8, 10**9, 3]}, one(3, 8, None), ".shape[1]: at most"),
        ({"shape": [9, 8, 3]}, one(3, 8, 8), ": a picture of the shape [9, 8, 3] fits"),
        ({"shape": [3, 3, 3]}, one(3, 3, 3), ": the tensor may be NCHW or NHWC"),
        ({}, one(3, 3, 3), ".shape: missing"),
        ({}, one(3, None, None), ".shape: missing"),
        ({}, one(3), ".shape: missing"),
        ({"layout": "NHWC"}, one(3, 8, 8), ".shape: missing"),
        (
            {"shape": [8, 8, 3], "layout": "NHWC"},
            one(3, 8, 8),
            ".shape: the tensor's rows have the shape [3, 8, 8], and such a picture",
        ),
        ({"shape": [8, 8, 3], "layout": "CHW"}, one(3, 8, 8), ".layout: unknown"),
        ({"layout": "NHW", "shape": [3, 8, 3]}, one(3, 8), ".layout: NHW has one"),
        ({"color": "L"}, one(3, 8, 8), ".color: L has 1 channels"),
        ({"mean": [0, 0]}, one(3, 8, 8), ".mean: 3 numbers"),
        ({"mean": "0"}, one(3, 8, 8), ".mean: a finite number"),
        ({"std": 0}, one(3, 8, 8), ".std: numbers above 0"),
        ({"range": [1, 1]}, one(3, 8, 8), ".range: black and white"),
        ({"range": [0]}, one(3, 8, 8), ".range: [what black is"),
        (
            {"range": [0, 256]},
            one(3, 8, 8, dtype="uint8"),
            ".range: the tensor's uint8",
        ),
        ({}, one(3, 8, 8, dtype="bool"), ".type: the tensor is of bool"),
        ({}, one(3, 8, 8, dtype="string"), ".type: the tensor is of texts"),
        ({"format": "png"}, one(3, 8, 8), ".format: unknown key"),
    ],
)
def test_picture_that_cannot_be_is_refused(
    said: Any, changes: Any, graph: Graph, path: str
) -> None:
    with pytest.raises(SpecError) as error:
        said({"inputs": {"x": {"type": "image"} | changes}}, graph)
    assert str(error.value).startswith(f"inputs.x{path}")


def test_card_has_all_that_was_read(said: Any) -> None:
    spec = said(
        {
            "inputs": {"sizes": {}, "x": {"type": "image"}, "note": {}},
            "outputs": {"mask": {"type": "image", "format": "jpeg"}, "probs": {}},
        }
    )
    card = json.loads(json.dumps(to_json(spec)))
    assert from_json(card) == spec
    assert [each["name"] for each in card["inputs"]] == ["sizes", "x", "note"]
    assert card["outputs"][0]["format"] == "jpeg"


def test_io_json_of_a_spec_is_read_as_the_spec(said: Any) -> None:
    spec = said({"inputs": {"sizes": {}, "x": {"type": "image"}, "note": {}}})
    assert said(by_name(spec)) == spec
    assert list(by_name(spec)["inputs"]) == ["sizes", "x", "note"]


def test_elements_are_of_the_type_that_the_graph_says(said: Any) -> None:
    spec = said({})
    assert [each.dtype for each in spec.inputs] == ["float32", "float32", "string"]
    with pytest.raises(SpecError, match=r"^inputs\.x\.dtype: the tensor is of int64"):
        said(field("inputs", "x", dtype="float32"), one(2, dtype="int64"))
    with pytest.raises(SpecError, match=r"^inputs\.x\.dtype: unknown 'float'"):
        said(field("inputs", "x", dtype="float"), one(2))


TWO_COLUMNS = {"inputs": {"a": {"tensor": "x"}, "b": {"tensor": "x"}}}


def written(folder: Path, spec: TensorSpec) -> Model:
    """A bundle of a spec and of no graph."""
    (folder / "m.onnx").write_bytes(b"")
    card = Model("", "m", "onnx", "m.onnx", "tensors", "", (), io=to_json(spec))
    return bundle.write(folder, card)


def test_fields_in_another_order_are_another_model(said: Any, tmp_path: Path) -> None:
    found = {}
    for order in ("ab", "ba"):
        folder = tmp_path / order
        folder.mkdir()
        spec = said({"inputs": {name: {"tensor": "x"} for name in order}}, one(2))
        model = written(folder, spec)
        assert [each.name for each in spec_of(model).inputs] == list(order)
        found[model.id] = order
    assert len(found) == 2


def test_card_whose_fields_change_places_is_refused(said: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    written(folder, said(TWO_COLUMNS, one(2)))
    card = json.loads((folder / "model.json").read_text())
    # The order of keys is not told apart, and has no meaning.
    (folder / "model.json").write_text(json.dumps(card, sort_keys=True))
    assert [each.name for each in spec_of(bundle.read(folder)).inputs] == ["a", "b"]
    card["io"]["inputs"].reverse()
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(BundleRejected, match="was changed after packaging"):
        bundle.read(folder)


def test_card_names_each_field_once(said: Any) -> None:
    card = to_json(said(TWO_COLUMNS, one(2)))
    card["inputs"][1]["name"] = "a"
    with pytest.raises(SpecError, match=r"^inputs\[1\]\.name: 'a' is there twice"):
        from_json(card)
    del card["inputs"][1]["name"]
    with pytest.raises(SpecError, match=r"^inputs\[1\]\.name: missing"):
        from_json(card)


def test_card_is_held_against_the_graph(said: Any) -> None:
    spec, graph = said(TWO_COLUMNS, one(2)), one(3)
    outputs = [each.tensor for each in graph.outputs]
    with pytest.raises(SpecError, match=r"^inputs\[1\]: with it 2 columns"):
        fitting.check(Value(to_json(spec)), spec, graph.inputs, outputs)


# ---- Open sizes


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_open_width_is_not_one_number(said: Any, dtype: str) -> None:
    graph = one(None, dtype=dtype)
    for each in (*said({}, graph).inputs, *said({}, graph).outputs):
        assert (each.type, each.shape) == ("numeric", (None,))


@pytest.mark.parametrize("shape", [(1,), (1, 1), ()])
def test_sizes_of_one_are_one_number(said: Any, shape: tuple[int, ...]) -> None:
    assert input_of(said({}, one(*shape))).shape == (1,)
    assert input_of(said({}, one(*shape, dtype="bool"))).type == "binary"


def test_open_width_may_be_said_to_be_one(said: Any) -> None:
    spec = said(field("inputs", "x", shape=[1]), one(None))
    assert input_of(spec).shape == (1,)
    spec = said(field("inputs", "x", labels=["a", "b"]), one(None))
    assert input_of(spec).shape == (1,)


def test_columns_of_an_open_width_are_no_outputs(said: Any) -> None:
    columns = {"a": {"tensor": "y"}, "b": {"tensor": "y"}}
    with pytest.raises(SpecError, match=r"^outputs\.a: how many columns 'y' has"):
        said({"outputs": columns}, one(None))
    inputs = {"a": {"tensor": "x"}, "b": {"tensor": "x"}}
    assert len(said({"inputs": inputs}, one(None)).inputs) == 2


@pytest.mark.parametrize("key", ["inputs", "outputs"])
def test_card_that_lacks_something_is_refused(said: Any, key: str) -> None:
    card = to_json(said({}))
    del card[key]
    with pytest.raises(SpecError, match=f"{key}: missing"):
        from_json(card)


names = st.sampled_from(["x", "sizes", "note", "probs", "both", "other", ""])
numbers = st.one_of(
    st.integers(-2, 9), st.floats(), st.sampled_from([8, 3, 1, 2**70, 1e308])
)
lists = st.lists(st.one_of(numbers, st.none(), st.text(max_size=2)), max_size=4)
values = st.one_of(numbers, lists, st.none(), st.booleans(), st.text(max_size=3))
fields = st.fixed_dictionaries(
    {},
    optional={
        "tensor": st.one_of(names, values),
        "type": st.one_of(
            st.sampled_from(["numeric", "categorical", "binary", "text", "image"]),
            values,
        ),
        "shape": st.one_of(
            st.sampled_from([[8, 8, 1], [1, 8, 8], [4], [1], [None]]), values
        ),
        "labels": st.one_of(st.lists(st.text(max_size=2), max_size=5), values),
        "encoding": st.sampled_from(["index", "one-hot", "hot"]),
        "layout": st.sampled_from(["NCHW", "NHWC", "NHW", "CHW"]),
        "color": st.sampled_from(["L", "RGB", "BGR", "RGBA"]),
        "range": values,
        "mean": values,
        "std": values,
        "fit": st.sampled_from(["stretch", "crop", "pad", "fill"]),
        "resample": st.sampled_from(["bilinear", "nearest", "best"]),
        "format": st.sampled_from(["png", "jpeg", "gif"]),
        "activation": st.sampled_from(["none", "softmax", "sigmoid", "tanh"]),
        "else": values,
    },
)
sides = st.one_of(st.dictionaries(names, fields, max_size=4), values)
contents = st.fixed_dictionaries(
    {}, optional={"inputs": sides, "outputs": sides, "more": values}
)
graphs = st.sampled_from(
    [GRAPH, one(3), one(8, 8), one(None), one(), one(dtype="string"), one(1, 8, 8)]
)


# The strategies are large, and a busy machine is slow to draw from them.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PATIENT
@given(contents, graphs)
@example({"outputs": {"y": {"type": "image", "std": 1e-308}}}, one(8, 8))
def test_any_content_is_a_spec_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any, graph: Graph
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-io.json"
    path.write_text(json.dumps(content))
    try:
        spec = read(path, graph)
    except SpecError as error:
        assert "\n" not in str(error)
        return
    card = json.loads(json.dumps(to_json(spec), allow_nan=False))
    assert from_json(card) == spec
    assert {each.tensor for each in spec.inputs} == {each.name for each in graph.inputs}


@PATIENT
@given(
    st.recursive(
        values,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(names | st.sampled_from(["name", "type"]), inner)
        ),
        max_leaves=20,
    )
)
def test_any_card_is_a_spec_or_refused(card: Any) -> None:
    content = card if isinstance(card, dict) else {"inputs": card, "outputs": card}
    try:
        from_json(content)
    except SpecError:
        pass
