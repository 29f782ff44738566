"""A row of sent values to the tensors of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.features import DataError, read_text
from backends.strict_json import listed
from backends.tensors import images, numbers
from backends.tensors.pixels import Pixels
from backends.tensors.refusals import (
    DataUrlInvalid,
    FeatureMissing,
    TypeMismatch,
    at,
)
from backends.tensors.sent import Upload, is_data_url, read_data_url
from backends.tensors.spec import Field, TensorSpec, Type
from backends.tensors.tensor import Tensor

Row = Mapping[str, NDArray[Any]]
_Read = Callable[[Any, "Target", Pixels], NDArray[Any]]

_WORDS: Final[Mapping[str, int]] = {"true": 1, "false": 0, "1": 1, "0": 0}
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Target:
    """An input, and the tensor that it is or is a part of.

    positions: of each class among the labels.
    """

    field: Field
    tensor: Tensor
    positions: Mapping[str, int]


class RowDecoder:
    """Turns rows of values by name into the tensors that a graph takes.

    Safe to use from many threads at once.
    """

    def __init__(self, spec: TensorSpec, tensors: Sequence[Tensor]) -> None:
        """tensors: the graph's inputs, which the spec was checked against."""
        self._targets = {
            tensor.name: [
                Target(field, tensor, _positions(field.labels))
                for field in spec.inputs
                if field.tensor == tensor.name
            ]
            for tensor in tensors
        }
        self._names = [field.name for field in spec.inputs]

    def decode(self, values: Mapping[str, Any], row: int, pixels: Pixels) -> Row:
        """The tensors of one row, each without the axis of the rows.

        values: by input name, as JSON has them or a form sends them; others are
            ignored.
        row: its number in the request, for messages. pixels: what pictures may have.

        Raises FeatureMissing, TypeMismatch, DataUrlInvalid and DataError.
        """
        if missing := [name for name in self._names if name not in values]:
            raise FeatureMissing(
                f"{at(row, missing[0])}: the row does not have it; the model takes"
                f" {listed(self._names, _LISTED)}"
            )
        return {
            name: _joined([_read(values, row, each, pixels) for each in targets])
            for name, targets in self._targets.items()
        }


def _positions(labels: Sequence[str]) -> Mapping[str, int]:
    return {label: position for position, label in enumerate(labels)}


def _read(
    values: Mapping[str, Any], row: int, target: Target, pixels: Pixels
) -> NDArray[Any]:
    """One input of a row as its tensor has it."""
    name, read = target.field.name, _READERS[target.field.type]
    try:
        return _shaped(read(values[name], target, pixels), target)
    except DataError as error:
        raise type(error)(f"{at(row, name)}: {error}") from error


def _shaped(value: NDArray[Any], target: Target) -> NDArray[Any]:
    shape = target.tensor.shape
    if value.ndim == len(shape):
        return value
    if value.size == 1:
        # A single number is (1,) to clients, whatever axes of size 1 the graph has.
        return value.reshape([1] * len(shape))
    # One of the columns of a tensor of two axes.
    return value.reshape(-1)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _numeric(value: Any, target: Target, _: Pixels) -> NDArray[Any]:
    return numbers.read_array(value, target.field.shape, target.tensor.dtype)


def _binary(value: Any, target: Target, _: Pixels) -> NDArray[Any]:
    text = _as_text(value)
    if text.lower() not in _WORDS:
        raise DataError(f"true or false is expected, not {_shown(text)}")
    number = _WORDS[text.lower()]
    if target.tensor.dtype == "string":
        return np.array([str(number)], dtype=object)
    return np.array([number], target.tensor.dtype)


def _categorical(value: Any, target: Target, _: Pixels) -> NDArray[Any]:
    text, positions, dtype = _as_text(value), target.positions, target.tensor.dtype
    if isinstance(value, bool) and text not in positions:
        # JSON spells true as classes of texts may do.
        text = text.lower()
    if positions and text not in positions:
        labels = listed(target.field.labels, _LISTED)
        raise DataError(f"{_shown(text)} is none of the classes {labels}")
    if dtype == "string":
        return np.array([text], dtype=object)
    if target.field.one_hot:
        return np.asarray(np.arange(len(positions)) == positions[text], dtype)
    return np.array([positions[text]], dtype)


def _text(value: Any, target: Target, _: Pixels) -> NDArray[Any]:
    return np.array([_as_text(value)], dtype=object)


def _as_text(value: Any) -> str:
    """A single value as text: texts, numbers, booleans, the text in a file."""
    if isinstance(value, Upload):
        try:
            return value.data.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"the file is no text in UTF-8: {error.reason}") from None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        # 1.0 and 1 are one number in JSON.
        value = int(value)
    # Nothing is missing here, neither null nor NaN.
    text = None if value is None or value != value else read_text(value)
    if text is None:
        raise TypeMismatch(f"a text is expected, not {_kind(value)}")
    return text


def _image(value: Any, target: Target, pixels: Pixels) -> NDArray[Any]:
    picture, dtype = target.field.picture, target.tensor.dtype
    if picture is None:
        raise TypeError(f"{target.field.name} is of type image and has no picture")
    file = images.checked(_image_bytes(value), pixels.each)
    pixels.spend(file.width * file.height)
    levels = images.decode(file, picture)
    return (levels if dtype.startswith("float") else np.rint(levels)).astype(dtype)


def _image_bytes(value: Any) -> bytes:
    if isinstance(value, Upload):
        return value.data
    if not isinstance(value, str):
        raise TypeMismatch(f"a picture as data URL is expected, not {_kind(value)}")
    if not is_data_url(value):
        raise DataUrlInvalid(
            "a picture is a data URL, data:image/png;base64,…, or a file of a form"
        )
    media_type, data = read_data_url(value)
    # What the picture is its content tells: clients name types after file endings.
    if not media_type.startswith("image/") and media_type != _BYTES:
        raise DataUrlInvalid(
            f"a data URL of the type image/… is expected, not {media_type[:64]!r}"
        )
    return data


_BYTES: Final = "application/octet-stream"
_READERS: Final[Mapping[Type, _Read]] = {
    "numeric": _numeric,
    "categorical": _categorical,
    "binary": _binary,
    "text": _text,
    "image": _image,
}


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, Upload):
        return "a file"
    if isinstance(value, str):
        return "a text"
    return "null" if value is None else str(value)[:40]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
