"""Reads the rows of a request, or of training data, into a panel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.features import (
    Columns,
    DataError,
    read_text,
)
from backends.timeseries.cells import (
    MISSING_TARGETS,
    Cells,
    distinct,
    first_odd,
    is_missing,
    numbers_of,
    target_number,
)
from backends.timeseries.clock import Clock, Times
from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.refusals import (
    MissingCells,
    NotAClass,
    NotNumeric,
    NoValidOutputRows,
    UnmatchedDate,
    WithoutLogarithm,
)
from backends.timeseries.spec import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class PanelReader:
    """Reads rows, some at a time, into a panel.

    Decoding is by the spec, never by what the rows look like.
    """

    decoder: PanelDecoder
    _rows: int = 0
    _times: dict[Any, int] = field(default_factory=dict)
    _instants: list[np.datetime64] = field(default_factory=list)
    _series: dict[str, int] = field(default_factory=dict)
    _labels: list[Any] = field(default_factory=list)
    _parts: list[tuple[Ints, Ints, Floats, Floats]] = field(default_factory=list)
    _sent: dict[str, list[Bools]] = field(default_factory=dict)

    @property
    def spec(self) -> Spec:
        """What the rows are read by."""
        return self.decoder.spec

    def add(self, cells: Mapping[str, Cells], columns: Columns) -> None:
        """Take up rows.

        cells: the decoder's `texts` and, if there is one, `number`, by name.
        columns: the same rows, decoded by its `columns`.

        Raises UnmatchedDate, MissingCells, NotNumeric, NotAClass, WithoutLogarithm and
        DataError.
        """
        spec = self.spec
        times = self._read_times(cells[spec.datetime_column])
        if spec.series_id_column is None:
            series = np.zeros(len(times), np.int64)
        else:
            series = self._read_series(cells[spec.series_id_column])
        if self.decoder.number is None:
            target = self._read_classes(cells[spec.target])
        else:
            target = self._read_target(cells[spec.target])
        for name, is_sent in self.decoder.watched.items():
            values, codes = distinct(cells[name])
            sent = np.array([is_sent(value) for value in values], np.bool_)
            self._sent.setdefault(name, []).append(sent[codes])
        self._parts.append((times, series, target, columns.matrix))
        self._rows += len(times)

    def take(self) -> tuple[Ints, Ints, Bools]:
        """Hand out the rows taken up since, and keep nothing but what they are told by.

        Returns their timestamps, among `originals`, their series, among `labels`, and
        whether their targets are known.
        """
        original, series, target = (
            np.concatenate([part[place] for part in self._parts]) for place in range(3)
        )
        self._parts.clear()
        self._sent.clear()
        return original, series, ~np.isnan(target)

    @property
    def instants(self) -> Times:
        """What each of the timestamps that were met means."""
        return np.array(self._instants, "datetime64[us]")

    @property
    def originals(self) -> list[Any]:
        """The different timestamps as they were sent, in the order of their rows."""
        return list(self._times)

    @property
    def labels(self) -> list[Any]:
        """The series ids as they were sent; [None] for one series without an id."""
        return self._labels or [None]

    def finish(self, clock: Clock | None = None, numbers: Ints | None = None) -> Panel:
        """The panel of all rows.

        clock, numbers: see `Panel.of`.
        Raises NoValidOutputRows if there are none, IrregularTimestamp and
        DuplicateTimestamp.
        """
        if not self._rows:
            raise NoValidOutputRows
        original, series, target = (
            np.concatenate([part[place] for part in self._parts]) for place in range(3)
        )
        columns = {
            feature.name: np.concatenate([part[3][:, position] for part in self._parts])
            for position, feature in enumerate(self.decoder.columns.features)
        }
        columns[self.spec.target] = target
        return Panel.of(
            self.decoder,
            self.instants,
            self.originals,
            original,
            self.labels,
            series,
            columns,
            {name: np.concatenate(parts) for name, parts in self._sent.items()},
            clock=clock,
            numbers=numbers,
        )

    def _read_times(self, cells: Cells) -> Ints:
        """Positions among the timestamps that were met so far."""
        values, codes = distinct(cells)
        missing = [is_missing(value) for value in values]
        if any(missing):
            row = int(np.array(missing)[codes].argmax())
            raise MissingCells(self.spec.datetime_column, self._rows + row)
        texts = [
            self._spelled(value, codes, place) for place, value in enumerate(values)
        ]
        instants = self.decoder.dates.parse(texts)
        unmatched = np.isnat(instants)
        if unmatched.any():
            # Values stand in the order of their first rows.
            bad = texts[int(unmatched.argmax())]
            today = datetime.now(UTC).replace(tzinfo=None)
            shown = self.decoder.dates.format(today)
            raise UnmatchedDate(self.spec, bad, shown)
        places = np.empty(len(values), np.int64)
        for place, (value, instant) in enumerate(zip(values, instants, strict=True)):
            known = self._times.setdefault(value, len(self._times))
            if known == len(self._instants):
                self._instants.append(instant)
            places[place] = known
        return places[codes]

    def _spelled(self, value: Any, codes: Ints, place: int) -> str:
        if isinstance(value, float) and value.is_integer():
            # JSON of columns with missing values has whole numbers as floats.
            value = int(value)
        text = read_text(value)
        if text is None:
            row = self._rows + int((codes == place).argmax())
            raise DataError(
                f"column {self.spec.datetime_column!r}, row {row}: a text is expected,"
                " not an array or object"
            )
        return text

    def _read_series(self, cells: Cells) -> Ints:
        """Positions among the series that were met so far; 1 and "1" are one."""
        values, codes = distinct(cells)
        places = np.empty(len(values), np.int64)
        column = self.spec.series_id_column
        for place, value in enumerate(values):
            text = read_text(value)
            if not text:
                row = self._rows + int((codes == place).argmax())
                if text is None:
                    raise DataError(
                        f"column {column!r}, row {row}: a text or a number is expected,"
                        " not an array or object"
                    )
                raise MissingCells(str(column), row)
            if value in (math.inf, -math.inf):
                # JSON has no way to write it back.
                row = self._rows + int((codes == place).argmax())
                raise DataError(
                    f"column {column!r}, row {row}: a finite number is expected"
                )
            known = self._series.setdefault(text, len(self._series))
            if known == len(self._labels):
                self._labels.append(value)
            places[place] = known
        return places[codes]

    def _read_classes(self, cells: Cells) -> Floats:
        """Positions of the classes among those of the spec."""
        spec = self.spec
        values, codes = distinct(cells)
        found = np.empty(len(values))
        for place, value in enumerate(values):
            # An array or object is no cell, and none that the decoder would number.
            cell = None if read_text(value) is None else value
            read = self.decoder.classes.from_records([{spec.target: cell}])
            # One of these words may be a class.
            is_none = isinstance(cell, str) and cell.strip() in MISSING_TARGETS
            if cell is not value or (read.unknown_categories and not is_none):
                row = self._rows + int((codes == place).argmax())
                raise NotAClass(spec.target, value, row, spec.classes)
            found[place] = read.matrix[0, 0]
        return found[codes]

    def _read_target(self, cells: Cells) -> Floats:
        odd = first_odd(cells)
        if odd is not None:
            raise NotNumeric(self.spec.target, np.nan, self._rows + odd)
        target = numbers_of(cells)
        if target is None:
            values, codes = distinct(cells)
            numbers = [target_number(value) for value in values]
            bad = np.array([number is None for number in numbers])[codes]
            if bad.any():
                row = int(bad.argmax())
                value = values[codes[row]]
                raise NotNumeric(self.spec.target, value, self._rows + row)
            target = np.array(numbers, np.float64)[codes]
        infinite = np.isinf(target)
        if infinite.any():
            row = int(infinite.argmax())
            raise NotNumeric(self.spec.target, float(target[row]), self._rows + row)
        if self.spec.is_logarithmic and (target <= -1).any():
            row = int((target <= -1).argmax())
            value = float(target[row])
            raise WithoutLogarithm(self.spec.target, value, self._rows + row)
        return target
