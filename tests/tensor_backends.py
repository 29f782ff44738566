"""Graphs of named tensors, loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.model import Model
from backends.tensors import from_graph, io_json
from backends.tensors.backend import TensorBackend
from tests.tensors import save


def backend_of(
    folder: Path, graph: Any, io: Mapping[str, Any] | None = None
) -> TensorBackend:
    """A graph, loaded as `io` describes it; without one as it describes itself."""
    described = folder / "io.json"
    described.write_text(json.dumps(io or {}), encoding="utf-8")
    found = from_graph.inspect(save(graph, folder / "model.onnx"))
    spec = io_json.read(described, found)
    card = io_json.to_json(spec)
    return TensorBackend(
        folder, Model("0" * 24, "a", "onnx", "model.onnx", "tensors", "", (), io=card)
    )
