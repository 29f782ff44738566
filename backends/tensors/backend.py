"""Graphs of named tensors through onnxruntime, in batches within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.features import DataError
from backends.model import Model
from backends.onnx import memory, open_session, run
from backends.strict_json import SpecError, Value
from backends.tensors import fitting, io_json
from backends.tensors.answers import RowWriter, Splitter
from backends.tensors.decoding import Row, RowDecoder
from backends.tensors.pixels import Pixels
from backends.tensors.tensor import declared

# What goes through the graph at once. Convolutions keep many times the size of their
# input between nodes, and gain little from more rows.
_MOST_ROWS = 1024
_MOST_BYTES = 4 * 2**20


class TensorBackend:
    """A loaded graph. Safe to call from many threads at once.

    nbytes: memory that it holds, for the model cache's budget.
    inputs, outputs: the tensors that the graph takes, and that it answers.
    """

    engine = "onnxruntime"

    def __init__(self, folder: Path, model: Model) -> None:
        """Load the graph of the bundle in `folder`. Raises ModelFileRejected."""
        self.model = model
        self.nbytes = memory(folder, model.file)
        self._session = open_session(folder / model.file)
        inputs = declared(self._session.get_inputs(), "input")
        outputs = declared(self._session.get_outputs(), "output")
        try:
            self.spec = io_json.spec_of(model)
            fitting.check(Value(model.io), self.spec, inputs, outputs)
        except SpecError as error:
            raise ModelFileRejected(
                f"the card's io does not fit the graph: {error}: package the model"
                " again"
            ) from error
        self.inputs = inputs
        self.outputs = outputs
        self._decoder = RowDecoder(self.spec, inputs)
        self._splitter = Splitter(self.spec)
        # Of many classes they take a while to make.
        self._writers = {
            form: RowWriter(self.spec, tensor_json=form) for form in (True, False)
        }
        # A graph exported for so many rows is run with as many.
        self._fixed_rows = next((each.rows for each in inputs if each.rows), None)

    def decode(self, values: Mapping[str, Any], row: int, pixels: Pixels) -> Row:
        """The tensors of one row; see `RowDecoder.decode`."""
        return self._decoder.decode(values, row, pixels)

    def writer(self, *, tensor_json: bool) -> RowWriter:
        """What writes the outputs of `run` as JSON; see `RowWriter`."""
        return self._writers[tensor_json]

    def answer(self, rows: Sequence[Row]) -> list[dict[str, NDArray[Any]]]:
        """Each row's outputs by name; see `run`."""
        answers: list[dict[str, NDArray[Any]]] = []
        for batch in self.run(rows):
            count = len(next(iter(batch.values())))
            answers += [
                {name: values[row] for name, values in batch.items()}
                for row in range(count)
            ]
        return answers

    def run(
        self, rows: Sequence[Row], first_row: int = 0
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Run rows, some at a time.

        first_row: number of the first row in the request, for messages.

        Yields, for consecutive rows, each output's values: (n_rows, *shape) in the
        graph's dtype, shape as the field says; texts as objects; an activation applied.
        Raises DataError naming the row that the graph refuses, or for which it answers
        no finite number; ModelFileRejected where it does not answer row by row.
        """
        start = 0
        while start < len(rows):
            stop = start + self._fitting(rows, start)
            yield self._run(rows[start:stop], first_row + start)
            start = stop

    def _fitting(self, rows: Sequence[Row], start: int) -> int:
        """How many rows from `start` on go through the graph at once: one at least."""
        most = self._fixed_rows or _MOST_ROWS
        shapes = {name: each.shape for name, each in rows[start].items()}
        size = sum(each.nbytes for each in rows[start].values())
        if self._fixed_rows is None:
            most = min(most, max(1, _MOST_BYTES // max(1, size)))
        count = 1
        # Rows of another shape, where the graph leaves one open, go by themselves.
        while count < most and start + count < len(rows):
            row = rows[start + count]
            if any(row[name].shape != shape for name, shape in shapes.items()):
                break
            count += 1
        return count

    def _run(self, rows: Sequence[Row], first_row: int) -> dict[str, NDArray[Any]]:
        feed = {
            name: self._padded(np.stack([row[name] for row in rows]))
            for name in rows[0]
        }
        try:
            answers = run(self._session, feed, self._splitter.tensors)
        except DataError as error:
            if len(rows) > 1:
                return self._run_alone(rows, first_row)
            raise DataError(f"row {first_row}: {error}") from error
        expected = self._fixed_rows or len(rows)
        for name, values in answers.items():
            if values.ndim == 0 or len(values) != expected:
                raise ModelFileRejected(
                    f"output {name!r} has the shape {values.shape} for {expected} rows:"
                    " the graph must answer row by row"
                )
        whole = {name: values[: len(rows)] for name, values in answers.items()}
        return self._splitter.split(whole, first_row)

    def _run_alone(
        self, rows: Sequence[Row], first_row: int
    ) -> dict[str, NDArray[Any]]:
        """Answer each row by itself: the one that the graph refuses is named then."""
        alone = [self._run([row], first_row + place) for place, row in enumerate(rows)]
        return {
            name: np.concatenate([each[name] for each in alone]) for name in alone[0]
        }

    def _padded(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Repeat the last row up to the number of rows that the graph insists on."""
        if self._fixed_rows is None or len(tensor) == self._fixed_rows:
            return tensor
        return tensor[np.minimum(np.arange(self._fixed_rows), len(tensor) - 1)]
