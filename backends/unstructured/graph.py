"""A graph over raw tensors, text or pictures: bytes in, bytes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.features import DataError
from backends.model import Model
from backends.tensors.backend import TensorBackend
from backends.tensors.decoding import Row
from backends.tensors.pixels import Pixels
from backends.tensors.sent import Upload
from backends.unstructured import media, writing
from backends.unstructured.media import Content
from backends.unstructured.reading import TensorReader, Tensors, kind_of
from backends.unstructured.refusals import AnswerTooLarge, ContentNotTaken, TooLarge

# Rows that are taken out of a tensor at once: each is an object of its own.
_SOME_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be.

    rows: of its tensors. pixels: of its picture. body, answer: bytes.
    """

    rows: int
    pixels: int
    body: int
    answer: int


class GraphBackend:
    """A loaded graph. Safe to call from many threads at once."""

    engine = TensorBackend.engine

    def __init__(self, folder: Path, model: Model) -> None:
        """Load the graph of the bundle in `folder`. Raises ModelFileRejected."""
        self._tensors = TensorBackend(folder, model)
        self.nbytes = self._tensors.nbytes
        self.spec = self._tensors.spec
        self._reader = TensorReader(self.spec, self._tensors.inputs)
        self._axes = _axes_of_singles(self._tensors)

    def answer(
        self, content: Content, limits: Limits, go_on: Callable[[], None]
    ) -> Content:
        """What the graph answers, in the form of what was sent.

        go_on: called between pieces of work; raises when there is no time left.

        Raises DataError, ContentNotTaken and TooLarge.
        """
        kind = self._kind(content)
        try:
            outputs = self._outputs(self._sent(content, kind, limits), limits, go_on)
        except ModelFileRejected as error:
            # It answered the golden requests; these it does not answer row by row.
            raise DataError(f"the model cannot answer this: {error}") from error
        answer = _written(outputs, kind, content.kind)
        if len(answer.data) > limits.answer:
            raise AnswerTooLarge(limits.answer)
        return answer

    def _kind(self, content: Content) -> str:
        field, *others = self.spec.inputs
        if not others and content.kind.startswith("text/") and field.type == "text":
            return media.TEXT
        if content.kind.startswith("image/"):
            return "image"
        kind = kind_of(content)
        if kind in (media.NPY, media.NPZ, media.JSON):
            return kind
        if kind == media.BYTES and not others and field.type == "image":
            return "image"
        raise ContentNotTaken(
            f"The model takes {', '.join(self.kinds)}, not a body of the type"
            f" {content.kind} that is none of them"
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types of body that the graph takes."""
        field, *others = self.spec.inputs
        own = {"text": ("text/plain",), "image": ("image/*",)}
        beside = () if others else own.get(field.type, ())
        if any(each.dtype == "string" for each in self.spec.inputs):
            return (media.JSON, *beside)
        array = media.NPY if len(self._reader.names) == 1 else media.NPZ
        return (media.JSON, array, *beside)

    def _sent(self, content: Content, kind: str, limits: Limits) -> Tensors:
        if kind == media.NPY:
            return self._reader.npy(content.data)
        if kind == media.NPZ:
            return self._reader.npz(content.data, limits.body)
        if kind == media.JSON:
            return self._reader.json(content.data)
        row = self._row(content, kind, limits)
        return {name: values[None] for name, values in row.items()}

    def _row(self, content: Content, kind: str, limits: Limits) -> Row:
        """The tensors of the only text or picture there is."""
        field, *others = self.spec.inputs
        if others or field.type != {media.TEXT: "text"}.get(kind, kind):
            raise DataError(
                f"the model does not take one {kind} but {', '.join(self.kinds)}"
            )
        value: str | Upload = Upload(content.data)
        if kind == media.TEXT:
            try:
                value = content.data.decode(content.codec)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"the body is no text in {content.codec}: {error.reason}"
                ) from None
        pixels = Pixels(limits.pixels, limits.pixels)
        return self._tensors.decode({field.name: value}, 0, pixels)

    def _outputs(
        self, tensors: Tensors, limits: Limits, go_on: Callable[[], None]
    ) -> dict[str, NDArray[Any]]:
        count = len(next(iter(tensors.values())))
        if count > limits.rows:
            raise TooLarge(f"The request has more than {limits.rows} rows")
        batches: list[dict[str, NDArray[Any]]] = []
        size = 0
        for start in range(0, count, _SOME_ROWS):
            stop = min(start + _SOME_ROWS, count)
            rows = [
                {name: _row_of(array, place) for name, array in tensors.items()}
                for place in range(start, stop)
            ]
            for batch in self._tensors.run(rows, start):
                go_on()
                size += sum(values.nbytes for values in batch.values())
                if size > limits.answer:
                    raise AnswerTooLarge(limits.answer)
                batches.append(batch)
        return {name: self._shaped(name, _joined(name, batches)) for name in batches[0]}

    def _shaped(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """An output that rows by name know as one value, in the graph's own shape."""
        if name not in self._axes:
            return values
        return values.reshape(len(values), *[1] * self._axes[name])


def _axes_of_singles(tensors: TensorBackend) -> dict[str, int]:
    """Axes beside that of the rows of each output that is one value of its tensor."""
    axes = {each.name: len(each.shape) for each in tensors.outputs}
    taken = Counter(field.tensor for field in tensors.spec.outputs)
    return {
        field.name: axes[field.tensor]
        for field in tensors.spec.outputs
        if field.shape == (1,) and field.picture is None and taken[field.tensor] == 1
    }


def _row_of(array: NDArray[Any], place: int) -> NDArray[Any]:
    # Of a tensor of one axis an element, and not an array, would be taken.
    return array[place, ...]


def _joined(name: str, batches: list[dict[str, NDArray[Any]]]) -> NDArray[Any]:
    parts = [batch[name] for batch in batches]
    if len({part.shape[1:] for part in parts}) > 1:
        raise DataError(
            f"output {name!r} has another shape for some rows: send them one at a time"
        )
    return np.concatenate(parts)


def _written(outputs: dict[str, NDArray[Any]], kind: str, asked: str) -> Content:
    if kind not in (media.NPY, media.NPZ):
        return Content.of(writing.as_json(outputs), media.JSON)
    if kind == media.NPZ or len(outputs) > 1:
        return Content.of(writing.as_npz(outputs), media.NPZ)
    declared = media.BYTES if asked == media.BYTES else media.NPY
    return Content.of(writing.as_npy(outputs), declared)
