"""What lies before the trees: which feature each column is that they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.model import Model
from backends.trees.ensemble import NotCovered
from backends.trees.onnx.graph import DOMAINS, DTYPES, Graph, attributes_of, cast_to

# What the trees may take, and the type in which they compare it and add up.
KINDS = {
    "float32": np.float32,
    "int64": np.float32,
    "float64": np.float64,
}

# Columns that all tensors before the trees may have together.
_MOST_COLUMNS = 10_000_000


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor before the trees: which feature each of its columns is.

    rounded: some column was rounded to float32.
    """

    features: tuple[int, ...]
    dtype: str
    rank: int
    rounded: bool


def read_columns(graph: Graph, value: str, model: Model) -> Tensor:
    """What the trees take.

    Raises NotCovered where the graph computes with its inputs.
    """
    tensors = _inputs(graph, model)
    columns = 0
    for node in graph.leading_to(value):
        taken = [tensors.get(name) for name in node.input]
        handed = _handed_on(node, taken, graph) if node.domain in DOMAINS else None
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
    if found.dtype not in KINDS:
        raise NotCovered(f"the trees compare {found.dtype} numbers")
    if found.dtype == "float64" and found.rounded:
        raise NotCovered("the trees compare float64 numbers that were float32 before")
    return found


def _inputs(graph: Graph, model: Model) -> dict[str, Tensor]:
    """The graph's inputs and which features go into each, as `backends.onnx` has it."""
    tensors, start = {}, 0
    for each in graph.inputs:
        declared = each.type.tensor_type
        sizes = [size.dim_value or None for size in declared.shape.dim]
        dtype = DTYPES.get(declared.elem_type, "")
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
        tensors[each.name] = Tensor(features, dtype, len(sizes), dtype == "float32")
        start = stop
    if start != len(model.features) or len(tensors) != len(graph.inputs):
        raise NotCovered("the graph takes other columns than the card says")
    return tensors


def _handed_on(node: Any, taken: list[Tensor | None], graph: Graph) -> Tensor | None:
    """What a node makes of tensors, or None if it does more than to arrange them."""
    first = taken[0] if taken else None
    if first is None:
        return None
    attributes = attributes_of(node)
    if node.op_type == "Identity":
        return first
    if node.op_type == "Cast":
        return _cast(first, cast_to(node))
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


def _cast(tensor: Tensor, dtype: str) -> Tensor | None:
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
    operator: str, taken: list[Tensor], attributes: Mapping[str, Any]
) -> Tensor | None:
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
    node: Any, tensor: Tensor, attributes: Mapping[str, Any], graph: Graph
) -> Tensor | None:
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
