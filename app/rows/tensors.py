"""Rows of named values for graphs of named tensors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from app.errors import DeadlineExceeded
from app.rows.piece import Piece
from backends.tensors.answers import RowWriter
from backends.tensors.backend import TensorBackend
from backends.tensors.decoding import Row
from backends.tensors.pixels import Pixels

# Rows are decoded until their tensors take so many bytes, then run: pictures are far
# larger decoded than sent.
_MOST_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class TensorRows:
    """Answers rows with all outputs of a graph.

    writer: of the answer.
    pixels: what the pictures of the request may have.
    deadline: when the time of the request is over, monotonic seconds.
    slot: waits until there is room for a piece of work, until a deadline. The tensors
        between a graph's nodes may be far larger than what was sent.
    """

    backend: TensorBackend
    writer: RowWriter
    pixels: Pixels
    deadline: float
    slot: Callable[[float], AbstractContextManager[None]]
    # A piece is what one thread works on, and holds a slot for.
    most_rows: int = 16

    def answer(self, piece: Piece) -> bytes:
        """See `Answerer`.

        Raises DataError, of every kind that decoding knows, and DeadlineExceeded:
        a picture may take a second, and nobody waits for the answer then.
        """
        written: list[bytes] = []
        with self.slot(self.deadline):
            for first_row, rows in self._decoded(piece):
                for outputs in self.backend.run(rows, first_row):
                    written += self.writer.rows(outputs)
        return b",".join(written)

    def _decoded(self, piece: Piece) -> Iterator[tuple[int, Sequence[Row]]]:
        """The tensors of rows, about so many bytes at once, and the first's number."""
        first_row, rows, size = piece.first_row, list[Row](), 0
        for number, values in enumerate(piece.rows, piece.first_row):
            row = self._decode(values, number)
            rows.append(row)
            size += sum(each.nbytes for each in row.values())
            if size >= _MOST_BYTES:
                yield first_row, rows
                first_row, rows, size = number + 1, [], 0
        if rows:
            yield first_row, rows

    def _decode(self, values: Mapping[str, Any], number: int) -> Row:
        if time.monotonic() > self.deadline:
            raise DeadlineExceeded
        return self.backend.decode(values, number, self.pixels)
