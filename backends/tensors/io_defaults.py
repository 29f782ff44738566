"""Fills in what an io.json leaves to the graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from backends.strict_json import Value, listed
from backends.tensors.fitting import fits, is_single
from backends.tensors.graph import Graph, Output
from backends.tensors.spec import TYPES, Layout, Type, axes, shown
from backends.tensors.tensor import Tensor

# Far above any real list of classes.
_MOST_LABEL_BYTES = 16 * 2**20

_LAYOUTS: Final[tuple[Layout, ...]] = ("NCHW", "NHWC", "NHW")


def completed(value: Value, graph: Graph, folder: Path) -> dict[str, Any]:
    """An io.json with all that the card has to have.

    value: the file's content. folder: where files of labels are.
    What is there may still be wrong. Raises SpecError.
    """
    members = value.members((), ("inputs", "outputs"))
    inputs = [Output(each, _type_of_input(each)) for each in graph.inputs]
    sides = (("inputs", inputs), ("outputs", graph.outputs))
    return {
        side: _side(members.get(side), side, tensors, folder) for side, tensors in sides
    }


def _type_of_input(tensor: Tensor) -> Type:
    if tensor.dtype == "string":
        return "text"
    is_flag = tensor.dtype == "bool" and is_single(tensor.shape)
    return "binary" if is_flag else "numeric"


def _side(
    value: Value | None, side: str, tensors: Sequence[Output], folder: Path
) -> dict[str, Any]:
    known = {each.tensor.name: each for each in tensors}
    if value is None:
        value = Value({name: {} for name in known}, side)
    fields = value.table()
    found = {
        name: _tensor(name, each, known, is_only=len(fields) == 1)
        for name, each in fields.items()
    }
    taken = Counter(found.values())
    return {
        name: _Filling(each, known[found[name]], side, taken[found[name]] > 1).filled(
            folder
        )
        for name, each in fields.items()
    }


def _tensor(
    name: str, value: Value, known: Mapping[str, Output], *, is_only: bool
) -> str:
    """The tensor of a field: that of its name, or the only one there is."""
    given = value.table().get("tensor")
    if given is not None:
        if given.text() not in known:
            given.refuse(f"the graph has no {given.data!r}; it has {listed(known)}")
        return given.text()
    if name in known:
        return name
    if is_only and len(known) == 1:
        return next(iter(known))
    value.refuse(
        f"the graph has no tensor of this name: say which of {listed(known)} it is"
    )


class _Filling:
    """A field and what the graph says of its tensor."""

    def __init__(
        self, value: Value, output: Output, side: str, is_shared: bool
    ) -> None:
        self._value = value
        self._given = value.table()
        self._output = output
        self._tensor = output.tensor
        self._is_output = side == "outputs"
        self._is_shared = is_shared

    def filled(self, folder: Path) -> dict[str, Any]:
        """The field with what it leaves out. Raises SpecError."""
        if self._is_output and self._is_shared and self._tensor.shape == (None,):
            self._value.refuse(
                f"how many columns {self._tensor.name!r} has the graph does not say:"
                " it cannot be several outputs"
            )
        type = self._type()
        if type == "numeric":
            found = {"shape": self._shape()}
        elif type == "categorical":
            found = dict(self._classes(folder))
        else:
            found = dict(self._picture()) if type == "image" else {}
        said = {name: each.data for name, each in self._given.items()}
        # A file of labels is read already.
        said = {name: each for name, each in said.items() if name not in found}
        tensor = self._tensor
        about = {"dtype": tensor.dtype, **said, "tensor": tensor.name, "type": type}
        return {**about, **found}

    def _type(self) -> Type:
        if "type" in self._given:
            return self._given["type"].choice(TYPES)
        if "labels" in self._given:
            return "categorical"
        if self._is_shared and self._tensor.dtype != "string":
            return "numeric"
        return self._output.type

    def _shape(self) -> Any:
        if "shape" in self._given:
            return self._given["shape"].data
        if self._is_shared or is_single(self._tensor.shape):
            return [1]
        return list(self._tensor.shape)

    # ---- Classes

    def _classes(self, folder: Path) -> Iterator[tuple[str, Any]]:
        labels = self._labels(folder)
        if labels is not None:
            yield "labels", labels
        if self._is_output or "encoding" in self._given or self._is_shared:
            return
        # Where one for each class is taken, nothing else fits.
        columns = _columns(self._tensor)
        if isinstance(labels, list) and columns == len(labels) > 1:
            yield "encoding", "one-hot"

    def _labels(self, folder: Path) -> Any:
        given = self._given.get("labels")
        if given is not None:
            return _file(given, folder) if isinstance(given.data, str) else given.data
        if not self._is_output and self._tensor.dtype == "string":
            return None
        columns = _columns(self._tensor)
        if self._is_output and not self._is_shared and columns:
            return list(self._output.labels) or [str(each) for each in range(columns)]
        self._value.need("labels")

    # ---- Pictures

    def _picture(self) -> Iterator[tuple[str, Any]]:
        shape, layout = self._picture_shape(), self._given.get("layout")
        yield "shape", shape
        yield "layout", self._layout(shape) if layout is None else layout.data
        if "color" not in self._given:
            yield "color", "L" if shape[-1:] == [1] else "RGB"
        if "range" not in self._given:
            is_float = self._tensor.dtype.startswith("float")
            yield "range", [0, 1] if is_float else [0, 255]

    def _picture_shape(self) -> list[Any]:
        """As it is given, else as the tensor has it in the only way that there is."""
        given = self._given.get("shape")
        if given is not None:
            if len(given.items()) != 3:
                given.expect("[height, width, channels]")
            return list(given.data)
        found = [
            shape
            for layout in self._layouts()
            if (shape := _sizes(layout, self._tensor.shape)) is not None
        ]
        if len(found) != 1:
            self._value.need("shape")
        return found[0]

    def _layouts(self) -> Sequence[Layout]:
        given = self._given.get("layout")
        return _LAYOUTS if given is None else (given.choice(_LAYOUTS),)

    def _layout(self, shape: list[Any]) -> Layout:
        """The only layout in which the tensor has this shape."""
        fitting = [
            layout
            for layout in _LAYOUTS
            if fits(axes(layout, *shape), self._tensor.shape)
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            self._value.refuse(
                f"the tensor may be {' or '.join(fitting)}: say which with 'layout'"
            )
        self._value.refuse(
            f"a picture of the shape {shape} fits no layout of a tensor whose rows have"
            f" the shape {shown(self._tensor.shape)}"
        )


def _columns(tensor: Tensor) -> int | None:
    """How many numbers a row has; None if that is open."""
    if None in tensor.shape:
        return None
    return math.prod(size or 1 for size in tensor.shape)


def _sizes(layout: Layout, shape: Sequence[int | None]) -> list[int] | None:
    """[height, width, channels] of a tensor, if it can hold pictures in a layout."""
    sizes = [size for size in shape if size is not None]
    if len(sizes) != len(shape) or len(sizes) != (2 if layout == "NHW" else 3):
        return None
    if layout == "NHW":
        return [*sizes, 1]
    height, width, channels = sizes if layout == "NHWC" else [*sizes[1:], sizes[0]]
    return [height, width, channels] if channels in (1, 3) else None


def _file(value: Value, folder: Path) -> list[str]:
    """The labels in a file beside io.json, one on each line."""
    name = value.file_name()
    try:
        with (folder / name).open("rb") as file:
            content = file.read(_MOST_LABEL_BYTES + 1)
        lines = content.decode("utf-8-sig").rstrip("\r\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        value.refuse(f"{name!r} cannot be read: {error}")
    if len(content) > _MOST_LABEL_BYTES:
        value.refuse(f"{name!r} is larger than {_MOST_LABEL_BYTES} bytes")
    labels = [line.removesuffix("\r") for line in lines]
    if "" in labels:
        value.refuse(f"line {labels.index('') + 1} of {name!r} is empty")
    return labels
