"""What a graph's named inputs and outputs are: types, shapes, labels, pictures.

A bundle's card has all of it, so that serving reads nothing into a request or a graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Type = Literal["numeric", "categorical", "binary", "text", "image"]
Color = Literal["RGB", "BGR", "L"]
Layout = Literal["NCHW", "NHWC", "NHW"]
Fit = Literal["stretch", "crop", "pad"]
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Activation = Literal["none", "softmax", "sigmoid"]
Encoding = Literal["png", "jpeg"]

TYPES: tuple[Type, ...] = get_args(Type)

# Of one row: the axes without that of the rows, None where a size is open.
Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """How pictures stand in a tensor.

    height, width: in pixels.
    color: the channels in the tensor's order; L is grey, of one channel.
    layout: the tensor's axes; NHW, without channels, goes with L.
    low, high: what a channel's 0 and its 255 are in the tensor, before mean and std.
    mean, std: of each channel in the tensor's order: a number in the tensor is
        (low + value / 255 × (high - low) - mean) / std.
    fit: how a picture of another shape becomes one of this: stretched, cut at its
        longer sides, or with black bars at its shorter ones.
    resample: Pillow's filter for another resolution.
    encoding: how a picture that the graph answers is sent.
    """

    height: int
    width: int
    color: Color = "RGB"
    layout: Layout = "NCHW"
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    fit: Fit = "stretch"
    resample: Resample = "bilinear"
    encoding: Encoding = "png"

    @property
    def channels(self) -> int:
        """1 for grey, else 3; mean and std have as many numbers."""
        return 1 if self.color == "L" else 3

    @property
    def axes(self) -> tuple[int, ...]:
        """The shape of a picture in the tensor."""
        return axes(self.layout, self.height, self.width, self.channels)


def axes(layout: Layout, height: int, width: int, channels: int) -> tuple[int, ...]:
    """The shape of a picture in a tensor, without the axis of the rows."""
    if layout == "NCHW":
        return channels, height, width
    return (height, width, channels) if layout == "NHWC" else (height, width)


def shown(shape: Sequence[int | None]) -> str:
    """A row's shape as people are told it."""
    return f"[{', '.join('null' if each is None else str(each) for each in shape)}]"


@dataclass(frozen=True, slots=True)
class Field:
    """One named input or output.

    tensor: the graph's name of the tensor that it is, or is a part of. Fields of one
        tensor, which has two axes then, are its columns one after another.
    shape: of one row, as clients know it. A single number, category or text: (1,);
        array: the tensor's axes without that of the rows, None where it is open;
        categorical output: (number of labels,); image: (height, width, channels).
    labels: categorical: the classes in the model's order. Of an input that the graph
        takes as text, there may be none: any text is taken.
    one_hot: categorical input: sent as a one among zeros, not as a position.
    activation: output: what is still to be applied to the tensor's numbers; softmax
        over a categorical field's own columns.
    picture: of an image.
    dtype: of the tensor's elements: numpy's name, or "string".
    """

    name: str
    type: Type
    tensor: str
    shape: Shape = (1,)
    labels: tuple[str, ...] = ()
    one_hot: bool = False
    activation: Activation = "none"
    picture: Picture | None = None
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """Columns of a tensor of two axes that the field fills as an input.

        Not of an array with an open axis, which has its tensor to itself.
        """
        if self.type == "categorical":
            return len(self.labels) if self.one_hot else 1
        return math.prod(size or 1 for size in self.shape)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """All that a graph takes and answers, each in the order that clients are told."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
