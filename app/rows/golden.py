"""Golden rows of a graph of named tensors: rows, and what it must answer to them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.rows.closeness import allowed, first_beyond
from app.rows.made_up import Record, make_rows
from app.rows.plain import PlainAnswers
from app.rows.samples import Samples, check_answer
from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import GOLDEN, write_json
from backends.features import DataError
from backends.model import Model
from backends.tensors import io_json
from backends.tensors.backend import TensorBackend
from backends.tensors.decoding import RowDecoder
from backends.tensors.pixels import Pixels

# Relative, and absolute for each unit of an output's largest number. Graphs compute in
# float32, whose sums depend on the width of the processor's vectors and on how many
# rows come together: summed in another order, ten convolutions and a softmax differed
# by a third of this.
_TOLERANCE = (1e-4, 1e-5)

# Of larger outputs a bundle keeps so many numbers, evenly spread.
_MOST_KEPT = 1024
_LEAST_ROWS = 8
# What the server allows in a request is not the bundle's concern.
_NO_LIMIT = Pixels(2**62, 2**62)
_TEXT = "text"
_Found = Mapping[str, NDArray[Any]]
# What plain data of another form brings about.
_ODD = (AttributeError, KeyError, OverflowError, TypeError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one output must be.

    dtype: numpy's name, or "text". size: how many numbers or texts there are.
    values: every step-th of them, flat.
    """

    dtype: str
    size: int
    values: NDArray[Any]

    @classmethod
    def of(cls, values: NDArray[Any]) -> Answer:
        flat = values.reshape(-1)
        is_text = flat.dtype == object
        step = math.ceil(flat.size / _MOST_KEPT) or 1
        return cls(
            _TEXT if is_text else str(flat.dtype), flat.size, flat[::step].copy()
        )

    def to_json(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "size": self.size, "values": self.values.tolist()}

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Answer:
        """Read what `to_json` wrote. Raises ValueError and what is in `_ODD`."""
        is_text = card["dtype"] == _TEXT
        values = np.array(card["values"], dtype=object if is_text else np.float64)
        return cls(str(card["dtype"]), int(card["size"]), values.reshape(-1))

    def difference(self, place: str, found: NDArray[Any]) -> float:
        """The largest difference. Raises ValueError if it is more than it may be.

        place: what is compared, for the message. found: all numbers, of any shape.
        """
        answered = Answer.of(found)
        if (answered.size, len(answered.values)) != (self.size, len(self.values)):
            raise ValueError(
                f"{place} has {answered.size} values instead of {self.size}"
            )
        if self.dtype == _TEXT or answered.dtype == _TEXT:
            if answered.values.tolist() != self.values.tolist():
                raise ValueError(f"{place} is another text")
            return 0.0
        wanted = self.values.astype(np.float64)
        found = answered.values.astype(np.float64)
        first = first_beyond(found, wanted, allowed(wanted, self.dtype, _TOLERANCE))
        if first is not None:
            raise ValueError(
                f"{place} differs: {answered.values[first]} instead of {wanted[first]}"
            )
        return float(np.max(np.abs(found - wanted), initial=0.0))


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows as clients may send them, and what each output must be of each."""

    rows: Sequence[Record]
    answers: Sequence[Mapping[str, Answer]]

    def write(self, folder: Path) -> None:
        answers = [
            {name: each.to_json() for name, each in answer.items()}
            for answer in self.answers
        ]
        content = {"rows": list(self.rows), "answers": answers}
        write_json(folder / GOLDEN, content)

    @classmethod
    def read(cls, folder: Path) -> Golden:
        """Read what `write` wrote. Raises ValueError if it is anything else."""
        try:
            content = json.loads((folder / GOLDEN).read_bytes())
            rows = [dict(row) for row in content["rows"]]
            answers = [
                {name: Answer.from_json(each) for name, each in answer.items()}
                for answer in content["answers"]
            ]
        except (*_ODD, FileNotFoundError) as error:
            raise ValueError(f"{GOLDEN} does not hold golden rows") from error
        if not rows or len(rows) != len(answers):
            raise ValueError(f"{GOLDEN} does not hold an answer for each of its rows")
        return cls(rows, answers)


# ---- In the child process


def make(folder: str, samples: str | None) -> int:
    """Write golden rows into a bundle that has a card and a model, but none of them.

    samples: a file of rows; None: they are made up.
    Returns how many there are. Raises ModelFileRejected, DataError and SpecError, each
    with the reason.
    """
    path = Path(folder)
    model = bundle.read(path)
    given = None if samples is None else Samples.read(Path(samples))
    # One session after the other: models may be large.
    golden = _answered_rows(PlainAnswers(path, model, io_json.spec_of(model)), given)
    golden.write(path)
    compare(golden, TensorBackend(path, model))
    return len(golden.rows)


def _answered_rows(plain: PlainAnswers, samples: Samples | None) -> Golden:
    return _made_up(plain) if samples is None else _given(plain, samples)


def _made_up(plain: PlainAnswers) -> Golden:
    """Rows made up, without those that the graph has no answer to."""
    rows, answers = [], []
    for row in make_rows(plain.spec, plain.inputs):
        # Not every graph takes every number; what is not finite is no answer.
        try:
            answer = plain.answer(row)
        except DataError:
            continue
        if all(map(_is_finite, answer.values())):
            rows.append(row)
            answers.append({name: Answer.of(each) for name, each in answer.items()})
    if len(rows) < _LEAST_ROWS:
        raise ModelFileRejected(
            f"the graph has finite answers to {len(rows)} rows of made-up values only:"
            " give rows that it is made for with --samples"
        )
    return Golden(rows, answers)


def _given(plain: PlainAnswers, samples: Samples) -> Golden:
    """Rows of a file, whose answers are as is expected there."""
    decoder = RowDecoder(plain.spec, plain.inputs)
    answers = []
    for number, row in enumerate(samples.rows):
        # Who packages is told what is wrong with a row as clients are.
        decoder.decode(row, number, _NO_LIMIT)
        found = _answered(plain, row, number)
        if samples.answers is not None:
            check_answer(plain.spec, samples.answers[number], found)
        answers.append({name: Answer.of(each) for name, each in found.items()})
    return Golden(samples.rows, answers)


def _answered(
    plain: PlainAnswers, row: Record, number: int
) -> Mapping[str, NDArray[Any]]:
    try:
        found = plain.answer(row)
    except DataError as error:
        raise DataError(f"row {number}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"row {number}: a value is sent in an odd form, {error}: samples have"
            " numbers, lists, texts and data URLs"
        ) from error
    for name, values in found.items():
        if not _is_finite(values):
            raise DataError(
                f"row {number}: the model's output {name!r} is not a finite number"
            )
    return found


def _is_finite(values: NDArray[Any]) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


# ---- Comparing


def replay(folder: Path, model: Model) -> tuple[int, float]:
    """Answer a bundle's golden rows as the server does.

    Returns their number and the largest difference. Raises ValueError naming the row
    whose answer is another, ModelFileRejected and DataError.
    """
    golden = Golden.read(folder)
    return len(golden.rows), compare(golden, TensorBackend(folder, model))


def compare(golden: Golden, backend: TensorBackend) -> float:
    """The largest difference between golden answers and those of serving."""
    largest = 0.0
    for way, expected, answers in _ways(golden, backend):
        for row, (wanted, found) in enumerate(zip(expected, answers, strict=True)):
            if wanted.keys() != found.keys():
                raise ValueError(f"golden row {row} has no answer for each output")
            for name, answer in wanted.items():
                place = f"output {name!r} of golden row {row}, {way},"
                largest = max(largest, answer.difference(place, found[name]))
    return largest


def _ways(
    golden: Golden, backend: TensorBackend
) -> Iterator[tuple[str, Sequence[Mapping[str, Answer]], Sequence[_Found]]]:
    """How rows come to the serving code, what it must answer, and what it does."""
    rows = [
        backend.decode(values, number, _NO_LIMIT)
        for number, values in enumerate(golden.rows)
    ]
    yield "with the others", golden.answers, backend.answer(rows)
    # Where the graph takes a fixed number of rows, one batch or the other lacks some.
    yield "without the last", golden.answers[:-1], backend.answer(rows[:-1])
    batches = [batch for row in rows for batch in backend.run([row])]
    alone = [{name: values[0] for name, values in each.items()} for each in batches]
    yield "by itself", golden.answers, alone
    writer = backend.writer(tensor_json=True)
    for batch in batches:
        for line in writer.rows(batch):
            json.loads(line)
