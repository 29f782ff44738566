"""Small graphs of named tensors, built by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
INT64, UINT8 = TensorProto.INT64, TensorProto.UINT8
BOOL, STRING = TensorProto.BOOL, TensorProto.STRING

Declared = tuple[int, Sequence[int | str | None] | None]


def graph_of(
    nodes: Sequence[Any],
    inputs: Mapping[str, Declared],
    outputs: Mapping[str, Declared],
    weights: Mapping[str, Any] | None = None,
) -> Any:
    """A ModelProto; inputs and outputs: name to element type and shape."""
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info(n, *each) for n, each in inputs.items()],
        [helper.make_tensor_value_info(n, *each) for n, each in outputs.items()],
        [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(graph: Any, path: Path) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def picture_classifier(
    *, size: int = 8, channels: int = 1, classes: int = 10, rows: int | str = "rows"
) -> Any:
    """Pictures `x` as NCHW to probabilities `probs`: a convolution, a mean, softmax."""
    rng = np.random.default_rng(3)
    weights = {
        "kernel": rng.normal(0, 1, (4, channels, 3, 3)).astype(np.float32),
        "matrix": rng.normal(0, 2, (4, classes)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probs"], axis=-1),
    ]
    return graph_of(
        nodes,
        {"x": (FLOAT, [rows, channels, size, size])},
        {"probs": (FLOAT, [rows, classes])},
        weights,
    )


def fixed_classifier() -> Any:
    """The same, exported for one row."""
    return picture_classifier(rows=1)


def many_sided() -> Any:
    """Inputs and outputs of several ranks and types.

    `series` (3, 4), `sizes` (2,), `count` int64 (), `flag` bool (1,), `word` text (1,)
    to `sums` (4,) of the series, `scaled` (3, 4), `total` (), `chance` (1,) and `said`,
    the word.
    """
    nodes = [
        helper.make_node("ReduceSum", ["series", "first"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["sizes", "first"], ["size"], keepdims=1),
        helper.make_node("Reshape", ["size", "cube"], ["factor"]),
        helper.make_node("Mul", ["series", "factor"], ["scaled"]),
        helper.make_node("Cast", ["count"], ["counted"], to=FLOAT),
        helper.make_node("Reshape", ["counted", "flat"], ["counted_flat"]),
        helper.make_node("ReduceSum", ["sums", "first"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "counted_flat"], ["total"]),
        helper.make_node("Cast", ["flag"], ["flagged"], to=FLOAT),
        helper.make_node("Sub", ["flagged", "half"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["chance"]),
        helper.make_node("Identity", ["word"], ["said"]),
    ]
    return graph_of(
        nodes,
        {
            "series": (FLOAT, ["n", 3, 4]),
            "sizes": (FLOAT, ["n", 2]),
            "count": (INT64, ["n"]),
            "flag": (BOOL, ["n", 1]),
            "word": (STRING, ["n", 1]),
        },
        {
            "sums": (FLOAT, ["n", 4]),
            "scaled": (FLOAT, ["n", 3, 4]),
            "total": (FLOAT, ["n"]),
            "chance": (FLOAT, ["n", 1]),
            "said": (STRING, ["n", 1]),
        },
        {
            "first": np.array([1]),
            "cube": np.array([-1, 1, 1]),
            "flat": np.array([-1]),
            "half": np.array([0.5], np.float32),
        },
    )


def columns_graph() -> Any:
    """Two matrices: `x` (rows, 6) to `y` (rows, 5), a sum of columns each."""
    weights = np.random.default_rng(5).normal(0, 1, (6, 5)).astype(np.float32)
    return graph_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (FLOAT, ["n", 6])},
        {"y": (FLOAT, ["n", 5])},
        {"w": weights},
    )


def text_to_text() -> Any:
    """`text` to its `reply`; neither has an axis beside that of the rows."""
    replies = {"good day": "good evening", "grüß Gott": "servus"}
    node = helper.make_node(
        "LabelEncoder",
        ["text"],
        ["reply"],
        domain="ai.onnx.ml",
        keys_strings=list(replies),
        values_strings=list(replies.values()),
        default_string="pardon?",
    )
    return graph_of([node], {"text": (STRING, ["n"])}, {"reply": (STRING, ["n"])})


def picture_to_picture(*, size: int = 8) -> Any:
    """Pictures `photo` as NHWC from 0 to 1, to their negatives, `negative`."""
    shape = ["n", size, size, 3]
    return graph_of(
        [helper.make_node("Sub", ["one", "photo"], ["negative"])],
        {"photo": (FLOAT, shape)},
        {"negative": (FLOAT, shape)},
        {"one": np.array(1, np.float32)},
    )


def open_axes() -> Any:
    """`steps` of any length, of 2 numbers each, to their `mean` and to twice each."""
    return graph_of(
        [
            helper.make_node("ReduceMean", ["steps"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Add", ["steps", "steps"], ["twice"]),
        ],
        {"steps": (FLOAT, ["n", "length", 2])},
        {"mean": (FLOAT, ["n", 2]), "twice": (FLOAT, ["n", "length", 2])},
    )
