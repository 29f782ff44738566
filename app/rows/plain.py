"""Answers rows of named values one at a time and as plainly as can be.

Golden rows are answered so when a bundle is made, by a session of its own and not by
the code that serves.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.rows.made_up import plain_picture
from backends.model import Model
from backends.onnx import open_session, run
from backends.tensors import images
from backends.tensors.spec import Field, Picture, TensorSpec
from backends.tensors.tensor import Tensor, declared

Array = NDArray[Any]

_NO_LIMIT = 2**62


class PlainAnswers:
    """A bundle's graph, asked row by row.

    spec: the bundle's. inputs: the tensors that the graph takes.
    """

    def __init__(self, folder: Path, model: Model, spec: TensorSpec) -> None:
        """Load the graph. Raises ModelFileRejected."""
        self.spec = spec
        self._session = open_session(folder / model.file)
        self.inputs = declared(self._session.get_inputs(), "input")

    def answer(self, row: Mapping[str, Any]) -> dict[str, Array]:
        """Each output's numbers or texts, flat, without the axis of the rows.

        Raises DataError where the graph refuses the row.
        """
        answers = run(
            self._session,
            {each.name: self.fed(each, row) for each in self.inputs},
            [each.tensor for each in self.spec.outputs],
        )
        return {
            field.name: _activated(self._columns(field, answers), field)
            for field in self.spec.outputs
        }

    def fed(self, tensor: Tensor, row: Mapping[str, Any]) -> Array:
        """A row as one of the graph's tensors, the axis of the rows in front."""
        parts = [
            _sent(row[field.name], field, tensor.dtype)
            for field in self.spec.inputs
            if field.tensor == tensor.name
        ]
        if len(parts) > 1:
            whole = np.concatenate([part.reshape(-1) for part in parts])
        elif parts[0].size == 1:
            whole = parts[0].reshape([1] * len(tensor.shape))
        else:
            sizes = [size or -1 for size in tensor.shape]
            whole = parts[0].reshape(parts[0].shape if -1 in sizes else sizes)
        return np.stack([whole] * (tensor.rows or 1))

    def _columns(self, field: Field, answers: Mapping[str, Array]) -> Array:
        """What a field is of its tensor, of the first row."""
        values = answers[field.tensor][:1].reshape(-1)
        same = [each for each in self.spec.outputs if each.tensor == field.tensor]
        if len(same) == 1:
            return values
        widths = [math.prod(size or 1 for size in each.shape) for each in same]
        place = same.index(field)
        return values[sum(widths[:place]) : sum(widths[: place + 1])]


def _activated(values: Array, field: Field) -> Array:
    if field.activation == "none":
        return values
    numbers = values.astype(np.float64).tolist()
    if field.activation == "sigmoid":
        found = [0.5 * (1 + math.tanh(number / 2)) for number in numbers]
    else:
        powers = [math.exp(number - max(numbers)) for number in numbers]
        found = [power / math.fsum(powers) for power in powers]
    return np.array(found).astype(values.dtype)


# ---- What is sent


def _sent(value: Any, field: Field, dtype: str) -> Array:
    """A value as the tensor has it, in the shape it was sent in."""
    if field.type == "numeric":
        return _numbers(value).astype(dtype)
    if field.picture is not None:
        numbers = _pixels(value, field.picture)
        return (numbers if dtype.startswith("float") else np.rint(numbers)).astype(
            dtype
        )
    if field.type == "binary":
        number = int(str(value).lower() in ("true", "1", "1.0"))
        return np.array([number]).astype(object if dtype == "string" else dtype)
    text = _text(value)
    if field.type == "categorical" and isinstance(value, bool):
        text = text if text in field.labels else text.lower()
    if dtype == "string":
        return np.array([text], dtype=object)
    position = field.labels.index(text)
    if field.one_hot:
        ones = [int(place == position) for place in range(len(field.labels))]
        return np.array(ones, dtype)
    return np.array([position], dtype)


def _text(value: Any) -> str:
    """As Python spells it, a float that is whole as an int."""
    is_whole = isinstance(value, float) and value % 1 == 0 and abs(value) < 2**53
    return str(int(value) if is_whole else value)


def _numbers(value: Any) -> Array:
    if isinstance(value, dict):
        return np.array(value["data"]).reshape(value["shape"])
    if isinstance(value, str) and value.startswith("data:"):
        return np.asarray(np.load(io.BytesIO(_content(value)), allow_pickle=False))
    return np.array(float(value) if isinstance(value, str) else value)


def _content(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2])


def _pixels(url: str, picture: Picture) -> Array:
    """A picture in the tensor's layout, channel by channel.

    Reading the file and bringing it to its size is left to the code that serves.
    """
    plain = plain_picture(picture, picture.height, picture.width)
    levels = images.decode(images.checked(_content(url), _NO_LIMIT), plain)
    planes = []
    for channel in range(picture.channels):
        # The blue of BGR comes last in a file.
        source = picture.channels - 1 - channel if picture.color == "BGR" else channel
        share = levels[:, :, source] / 255
        scaled = picture.low + share * (picture.high - picture.low)
        planes.append((scaled - picture.mean[channel]) / picture.std[channel])
    if picture.layout == "NHW":
        return planes[0]
    return np.stack(planes, axis=0 if picture.layout == "NCHW" else -1)
