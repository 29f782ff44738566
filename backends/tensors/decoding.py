"""A row of sent values to the tensors of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.features import DataError, read_text
from backends.tensors import images, numbers
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
# A sent value, and the most pixels that a picture may have.
_Read = Callable[[Any, Field, Tensor, int], NDArray[Any]]

_WORDS: Final[Mapping[str, int]] = {"true": 1, "false": 0, "1": 1, "0": 0}
_LISTED = 10


class RowDecoder:
    """Turns rows of values by name into the tensors that a graph takes.

    Safe to use from many threads at once.
    """

    def __init__(self, spec: TensorSpec, tensors: Sequence[Tensor]) -> None:
        """tensors: the graph's inputs. Raises ModelFileRejected if spec and graph \
differ."""
        known = {each.name: each for each in tensors}
        self._fields: dict[str, list[Field]] = {name: [] for name in known}
        for field in spec.inputs:
            if field.tensor not in known:
                raise ModelFileRejected(
                    f"the graph has no input {field.tensor!r}: package the model again"
                )
            self._fields[field.tensor].append(field)
        if empty := [name for name, fields in self._fields.items() if not fields]:
            raise ModelFileRejected(
                f"nothing fills the graph's input {empty[0]!r}: package the model again"
            )
        self._tensors = known
        self._names = [field.name for field in spec.inputs]

    def decode(self, values: Mapping[str, Any], row: int, max_pixels: int) -> Row:
        """The tensors of one row, each without the axis of the rows.

        values: by input name, as JSON has them or a form sends them; others are
            ignored.
        row: its number in the request, for messages. max_pixels: of a picture.

        Raises FeatureMissing, TypeMismatch, DataUrlInvalid and DataError.
        """
        if missing := [name for name in self._names if name not in values]:
            raise FeatureMissing(
                f"{at(row, missing[0])}: the row does not have it; the model takes"
                f" {_listed(self._names)}"
            )
        found = {}
        for name, fields in self._fields.items():
            tensor = self._tensors[name]
            parts = []
            for field in fields:
                try:
                    read = _READERS[field.type]
                    parts.append(read(values[field.name], field, tensor, max_pixels))
                except DataError as error:
                    text = f"{at(row, field.name)}: {error}"
                    raise type(error)(text) from error
            found[name] = _joined(parts, tensor)
        return found


def _joined(parts: list[NDArray[Any]], tensor: Tensor) -> NDArray[Any]:
    """The parts as the tensor has them: its columns, or itself in another shape."""
    if len(parts) > 1:
        return np.concatenate([part.reshape(-1) for part in parts])
    (whole,) = parts
    if whole.ndim == len(tensor.shape):
        return whole
    # A single number is (1,) to clients, whatever axes of size 1 the graph has.
    return whole.reshape([size or 1 for size in tensor.shape])


def _numeric(value: Any, field: Field, tensor: Tensor, _: int) -> NDArray[Any]:
    return numbers.read_array(value, field.shape, tensor.dtype)


def _binary(value: Any, field: Field, tensor: Tensor, _: int) -> NDArray[Any]:
    text = _as_text(value)
    if text.lower() not in _WORDS:
        raise DataError(f"true or false is expected, not {_shown(text)}")
    number = _WORDS[text.lower()]
    if tensor.dtype == "string":
        return np.array([str(number)], dtype=object)
    return np.array([number], tensor.dtype)


def _categorical(value: Any, field: Field, tensor: Tensor, _: int) -> NDArray[Any]:
    text = _as_text(value)
    labels = field.labels
    if labels and text not in labels:
        # JSON spells true as classes of texts may do.
        text = text.lower() if isinstance(value, bool) else text
        if text not in labels:
            raise DataError(f"{_shown(text)} is none of the classes {_listed(labels)}")
    if tensor.dtype == "string":
        return np.array([text], dtype=object)
    position = labels.index(text)
    if field.one_hot:
        return np.asarray(np.arange(len(labels)) == position, tensor.dtype)
    return np.array([position], tensor.dtype)


def _text(value: Any, field: Field, tensor: Tensor, _: int) -> NDArray[Any]:
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
    text = None if value is None else read_text(value)
    if text is None:
        raise TypeMismatch(f"a text is expected, not {_kind(value)}")
    return text


def _image(value: Any, field: Field, tensor: Tensor, max_pixels: int) -> NDArray[Any]:
    if field.picture is None:
        raise TypeError(f"{field.name} is of type image and has no picture")
    pixels = images.decode(_image_bytes(value), field.picture, max_pixels)
    if tensor.dtype.startswith("float"):
        return pixels.astype(tensor.dtype)
    return np.rint(pixels).astype(tensor.dtype)


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


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_LISTED]))
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
