"""Rows of series as numbers: which step each is, of which series, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backends.features import (
    MISSING_NUMBERS,
    Columns,
    DataError,
    Decoder,
    read_number,
    read_text,
)
from backends.timeseries.clock import Clock, Times
from backends.timeseries.dates import DateFormat
from backends.timeseries.refusals import (
    DuplicateTimestamp,
    ForecastTooLarge,
    IrregularTimestamp,
    MissingCells,
    MissingColumns,
    NotAClass,
    NotNumeric,
    NoValidOutputRows,
    UnmatchedDate,
    WithoutLogarithm,
)
from backends.timeseries.spec import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# A column of the data: the texts of CSV cells, the values of JSON cells, or numbers.
Cells: TypeAlias = "Sequence[Any] | pa.Array"

# What means that the target is not known. Where a history ends is not guessed from
# words that may mean anything.
MISSING_TARGETS = ("", "null", "NULL", "nan", "NaN")
_SPACE = " \t\n\r\v\f"
# A table of rows by series and step is made for its own sake up to so many cells.
_SMALL_GRID = 2**20


@dataclass(frozen=True, slots=True)
class Grid:
    """Which row has each step of each series.

    rows: int32 (series, steps): number of the row; -1: there is none.
    low: the step of the first column.
    """

    rows: NDArray[np.int32]
    low: int

    def find(self, series: Ints, steps: Ints) -> NDArray[np.int32]:
        """The rows of series at steps, arrays that broadcast; all inside the grid."""
        found: NDArray[np.int32] = self.rows[series, steps - self.low]
        return found


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows of one or several series, in any order.

    times: datetime64[us] (n,). steps: int64 (n,), see `Clock`; of a row-based spec the
        place among the rows of the series.
    series: int64 (n,): positions in `labels`.
    labels: series ids as they were sent, in the order of their first rows; [None] for
        one series without an id.
    columns: float64 (n,) by name: numbers, or positions among the categories; NaN is
        missing. The target is one of them.
    originals: the different timestamps as they were sent. original: int64 (n,):
        positions among them.
    """

    spec: Spec
    clock: Clock
    times: Times
    steps: Ints
    series: Ints
    labels: Sequence[Any]
    columns: Mapping[str, Floats]
    originals: Sequence[Any]
    original: Ints

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def target(self) -> Floats:
        """The target's column."""
        return self.columns[self.spec.target]

    def values(self, name: str, rows: NDArray[np.integer[Any]]) -> Floats:
        """A column's values in rows of any shape; NaN where the row is -1: none."""
        found: Floats = self.columns[name][rows]
        found[rows < 0] = np.nan
        return found

    @property
    def first_steps(self) -> Ints:
        """The first step of each series, int64 (series,)."""
        first = np.full(len(self.labels), np.iinfo(np.int64).max)
        np.minimum.at(first, self.series, self.steps)
        return first

    def has_history(self, series: Ints, origins: Ints) -> NDArray[np.bool_]:
        """Whether series begin early enough for forecasts from origins.

        Steps between may be missing.
        """
        needed = origins + self.spec.effective_start + 1
        return np.asarray(self.first_steps[series] <= needed)

    def times_at(self, grid: Grid, series: Ints, steps: Ints) -> Times:
        """When steps of series are, datetime64[us]: what a row says, else the clock.

        NaT where there is no row, of a row-based spec.
        """
        rows = grid.find(series, steps)
        times: Times = np.full(len(steps), np.datetime64("NaT", "us"))
        if not self.spec.is_row_based:
            times = self.clock.times(steps)
        return np.asarray(np.where(rows >= 0, self.times[rows], times))

    def grid(self, low: int, high: int, most: int | None = None) -> Grid:
        """The rows from one step to another.

        most: cells; more raise ForecastTooLarge.
        """
        span = high - low + 1
        cells = span * len(self.labels)
        if most is not None and cells > most:
            raise ForecastTooLarge(
                f"The time span of the data, {span} steps of {len(self.labels)} series,"
                f" makes {cells} cells, more than {most}"
            )
        rows = np.full((len(self.labels), span), -1, np.int32)
        if low <= self.steps.min() and self.steps.max() <= high:
            chosen = np.arange(len(self), dtype=np.int32)
            rows[self.series, self.steps - low] = chosen
        else:
            inside = (self.steps >= low) & (self.steps <= high)
            chosen = np.flatnonzero(inside).astype(np.int32)
            rows[self.series[chosen], self.steps[chosen] - low] = chosen
        return Grid(rows, low)


@dataclass(slots=True)
class PanelReader:
    """Reads rows, some at a time, into a panel.

    Decoding is by the spec, never by what the rows look like.
    """

    spec: Spec
    decoder: Decoder = field(init=False)
    _classes: Decoder = field(init=False)
    _dates: DateFormat = field(init=False)
    _rows: int = 0
    _times: dict[Any, int] = field(default_factory=dict)
    _instants: list[np.datetime64] = field(default_factory=list)
    _series: dict[str, int] = field(default_factory=dict)
    _labels: list[Any] = field(default_factory=list)
    _parts: list[tuple[Ints, Ints, Floats, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns = self.spec.columns
        others = [columns[name] for name in columns if name != self.spec.target]
        self.decoder = Decoder(others)
        self._classes = Decoder((columns[self.spec.target],))
        self._dates = DateFormat(self.spec.datetime_format)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns read as they were sent: timestamps, series ids, classes."""
        spec = self.spec
        series = spec.series_id_column
        target = () if self.number else (spec.target,)
        return (spec.datetime_column, *(() if series is None else (series,)), *target)

    @property
    def number(self) -> str | None:
        """The target, if it is a number: numbers or what was sent will do."""
        return self.spec.target if self.spec.target_type == "Regression" else None

    def check_columns(self, names: Mapping[str, Any]) -> None:
        """Raise MissingColumns for what is not among the names of columns."""
        wanted = [*self.texts, self.spec.target, *self.spec.columns]
        missing = [name for name in dict.fromkeys(wanted) if name not in names]
        if missing:
            raise MissingColumns(missing)

    def add(self, cells: Mapping[str, Cells], columns: Columns) -> None:
        """Take up rows.

        cells: `texts` and, if there is one, `number`, by name.
        columns: the same rows, decoded by `decoder`.

        Raises UnmatchedDate, MissingCells, NotNumeric, NotAClass, WithoutLogarithm and
        DataError.
        """
        spec = self.spec
        times = self._read_times(cells[spec.datetime_column])
        if spec.series_id_column is None:
            series = np.zeros(len(times), np.int64)
        else:
            series = self._read_series(cells[spec.series_id_column])
        if self.number is None:
            target = self._read_classes(cells[spec.target])
        else:
            target = self._read_target(cells[self.number])
        self._parts.append((times, series, target, columns.matrix))
        self._rows += len(times)

    def finish(self) -> Panel:
        """The panel of all rows.

        Raises NoValidOutputRows if there are none, IrregularTimestamp and
        DuplicateTimestamp.
        """
        if not self._rows:
            raise NoValidOutputRows
        spec = self.spec
        original, series, target = (
            np.concatenate([part[place] for part in self._parts]) for place in range(3)
        )
        instants = np.array(self._instants, "datetime64[us]")
        clock = Clock.of(spec.time_unit, spec.time_step, instants)
        columns = {
            feature.name: np.concatenate([part[3][:, position] for part in self._parts])
            for position, feature in enumerate(self.decoder.features)
        }
        columns[spec.target] = target
        originals, times = list(self._times), instants[original]
        if spec.is_row_based:
            steps = _places(series, times)
        else:
            on_grid = clock.is_on_grid(instants)
            if not on_grid.all():
                # Timestamps stand in the order of their first rows.
                wrong = int(on_grid.argmin())
                row = int((original == wrong).argmax())
                raise IrregularTimestamp(spec, row, originals[wrong])
            steps = clock.steps(instants)[original]
        panel = Panel(
            spec,
            clock,
            times,
            steps,
            series,
            self._labels or [None],
            columns,
            originals,
            original,
        )
        twice = _first_repeated(panel)
        if twice is not None:
            label = panel.labels[series[twice]]
            raise DuplicateTimestamp(originals[original[twice]], twice, label)
        return panel

    def _read_times(self, cells: Cells) -> Ints:
        """Positions among the timestamps that were met so far."""
        values, codes = _distinct(cells)
        missing = [is_missing(value) for value in values]
        if any(missing):
            row = int(np.array(missing)[codes].argmax())
            raise MissingCells(self.spec.datetime_column, self._rows + row)
        texts = [
            self._spelled(value, codes, place) for place, value in enumerate(values)
        ]
        instants = self._dates.parse(texts)
        unmatched = np.isnat(instants)
        if unmatched.any():
            # Values stand in the order of their first rows.
            bad = texts[int(unmatched.argmax())]
            today = datetime.now(UTC).replace(tzinfo=None)
            shown = self._dates.format(today)
            raise UnmatchedDate(self.spec, bad, shown)
        places = np.empty(len(values), np.int64)
        for place, (value, instant) in enumerate(zip(values, instants, strict=True)):
            known = self._times.setdefault(value, len(self._times))
            if known == len(self._instants):
                self._instants.append(instant)
            places[place] = known
        return places[codes]

    def _spelled(self, value: Any, codes: Ints, place: int) -> str:
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
        values, codes = _distinct(cells)
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
            known = self._series.setdefault(text, len(self._series))
            if known == len(self._labels):
                self._labels.append(value)
            places[place] = known
        return places[codes]

    def _read_classes(self, cells: Cells) -> Floats:
        """Positions of the classes among those of the spec."""
        spec = self.spec
        values, codes = _distinct(cells)
        found = np.empty(len(values))
        for place, value in enumerate(values):
            # An array or object is no cell, and none that the decoder would number.
            cell = None if read_text(value) is None else value
            read = self._classes.from_records([{spec.target: cell}])
            if cell is not value or read.unknown_categories:
                row = self._rows + int((codes == place).argmax())
                raise NotAClass(spec.target, value, row, spec.classes)
            found[place] = read.matrix[0, 0]
        return found[codes]

    def _read_target(self, cells: Cells) -> Floats:
        target = _numbers(cells)
        if target is None:
            values, codes = _distinct(cells)
            numbers = [_target_number(value) for value in values]
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


def is_missing(value: Any) -> bool:
    """Whether a timestamp or a series id is not there."""
    return value is None or value != value or value == ""


def _distinct(cells: Cells) -> tuple[list[Any], Ints]:
    """The different values in the order of their first rows, and each row's."""
    if isinstance(cells, pa.Array):
        if not pa.types.is_dictionary(cells.type):
            # What is missing has a place too: None.
            cells = cells.dictionary_encode(null_encoding="encode")
        codes = cells.indices.to_numpy(zero_copy_only=False)
        return cells.dictionary.to_pylist(), codes.astype(np.int64)
    if {str}.issuperset(map(type, cells)):
        known: dict[str, int] = dict(zip(dict.fromkeys(cells), count(), strict=False))
        codes = np.fromiter(map(known.__getitem__, cells), np.int64, len(cells))
        return list(known), codes
    places: dict[Any, int] = {}
    codes = np.empty(len(cells), np.int64)
    values: list[Any] = []
    for row, value in enumerate(cells):
        # 1, 1.0 and True are one key, and spelled apart; lists are none at all.
        key = (
            (type(value), value) if isinstance(value, str | int | float) else id(value)
        )
        place = places.setdefault(key, len(places))
        if place == len(values):
            values.append(value)
        codes[row] = place
    return values, codes


def _numbers(cells: Cells) -> Floats | None:
    """Cells that are all numbers or missing; None if they have to be looked at."""
    if isinstance(cells, pa.Array):
        if pa.types.is_floating(cells.type) or pa.types.is_integer(cells.type):
            floats = cells.cast(pa.float64(), safe=False)
            return np.array(floats.to_numpy(zero_copy_only=False), np.float64)
        if not pa.types.is_string(cells.type):
            return None
        trimmed = pc.ascii_trim(cells, characters=_SPACE)
        missing = pc.is_in(trimmed, value_set=pa.array(MISSING_TARGETS))
        try:
            numbers = pc.if_else(missing, None, trimmed).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
    if {int, float, type(None)}.issuperset(map(type, cells)):
        try:
            return np.array(cells, np.float64)
        except OverflowError:
            return None
    return None


def _target_number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip(_SPACE)
        if text in MISSING_NUMBERS:
            return np.nan if text in MISSING_TARGETS else None
    return read_number(value)


def _places(series: Ints, times: Times) -> Ints:
    """The place of each row among those of its series, by time."""
    order = np.lexsort((times, series))
    begins = np.diff(series[order], prepend=-1) != 0
    counted = np.arange(len(series))
    starts = np.maximum.accumulate(np.where(begins, counted, 0))
    places = np.empty(len(series), np.int64)
    places[order] = counted - starts
    return places


def _first_repeated(panel: Panel) -> int | None:
    """The first row that has the series and the step of another before it."""
    if panel.spec.is_row_based:
        moments = panel.times.astype(np.int64)
    else:
        low, high = int(panel.steps.min()), int(panel.steps.max())
        cells = (high - low + 1) * len(panel.labels)
        if cells <= max(_SMALL_GRID, 4 * len(panel)):
            # Where two rows fall into one cell, one of them is not found there.
            found = panel.grid(low, high).find(panel.series, panel.steps)
            if bool((found == np.arange(len(panel))).all()):
                return None
        moments = panel.steps
    order = np.lexsort((moments, panel.series))
    same = (np.diff(panel.series[order]) == 0) & (np.diff(moments[order]) == 0)
    return int(order[1:][same].min()) if same.any() else None
