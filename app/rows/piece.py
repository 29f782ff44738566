"""Some of the rows of a request, and what answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of named values.

    first_row: the number of the first of them in the request, from 0.
    """

    first_row: int
    rows: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)


class Answerer(Protocol):
    """A deployment's model, as the rows API asks it."""

    @property
    def most_rows(self) -> int:
        """How many rows it takes at once."""

    def answer(self, piece: Piece) -> bytes:
        """The rows of the answer: JSON objects with commas between them.

        May be called from many threads. Raises what is wrong with the rows.
        """
