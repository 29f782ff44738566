"""The tensors that a graph itself declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backends.base import ModelFileRejected

# What onnxruntime calls an element type, and what numpy does.
DTYPES: Final[Mapping[str, str]] = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a graph.

    dtype: numpy's name, or "string".
    shape: of one row: the axes without the first, which is that of the rows; None where
        the graph leaves a size open.
    rows: how many rows the graph insists on; None where any number is taken.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    rows: int | None = None


def declared(values: Any, what: str) -> tuple[Tensor, ...]:
    """What a session says of its inputs or its outputs.

    values: of `InferenceSession.get_inputs` or `get_outputs`. what: "input" or
    "output", for messages.

    Raises ModelFileRejected for what is no tensor of rows.
    """
    return tuple(_tensor(each, what) for each in values)


def _tensor(value: Any, what: str) -> Tensor:
    if value.type not in DTYPES:
        raise ModelFileRejected(
            f"{what} {value.name!r} is a {value.type}: export the graph with tensors of"
            " numbers, booleans or strings only"
        )
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
    if not sizes:
        raise ModelFileRejected(
            f"{what} {value.name!r} has no axis for the rows: export the graph with an"
            " open first dimension"
        )
    if 0 in sizes:
        raise ModelFileRejected(f"{what} {value.name!r} has an axis of size 0")
    return Tensor(value.name, DTYPES[value.type], sizes[1:], sizes[0])
