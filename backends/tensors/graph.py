"""What a graph itself says of the tensors that it takes and answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.tensors.spec import Type
from backends.tensors.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that a graph answers, and what it seems to be.

    labels: of the classes whose scores its columns are; empty if the graph does not
        say.
    """

    tensor: Tensor
    type: Type
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ONNX file takes and answers.

    outputs: a ZipMap is none: what it takes is.
    external_data: names of the files beside it that hold its weights.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
    external_data: tuple[str, ...] = ()
    has_zip_map: bool = False

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Graph:
        """Read what `to_json` wrote."""
        return cls(
            inputs=tuple(map(_tensor, card["inputs"])),
            outputs=tuple(
                Output(_tensor(each["tensor"]), each["type"], tuple(each["labels"]))
                for each in card["outputs"]
            ),
            external_data=tuple(card["external_data"]),
            has_zip_map=card["has_zip_map"],
        )


def _tensor(card: Mapping[str, Any]) -> Tensor:
    return Tensor(**{**card, "shape": tuple(card["shape"])})
