"""A body to the tensors that a graph takes, the axis of the rows in front."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.features import DataError
from backends.strict_json import listed, shown
from backends.tensors import npy, numbers, sent_json
from backends.tensors.spec import TensorSpec
from backends.tensors.tensor import Tensor
from backends.unstructured import media
from backends.unstructured.media import Content

Tensors = Mapping[str, NDArray[Any]]

_LISTED: Final = 10
_NPY_MAGIC: Final = b"\x93NUMPY"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_LARGEST_AXIS: Final = 2**31
# What zipfile raises for damaged files.
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, KeyError, NotImplementedError, RuntimeError, OverflowError),
)


def kind_of(content: Content) -> str:
    """What to read a body as: what it says it is, else what it begins as.

    Clients send JSON as text, as a form or without a type at all.
    """
    if content.kind in (media.NPY, media.NPZ, media.JSON, npy.NPY):
        return media.NPY if content.kind == npy.NPY else content.kind
    if content.data.startswith(_NPY_MAGIC):
        return media.NPY
    if content.data.startswith(_ZIP_MAGIC):
        return media.NPZ
    return media.JSON if content.data.lstrip()[:1] in (b"[", b"{") else content.kind


class TensorReader:
    """Reads the tensors of a graph out of arrays, archives of arrays, and JSON.

    names: of the inputs as clients know them; the only input that fills a tensor
    gives it its name.
    """

    def __init__(self, spec: TensorSpec, tensors: Sequence[Tensor]) -> None:
        """tensors: the graph's inputs, which the spec was checked against."""
        self.names = input_names(spec, tensors)
        self._tensors = dict(zip(self.names, tensors, strict=True))

    def npy(self, data: bytes) -> Tensors:
        """The only tensor, from an .npy file. Raises DataError."""
        return self._whole({self._only(): npy.read(data)})

    def npz(self, data: bytes, most: int) -> Tensors:
        """Each tensor by its name, from an .npz file. Raises DataError.

        most: bytes of all its arrays.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = archive.infolist()
                if len(members) > len(self.names):
                    raise DataError(f"the .npz file has {len(members)} arrays")
                if sum(each.file_size for each in members) > most:
                    raise DataError(f"the .npz file has more than {most} bytes")
                sent = {
                    each.filename.removesuffix(".npy"): archive.read(each)
                    for each in members
                }
        except DataError:
            raise
        except _BROKEN as error:
            raise DataError("the .npz file cannot be read") from error
        return self._whole({name: npy.read(each) for name, each in sent.items()})

    def json(self, data: bytes) -> Tensors:
        """Each tensor by its name, or the only one by itself. Raises DataError."""
        sent = sent_json.read(data, "the body")
        if isinstance(sent, list) or (
            isinstance(sent, dict)
            and sent.keys() == {"shape", "data"}
            and len(self.names) == 1
            and not {"shape", "data"} & {*self.names}
        ):
            sent = {self._only(): sent}
        if not isinstance(sent, dict):
            raise DataError(
                "a list, or an object of the inputs by name is expected, not"
                f" {shown(sent)}"
            )
        self._check_names(sent)
        arrays = {}
        for name, tensor in self._tensors.items():
            read = _texts if tensor.dtype == "string" else _numbers
            try:
                arrays[name] = read(sent[name], tensor)
            except DataError as error:
                raise type(error)(f"input {name!r}: {error}") from error
        return self._whole(arrays)

    def _only(self) -> str:
        if len(self.names) > 1:
            raise DataError(
                "the model takes several inputs: send JSON or an .npz file, with"
                f" {listed(self.names, _LISTED)} by name"
            )
        return self.names[0]

    def _check_names(self, sent: Mapping[str, Any]) -> None:
        for name in self.names:
            if name not in sent:
                raise DataError(
                    f"input {name!r} is missing; the model takes"
                    f" {listed(self.names, _LISTED)}"
                )
        if unknown := [name for name in sent if name not in self._tensors]:
            raise DataError(
                f"{shown(unknown[0])} is no input; the model takes"
                f" {listed(self.names, _LISTED)}"
            )

    def _whole(self, arrays: Mapping[str, NDArray[Any]]) -> Tensors:
        """By the graph's own names, after every one was held against the graph."""
        self._check_names(arrays)
        for name, tensor in self._tensors.items():
            _check(name, arrays[name], tensor)
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name!r} {count}" for name, count in counts.items())
            raise DataError(f"the inputs have different numbers of rows: {told}")
        return {tensor.name: arrays[name] for name, tensor in self._tensors.items()}


def input_names(spec: TensorSpec, tensors: Sequence[Tensor]) -> tuple[str, ...]:
    """Of each tensor: that of the only input that fills it, else its own."""
    names = tuple(_own_name(spec, each) for each in tensors)
    is_clear = len(set(names)) == len(names)
    return names if is_clear else tuple(each.name for each in tensors)


def _own_name(spec: TensorSpec, tensor: Tensor) -> str:
    fields = [each.name for each in spec.inputs if each.tensor == tensor.name]
    return fields[0] if len(fields) == 1 else tensor.name


def _check(name: str, array: NDArray[Any], tensor: Tensor) -> None:
    """Raise DataError unless an array is of the graph's own type and shape."""
    is_text = array.dtype == object
    dtype = "string" if is_text else array.dtype.name
    if dtype != tensor.dtype:
        said = "send JSON" if tensor.dtype == "string" else f"not of {dtype}"
        raise DataError(
            f"input {name!r}: an array of {tensor.dtype} is expected, {said}"
        )
    try:
        numbers.check_shape(array.shape, (None, *tensor.shape))
    except DataError as error:
        raise DataError(f"input {name!r}: {error}") from error


def _numbers(value: Any, tensor: Tensor) -> NDArray[Any]:
    if isinstance(value, str):
        raise DataError(f"numbers are expected, not {shown(value)}")
    return numbers.read_array(value, (None, *tensor.shape), tensor.dtype)


def _texts(value: Any, tensor: Tensor) -> NDArray[Any]:
    sizes: tuple[int, ...]
    if isinstance(value, dict) and value.keys() == {"shape", "data"}:
        flat, sizes = value["data"], _sizes(value["shape"])
        if not isinstance(flat, list) or len(flat) != math.prod(sizes):
            raise DataError("'data' is not a list of as many texts as the shape has")
    elif isinstance(value, list):
        flat, sizes = numbers.flatten(value)
    else:
        raise DataError(f"a list of texts is expected, not {shown(value)}")
    wrong = next((each for each in flat if not isinstance(each, str)), None)
    if not {*map(type, flat)} <= {str}:
        raise DataError(f"a text is expected, not {shown(wrong)}")
    numbers.check_shape(sizes, (None, *tensor.shape))
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(sizes)


def _sizes(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(
        type(each) is int and 0 <= each < _LARGEST_AXIS for each in shape
    ):
        raise DataError("'shape': a list of whole numbers is expected")
    return tuple(shape)
