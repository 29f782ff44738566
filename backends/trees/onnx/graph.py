"""ONNX graphs as their file holds them: who makes a value, and of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from backends import onnx_file
from backends.trees.ensemble import NotCovered

_ML = "ai.onnx.ml"
DOMAINS = ("", "ai.onnx", _ML)
_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")

# As numpy calls them.
DTYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.STRING: "string",
}


def read(path: Path) -> Graph:
    """Read a file.

    Raises ModelFileRejected for a file that holds no graph, NotCovered for functions.
    """
    proto = onnx_file.read(path)
    if proto.functions:
        raise NotCovered("the graph brings functions of its own")
    return Graph(proto.graph)


class Graph:
    """Values by name: nodes that make them, weights, inputs."""

    def __init__(self, proto: Any) -> None:
        self._nodes = list(proto.node)
        self._inputs = list(proto.input)
        self._makers = {name: node for node in proto.node for name in node.output}
        self._weights = {each.name: each for each in proto.initializer}
        for node in proto.node:
            if node.op_type == "Constant" and len(node.attribute) == 1:
                self._weights[node.output[0]] = node.attribute[0].t

    @property
    def inputs(self) -> list[Any]:
        """The inputs that rows go into, as declared."""
        return [each for each in self._inputs if each.name not in self._weights]

    def maker(self, value: str) -> Any | None:
        return self._makers.get(value)

    def constant(self, value: str) -> NDArray[Any] | None:
        """A weight, or None if the value is none or lies outside the file."""
        weight = self._weights.get(value)
        if weight is None or weight.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return _array(weight)

    def behind(self, output: str) -> tuple[Any, list[Any]]:
        """The tree operator that an output is made of, and the nodes after it.

        Raises NotCovered if it is not made of one, by nodes in a row.
        """
        steps: list[Any] = []
        seen = set()
        node = self.maker(output)
        while node is not None and not _is_trees(node):
            if id(node) in seen:
                break
            seen.add(id(node))
            steps.append(node)
            node = self.maker(self._changing(node))
        if node is None or not _is_trees(node):
            raise NotCovered(
                "the graph has no trees"
                if not any(map(_is_trees, self._nodes))
                else f"the graph does more than its trees: {_operators(steps)}"
            )
        value = steps[-1].input if steps else [output]
        if node.op_type == "TreeEnsembleClassifier" and node.output[1] not in value:
            raise NotCovered("the graph answers the trees' labels")
        return node, steps[::-1]

    def leading_to(self, value: str) -> list[Any]:
        """The nodes that make a value of the graph's inputs, in order."""
        needed, nodes = {value}, []
        for node in reversed(self._nodes):
            is_needed = needed.intersection(node.output)
            if is_needed and self.constant(node.output[0]) is None:
                nodes.append(node)
                needed.update(node.input)
        return nodes[::-1]

    def _changing(self, node: Any) -> str:
        """The one input of a node that is not a weight; "" if there are more."""
        values = [name for name in node.input if name not in self._weights]
        if node.op_type == "Concat" and len(values) == 2:
            # [1 - p, p]: what is before both is before the second.
            first = self.maker(values[0])
            if first is not None and list(first.input)[1:] == values[1:]:
                return str(values[1])
        return str(values[0]) if len(values) == 1 else ""


def attributes_of(node: Any) -> dict[str, Any]:
    """A node's attributes as plain values and arrays."""
    values: dict[str, Any] = {}
    kinds = onnx.AttributeProto
    read: dict[int, Callable[[Any], Any]] = {
        kinds.INT: lambda each: each.i,
        kinds.FLOAT: lambda each: each.f,
        kinds.STRING: lambda each: each.s,
        kinds.INTS: lambda each: np.array(each.ints, np.int64),
        kinds.FLOATS: lambda each: np.array(each.floats, np.float32),
        kinds.STRINGS: lambda each: list(each.strings),
        kinds.TENSOR: lambda each: _array(each.t),
    }
    for each in node.attribute:
        if each.type in read:
            values[each.name] = read[each.type](each)
    return values


def cast_to(node: Any) -> str:
    """The type that a Cast makes of a value, as numpy calls it; "" for another."""
    wanted = attributes_of(node).get("to")
    return DTYPES.get(wanted, "") if isinstance(wanted, int) else ""


def _is_trees(node: Any) -> bool:
    return node.domain == _ML and node.op_type in _TREES


def _operators(nodes: list[Any]) -> str:
    return ", ".join(dict.fromkeys(node.op_type for node in nodes)) or "no operator"


def _array(tensor: Any) -> NDArray[Any]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise NotCovered("the trees' numbers lie outside the file")
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (TypeError, ValueError) as error:
        raise NotCovered("the graph has a weight that cannot be read") from error
