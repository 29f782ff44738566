"""ONNX files, parsed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import (  # type: ignore[import-untyped]  # has none
    DecodeError,
)

from backends.base import ModelFileRejected


def read(path: Path) -> Any:
    """Read a file's ModelProto; weights that lie in other files stay there.

    Raises ModelFileRejected for a file that holds no graph.
    """
    try:
        proto = onnx.load_model(path, "protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelFileRejected(
            f"{path.name} is not an ONNX file, or only a part of one: export it again"
        ) from error
    if not proto.graph.node:
        raise ModelFileRejected(f"{path.name} holds no graph: export it again")
    return proto
