"""Holds named inputs and outputs against the tensors that a graph has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from backends.strict_json import Value
from backends.tensors.spec import Field, Picture, TensorSpec, shown
from backends.tensors.tensor import Tensor

Shape = Sequence[int | None]

# What may be some columns of a tensor.
_COLUMNS = ("numeric", "binary", "categorical")


def check(
    card: Value, spec: TensorSpec, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    """Raise SpecError for what a graph does not take or answer.

    card: the spec as JSON, as people or as cards have it, for the paths of mistakes.
    """
    _check_side(card.need("inputs"), spec.inputs, inputs, is_output=False)
    _check_side(card.need("outputs"), spec.outputs, outputs, is_output=True)
    filled = {field.tensor for field in spec.inputs}
    for tensor in inputs:
        if tensor.name not in filled:
            card.need("inputs").refuse(
                f"nothing fills the graph's input {tensor.name!r}, of the shape"
                f" {shown(tensor.shape)}: name it"
            )


def is_single(shape: Shape) -> bool:
    """Whether a row of a tensor is one number or text."""
    return all(size == 1 for size in shape)


def fits(shape: Shape, tensor: Shape) -> bool:
    """Whether a row of a tensor may have a shape; an open size takes any."""
    return len(shape) == len(tensor) and all(
        own in (None, size) for size, own in zip(shape, tensor, strict=True)
    )


def _check_side(
    value: Value, fields: Sequence[Field], tensors: Sequence[Tensor], *, is_output: bool
) -> None:
    known = {each.name: each for each in tensors}
    is_card = isinstance(value.data, list)
    listed = value.items() if is_card else value.table().values()
    places = {field.name: each for field, each in zip(fields, listed, strict=True)}
    parts: dict[str, list[Field]] = {}
    for field in fields:
        place = places[field.name]
        if field.tensor not in known:
            place.need("tensor").refuse(f"the graph has no {field.tensor!r}")
        _check_type(place, field, known[field.tensor], is_output=is_output)
        parts.setdefault(field.tensor, []).append(field)
    for name, own in parts.items():
        if len(own) > 1:
            _check_columns(places, own, known[name], is_output=is_output)
        else:
            _check_alone(places[own[0].name], own[0], known[name], is_output=is_output)


def _check_type(place: Value, field: Field, tensor: Tensor, *, is_output: bool) -> None:
    """Whether the tensor's numbers or texts can be what the field is."""
    if field.dtype != tensor.dtype:
        place.need("dtype").refuse(f"the tensor is of {tensor.dtype}")
    is_text = tensor.dtype == "string"
    takes_text = field.type in ("text", "binary", "categorical") and not is_output
    if is_text and not takes_text and field.type != "text":
        place.need("type").refuse(f"the tensor is of texts, which are no {field.type}")
    if field.type == "text" and not is_text:
        place.need("type").refuse(f"the tensor is of {tensor.dtype}, not of texts")
    if field.type == "categorical" and not field.labels and not is_text:
        place.need("labels")
    if field.one_hot and is_text:
        place.need("encoding").refuse("a tensor of texts takes the labels themselves")
    if field.activation != "none" and not tensor.dtype.startswith("float"):
        place.need("activation").refuse(f"the tensor is of {tensor.dtype}: say none")
    if field.picture is not None:
        _check_picture(place, field.picture, tensor)


def _check_picture(place: Value, picture: Picture, tensor: Tensor) -> None:
    if tensor.dtype == "bool":
        place.need("type").refuse("the tensor is of bool, which holds no picture")
    if not fits(picture.axes, tensor.shape):
        place.need("shape").refuse(
            f"the tensor's rows have the shape {shown(tensor.shape)}, and such a"
            f" picture as {picture.layout} has {shown(picture.axes)}"
        )
    if tensor.dtype.startswith("float"):
        return
    bounds = np.iinfo(tensor.dtype)
    ends = (
        (end - mean) / std
        for end in (picture.low, picture.high)
        for mean, std in zip(picture.mean, picture.std, strict=True)
    )
    if any(not bounds.min <= end <= bounds.max for end in ends):
        place.need("range").refuse(
            f"the tensor's {tensor.dtype} does not hold all of it"
        )


def _width(field: Field, *, is_output: bool) -> int:
    """How many columns a field is."""
    if is_output and field.type == "categorical":
        return len(field.labels)
    return field.width


def _check_alone(
    place: Value, field: Field, tensor: Tensor, *, is_output: bool
) -> None:
    """Whether a field is the whole of its tensor."""
    if field.type == "image" or _is_whole(field, tensor, is_output=is_output):
        return
    has = f"the tensor's rows have the shape {shown(tensor.shape)}"
    if field.type == "numeric":
        place.need("shape").refuse(f"{has}, not {shown(field.shape)}")
    width = _width(field, is_output=is_output)
    if field.labels and (is_output or field.one_hot):
        place.need("labels").refuse(f"{has}, and there are {width} labels")
    place.refuse(f"{has}, and a {field.type} is one value")


def _is_whole(field: Field, tensor: Tensor, *, is_output: bool) -> bool:
    if field.type == "numeric" and fits(field.shape, tensor.shape):
        return True
    width = _width(field, is_output=is_output)
    if field.type == "numeric" and field.shape != (1,):
        return False
    if width == 1:
        # An open size may be 1.
        return all(size in (1, None) for size in tensor.shape)
    if len(tensor.shape) == 1:
        return tensor.shape[0] in (None, width)
    sizes = [size for size in tensor.shape if size is not None]
    return len(sizes) == len(tensor.shape) and math.prod(sizes) == width


def _check_columns(
    places: Mapping[str, Value],
    fields: Sequence[Field],
    tensor: Tensor,
    *,
    is_output: bool,
) -> None:
    """Whether fields are the columns of their tensor one after another."""
    for field in fields:
        place = places[field.name]
        if len(tensor.shape) != 1:
            place.need("tensor").refuse(
                f"its rows have the shape {shown(tensor.shape)}: only a tensor of"
                " columns may be several fields"
            )
        if field.type not in _COLUMNS:
            place.need("type").refuse(
                f"a {field.type} needs a tensor of its own, and others have"
                f" {tensor.name!r} too"
            )
        if None in field.shape:
            place.need("shape").refuse("the size of some columns has to be known")
    taken = sum(_width(each, is_output=is_output) for each in fields)
    if tensor.shape[0] not in (None, taken):
        places[fields[-1].name].refuse(
            f"with it {taken} columns of {tensor.name!r} have a name, and the tensor"
            f" has {tensor.shape[0]}"
        )
