"""Attributes of tree operators, each of the type and length that it has to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered
from backends.trees.onnx.nodes import Bools, Numbers, Positions, damaged


def ints(
    attributes: Mapping[str, Any], name: str, count: int | None = None
) -> Positions:
    """Whole numbers; none where the attribute is missing."""
    values = attributes.get(name, np.empty(0, np.int64))
    if not isinstance(values, np.ndarray) or values.dtype != np.int64:
        raise damaged(f"{name}, which are no whole numbers")
    return _counted(values.reshape(-1), name, count)


def floats(
    attributes: Mapping[str, Any], name: str, kind: Any, count: int | None = None
) -> Numbers:
    """Numbers of this kind: a list, which holds float32, or a tensor of the kind."""
    as_tensor = attributes.get(f"{name}_as_tensor")
    is_list = as_tensor is None or np.size(as_tensor) == 0
    values = attributes.get(name) if is_list else as_tensor
    if values is None:
        values = np.empty(0, kind)
    if not isinstance(values, np.ndarray):
        raise damaged(f"{name}, which are no numbers")
    if values.dtype not in (kind, np.float32):
        raise NotCovered(f"the trees have {values.dtype} numbers in {name}")
    return _counted(values.reshape(-1).astype(kind), name, count)


def tracks_true(attributes: Mapping[str, Any], count: int) -> Bools:
    """Where NaN takes the true branch though the comparison fails."""
    name = "nodes_missing_value_tracks_true"
    tracks = ints(attributes, name)
    if len(tracks) == 0:
        return np.zeros(count, bool)
    return np.asarray(_counted(tracks, name, count) == 1)


def text(attributes: Mapping[str, Any], name: str, default: str) -> str:
    """A text; "" where the attribute is something else."""
    value = attributes.get(name, default.encode())
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def name_at(
    attributes: Mapping[str, Any], name: str, default: int, names: tuple[str, ...]
) -> str:
    """The name that an attribute stands for by its number."""
    number = attributes.get(name, default)
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise NotCovered(f"the trees have an unknown {name}")
    return names[number]


def _counted(values: NDArray[Any], name: str, count: int | None) -> NDArray[Any]:
    if count is not None and len(values) != count:
        raise damaged(f"{name}, a list of another length")
    return values
