"""Which columns a CSV output tells, in what order and under what names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Final

from app.errors import OutputColumnsClash, OutputColumnsRefused
from app.prediction_columns import classes, label_text
from app.tokens import Tokens, csv_cell, csv_lines
from backends.model import Model

STATUS: Final = "prediction_status"
_OK: Final = b"OK"


@dataclass(frozen=True, slots=True)
class OutputColumns:
    """What a batch job says of the columns of its output.

    probabilities: false leaves out the classes' probabilities, and with them THRESHOLD
        and POSITIVE_CLASS.
    classes: those whose probabilities are told; none for all.
    names: what columns are to be called instead; None leaves one out.
    status: whether each row tells how it fared.

    Source: "Batch Prediction API", output options.
    """

    probabilities: bool = True
    classes: tuple[str, ...] = ()
    names: Mapping[str, str | None] = field(default_factory=dict)
    status: bool = False


ALL_COLUMNS: Final = OutputColumns()


class CsvLayout:
    """The columns of an output: its own, how the row fared, those passed through."""

    def __init__(
        self,
        own: Sequence[str],
        passthrough: Sequence[str],
        model: Model,
        wanted: OutputColumns,
        *,
        target: str | None = None,
    ) -> None:
        """own: names of the columns that are predicted. target: as they call it.

        Raises OutputColumnsClash for two columns of one name, OutputColumnsRefused for
        classes and columns that are not there.
        """
        taken = {*own, STATUS} if wanted.status else set(own)
        if clash := [name for name in passthrough if name in taken]:
            raise OutputColumnsClash(clash)
        self._own = len(own)
        self._status = wanted.status
        names = [*own, *([STATUS] if wanted.status else []), *passthrough]
        hidden = _hidden(model, wanted, target or model.target)
        told = _renamed(names, hidden, wanted.names)
        self._places: list[int] | None = None
        if list(told) != names:
            places = {name: place for place, name in enumerate(names)}
            self._places = [places[name] for name in told]
        self.head = b",".join(map(csv_cell, told.values())) + b"\n"

    def lines(self, cells: list[Tokens], rows: int) -> bytes:
        """The lines of scored rows; cells: of all columns but the status."""
        if self._status:
            cells.insert(self._own, repeat(_OK))
        return self._lines(cells, rows)

    def failed(self, status: str, passed: Sequence[str]) -> bytes:
        """The line of a row that could not be scored; passed: its passthrough cells."""
        cells: list[Tokens] = [[b""]] * self._own
        if self._status:
            cells.append([csv_cell(status)])
        return self._lines([*cells, *([csv_cell(each)] for each in passed)], 1)

    def _lines(self, cells: list[Tokens], rows: int) -> bytes:
        if self._places is not None:
            # All that is told may be constant, and constants have no end.
            cells = [islice(cells[place], rows) for place in self._places]
        if len(cells) == 1:
            # Readers of CSV pass over an empty line: the rows behind it would move up.
            cells = [[cell or b'""' for cell in islice(cells[0], rows)]]
        return csv_lines(cells)


def _hidden(model: Model, wanted: OutputColumns, target: str) -> set[str]:
    """Names of columns that are left out for what they tell."""
    names = [label_text(label) for label in classes(model)]
    for each in wanted.classes:
        if each not in names:
            raise OutputColumnsRefused(
                "includeProbabilitiesClasses: the model has no class named"
                f" {each[:100]!r}"
            )
    if not wanted.probabilities and model.task == "binary":
        hidden = {"THRESHOLD", "POSITIVE_CLASS"}
    else:
        hidden = set()
    told = (wanted.classes or names) if wanted.probabilities else ()
    return hidden | {
        f"{target}_{name}_PREDICTION" for name in names if name not in told
    }


def _renamed(
    names: Sequence[str], hidden: set[str], wanted: Mapping[str, str | None]
) -> dict[str, str]:
    """The names that are told, and what they are told as."""
    known = set(names)
    for name in wanted:
        if name not in known:
            raise OutputColumnsRefused(
                f"columnNamesRemapping: the output has no column named {name[:100]!r}"
            )
    told: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        new = wanted.get(name, name)
        if name in hidden or new is None:
            continue
        if new in taken:
            raise OutputColumnsRefused(
                "columnNamesRemapping: two columns of the output would be named"
                f" {new[:100]!r}"
            )
        told[name] = new
        taken.add(new)
    if not told:
        raise OutputColumnsRefused(
            "columnNamesRemapping: no column of the output is left"
        )
    return told
