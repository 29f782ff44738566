"""What a graph answers, as its named outputs, and those as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.features import DataError
from backends.tensors import images, npy
from backends.tensors.sent import write_data_url
from backends.tensors.spec import Field, TensorSpec

Outputs = Mapping[str, NDArray[Any]]


class Splitter:
    """Takes the outputs of a spec out of the tensors that a graph answers.

    tensors: names of those that are needed.
    """

    def __init__(self, spec: TensorSpec) -> None:
        """spec: one that was checked against the graph."""
        self._parts: list[tuple[Field, slice | None]] = []
        named = [field.tensor for field in spec.outputs]
        # Of the tensors that several outputs share: how many columns those have.
        self._widths = {name: 0 for name in named if named.count(name) > 1}
        for field in spec.outputs:
            columns = None
            if field.tensor in self._widths:
                start = self._widths[field.tensor]
                end = start + math.prod(size or 1 for size in field.shape)
                self._widths[field.tensor], columns = end, slice(start, end)
            self._parts.append((field, columns))
        self.tensors = tuple(dict.fromkeys(named))

    def split(self, answers: Outputs, first_row: int) -> dict[str, NDArray[Any]]:
        """Each output's values, (n_rows, *shape), in the spec's order.

        answers: by the graph's names. first_row: of these rows, for messages.

        Raises DataError naming the row and the output that is no finite number,
        ModelFileRejected for a shape that is not the card's.
        """
        for name, width in self._widths.items():
            if answers[name].shape[1:] != (width,):
                raise _another_shape(f"tensor {name!r}", answers[name], (width,))
        found = {}
        for field, columns in self._parts:
            values = answers[field.tensor]
            if columns is not None:
                values = values[:, columns]
            values = _activated(_shaped(values, field), field)
            _check_finite(values, field, first_row)
            found[field.name] = values
        return found


def _shaped(values: NDArray[Any], field: Field) -> NDArray[Any]:
    own, wanted = values.shape[1:], field.shape
    if field.picture is not None:
        wanted = field.picture.axes
    if len(own) == len(wanted) and all(
        each in (None, size) for size, each in zip(own, wanted, strict=True)
    ):
        return values
    # A single number is (1,) to clients, whatever axes of size 1 the graph has.
    if wanted != (1,) or math.prod(own) != 1:
        raise _another_shape(f"output {field.name!r}", values, wanted)
    return values.reshape(len(values), 1)


def _another_shape(
    what: str, values: NDArray[Any], wanted: tuple[int | None, ...]
) -> ModelFileRejected:
    return ModelFileRejected(
        f"{what} has the shape {values.shape[1:]} for a row, and the card says"
        f" {wanted}: package the model again"
    )


def _activated(values: NDArray[Any], field: Field) -> NDArray[Any]:
    if field.activation == "none":
        return values
    wide = values.astype(np.float64)
    if field.activation == "sigmoid":
        # Without overflow on either side.
        small = np.exp(-np.abs(wide))
        result = np.where(wide >= 0, 1.0, small) / (1.0 + small)
    else:
        # What is not finite is refused behind this.
        with np.errstate(invalid="ignore"):
            powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
            result = powers / powers.sum(axis=-1, keepdims=True)
    return np.asarray(result.astype(values.dtype))


def _check_finite(values: NDArray[Any], field: Field, first_row: int) -> None:
    if values.dtype.kind != "f":
        return
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"row {first_row + int(np.argmin(finite))}: the model's output"
            f" {field.name!r} is not a finite number"
        )


class RowWriter:
    """Writes outputs as the rows of an answer, each a JSON object."""

    def __init__(self, spec: TensorSpec, *, tensor_json: bool) -> None:
        """tensor_json: arrays as shape and data, else as data URLs of .npy files."""
        self._fields = spec.outputs
        self._write = [_writer(field, tensor_json) for field in spec.outputs]
        self._keys = [orjson.dumps(field.name) + b":" for field in spec.outputs]

    def rows(self, outputs: Outputs) -> list[bytes]:
        """One object for each row. outputs: as `Splitter.split` returns them."""
        columns = [
            [key + value for value in write(outputs[field.name])]
            for field, key, write in zip(
                self._fields, self._keys, self._write, strict=True
            )
        ]
        return [
            b"{" + b",".join(values) + b"}" for values in zip(*columns, strict=True)
        ]


_Write = Callable[[NDArray[Any]], Iterable[bytes]]


def _writer(field: Field, tensor_json: bool) -> _Write:
    if field.type == "categorical":
        return _scores(field.labels)
    if field.picture is not None:
        return _pictures(field)
    if field.shape == (1,):
        return lambda values: _tokens(values.reshape(-1))
    return _tensors if tensor_json else _npy_urls


def _tokens(values: NDArray[Any]) -> list[bytes]:
    """Each value: a number in the shortest form of its dtype, or a text.

    Booleans are the numbers 1 and 0, as the documented outputs are.
    """
    if values.dtype == object:
        return [orjson.dumps(value) for value in values.tolist()]
    text = _dumped(values)
    return text[1:-1].split(b",") if len(values) else []


def _dumped(values: NDArray[Any]) -> bytes:
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def _scores(labels: Sequence[str]) -> _Write:
    keys = [orjson.dumps(label) + b":" for label in labels]

    def write(values: NDArray[Any]) -> Iterable[bytes]:
        tokens = iter(_tokens(values.reshape(-1)))
        for _ in range(len(values)):
            pairs = [key + next(tokens) for key in keys]
            yield b"{" + b",".join(pairs) + b"}"

    return write


def _tensors(values: NDArray[Any]) -> Iterable[bytes]:
    shape = orjson.dumps(values.shape[1:])
    for row in values:
        yield b'{"shape":' + shape + b',"data":' + _dumped(row.reshape(-1)) + b"}"


def _npy_urls(values: NDArray[Any]) -> Iterable[bytes]:
    for row in values:
        yield b'"' + write_data_url(npy.NPY, npy.write(row)).encode() + b'"'


def _pictures(field: Field) -> _Write:
    picture = field.picture
    if picture is None:
        raise TypeError(f"{field.name} is of type image and has no picture")
    media_type = images.media_type(picture)

    def write(values: NDArray[Any]) -> Iterable[bytes]:
        for row in values:
            data = images.encode(row, picture)
            yield b'"' + write_data_url(media_type, data).encode() + b'"'

    return write
