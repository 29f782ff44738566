"""ONNX graphs of trees as ensembles that answer what onnxruntime answers.

A graph is covered when it hands its inputs to one tree operator as they are, in any
order, and makes its answer of the trees' sums in a way that a transform knows. Rules
that the standard leaves open are those of onnxruntime's tree_ensemble_aggregator.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import (  # type: ignore[import-untyped]  # has none
    DecodeError,
)
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.model import Model
from backends.trees import onnx_nodes
from backends.trees.ensemble import Ensemble, NotCovered, Transform

_ML = "ai.onnx.ml"
_DOMAINS = ("", "ai.onnx", _ML)
_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")

_DTYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.STRING: "string",
}
# What the trees may take, and the type in which they compare it and add up.
_KINDS = {
    "float32": np.float32,
    "int64": np.float32,
    "float64": np.float64,
}

# Columns that all tensors before the trees may have together.
_MOST_COLUMNS = 10_000_000

# By the number that onnxruntime gives them; the standard swaps 1 and 2.
_POST_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_EACH = {
    "NONE": "identity",
    "LOGISTIC": "float_logistic",
    "SOFTMAX": "float_softmax",
    "SOFTMAX_ZERO": "float_softmax_zero",
}


def read(path: Path, model: Model) -> Ensemble:
    """Read the graph of a bundle.

    model: its `output` is the tensor that is answered, its features go into the
        graph's inputs in their order.

    Raises NotCovered for what the engine does not score or onnxruntime would refuse,
    ModelFileRejected for a file that holds no graph.
    """
    graph = _Graph(_parse(path))
    maker, steps = graph.behind(model.output or "")
    taken = _taken(graph, maker.input[0], model)
    answer = _answer(maker, np.array(taken.features, np.int64), _KINDS[taken.dtype])
    for step in steps:
        answer = _after(answer, step, graph)
    transform = answer.transform
    if not answer.single and transform == Transform():
        # Whatever the trees add up in, they answer float32.
        transform = Transform("float_scale")
    return Ensemble(
        features=len(model.features),
        sums=len(answer.base),
        outputs=answer.outputs,
        base=answer.base.astype(np.float64),
        divisor=answer.divisor,
        transform=transform,
        single=answer.single,
        # onnxruntime compares what is there, however small.
        zero=-1.0,
        **answer.trees,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a tensor that was made of the trees' sums.

    trees: arrays of the ensemble. base: (sums,). single: the trees add up in float32.
    """

    trees: dict[str, Any]
    base: NDArray[Any]
    outputs: int
    single: bool
    divisor: float = 1.0
    transform: Transform = Transform()


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor before the trees: which feature each of its columns is.

    rounded: some column was rounded to float32.
    """

    features: tuple[int, ...]
    dtype: str
    rank: int
    rounded: bool


def _parse(path: Path) -> Any:
    try:
        proto = onnx.load_model(path, "protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelFileRejected(
            f"{path.name} is not an ONNX file, or only a part of one: export it again"
        ) from error
    if proto.functions:
        raise NotCovered("the graph brings functions of its own")
    return proto.graph


class _Graph:
    """Values by name: nodes that make them, weights, inputs."""

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self._makers = {name: node for node in proto.node for name in node.output}
        self._weights = {each.name: each for each in proto.initializer}
        for node in proto.node:
            if node.op_type == "Constant" and len(node.attribute) == 1:
                self._weights[node.output[0]] = node.attribute[0].t

    @property
    def inputs(self) -> list[Any]:
        """The inputs that rows go into, as declared."""
        return [each for each in self.proto.input if each.name not in self._weights]

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
                if not any(map(_is_trees, self.proto.node))
                else f"the graph does more than its trees: {_operators(steps)}"
            )
        value = steps[-1].input if steps else [output]
        if node.op_type == "TreeEnsembleClassifier" and node.output[1] not in value:
            raise NotCovered("the graph answers the trees' labels")
        return node, steps[::-1]

    def _changing(self, node: Any) -> str:
        """The one input of a node that is not a weight; "" if there are more."""
        values = [name for name in node.input if name not in self._weights]
        if node.op_type == "Concat" and len(values) == 2:
            # [1 - p, p]: what is before both is before the second.
            first = self.maker(values[0])
            if first is not None and list(first.input)[1:] == values[1:]:
                return str(values[1])
        return str(values[0]) if len(values) == 1 else ""


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


def _attributes(node: Any) -> dict[str, Any]:
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


# Before the trees


def _taken(graph: _Graph, value: str, model: Model) -> _Tensor:
    """What the trees take.

    Raises NotCovered where the graph computes with its inputs.
    """
    tensors = _inputs(graph, model)
    columns = 0
    for node in _leading_to(graph, value):
        taken = [tensors.get(name) for name in node.input]
        handed = _handed_on(node, taken, graph) if node.domain in _DOMAINS else None
        if handed is None:
            raise NotCovered(
                "the graph computes with its inputs before the trees "
                f"(operator {node.op_type})"
            )
        tensors[node.output[0]] = handed
        columns += len(handed.features)
        if columns > _MOST_COLUMNS:
            raise NotCovered("the graph repeats its inputs many times")
    found = tensors.get(value)
    if found is None or found.rank != 2:
        raise NotCovered("the trees take no table of the graph's inputs")
    if found.dtype not in _KINDS:
        raise NotCovered(f"the trees compare {found.dtype} numbers")
    if found.dtype == "float64" and found.rounded:
        raise NotCovered("the trees compare float64 numbers that were float32 before")
    return found


def _inputs(graph: _Graph, model: Model) -> dict[str, _Tensor]:
    """The graph's inputs and which features go into each, as `backends.onnx` has it."""
    tensors, start = {}, 0
    for each in graph.inputs:
        declared = each.type.tensor_type
        sizes = [size.dim_value or None for size in declared.shape.dim]
        dtype = _DTYPES.get(declared.elem_type, "")
        if dtype in ("", "string"):
            raise NotCovered(f"the graph takes {'texts' if dtype else 'other types'}")
        if dtype in ("int32", "bool"):
            # Rows that such an input cannot hold are refused where the graph is run.
            raise NotCovered(f"the graph takes {dtype} numbers")
        if len(sizes) not in (1, 2):
            raise NotCovered("the graph takes inputs that are no tables")
        width = 1 if len(sizes) == 1 else sizes[1]
        if width is None:
            width = len(model.features) if len(graph.inputs) == 1 else 0
        stop = start + width
        if not start < stop <= len(model.features):
            break
        features = tuple(range(start, stop))
        tensors[each.name] = _Tensor(features, dtype, len(sizes), dtype == "float32")
        start = stop
    if start != len(model.features) or len(tensors) != len(graph.inputs):
        raise NotCovered("the graph takes other columns than the card says")
    return tensors


def _leading_to(graph: _Graph, value: str) -> list[Any]:
    """The nodes that make a value of the graph's inputs, in order."""
    needed, nodes = {value}, []
    for node in reversed(graph.proto.node):
        if needed.intersection(node.output) and graph.constant(node.output[0]) is None:
            nodes.append(node)
            needed.update(node.input)
    return nodes[::-1]


def _handed_on(node: Any, taken: list[_Tensor | None], graph: _Graph) -> _Tensor | None:
    """What a node makes of tensors, or None if it does more than to arrange them."""
    first = taken[0] if taken else None
    if first is None:
        return None
    attributes = _attributes(node)
    if node.op_type == "Identity":
        return first
    if node.op_type == "Cast":
        return _cast(first, _DTYPES.get(attributes.get("to", 0), ""))
    if node.op_type in ("Concat", "FeatureVectorizer"):
        known = [each for each in taken if each is not None and each.rank == 2]
        all_known = len(known) == len(taken)
        return _joined(node.op_type, known, attributes) if all_known else None
    if node.op_type in ("Gather", "ArrayFeatureExtractor"):
        return _picked(node, first, attributes, graph)
    if node.op_type == "Reshape":
        shape = graph.constant(node.input[1])
        wanted = ([-1, len(first.features)], [0, len(first.features)], [0, -1])
        if shape is not None and shape.tolist() in wanted:
            return replace(first, rank=2)
    return None


def _cast(tensor: _Tensor, dtype: str) -> _Tensor | None:
    """Casts that lose nothing, or what float32 loses anyway.

    Integers are sent to the graph only as far as float64 holds them.
    """
    wider = {
        "int64": ("float32", "float64"),
        "float32": ("float64",),
        "float64": ("float32",),
    }
    if dtype == tensor.dtype or dtype in wider.get(tensor.dtype, ()):
        rounded = tensor.rounded or dtype == "float32"
        return replace(tensor, dtype=dtype, rounded=rounded)
    return None


def _joined(
    operator: str, taken: list[_Tensor], attributes: Mapping[str, Any]
) -> _Tensor | None:
    features = tuple(name for each in taken for name in each.features)
    dtypes = {each.dtype for each in taken}
    joined = replace(
        taken[0], features=features, rounded=any(each.rounded for each in taken)
    )
    if operator == "FeatureVectorizer":
        widths = np.asarray(attributes.get("inputdimensions", ())).tolist()
        if widths != [len(each.features) for each in taken]:
            return None
        return _cast(joined, "float32") if len(dtypes) == 1 else None
    if attributes.get("axis") not in (1, -1) or len(dtypes) > 1:
        return None
    return joined


def _picked(
    node: Any, tensor: _Tensor, attributes: Mapping[str, Any], graph: _Graph
) -> _Tensor | None:
    """Columns picked by their positions."""
    places = graph.constant(node.input[1])
    axis = attributes.get("axis", 0) if node.op_type == "Gather" else 1
    if places is None or axis not in (1, -1) or tensor.rank != 2:
        return None
    # A scalar would take a dimension away.
    if places.dtype.kind != "i" or (node.op_type == "Gather" and places.ndim != 1):
        return None
    width = len(tensor.features)
    wanted = places.reshape(-1).tolist()
    if not all(0 <= place < width for place in wanted):
        return None
    return replace(tensor, features=tuple(tensor.features[place] for place in wanted))


# The trees


def _answer(node: Any, columns: NDArray[np.int64], kind: Any) -> _Answer:
    """What a tree operator answers; kind: numpy's type that it adds up in."""
    attributes = _attributes(node)
    if node.op_type == "TreeEnsembleClassifier":
        return _classifier(attributes, columns, kind)
    if node.op_type == "TreeEnsembleRegressor":
        nodes = onnx_nodes.read_listed(attributes, "target", kind)
        aggregate = _text(attributes, "aggregate_function", "SUM")
    else:
        if kind == np.float64:
            raise NotCovered("the trees answer float64 numbers")
        nodes = onnx_nodes.read_linked(attributes, kind)
        aggregate = _numbered(attributes, "aggregate_function", 1, _AGGREGATES)
    if aggregate not in ("SUM", "AVERAGE"):
        raise NotCovered(f"the trees' answers are not added up but {aggregate}")
    sums = attributes.get("n_targets", 0)
    if not isinstance(sums, int):
        raise NotCovered("the trees do not say how many values they answer")
    trees = onnx_nodes.flatten(nodes, sums, columns)
    base = onnx_nodes.read_base(attributes, kind)
    post = _post_transform(attributes)
    return _Answer(
        trees=trees.arrays,
        base=_base(base if len(base) else np.zeros(sums, kind), trees),
        outputs=sums,
        single=kind == np.float32,
        divisor=float(len(nodes.roots)) if aggregate == "AVERAGE" else 1.0,
        # onnxruntime transforms several answers only, but for PROBIT.
        transform=Transform("identity" if sums == 1 else _each(post, kind)),
    )


def _classifier(
    attributes: Mapping[str, Any], columns: NDArray[np.int64], kind: Any
) -> _Answer:
    nodes = onnx_nodes.read_listed(attributes, "class", kind)
    labels = _labels(attributes)
    classes = set(np.unique(nodes.target).tolist())
    base = onnx_nodes.read_base(attributes, kind)
    post = _post_transform(attributes)
    if labels < 2:
        raise NotCovered("the trees know one class only")
    if labels == 2 and classes == {0}:
        return _one_sum(nodes, columns, base, post)
    trees = onnx_nodes.flatten(nodes, labels, columns)
    if labels == 2 and len(base) > 1:
        raise NotCovered("the trees start from a value for each of two classes")
    if labels == 2 and not trees.always[1]:
        raise NotCovered("the trees give some rows no value of the second class")
    if len(base) not in (0, 1 if labels == 2 else labels):
        raise NotCovered("the trees start from another number of values than classes")
    start = np.zeros(labels, kind)
    start[: len(base)] = base
    return _Answer(
        trees=trees.arrays,
        base=_base(start, trees) if labels == 2 else start,
        outputs=labels,
        single=kind == np.float32,
        transform=Transform(_each(post, kind)),
    )


def _labels(attributes: Mapping[str, Any]) -> int:
    for name in ("classlabels_strings", "classlabels_int64s"):
        if isinstance(attributes.get(name), list | np.ndarray):
            return len(attributes[name])
    return 0


def _one_sum(
    nodes: onnx_nodes.Nodes,
    columns: NDArray[np.int64],
    base: NDArray[Any],
    post: str,
) -> _Answer:
    """Two classes, of which the trees score one: the second, whatever they call it."""
    trees = onnx_nodes.flatten(nodes, 1, columns)
    if len(base) > 1:
        raise NotCovered("the trees start from a value for each of two classes")
    name = "float_logistic_opposites"
    if post != "LOGISTIC":
        is_mixed = (nodes.weight < 0).any()
        name = "float_opposites" if is_mixed else "float_complements"
    return _Answer(
        trees=trees.arrays,
        base=base if len(base) else np.zeros(1, base.dtype),
        outputs=2,
        single=base.dtype == np.float32,
        transform=Transform(name),
    )


def _base(base: NDArray[Any], trees: onnx_nodes.Trees) -> NDArray[Any]:
    """What is added to the sums: nothing where no leaf adds anything, as it happens."""
    if len(base) != len(trees.always):
        raise NotCovered("the trees start from another number of values than they have")
    if (trees.ever & ~trees.always & (base != 0)).any():
        raise NotCovered("the trees give some rows no value of a sum")
    return np.where(trees.ever, base, base.dtype.type(0.0))


def _each(post: str, kind: Any) -> str:
    """The transform of several answers."""
    if kind == np.float64 and post == "SOFTMAX":
        return "softmax"
    if kind == np.float64 and post == "SOFTMAX_ZERO":
        raise NotCovered("the trees transform float64 numbers by SOFTMAX_ZERO")
    return _EACH[post]


def _post_transform(attributes: Mapping[str, Any]) -> str:
    if isinstance(attributes.get("post_transform"), int):
        name = _numbered(attributes, "post_transform", 0, _POST_TRANSFORMS)
    else:
        name = _text(attributes, "post_transform", "NONE")
    if name not in _EACH:
        raise NotCovered(f"the trees' answers are transformed by {name}")
    return name


def _text(attributes: Mapping[str, Any], name: str, default: str) -> str:
    value = attributes.get(name, default.encode())
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _numbered(
    attributes: Mapping[str, Any], name: str, default: int, names: tuple[str, ...]
) -> str:
    number = attributes.get(name, default)
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise NotCovered(f"the trees have an unknown {name}")
    return names[number]


# After the trees


def _after(answer: _Answer, node: Any, graph: _Graph) -> _Answer:
    """What a node makes of an answer.

    Raises NotCovered if no transform does the same.
    """
    known = _STEPS.get(node.op_type) if node.domain in _DOMAINS else None
    made = known(answer, node, graph) if known is not None else None
    if made is None:
        raise NotCovered(
            "the graph computes with the trees' answer in a way that the engine does "
            f"not (operator {node.op_type})"
        )
    return made


def _same(answer: _Answer, node: Any, graph: _Graph) -> _Answer:
    return answer


def _cast_answer(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    is_float = _attributes(node).get("to") == onnx.TensorProto.FLOAT
    return answer if is_float else None


def _reshape(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    shape = graph.constant(node.input[1]) if len(node.input) > 1 else None
    wanted = [[-1, answer.outputs], [0, answer.outputs], [0, -1]]
    if answer.outputs == 1:
        wanted.append([-1])
    return answer if shape is not None and shape.tolist() in wanted else None


def _multiply(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    factor = _operand(node, graph)
    if factor is None or factor.size != 1 or factor.ndim > 2:
        return None
    scale = float(factor.reshape(-1)[0])
    if scale == 1.0:
        return answer
    name, parameter = answer.transform.name, answer.transform.parameter
    scaled = {"identity": "float_scale"} | {
        each: each for each in ("float_exp", "float_opposites")
    }
    if parameter != 1.0 or name not in scaled:
        return None
    return replace(answer, transform=Transform(scaled[name], scale))


def _divide(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    divisor = graph.constant(node.input[1]) if len(node.input) == 2 else None
    is_sum = _is_sum(answer) and answer.divisor == 1.0
    if divisor is None or divisor.size != 1 or divisor.dtype != np.float32:
        return None
    if divisor.ndim > 2 or divisor.reshape(-1)[0] == 0:
        return None
    if not is_sum or answer.base.any():
        return None
    return replace(answer, divisor=float(divisor.reshape(-1)[0]))


def _add(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    term = _operand(node, graph)
    if term is None or not _is_sum(answer) or answer.base.any():
        return None
    if term.size not in (1, answer.outputs) or term.shape[:-1] not in ((), (1,)):
        return None
    base = np.broadcast_to(term.reshape(-1), answer.outputs).copy()
    return replace(answer, base=base)


def _is_sum(answer: _Answer) -> bool:
    """Whether it is what float32 sums come to, to which more may be added."""
    return answer.single and answer.transform == Transform()


def _exp(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    if answer.transform != Transform():
        return None
    return replace(answer, transform=Transform("float_exp"))


def _sigmoid(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    names = {
        "identity": "float_logistic",
        "float_scale": "float_logistic",
        "float_opposites": "float_logistic_opposites",
    }
    name = names.get(answer.transform.name)
    if name is None:
        return None
    return replace(answer, transform=Transform(name, answer.transform.parameter))


def _complement(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    """1 - p, which only a Concat of both makes use of."""
    first = graph.constant(node.input[0]) if len(node.input) == 2 else None
    if first is None or first.dtype != np.float32 or first.size != 1:
        return None
    return answer if first.reshape(-1)[0] == 1.0 and answer.outputs == 1 else None


def _pair(answer: _Answer, node: Any, graph: _Graph) -> _Answer | None:
    """[1 - p, p]."""
    names = {
        "identity": "float_complements",
        "float_logistic": "float_logistic_complements",
    }
    name = names.get(answer.transform.name)
    first = graph.maker(node.input[0])
    if name is None or answer.outputs != 1 or len(node.input) != 2:
        return None
    if first is None or first.op_type != "Sub" or first.input[1] != node.input[1]:
        return None
    if _complement(answer, first, graph) is None:
        return None
    if _attributes(node).get("axis") not in (1, -1):
        return None
    transform = Transform(name, answer.transform.parameter)
    return replace(answer, transform=transform, outputs=2)


def _operand(node: Any, graph: _Graph) -> NDArray[Any] | None:
    """The float32 weight that a node combines an answer with."""
    weights = [graph.constant(name) for name in node.input]
    found = [each for each in weights if each is not None]
    if len(found) != 1 or len(weights) != 2 or found[0].dtype != np.float32:
        return None
    return found[0]


_STEPS: dict[str, Callable[[_Answer, Any, _Graph], _Answer | None]] = {
    "Identity": _same,
    "Cast": _cast_answer,
    "Reshape": _reshape,
    "Mul": _multiply,
    "Div": _divide,
    "Add": _add,
    "Exp": _exp,
    "Sigmoid": _sigmoid,
    "Concat": _pair,
}
