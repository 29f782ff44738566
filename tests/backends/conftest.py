"""ONNX files and the backends that serve them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from backends.model import Label, Model, Task
from backends.onnx import OnnxBackend
from backends.onnx_features import features_for
from backends.onnx_graph import inspect, write_served

Shape = Sequence[int | str | None]
Tensors = Mapping[str, tuple[int, Shape]]


@pytest.fixture
def make_graph() -> Callable[..., Any]:
    """Builds a graph of nodes by hand; inputs and outputs: name → (type, shape)."""

    def make(
        nodes: Sequence[Any],
        inputs: Tensors,
        outputs: Tensors,
        weights: Mapping[str, Any] | None = None,
        domains: Sequence[str] = (),
        functions: Sequence[Any] = (),
    ) -> Any:
        graph = helper.make_graph(
            nodes,
            "by hand",
            [helper.make_tensor_value_info(n, *each) for n, each in inputs.items()],
            [helper.make_tensor_value_info(n, *each) for n, each in outputs.items()],
            [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        opsets += [helper.make_opsetid(domain, 1) for domain in domains]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=8, functions=functions
        )

    return make


@pytest.fixture
def linear_graph(make_graph: Callable[..., Any]) -> Callable[..., Any]:
    """Builds sum over w·x, of any type and shape, with a function on top."""

    def make(
        *,
        kind: int = TensorProto.FLOAT,
        rows: int | None = None,
        weights: Sequence[float] = (1.0, 2.0, -1.0),
        flat: bool = False,
        top: str = "Identity",
    ) -> Any:
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        matrix = np.array(weights, dtype).reshape(len(weights), -1)
        shape = [rows] if flat else [rows, matrix.shape[1]]
        nodes = [helper.make_node("MatMul", ["X", "W"], ["product"])]
        if flat:
            nodes.append(helper.make_node("Squeeze", ["product", "axes"], ["sum"]))
        else:
            nodes.append(helper.make_node("Identity", ["product"], ["sum"]))
        nodes.append(helper.make_node(top, ["sum"], ["Y"]))
        return make_graph(
            nodes,
            {"X": (kind, [rows, len(weights)])},
            {"Y": (kind, shape)},
            {"W": matrix, "axes": np.array([1])},
        )

    return make


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(graph: Any) -> Path:
        path = tmp_path / "source.onnx"
        path.write_bytes(graph.SerializeToString())
        return path

    return write


@pytest.fixture
def serve(tmp_path: Path, save: Callable[[Any], Path]) -> Callable[..., OnnxBackend]:
    """Packages a graph, as far as ONNX is concerned, and loads it."""

    def make(
        graph: Any,
        names: Sequence[str] = ("a", "b", "c"),
        *,
        task: Task = "regression",
        labels: Sequence[Label] = (),
        positive: Label | None = None,
        output: str | None = None,
        in_order: bool = False,
    ) -> OnnxBackend:
        source = save(graph)
        found = inspect(source, output=output)
        folder = tmp_path / "bundle"
        folder.mkdir()
        write_served(source, folder / "model.onnx", found)
        for name in found.external_data:
            os.link(tmp_path / name, folder / name)
        known = tuple(labels) or (found.labels if task != "regression" else ())
        model = Model(
            id="0" * 24,
            name="test",
            format="onnx",
            file="model.onnx",
            task=task,
            target="y",
            features=features_for(found, names, in_order=in_order),
            labels=known,
            positive_label=(known[-1] if positive is None else positive)
            if task == "binary"
            else None,
            output=found.output,
            input_names=found.input_names,
            versions={"onnx": onnx.__version__},
        )
        return OnnxBackend(folder, model)

    return make
