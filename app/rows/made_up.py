"""Rows made up for a graph of named tensors, as clients may send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.tensors import images, npy
from backends.tensors.sent import write_data_url
from backends.tensors.spec import Field, Picture, TensorSpec
from backends.tensors.tensor import Tensor

Record = dict[str, Any]

# At least so many, however large they are.
_LEAST_ROWS = 8
_MOST_ROWS = 60
_MOST_BYTES = 8 * 2**20
# Inputs that are varied one by one, and labels of each that are sent.
_VARIED_INPUTS = 20
_SENT_LABELS = 10

# What an axis of any size has in a row, one after another.
_OPEN_SIZES = (3, 5, 2, 4)
# A larger array is sent as a file.
_LARGE = 4096
_TEXTS = (
    "a text of some words",
    "naïve ☃, “quoted”",
    "42",
    'two\nlines and a "quote"',
    "word " * 50,
)
_SEED = 20


def make_rows(spec: TensorSpec, tensors: Sequence[Tensor]) -> Iterator[Record]:
    """Eight rows or more, always the same ones for a graph.

    First each input of a row is varied by itself, then all are.

    tensors: the graph's inputs.
    """
    dtypes = {each.name: each.dtype for each in tensors}
    makers = {
        field.name: _Maker(field, dtypes[field.tensor], place)
        for place, field in enumerate(spec.inputs)
    }
    size = 0
    for count, row in enumerate(_rows(makers)):
        size += len(json.dumps(row))
        if count >= _LEAST_ROWS and size > _MOST_BYTES:
            return
        yield row


def _rows(makers: Mapping[str, _Maker]) -> Iterator[Record]:
    base = {name: maker.value(0) for name, maker in makers.items()}
    yield base
    varied = [
        (name, maker, variation)
        for name, maker in list(makers.items())[:_VARIED_INPUTS]
        for variation in range(1, maker.variations)
    ]
    for name, maker, variation in varied[: _MOST_ROWS - _LEAST_ROWS]:
        # Axes that are open belong together in many graphs: they stay as they are.
        yield base | {name: maker.value(variation, axes=0)}
    for place in range(1, _LEAST_ROWS):
        yield {name: maker.value(place) for name, maker in makers.items()}


class _Maker:
    """Makes values of one input, each from a number."""

    def __init__(self, field: Field, dtype: str, place: int) -> None:
        """place: of the input among all."""
        self._field = field
        self._dtype = dtype
        self._place = place

    @property
    def variations(self) -> int:
        """How many of its values are worth a row."""
        labels = self._field.labels
        return max(2, min(len(labels), _SENT_LABELS)) if labels else 3

    def value(self, variation: int, axes: int | None = None) -> Any:
        """axes: the variation that open axes are of; None: this one."""
        if self._field.type == "binary":
            return (variation + self._place) % 2 == 0
        if self._field.type == "categorical" and self._field.labels:
            return self._field.labels[(variation) % len(self._field.labels)]
        if self._field.type in ("text", "categorical"):
            return _TEXTS[(variation + self._place) % len(_TEXTS)]
        if self._field.picture is not None:
            return _picture(self._field.picture, variation)
        return self._numbers(variation, variation if axes is None else axes)

    def _numbers(self, variation: int, axes: int) -> Any:
        open_size = _OPEN_SIZES[axes % len(_OPEN_SIZES)]
        shape = tuple(size or open_size for size in self._field.shape)
        rng = np.random.default_rng([_SEED, self._place, variation])
        array = _plausible(rng, shape, self._dtype)
        if self._field.shape == (1,):
            return array.item()
        if array.size > _LARGE or variation % 3 == 1:
            return write_data_url(npy.NPY, npy.write(array))
        if variation % 3 == 2:
            return {"shape": list(shape), "data": array.reshape(-1).tolist()}
        return array.tolist()


def _plausible(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> NDArray[Any]:
    """Numbers that most graphs take: whole ones are small, for they may be places."""
    if dtype.startswith("float"):
        return np.round(rng.normal(0, 1, shape), 3).astype(dtype)
    most = 256 if dtype == "uint8" and len(shape) > 1 else 2
    return rng.integers(0, most, shape).astype(dtype)


def _picture(picture: Picture, variation: int) -> str:
    """A PNG of soft colours with an edge; every third is of another size."""
    height, width = picture.height, picture.width
    if variation % 3 == 2:
        height, width = height * 2 + 1, width + 3
    down, right = np.mgrid[0:height, 0:width]
    down, right = down / height, right / width
    planes = [
        127.5 + 127.5 * np.sin(3 * (channel + 1) * down + 2 * right + variation)
        for channel in range(picture.channels)
    ]
    levels = np.stack(planes, axis=-1)
    levels[height // 3 : height // 2, : width // 2] = 20 * (variation % 12)
    plain = plain_picture(picture, height, width)
    return write_data_url("image/png", images.encode(levels, plain))


def plain_picture(picture: Picture, height: int, width: int) -> Picture:
    """Pixels as files have them: from 0 to 255, red first, the channels last."""
    return Picture(
        height,
        width,
        color="L" if picture.channels == 1 else "RGB",
        layout="NHWC",
        low=0.0,
        high=255.0,
        mean=(0.0,) * picture.channels,
        std=(1.0,) * picture.channels,
        fit=picture.fit,
        resample=picture.resample,
    )
