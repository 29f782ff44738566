"""Reads what an ONNX file says of its tensors, and tries it on rows of nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import onnx_file
from backends.base import ModelFileRejected
from backends.features import DataError
from backends.onnx import open_session, run
from backends.onnx_graph import (
    CLASSIFIERS,
    Nodes,
    find_external_data,
    find_labels,
    find_own_labels,
    label_attribute,
    refuse_foreign_operators,
)
from backends.tensors.graph import Graph, Output
from backends.tensors.spec import Type
from backends.tensors.tensor import Tensor, declared

_PROBED_ROWS = 2


def inspect(path: Path) -> Graph:
    """Read a graph, load it, and run it once where all sizes are known.

    Meant for a process that may be killed: a file can be made to take any amount of
    time and memory.

    Raises ModelFileRejected with the reason and the remedy.
    """
    proto = onnx_file.read(path)
    refuse_foreign_operators(proto)
    external_data = find_external_data(proto, path.parent)
    session = open_session(path)
    inputs = declared(session.get_inputs(), "input")
    rows = _rows(inputs)
    sizes = _probe(session, inputs, rows or _PROBED_ROWS)
    nodes = Nodes(proto.graph)
    tensors, zipped = _answered(nodes, session.get_outputs(), sizes, rows)
    return Graph(
        inputs=inputs,
        outputs=_outputs(nodes, tensors, zipped),
        external_data=external_data,
        has_zip_map=bool(zipped),
    )


def _rows(inputs: Sequence[Tensor]) -> int | None:
    """How many rows the graph insists on; None if any number will do."""
    if not inputs:
        raise ModelFileRejected("the graph takes no input: there is nothing to score")
    insisted = {each.rows for each in inputs}
    if len(insisted) > 1:
        raise ModelFileRejected(
            "the inputs differ in their number of rows: export the graph with an open"
            " first dimension"
        )
    return insisted.pop()


# ---- Trying it


def _probe(
    session: Any, inputs: Sequence[Tensor], rows: int
) -> Mapping[str, tuple[int, ...]]:
    """The real shape of each output, without its rows; empty if a size is open.

    Raises ModelFileRejected where the graph does not answer as many rows as it takes.
    """
    if any(None in each.shape for each in inputs):
        return {}
    feed = {each.name: _nothing(each, rows) for each in inputs}
    try:
        answers = run(session, feed, [each.name for each in session.get_outputs()])
    except DataError as error:
        raise ModelFileRejected(
            f"the graph cannot be run on {_count(rows)} of zeros, {error}: export it"
            " with an open first dimension of every input and output"
        ) from error
    found = {}
    for name, answer in answers.items():
        # A ZipMap answers a list of dictionaries.
        shape = (len(answer),) if isinstance(answer, list) else answer.shape
        if not shape or shape[0] != rows:
            raise ModelFileRejected(
                f"output {name!r} has the shape {_shown(shape)} for {_count(rows)}: the"
                " graph must answer row by row; export it with an open first dimension"
                " of every input and output"
            )
        found[name] = shape[1:]
    return found


def _nothing(tensor: Tensor, rows: int) -> NDArray[Any]:
    """Rows of zeros, or of empty texts."""
    shape = (rows, *(size or 1 for size in tensor.shape))
    if tensor.dtype == "string":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, tensor.dtype)


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def _shown(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


# ---- Outputs

_Labels = tuple[int | str, ...]


def _answered(
    nodes: Nodes,
    values: Sequence[Any],
    sizes: Mapping[str, tuple[int, ...]],
    rows: int | None,
) -> tuple[Sequence[Tensor], Mapping[str, _Labels]]:
    """The outputs' tensors, and the labels that a ZipMap gives to some of them.

    values: as the session has them. sizes: as they were found. rows: see `Tensor`.
    """
    tensors: dict[str, Tensor] = {}
    labels: dict[str, _Labels] = {}
    for each in values:
        maker = nodes.maker(each.name)
        if maker is not None and maker.op_type == "ZipMap":
            found = _unzipped(maker, rows)
            labels[found.name] = label_attribute(maker)
        else:
            found = _measured(each, sizes.get(each.name))
        tensors.setdefault(found.name, found)
    return tuple(tensors.values()), labels


def _outputs(
    nodes: Nodes, tensors: Sequence[Tensor], zipped: Mapping[str, _Labels]
) -> tuple[Output, ...]:
    has_others = sum(_columns(each) > 1 for each in tensors) > 1
    find = find_own_labels if has_others else find_labels
    return tuple(
        _output(nodes, each, zipped.get(each.name) or _stated(nodes, each, find))
        for each in tensors
    )


@dataclass(frozen=True, slots=True)
class _Value:
    """An output as `declared` takes it."""

    name: str
    type: str
    shape: Sequence[object]


def _measured(value: Any, real: tuple[int, ...] | None) -> Tensor:
    """An output as it is declared, its open sizes as they were found."""
    if real is None:
        (tensor,) = declared([value], "output")
        return tensor
    # A graph may say nothing of a shape, not even its rank.
    rows = [*value.shape, None][0]
    (tensor,) = declared([_Value(value.name, value.type, [rows])], "output")
    # What depends on the data may be nothing for zeros.
    return replace(tensor, shape=tuple(size or None for size in real))


def _unzipped(zip_map: Any, rows: int | None) -> Tensor:
    """The tensor that a ZipMap takes: a row of dictionaries is no tensor."""
    return Tensor(zip_map.input[0], "float32", (len(label_attribute(zip_map)),), rows)


def _columns(tensor: Tensor) -> int:
    """How many scores a row may have; 0 if they are none, or their number is open."""
    if not tensor.dtype.startswith("float") or len(tensor.shape) != 1:
        return 0
    return tensor.shape[0] or 0


def _stated(nodes: Nodes, tensor: Tensor, find: Any) -> _Labels:
    """The labels that the graph states for a tensor's columns."""
    columns = _columns(tensor)
    labels: _Labels = ()
    if columns > 1:
        labels = find(nodes, tensor.name, columns)
    return labels if len(labels) == columns else ()


def _output(nodes: Nodes, tensor: Tensor, labels: Sequence[int | str]) -> Output:
    texts = tuple(map(str, labels))
    if "" in texts or len(set(texts)) < len(texts):
        texts = ()
    return Output(tensor, _type(nodes, tensor, texts), texts)


def _type(nodes: Nodes, tensor: Tensor, labels: Sequence[str]) -> Type:
    if tensor.dtype == "string":
        return "text"
    is_single = set(tensor.shape) <= {1}
    if tensor.dtype == "bool" and is_single:
        return "binary"
    maker = nodes.maker(nodes.origin(tensor.name))
    kind = maker.op_type if maker is not None else ""
    if tensor.dtype.startswith("float") and is_single and kind == "Sigmoid":
        return "binary"
    is_scores = labels or kind == "Softmax" or kind in CLASSIFIERS
    return "categorical" if _columns(tensor) > 1 and is_scores else "numeric"
