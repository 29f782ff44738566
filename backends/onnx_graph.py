"""What an ONNX file takes and answers, read before it is packaged."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]  # has none

from backends import onnx_file
from backends.base import ModelFileRejected
from backends.model import Task
from backends.onnx import FLOAT_TYPES, Input, open_session, read_inputs

# Operators that onnxruntime's wheel brings. What it adds while it optimises a graph
# (com.microsoft.nchwc) fits one machine only.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")

# Nodes that hand values on: what an answer passes through after it was made.
_PASSING = ("Cast", "Identity", "Reshape", "Slice", "Squeeze")

CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier")
_REGRESSORS = ("LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor")
_LABELS = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


@dataclass(frozen=True, slots=True)
class Output:
    """One value that a graph answers.

    type: as onnxruntime writes it: "tensor(float)", "seq(map(int64,tensor(float)))".
    shape: as declared, None where the graph leaves a size open; empty when unknown.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ONNX file takes and answers.

    output: the tensor that holds probabilities or values. Not always one of
        `outputs`: ZipMap hides the probabilities, `write_served` brings them out.
    columns: how many columns that tensor has; None where the graph leaves it open.
    labels: class labels in the order of those columns; empty if the file has none.
    task: what the file itself tells; None where it fits more than one.
    external_data: names of the files beside it that hold its weights.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    output: str
    columns: int | None
    labels: tuple[int | str, ...]
    task: Task | None
    external_data: tuple[str, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.inputs)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Graph:
        """Read what `to_json` wrote."""
        values = dict(card)
        for key, kind in (("inputs", Input), ("outputs", Output)):
            values[key] = tuple(
                kind(**{**each, "shape": tuple(each["shape"])}) for each in card[key]
            )
        values["labels"] = tuple(card["labels"])
        values["external_data"] = tuple(card["external_data"])
        return cls(**values)


def inspect(path: Path, *, output: str | None = None) -> Graph:
    """Read a graph and load it once.

    output: name of the output that holds probabilities or values; needed where
        several could. Meant for a process that may be killed: a file can be made to
        take any amount of time and memory.

    Raises ModelFileRejected with the reason and the remedy.
    """
    proto = onnx_file.read(path)
    refuse_foreign_operators(proto)
    external_data = find_external_data(proto, path.parent)
    session = open_session(path)
    inputs = read_inputs(session)
    outputs = tuple(
        Output(
            each.name,
            each.type,
            tuple(size if isinstance(size, int) else None for size in each.shape),
        )
        for each in session.get_outputs()
    )
    nodes = Nodes(proto.graph)
    chosen = _choose(outputs, nodes, output)
    columns = _columns(outputs, chosen)
    labels = find_labels(nodes, chosen, columns)
    if chosen not in {each.name for each in outputs}:
        columns = len(labels)
    return Graph(
        inputs=inputs,
        outputs=outputs,
        output=chosen,
        columns=columns,
        labels=labels,
        task=_task(nodes, chosen, columns, labels),
        external_data=external_data,
    )


def write_without_zip_maps(source: Path, target: Path) -> None:
    """Write a graph whose outputs are the tensors that its ZipMaps take.

    External data is not copied.
    """
    proto = onnx_file.read(source)
    nodes = Nodes(proto.graph)
    outputs: dict[str, Any] = {}
    for output in proto.graph.output:
        maker = nodes.maker(output.name)
        if maker is not None and maker.op_type == "ZipMap":
            (name, *_), columns = maker.input, len(label_attribute(maker))
            output = onnx.helper.make_tensor_value_info(
                name, onnx.TensorProto.FLOAT, [None, columns]
            )
        outputs.setdefault(output.name, output)
    kept = [node for node in proto.graph.node if node.op_type != "ZipMap"]
    del proto.graph.node[:], proto.graph.output[:], proto.graph.value_info[:]
    proto.graph.node.extend(kept)
    proto.graph.output.extend(outputs.values())
    target.write_bytes(proto.SerializeToString())


def write_served(source: Path, target: Path, graph: Graph) -> None:
    """Write the file that is served: a copy, or the graph without its ZipMap.

    ZipMap makes a dictionary of each row. Without it the graph answers the tensor
    that went into it, and the nodes that only other outputs need are dropped.
    External data is not copied.
    """
    if graph.output in {each.name for each in graph.outputs}:
        shutil.copyfile(source, target)
        return
    proto = onnx_file.read(source)
    nodes = Nodes(proto.graph)
    kept = nodes.leading_to(graph.output)
    element_type = _element_type(proto.graph)
    del proto.graph.node[:], proto.graph.output[:], proto.graph.value_info[:]
    proto.graph.node.extend(kept)
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(
            graph.output, element_type, [None, graph.columns]
        )
    )
    target.write_bytes(proto.SerializeToString())


def _messages(message: Message) -> Iterator[Message]:
    """A protobuf message and all that lie in it, subgraphs and functions included."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in (value,) if isinstance(value, Message) else value:
                yield from _messages(child)


def refuse_foreign_operators(proto: Any) -> None:
    """Raise ModelFileRejected for an operator that onnxruntime does not bring."""
    own = {(function.domain, function.name) for function in proto.functions}
    for node in _messages(proto):
        if not isinstance(node, onnx.NodeProto) or node.domain in _DOMAINS:
            continue
        if (node.domain, node.op_type) not in own:
            raise ModelFileRejected(
                f"operator {node.op_type!r} of {node.domain!r} is not part of "
                "onnxruntime, and a bundle brings no code: "
                "export the graph with standard operators"
            )


def find_external_data(proto: Any, folder: Path) -> tuple[str, ...]:
    """Names of the files that hold a graph's weights, all of them in the folder.

    Raises ModelFileRejected for one that lies anywhere else.
    """
    names = set()
    for tensor in _messages(proto):
        if not isinstance(tensor, onnx.TensorProto):
            continue
        if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
            places = [
                entry.value for entry in tensor.external_data if entry.key == "location"
            ]
            names.add(_external_file(folder, tensor.name, places))
    return tuple(sorted(names))


def _external_file(folder: Path, tensor: str, places: Sequence[str]) -> str:
    place = places[0] if len(places) == 1 else ""
    name = place.removeprefix("./")
    reason = None
    if not name or "\0" in name:
        reason = "names no file"
    elif os.path.isabs(name) or ".." in re.split(r"[/\\]", name):
        reason = f"lies outside the folder of the model: {place!r}"
    elif "/" in name or "\\" in name or name.startswith("."):
        reason = f"does not lie directly beside the model: {place!r}"
    elif not os.path.lexists(folder / name):
        reason = f"is not there: {place!r}"
    elif not stat.S_ISREG(os.lstat(folder / name).st_mode):
        reason = f"is a link or no file: {place!r}"
    if reason is not None:
        raise ModelFileRejected(
            f"external data of tensor {tensor!r} {reason}; "
            "save the weights inside the model file, or in one file beside it"
        )
    return name


class Nodes:
    """The nodes of a graph by the values that they make."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._makers = {name: node for node in graph.node for name in node.output}

    def maker(self, value: str) -> Any | None:
        """The node that makes a value; None for inputs and weights."""
        return self._makers.get(value)

    def origin(self, value: str) -> str:
        """The value that this one was before it was reshaped, sliced or cast."""
        node = self.maker(value)
        while node is not None and node.op_type in _PASSING:
            value = node.input[0]
            node = self.maker(value)
        return value

    def leading_to(self, value: str) -> list[Any]:
        """The nodes that this value needs, in the graph's order."""
        needed = {value}
        kept = []
        # The nodes of an ONNX graph stand in the order of their execution.
        for node in reversed(self.graph.node):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(_taken(node))
        return kept[::-1]


def _taken(node: Any) -> set[str]:
    """The values that a node and the nodes of its subgraphs take."""
    inner = (each for each in _messages(node) if isinstance(each, onnx.NodeProto))
    return {name for each in inner for name in each.input}


def _choose(outputs: Sequence[Output], nodes: Nodes, wanted: str | None) -> str:
    """The tensor that holds probabilities or values."""
    listed = ", ".join(f"{each.name} ({each.type})" for each in outputs)
    if wanted is not None:
        outputs = [each for each in outputs if each.name == wanted]
    fitting = [
        each for each in outputs if each.type in FLOAT_TYPES or _zip_map(nodes, each)
    ]
    if not fitting:
        raise ModelFileRejected(
            (f"output {wanted!r} is not" if wanted else "no output is")
            + f" a tensor of floating-point numbers; the graph answers {listed}: "
            "export it with its probabilities or values"
        )
    if len(fitting) > 1:
        return _split_up(nodes, fitting, listed)
    if len(fitting[0].shape) > 2:
        raise ModelFileRejected(
            f"output {fitting[0].name!r} has {len(fitting[0].shape)} dimensions: "
            "export a graph that answers (rows,) or (rows, columns)"
        )
    zip_map = _zip_map(nodes, fitting[0])
    return zip_map.input[0] if zip_map else fitting[0].name


def _zip_map(nodes: Nodes, output: Output) -> Any | None:
    maker = nodes.maker(output.name)
    return maker if maker is not None and maker.op_type == "ZipMap" else None


def _split_up(nodes: Nodes, outputs: Sequence[Output], listed: str) -> str:
    """The tensor that the outputs are the columns of, one for each class."""
    origins = {nodes.origin(each.name) for each in outputs}
    if len(origins) == 1:
        (origin,) = origins
        if len(find_labels(nodes, origin, len(outputs))) == len(outputs):
            return origin
    raise ModelFileRejected(
        f"several outputs could hold the predictions; the graph answers {listed}: "
        "name one with --output"
    )


def find_labels(nodes: Nodes, value: str, columns: int | None) -> tuple[int | str, ...]:
    """The labels that go with a value's columns; empty if the graph does not say."""
    # What the label output picks from comes before what a classifier inside says: a
    # model made of several numbers the classes of its parts.
    stated = [*_mapped(nodes, value), _picked_labels(nodes), *_inside(nodes, value)]
    return _fitting(stated, columns)


def find_own_labels(
    nodes: Nodes, value: str, columns: int | None
) -> tuple[int | str, ...]:
    """The same of a graph with several such values: what goes with this one alone."""
    return _fitting([*_mapped(nodes, value), *_inside(nodes, value)], columns)


def _mapped(nodes: Nodes, value: str) -> Iterator[tuple[int | str, ...]]:
    for node in nodes.graph.node:
        if node.op_type == "ZipMap" and node.input[0] == value:
            yield label_attribute(node)


def _inside(nodes: Nodes, value: str) -> Iterator[tuple[int | str, ...]]:
    for node in reversed(nodes.leading_to(value)):
        if node.op_type in CLASSIFIERS:
            yield label_attribute(node)


def _fitting(
    stated: Sequence[tuple[int | str, ...]], columns: int | None
) -> tuple[int | str, ...]:
    for labels in stated:
        fits = columns in (None, len(labels)) or (columns, len(labels)) == (1, 2)
        if len(labels) > 1 and fits:
            return labels
    return ()


def label_attribute(node: Any) -> tuple[int | str, ...]:
    """The labels that a node has as an attribute; empty if it has none."""
    for attribute in node.attribute:
        if attribute.name in _LABELS and attribute.ints:
            return tuple(attribute.ints)
        if attribute.name in _LABELS and attribute.strings:
            return tuple(text.decode() for text in attribute.strings)
    return ()


def _picked_labels(nodes: Nodes) -> tuple[int | str, ...]:
    """The labels from which an output picks one by position."""
    weights = {each.name: each for each in nodes.graph.initializer}
    for output in nodes.graph.output:
        maker = nodes.maker(nodes.origin(output.name))
        if maker is None or maker.op_type not in ("ArrayFeatureExtractor", "Gather"):
            continue
        if maker.input[0] in weights:
            picked = onnx.numpy_helper.to_array(weights[maker.input[0]]).reshape(-1)
            if picked.dtype.kind in "iOSU":
                return tuple(
                    each.decode() if isinstance(each, bytes) else each
                    for each in picked.tolist()
                )
    return ()


def _columns(outputs: Sequence[Output], chosen: str) -> int | None:
    for output in outputs:
        if output.name == chosen and output.shape:
            return 1 if len(output.shape) == 1 else output.shape[1]
    return None


def _task(
    nodes: Nodes, chosen: str, columns: int | None, labels: Sequence[int | str]
) -> Task | None:
    if labels:
        return "binary" if len(labels) == 2 else "multiclass"
    if columns is not None and columns > 1:
        return "binary" if columns == 2 else "multiclass"
    maker = nodes.maker(nodes.origin(chosen))
    kind = maker.op_type if maker is not None else ""
    if columns == 1 and kind == "Sigmoid":
        return "binary"
    return "regression" if columns == 1 and kind in _REGRESSORS else None


def _element_type(graph: Any) -> int:
    """The type of the hidden tensor: as its columns say, else what ZipMap takes."""
    for output in graph.output:
        element_type = output.type.tensor_type.elem_type
        if element_type in (onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16):
            return int(element_type)
    return int(onnx.TensorProto.FLOAT)
