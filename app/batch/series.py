"""A file of time series, cut into groups of series that memory holds one by one."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from app.batch.cutting import PART_BYTES, Head, Part, cut_parts
from app.csv_records import bounds
from app.decode import Wanted, read_csv
from app.store.files import Files
from app.timeseries.window import Asked, Limits, Whole, plan_series, survey
from backends.timeseries.clock import Clock
from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.panel_reader import PanelReader
from backends.timeseries.refusals import HistoryTooShort, IrregularTimestamp

Ints = NDArray[np.int64]

# What is read of a group takes some four times as much memory.
GROUP_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where groups are for whoever scores them: a folder of files.

    scratch: a folder of this machine, for what is sorted.
    """

    files: Files
    folder: str
    scratch: Path


@dataclass(frozen=True, slots=True)
class SeriesPart(Part):
    """All rows of some series, in their order.

    start, end: bytes, as if the file were sorted by groups; first_row: likewise.
    files: the URL of what holds them. records: the path there; without the header.
    numbers: the path of the numbers of their rows in the file: npy, int64.
    whole: what is known of all rows of the file.
    """

    files: str
    records: str
    numbers: str
    whole: Whole


@dataclass(frozen=True, slots=True)
class SeriesWanted:
    """What is to be forecast: which rows, and how they are read."""

    decoder: PanelDecoder
    cells: Wanted
    asked: Asked
    allow_partial: bool


def cut_series(
    file: IO[bytes],
    head: Head,
    wanted: SeriesWanted,
    shelf: Shelf,
    *,
    number: int = 0,
    group_bytes: int = GROUP_BYTES,
    part_bytes: int = PART_BYTES,
    check: Callable[[], None] = lambda: None,
) -> Iterator[SeriesPart]:
    """Put the rows of each group of series together; groups from the `number`th on.

    Series are in the order of their first rows, as in an answer. Groups depend on the
    file and `group_bytes` alone. Memory grows with the largest series, and by some
    bytes for each series and each different timestamp.
    part_bytes: how much of the file is read at once.
    check: is called again and again; what it raises ends the work.

    Raises what `cut_parts`, `read_csv` and `PanelReader` raise, ForecastRefused where
    nothing can be forecast, and OSError.
    """
    shelf.scratch.mkdir(mode=0o700, exist_ok=True)
    with TemporaryDirectory(prefix="series-", dir=shelf.scratch) as scratch:
        parts = cut_parts(file, head, part_bytes=part_bytes)
        rows = _Rows.read(file, head, parts, wanted, Path(scratch), check)
        groups = _Groups.sort(file, rows, group_bytes, Path(scratch), check)
        whole = _surveyed(groups, wanted)
        start, first_row = head.end, 0
        for group in range(len(groups)):
            numbers = groups.numbers(group)
            size = groups.records(group).stat().st_size
            part = SeriesPart(
                group,
                start,
                start + size,
                first_row,
                len(numbers),
                shelf.files.url,
                f"{shelf.folder}/{group:06d}.csv",
                f"{shelf.folder}/{group:06d}.npy",
                whole,
            )
            start, first_row = part.end, first_row + part.rows
            if group >= number:
                check()
                _put(groups.records(group), numbers, part, shelf.files)
                yield part


def read_numbers(part: SeriesPart, files: Files) -> Ints:
    """The numbers of a part's rows in the whole file."""
    numbers: Ints = np.load(io.BytesIO(files.read(part.numbers)), allow_pickle=False)
    return numbers


def _put(records: Path, numbers: Ints, part: SeriesPart, files: Files) -> None:
    with records.open("rb") as source, files.writer(part.records) as target:
        shutil.copyfileobj(source, target, 2**20)
    with files.writer(part.numbers) as target:
        np.save(target, numbers, allow_pickle=False)
    records.unlink()


def _surveyed(groups: _Groups, wanted: SeriesWanted) -> Whole:
    """Raises ForecastRefused, also for a range of which no row can be forecast."""
    asked, partial = wanted.asked, wanted.allow_partial
    whole = survey(groups, asked, allow_partial=partial)
    if whole.point is None:
        # What is known in advance is seen when it is read.
        asked = replace(asked, relax_known_in_advance=True)
        unlimited = Limits(2**53, 2**53)
        if not any(
            len(plan_series(each, whole, asked, unlimited, allow_partial=partial).pairs)
            for each in groups
        ):
            raise HistoryTooShort(wanted.decoder.spec)
    return whole


@dataclass(frozen=True, slots=True)
class _Rows:
    """All rows of a file, of which is kept what tells them apart.

    parts: of the file. times, series: int32 (n,): positions among `originals` and
    `labels`. known: bool (n,): whether there is a target. They are on disk.
    sizes: int64 (labels,): bytes of each series.
    """

    head: Head
    decoder: PanelDecoder
    reader: PanelReader
    parts: list[Part]
    times: NDArray[np.int32]
    series: NDArray[np.int32]
    known: NDArray[np.bool_]
    sizes: Ints

    @classmethod
    def read(
        cls,
        file: IO[bytes],
        head: Head,
        cuts: Iterable[Part],
        wanted: SeriesWanted,
        folder: Path,
        check: Callable[[], None],
    ) -> _Rows:
        """Read all cells as they are read for forecasts: what is wrong is seen here."""
        reader = PanelReader(wanted.decoder)
        parts: list[Part] = []
        sizes = np.zeros(0, np.int64)
        paths = [folder / name for name in ("times", "series", "known")]
        for part in cuts:
            check()
            records = read_part(file, part)
            for chunk in read_csv(head.text + records, wanted.cells, part.first_row):
                reader.add(chunk.cells, chunk.columns)
            times, series, known = reader.take()
            kept = times.astype(np.int32), series.astype(np.int32), known
            for path, values in zip(paths, kept, strict=True):
                with path.open("ab") as target:
                    target.write(values.tobytes())
            starts, ends = bounds(records, len(head.names))
            sizes = np.pad(sizes, (0, len(reader.labels) - len(sizes)))
            np.add.at(sizes, series, ends - starts)
            parts.append(part)
        types: list[Any] = [np.int32, np.int32, np.bool_]
        times, series, known = (
            np.memmap(path, each, "r") for path, each in zip(paths, types, strict=True)
        )
        rows = cls(head, wanted.decoder, reader, parts, times, series, known, sizes)
        rows._refuse_irregular()
        return rows

    @property
    def clock(self) -> Clock:
        """Of all rows."""
        spec = self.decoder.spec
        return Clock.of(spec.time_unit, spec.time_step, self.reader.instants)

    def _refuse_irregular(self) -> None:
        spec = self.decoder.spec
        on_grid = self.clock.is_on_grid(self.reader.instants)
        if not spec.is_row_based and not on_grid.all():
            # Timestamps stand in the order of their first rows.
            wrong = int(on_grid.argmin())
            row = int((self.times == wrong).argmax())
            raise IrregularTimestamp(spec, row, self.reader.originals[wrong])


@dataclass(frozen=True, slots=True)
class _Groups(Iterable[Panel]):
    """The rows of a file, sorted by groups of series; of their panels see `survey`.

    first_series: int64 (groups + 1,): the first series of each group.
    """

    rows: _Rows
    folder: Path
    first_series: Ints
    clock: Clock

    @classmethod
    def sort(
        cls,
        file: IO[bytes],
        rows: _Rows,
        group_bytes: int,
        folder: Path,
        check: Callable[[], None],
    ) -> _Groups:
        """Write the records of each group one behind the other."""
        filled = (np.cumsum(rows.sizes) - 1) // group_bytes
        _, first, group_of = np.unique(filled, return_index=True, return_inverse=True)
        groups = cls(rows, folder, np.append(first, len(group_of)), rows.clock)
        for part in rows.parts:
            check()
            records = read_part(file, part)
            starts, ends = bounds(records, len(rows.head.names))
            last = part.first_row + part.rows
            group = group_of[rows.series[part.first_row : last]]
            for number in np.unique(group).tolist():
                mine = np.flatnonzero(group == number)
                with groups.records(number).open("ab") as target:
                    target.write(_joined(records, starts[mine], ends[mine]))
                with groups._numbers(number).open("ab") as target:
                    target.write((mine + part.first_row).tobytes())
        return groups

    def records(self, group: int) -> Path:
        """The file of a group's records."""
        return self.folder / f"{group}.csv"

    def numbers(self, group: int) -> Ints:
        """The numbers of a group's rows in the file."""
        return np.fromfile(self._numbers(group), np.int64)

    def _numbers(self, group: int) -> Path:
        return self.folder / f"{group}.numbers"

    def __len__(self) -> int:
        return len(self.first_series) - 1

    def __iter__(self) -> Iterator[Panel]:
        return map(self._panel, range(len(self)))

    def _panel(self, group: int) -> Panel:
        rows, numbers = self.rows, self.numbers(group)
        first, end = self.first_series[group : group + 2].tolist()
        target = np.where(rows.known[numbers], 0.0, np.nan)
        return Panel.of(
            rows.decoder,
            rows.reader.instants,
            rows.reader.originals,
            rows.times[numbers].astype(np.int64),
            rows.reader.labels[first:end],
            rows.series[numbers].astype(np.int64) - first,
            {rows.decoder.spec.target: target},
            {},
            clock=self.clock,
            numbers=numbers,
        )


def read_part(file: IO[bytes], part: Part) -> bytes:
    """The records of a part, each of them ended."""
    file.seek(part.start)
    records = file.read(part.end - part.start)
    return records if records.endswith((b"\n", b"\r")) else records + b"\n"


def _joined(records: bytes, starts: Ints, ends: Ints) -> bytes:
    """Some records one behind the other; those that follow each other at once."""
    gaps = np.flatnonzero(starts[1:] != ends[:-1])
    begins = starts[np.append(0, gaps + 1)].tolist()
    stops = ends[np.append(gaps, len(ends) - 1)].tolist()
    return b"".join(
        records[start:stop] for start, stop in zip(begins, stops, strict=True)
    )
