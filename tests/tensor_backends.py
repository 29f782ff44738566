"""Graphs of named tensors, loaded and deployed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.store.compiled import CompiledModels
from backends import bundle
from backends.model import Model
from backends.tensors import from_graph, io_json
from backends.tensors.backend import TensorBackend
from tests.tensors import (
    columns_graph,
    fixed_classifier,
    many_sided,
    open_axes,
    picture_classifier,
    picture_to_picture,
    save,
    text_to_text,
)


def backend_of(
    folder: Path, graph: Any, io: Mapping[str, Any] | None = None
) -> TensorBackend:
    """A graph, loaded as `io` describes it; without one as it describes itself."""
    return TensorBackend(folder, _model(folder, "a", graph, io))


@dataclass(frozen=True)
class Bundled:
    """A bundle with a graph of named tensors."""

    folder: Path
    model: Model


_DIGIT = {"type": "image", "shape": [8, 8, 1]}
_PHOTO = {"type": "image", "shape": [8, 8, 3]}
_KIND = {"type": "categorical", "labels": ["u", "v", "w"], "encoding": "one-hot"}
# What each is: its graph, and how it is described.
TENSOR_MODELS: Mapping[str, tuple[Callable[[], Any], Mapping[str, Any]]] = {
    "digits": (picture_classifier, {"inputs": {"x": _DIGIT}}),
    "fixed": (fixed_classifier, {"inputs": {"x": _DIGIT}}),
    "many": (many_sided, {}),
    "matrix": (columns_graph, {}),
    "columns": (
        columns_graph,
        {
            "inputs": {
                "a": {"tensor": "x", "shape": [2]},
                "kind": {"tensor": "x", **_KIND},
                "is it": {"tensor": "x", "type": "binary"},
            },
            "outputs": {
                "one": {"tensor": "y", "shape": [1]},
                "chance": {"tensor": "y", "type": "binary", "activation": "sigmoid"},
                "rest": {"tensor": "y", "shape": [3]},
            },
        },
    ),
    "echo": (text_to_text, {}),
    "negative": (
        picture_to_picture,
        {"inputs": {"photo": _PHOTO}, "outputs": {"negative": _PHOTO}},
    ),
    "steps": (open_axes, {}),
}


def make_tensor_models(base: Path) -> dict[str, Bundled]:
    """A bundle of each of `TENSOR_MODELS`, by name."""
    found = {}
    for name, (graph, io) in TENSOR_MODELS.items():
        folder = base / name
        folder.mkdir()
        model = _model(folder, name, graph(), io)
        found[name] = Bundled(folder, bundle.write(folder, model))
    return found


def compile_nothing(bundled: Bundled, compiled: CompiledModels) -> None:
    """No engine of ours serves a graph of named tensors."""


def _model(folder: Path, name: str, graph: Any, io: Mapping[str, Any] | None) -> Model:
    described = folder / "io.json"
    described.write_text(json.dumps(io or {}), encoding="utf-8")
    found = from_graph.inspect(save(graph, folder / "model.onnx"))
    spec = io_json.read(described, found)
    described.unlink()
    card = io_json.to_json(spec)
    return Model("0" * 24, name, "onnx", "model.onnx", "tensors", "", (), io=card)
