"""Golden requests: bodies in a bundle, and what its graph must answer to them.

A hook has none: it is code, and no bundle's code is run to look at it.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.rows.golden import Answer
from app.rows.made_up import Record, make_rows
from app.rows.plain import PlainAnswers
from app.rows.samples import Samples, check_answer
from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import GOLDEN, write_json
from backends.features import DataError
from backends.model import PYTHON, Model
from backends.tensors import io_json, npy
from backends.tensors.sent import read_data_url
from backends.unstructured import code, media
from backends.unstructured.graph import GraphBackend, Limits
from backends.unstructured.media import Content
from backends.unstructured.reading import input_names
from backends.unstructured.refusals import ContentNotTaken, TooLarge

_Outputs = Mapping[str, NDArray[Any]]

_LEAST: Final = 8
_MOST_BYTES: Final = 16 * 2**20
# What the server allows in a request is not the bundle's concern.
_NO_LIMITS: Final = Limits(2**62, 2**62, 2**62, 2**62)
_ODD: Final = (AttributeError, KeyError, TypeError, OverflowError, binascii.Error)


@dataclass(frozen=True, slots=True)
class Request:
    """A body, and what each output of the answer must be.

    answered: media type of the answer.
    """

    sent: Content
    answered: str
    outputs: Mapping[str, Answer]

    def to_json(self) -> dict[str, Any]:
        outputs = {name: each.to_json() for name, each in self.outputs.items()}
        return {
            "content_type": self.sent.declared,
            "body": base64.b64encode(self.sent.data).decode(),
            "answer": {"content_type": self.answered, "outputs": outputs},
        }

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Request:
        """Read what `to_json` wrote. Raises ValueError and what is in `_ODD`."""
        body = base64.b64decode(card["body"], validate=True)
        outputs = {
            name: Answer.from_json(each)
            for name, each in card["answer"]["outputs"].items()
        }
        sent = Content.of(body, str(card["content_type"]))
        return cls(sent, str(card["answer"]["content_type"]), outputs)


def replay(folder: Path, model: Model) -> tuple[int, float]:
    """Answer a bundle's golden requests as the server does; only parse a hook.

    Returns their number and the largest difference. Raises ValueError naming the
    request whose answer is another, ModelFileRejected and DataError.
    """
    if model.format == PYTHON:
        code.check(str(folder / model.file))
        return 0, 0.0
    requests = _read(folder)
    return len(requests), compare(requests, GraphBackend(folder, model))


def compare(requests: Sequence[Request], backend: GraphBackend) -> float:
    """The largest difference between golden answers and those of serving."""
    largest = 0.0
    for number, request in enumerate(requests):
        place = f"golden request {number}"
        try:
            answer = backend.answer(request.sent, _NO_LIMITS, _go_on)
        except (ContentNotTaken, TooLarge) as error:
            raise ValueError(f"{place}: {error}") from error
        if answer.declared != request.answered:
            raise ValueError(f"{place} is answered {answer.declared}")
        found = _outputs(answer, backend)
        if found.keys() != request.outputs.keys():
            raise ValueError(f"{place} has no answer for each output")
        for name, wanted in request.outputs.items():
            difference = wanted.difference(f"output {name!r} of {place}", found[name])
            largest = max(largest, difference)
    return largest


def _go_on() -> None:
    """The child process has a cap of its own on time."""


def _read(folder: Path) -> Sequence[Request]:
    try:
        content = json.loads((folder / GOLDEN).read_bytes())
        requests = [Request.from_json(each) for each in content["requests"]]
    except (*_ODD, FileNotFoundError) as error:
        raise ValueError(f"{GOLDEN} does not hold golden requests") from error
    if not requests:
        raise ValueError(f"{GOLDEN} does not hold golden requests")
    return requests


def _outputs(answer: Content, backend: GraphBackend) -> dict[str, NDArray[Any]]:
    """The numbers or texts of an answer by output."""
    if answer.kind == media.JSON:
        content = json.loads(answer.data)
        return {name: _array(value) for name, value in content.items()}
    if answer.kind == media.NPZ:
        with np.load(io.BytesIO(answer.data), allow_pickle=False) as file:
            return dict(file)
    return {backend.spec.outputs[0].name: npy.read(answer.data)}


def _array(value: Any) -> NDArray[Any]:
    array = np.array(value)
    return array.astype(object) if array.dtype.kind == "U" else array


# ---- In the child process


def make(folder: str, samples: str | None) -> int:
    """Write golden requests into a bundle that has a card and a graph.

    samples: a file of rows; None: they are made up.
    Returns how many there are. Raises ModelFileRejected, DataError and SpecError, each
    with the reason.
    """
    path = Path(folder)
    model = bundle.read(path)
    plain = PlainAnswers(path, model, io_json.spec_of(model))
    requests: list[Request] = []
    size = 0
    for row, outputs in _answered(plain, samples):
        for each in _requests(plain, row, outputs):
            size += len(each.sent.data)
            requests.append(each)
        if len(requests) >= _LEAST and size > _MOST_BYTES:
            break
    content = {"requests": [each.to_json() for each in requests]}
    write_json(path / GOLDEN, content)
    compare(requests, GraphBackend(path, model))
    return len(requests)


def _answered(
    plain: PlainAnswers, samples: str | None
) -> Iterator[tuple[Record, _Outputs]]:
    """Rows, and what a session of its own answers to each."""
    if samples is not None:
        yield from _given(plain, Samples.read(Path(samples)))
        return
    count = 0
    for row in make_rows(plain.spec, plain.inputs):
        # Not every graph takes every number; what is not finite is no answer.
        try:
            outputs = plain.answer(row)
        except DataError:
            continue
        if all(map(_is_finite, outputs.values())):
            count += 1
            yield row, outputs
    if count < _LEAST:
        raise ModelFileRejected(
            f"the graph has finite answers to {count} rows of made-up values only: give"
            " rows that it is made for with --samples"
        )


def _given(plain: PlainAnswers, samples: Samples) -> Iterator[tuple[Record, _Outputs]]:
    for number, row in enumerate(samples.rows):
        try:
            outputs = plain.answer(row)
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"row {number}: {error}") from error
        if not all(map(_is_finite, outputs.values())):
            raise DataError(f"row {number}: the model's answer is not a finite number")
        if samples.answers is not None:
            check_answer(plain.spec, samples.answers[number], outputs)
        yield row, outputs


def _is_finite(values: NDArray[Any]) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _requests(plain: PlainAnswers, row: Record, outputs: _Outputs) -> Iterator[Request]:
    """A row in each of the forms that bring it."""
    names = input_names(plain.spec, plain.inputs)
    fed = {
        name: plain.fed(tensor, row)[:1]
        for name, tensor in zip(names, plain.inputs, strict=True)
    }
    wanted = {name: Answer.of(each) for name, each in outputs.items()}
    body = json.dumps({name: each.tolist() for name, each in fed.items()}).encode()
    yield Request(Content.of(body, media.JSON), media.JSON, wanted)
    is_text = any(each.dtype == object for each in [*fed.values(), *outputs.values()])
    if len(fed) == 1 and not is_text:
        (array,) = fed.values()
        answered = media.NPY if len(outputs) == 1 else media.NPZ
        sent = Content.of(npy.write(np.ascontiguousarray(array)), media.NPY)
        yield Request(sent, answered, wanted)
    field, *others = plain.spec.inputs
    if not others and field.type == "text":
        sent = Content.of(str(row[field.name]).encode(), "text/plain; charset=utf-8")
        yield Request(sent, media.JSON, wanted)
    if not others and field.type == "image":
        media_type, data = read_data_url(row[field.name])
        yield Request(Content.of(data, media_type), media.JSON, wanted)
