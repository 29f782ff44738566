"""io.json, which names a graph's inputs and outputs, and the same in a bundle's card.

People leave out what the graph says as well; the card has all of it. Its fields stand
in lists: they may be the columns of a tensor in their order, and no checksum of a
bundle tells the order of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

from backends import strict_json
from backends.model import Model
from backends.strict_json import SpecError as SpecError
from backends.strict_json import Value
from backends.tensors import fitting, io_defaults
from backends.tensors.graph import Graph
from backends.tensors.spec import (
    TYPES,
    Activation,
    Color,
    Encoding,
    Field,
    Fit,
    Layout,
    Picture,
    Resample,
    Shape,
    TensorSpec,
    Type,
)
from backends.tensors.tensor import DTYPES

_Keys = Mapping[Type, tuple[tuple[str, ...], tuple[str, ...]]]

_PICTURE = ("shape", "layout", "color", "range")
_SCALED = ("mean", "std")

# What the card has to have of every field; beside it, of each type, what it has to
# have and what it may have.
_KEYS = ("tensor", "type", "dtype")
_INPUT_KEYS: Final[_Keys] = {
    "numeric": (("shape",), ()),
    "categorical": ((), ("labels", "encoding")),
    "binary": ((), ()),
    "text": ((), ()),
    "image": (_PICTURE, (*_SCALED, "fit", "resample")),
}
_OUTPUT_KEYS: Final[_Keys] = {
    "numeric": (("shape",), ("activation",)),
    "categorical": (("labels",), ("activation",)),
    "binary": ((), ("activation",)),
    "text": ((), ()),
    "image": (_PICTURE, (*_SCALED, "format", "activation")),
}

_ENCODINGS = ("index", "one-hot")
_CHANNELS: Final[Mapping[Color, int]] = {"RGB": 3, "BGR": 3, "L": 1}

_MOST_FIELDS = 10_000
_MOST_AXES = 32
_LARGEST_AXIS = 2**31 - 1
# A picture of so many pixels a side takes gigabytes as a tensor.
_LARGEST_SIDE = 2**14


def read(source: Path, graph: Graph) -> TensorSpec:
    """Read a file of people's, and fill in what it leaves to the graph.

    Raises SpecError, whose message begins with the path of what is wrong.
    """
    value = strict_json.read(source)
    spec = _completed(value, graph, Path(source).parent)
    fitting.check(
        Value(by_name(spec)),
        spec,
        graph.inputs,
        [each.tensor for each in graph.outputs],
    )
    return spec


def defaults(graph: Graph) -> TensorSpec:
    """What an empty io.json comes to. Raises SpecError where that is not enough."""
    return _completed(Value({}), graph, Path())


def by_name(spec: TensorSpec) -> dict[str, Any]:
    """As plain data with every key, as people write it in an io.json."""
    return {
        "inputs": {each.name: _input_json(each) for each in spec.inputs},
        "outputs": {each.name: _output_json(each) for each in spec.outputs},
    }


def to_json(spec: TensorSpec) -> dict[str, Any]:
    """As plain data with every key, for the card."""
    return {
        side: [{"name": name, **field} for name, field in fields.items()]
        for side, fields in by_name(spec).items()
    }


def from_json(card: Mapping[str, Any]) -> TensorSpec:
    """Read what `to_json` wrote; keys that have a default may be left out.

    Raises SpecError.
    """
    members = strict_json.read(card).members(("inputs", "outputs"))
    return _spec(_named(members["inputs"]), _named(members["outputs"]))


def spec_of(model: Model) -> TensorSpec:
    """What the card of a model of named tensors says. Raises SpecError."""
    return from_json(model.io or {})


# ---- Writing


def _input_json(field: Field) -> dict[str, Any]:
    card = _field_json(field)
    if field.one_hot:
        card["encoding"] = "one-hot"
    if field.picture is not None:
        card |= {"fit": field.picture.fit, "resample": field.picture.resample}
    return card


def _output_json(field: Field) -> dict[str, Any]:
    card = _field_json(field)
    if field.picture is not None:
        card["format"] = field.picture.encoding
    if field.type != "text":
        card["activation"] = field.activation
    return card


def _field_json(field: Field) -> dict[str, Any]:
    card: dict[str, Any] = {
        "tensor": field.tensor,
        "type": field.type,
        "dtype": field.dtype,
    }
    if field.type in ("numeric", "image"):
        card["shape"] = list(field.shape)
    if field.labels:
        card["labels"] = list(field.labels)
    if field.picture is not None:
        picture = field.picture
        card |= {
            "layout": picture.layout,
            "color": picture.color,
            "range": [picture.low, picture.high],
            "mean": list(picture.mean),
            "std": list(picture.std),
        }
    return card


# ---- Reading


def _completed(value: Value, graph: Graph, folder: Path) -> TensorSpec:
    content = Value(io_defaults.completed(value, graph, folder))
    return _spec(content.need("inputs"), content.need("outputs"))


def _spec(inputs: Value, outputs: Value) -> TensorSpec:
    return TensorSpec(_fields(inputs, _INPUT_KEYS), _fields(outputs, _OUTPUT_KEYS))


def _named(value: Value) -> Value:
    """A list of fields, each under its name."""
    found: dict[str, Any] = {}
    for each in value.items(_MOST_FIELDS):
        field = dict(each.table())
        name = each.need("name").text()
        if name in found:
            field["name"].refuse(f"{strict_json.shown(name)} is there twice")
        del field["name"]
        found[name] = {key: member.data for key, member in field.items()}
    return Value(found, value.path)


def _fields(value: Value, keys: _Keys) -> tuple[Field, ...]:
    table = value.table()
    if not table:
        value.refuse("one at least is needed")
    if len(table) > _MOST_FIELDS:
        value.refuse(f"at most {_MOST_FIELDS:,} are allowed, not {len(table):,}")
    return tuple(_field(name, each, keys) for name, each in table.items())


def _field(name: str, value: Value, keys: _Keys) -> Field:
    # A name is held to what a text is.
    Value(name, value.path).text()
    type = value.need("type").choice(TYPES)
    required, optional = keys[type]
    members = value.members((*_KEYS, *required), optional)
    field = Field(
        name,
        type,
        members["tensor"].text(),
        activation=_activation(members.get("activation"), type),
        dtype=members["dtype"].choice(tuple(DTYPES.values())),
    )
    is_output = keys is _OUTPUT_KEYS
    if type == "numeric":
        return replace(field, shape=_shape(members["shape"]))
    if type == "categorical":
        labels = _labels(members.get("labels"), 2 if is_output else 1)
        one_hot = _one_hot(members.get("encoding"))
        columns = len(labels) if is_output else 1
        return replace(field, shape=(columns,), labels=labels, one_hot=one_hot)
    if type == "image":
        picture = _picture(members)
        shape = (picture.height, picture.width, picture.channels)
        return replace(field, shape=shape, picture=picture)
    return field


def _shape(value: Value) -> Shape:
    sizes = value.items(_MOST_AXES)
    if not sizes:
        value.expect("a list of sizes")
    return tuple(
        None if each.data is None else each.whole(1, _LARGEST_AXIS) for each in sizes
    )


def _activation(value: Value | None, type: Type) -> Activation:
    if value is None:
        return "none"
    activation: Activation = value.choice(get_args(Activation))
    if activation == "softmax" and type != "categorical":
        value.refuse(f"softmax is over the classes of a categorical, not of a {type}")
    return activation


def _labels(value: Value | None, least: int) -> tuple[str, ...]:
    if value is None:
        return ()
    labels = value.labels(least)
    for label, item in zip(labels, value.items(), strict=True):
        # A name, or the number of a class; a fraction is written in many ways.
        if isinstance(label, bool | float):
            item.expect("a text or a whole number")
        if label == "":
            item.expect("a text that is not empty")
    return tuple(map(str, labels))


def _one_hot(value: Value | None) -> bool:
    return value is not None and value.choice(_ENCODINGS) == "one-hot"


# ---- Pictures


def _picture(members: Mapping[str, Value]) -> Picture:
    height, width, channels = _picture_shape(members["shape"])
    color: Color = members["color"].choice(get_args(Color))
    layout: Layout = members["layout"].choice(get_args(Layout))
    if _CHANNELS[color] != channels:
        members["color"].refuse(
            f"{color} has {_CHANNELS[color]} channels, and the shape says {channels}"
        )
    if layout == "NHW" and channels != 1:
        members["layout"].refuse(f"NHW has one channel, and the shape says {channels}")
    low, high = _range(members["range"])
    fit, resample = members.get("fit"), members.get("resample")
    encoding = members.get("format")
    return Picture(
        height=height,
        width=width,
        color=color,
        layout=layout,
        low=low,
        high=high,
        mean=_of_channels(members.get("mean"), channels, 0.0),
        std=_positive(members.get("std"), channels),
        fit="stretch" if fit is None else fit.choice(get_args(Fit)),
        resample="bilinear"
        if resample is None
        else resample.choice(get_args(Resample)),
        encoding="png" if encoding is None else encoding.choice(get_args(Encoding)),
    )


def _picture_shape(value: Value) -> tuple[int, int, int]:
    sizes = value.items()
    if len(sizes) != 3:
        value.expect("[height, width, channels]")
    height, width = (each.whole(1, _LARGEST_SIDE) for each in sizes[:2])
    channels = sizes[2].whole(1, 3)
    if channels == 2:
        sizes[2].refuse("a picture has 1 channel, grey, or 3")
    return height, width, channels


def _range(value: Value) -> tuple[float, float]:
    bounds = value.items()
    if len(bounds) != 2:
        value.expect("[what black is, what white is]")
    low, high = (each.number() for each in bounds)
    if low == high:
        value.refuse("black and white would be the same")
    return low, high


def _of_channels(value: Value | None, channels: int, usual: float) -> tuple[float, ...]:
    """A number for each channel; one alone is for all."""
    if value is None:
        return (usual,) * channels
    if not isinstance(value.data, list):
        return (value.number(),) * channels
    numbers = value.items()
    if len(numbers) != channels:
        value.refuse(f"{channels} numbers are expected, not {len(numbers)}")
    return tuple(each.number() for each in numbers)


def _positive(value: Value | None, channels: int) -> tuple[float, ...]:
    numbers = _of_channels(value, channels, 1.0)
    if value is not None and min(numbers) <= 0:
        value.refuse("numbers above 0 are expected")
    return numbers
