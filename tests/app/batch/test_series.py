"""Series of a large file, in groups: they are forecast as all rows at once would be."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.batch.cutting import Head, read_head
from app.batch.series import SeriesPart, SeriesWanted, Shelf, cut_series, read_numbers
from app.config import Config
from app.csv_records import bounds, spans
from app.errors import BodyUnreadable
from app.store.files import Folder
from app.store.settings import DeploymentSettings
from app.timeseries.rows import Rows, RowsWanted
from app.timeseries.window import Asked, Limits, Plan, plan, plan_series
from backends.timeseries.forecasting import forecast
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.refusals import ForecastRefused, IrregularTimestamp
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.random_specs import Case, cases

MOST = Limits(10**9, 10**9)
# Much is refused without.
MOSTLY = st.sampled_from([True, True, True, False])


class File:
    """A CSV file of rows of series."""

    def __init__(self, spec: Spec, text: bytes, allow_partial: bool = False) -> None:
        self.text = text
        self.allow_partial = allow_partial
        self.reader = RowsWanted(
            PanelDecoder(spec), DeploymentSettings(), "all", Config()
        )

    def at_once(self, asked: Asked) -> list[tuple[Rows, Plan]]:
        """What is planned of all rows."""
        rows = self.reader.read_file(self.text)
        found = plan(rows.panel, asked, MOST, allow_partial=self.allow_partial)
        return [(rows, found)]

    def in_groups(self, asked: Asked, **sizes: Any) -> list[tuple[Rows, Plan]]:
        """What is planned of each group."""
        with tempfile.TemporaryDirectory() as folder:
            files = Folder(Path(folder) / "files")
            shelf = Shelf(files, "series", Path(folder) / "scratch")
            found = []
            for part, head in self.parts(asked, shelf, **sizes):
                records = files.read(part.records)
                numbers = read_numbers(part, files)
                assert len(numbers) == part.rows
                rows = self.reader.read_file(
                    head.text + records, part.whole.clock, numbers
                )
                planned = plan_series(
                    rows.panel,
                    part.whole,
                    asked,
                    MOST,
                    allow_partial=self.allow_partial,
                )
                found.append((rows, planned))
            assert [*shelf.scratch.iterdir()] == []
        return found

    def parts(
        self, asked: Asked, shelf: Shelf, **sizes: Any
    ) -> Iterator[tuple[SeriesPart, Head]]:
        file = io.BytesIO(self.text)
        head = read_head(file, 1000)
        wanted = SeriesWanted(
            self.reader.decoder, self.reader.wanted(), asked, self.allow_partial
        )
        for part in cut_series(file, head, wanted, shelf, **sizes):
            yield part, head


def summed(matrix: Any) -> Any:
    """A model: what it says of a row depends on that row alone."""
    weights = np.arange(1, matrix.shape[1] + 1)
    return (np.nan_to_num(matrix, posinf=7, neginf=-7) * weights).sum(axis=1)[:, None]


def told(groups: list[tuple[Rows, Plan]]) -> list[list[Any]]:
    """All that is told of each forecast, in the order of the answer."""
    found: list[list[Any]] = []
    for rows, planned in groups:
        if not len(planned.pairs):
            continue
        panel, pairs = planned.panel, planned.pairs
        made = forecast(panel, planned.grid, pairs, summed)
        passed = rows.passed(pairs.rows)
        columns = [
            panel.numbers[pairs.rows].tolist(),
            [panel.labels[each] for each in pairs.series.tolist()],
            planned.forecast_points.astype(np.int64).tolist(),
            panel.times[pairs.rows].astype(np.int64).tolist(),
            [panel.originals[each] for each in panel.original[pairs.rows].tolist()],
            pairs.distances.tolist(),
            [row.tobytes() for row in made.derivation.matrix],
            [row.tobytes() for row in made.values],
            *([*cells] for cells in passed.values()),
        ]
        found += [[*row] for row in zip(*columns, strict=True)]
    return found


def tried(work: Any) -> Any:
    try:
        return work()
    except ForecastRefused as error:
        return type(error)


def text_of(case: Case, newline: str) -> bytes:
    spec = case.spec
    names = [spec.datetime_column, *spec.columns, "note, as it is"]
    names = [*dict.fromkeys([*names, spec.series_id_column or "shop"])]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator=newline)
    writer.writeheader()
    for number, record in enumerate(case.records):
        note = 'two\nlines "quoted"' if number % 5 == 0 else str(number)
        cells = {name: record.get(name) for name in names}
        writer.writerow(cells | {"note, as it is": note})
    return text.getvalue().encode()


@st.composite
def asks(draw: st.DrawFn, case: Case) -> Asked:
    panel = case.panel
    relax = draw(MOSTLY)
    times = [each.astype(datetime) for each in np.sort(panel.times)]
    kind = draw(st.sampled_from(["newest", "point", "range"]))
    if kind == "newest":
        return Asked(relax_known_in_advance=relax)
    one, other = sorted(draw(st.tuples(*[st.sampled_from(times)] * 2)))
    if kind == "point":
        return Asked(one, relax_known_in_advance=relax)
    return Asked(None, one, other, relax)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), case=cases(), allow_partial=MOSTLY)
def test_groups_are_forecast_as_all_rows_at_once(
    data: st.DataObject, case: Case, allow_partial: bool
) -> None:
    newline = data.draw(st.sampled_from(["\n", "\r\n"]))
    file = File(case.spec, text_of(case, newline), allow_partial)
    asked = tried(lambda: data.draw(asks(case)))
    if isinstance(asked, type):
        return
    expected = tried(lambda: told(file.at_once(asked)))
    sizes = {
        "group_bytes": data.draw(st.sampled_from([1, 200, 10**6])),
        "part_bytes": data.draw(st.sampled_from([50, 700, 10**6])),
    }
    found = tried(lambda: told(file.in_groups(asked, **sizes)))
    event("refused" if isinstance(expected, type) else "forecast")
    # Which of several things is told of may be another; that it is refused is not.
    assert isinstance(found, type) == isinstance(expected, type)
    if not isinstance(expected, type):
        assert found == expected


# ---- What must be known of all rows


def case_of(records: list[dict[str, Any]], **changes: Any) -> Case:
    return Case(
        load_spec(
            {
                "version": 1,
                "target": "y",
                "targetType": "Regression",
                "datetimeColumn": "when",
                "datetimeFormat": "%Y-%m-%d",
                "seriesIdColumn": "shop",
                "featureDerivationWindow": {"start": -3, "end": 0},
                "forecastWindow": {"start": 1, "end": 3},
                "features": [{"name": "lag", "op": "lag"}],
            }
            | changes
        ),
        records,
    )


def rows(shop: str, targets: list[float | None], days: list[str]) -> list[Any]:
    return [
        {"when": day, "shop": shop, "y": target}
        for day, target in zip(days, targets, strict=True)
    ]


def days(first: int, last: int) -> list[str]:
    return [f"2024-03-{day:02d}" for day in range(first, last + 1)]


def months(first: int, last: int, day: int) -> list[str]:
    return [f"2024-{month:02d}-{day:02d}" for month in range(first, last + 1)]


FIVE: list[float | None] = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "changes"),
    [
        pytest.param(
            rows("a", [*FIVE, None, None], days(1, 7)),
            rows("b", [*FIVE[:4], None, None, None], days(1, 7)),
            {},
            id="one series is current",
        ),
        pytest.param(
            rows("a", [*FIVE, None, None], months(1, 7, 1)),
            rows("b", [*FIVE, None, None], months(1, 7, 15)),
            {"timeUnit": "MONTH"},
            id="months at different days",
        ),
        pytest.param(
            rows("a", [*FIVE, None, None, None], days(1, 8)),
            rows("b", [*FIVE, None, None, None], [*days(1, 5), *days(7, 9)]),
            {
                "windowsBasisUnit": "ROW",
                "featureDerivationWindow": {"start": -3, "end": -1},
            },
            id="places of rows",
        ),
        pytest.param(
            rows("a", [*FIVE, None, None], days(1, 7)),
            rows("b", FIVE[:3], days(1, 3)),
            {},
            id="one series is not predicted",
        ),
        pytest.param(
            rows("a", [*FIVE, None], days(1, 6)),
            rows("b", [None, None], days(5, 6)),
            {},
            id="one series has no target",
        ),
    ],
)
def test_series_of_their_own_kinds_are_forecast_together(
    one: list[Any], other: list[Any], changes: Any, is_swapped: bool
) -> None:
    records = [*other, *one] if is_swapped else [*one, *other]
    case = case_of(records, **changes)
    for allow_partial in (False, True):
        file = File(case.spec, text_of(case, "\n"), allow_partial)
        expected = tried(lambda file=file: told(file.at_once(Asked())))
        found = tried(lambda file=file: told(file.in_groups(Asked(), group_bytes=1)))
        assert found == expected
    assert expected


def cut(file: File, shelf: Shelf, **sizes: Any) -> list[SeriesPart]:
    return [part for part, _ in file.parts(Asked(), shelf, **sizes)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Folder(tmp_path / "files"), "series", tmp_path / "scratch")


@pytest.fixture
def many() -> File:
    """Thirty series whose rows take turns."""
    shops = [rows(f"s{n}", [*FIVE, None], days(1, 6)) for n in range(30)]
    case = case_of([row for day in zip(*shops, strict=True) for row in day])
    return File(case.spec, text_of(case, "\n"))


def test_groups_are_no_larger_than_they_may(many: File, shelf: Shelf) -> None:
    parts = cut(many, shelf, group_bytes=1000, part_bytes=500)
    sizes = [shelf.files.size(part.records) for part in parts]
    assert len(parts) > 3
    # And the largest series.
    assert max(sizes) < 1000 + 300
    assert sum(sizes) == len(many.text) - many.text.index(b"\n") - 1
    assert [part.end - part.start for part in parts] == sizes
    assert [part.number for part in parts] == [*range(len(parts))]
    assert sum(part.rows for part in parts) == 180


def test_groups_are_the_same_for_whoever_goes_on(many: File, shelf: Shelf) -> None:
    parts = cut(many, shelf, group_bytes=1000)
    records = [shelf.files.read(part.records) for part in parts]
    shelf.files.remove("series")
    left = cut(many, shelf, group_bytes=1000, number=2)
    assert left == parts[2:]
    assert [shelf.files.read(part.records) for part in left] == records[2:]
    assert not shelf.files.exists(parts[1].records)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ((100, {"when": "2024-03-32"}), "2024-03-32"),
        ((100, {"y": "many"}), "'many' \\(row 100\\)"),
        ((100, {"shop": ""}), "first at row 100"),
        ((100, {"when": "2024-03-01"}), "Duplicate timestamp .* \\(row 100\\)"),
    ],
)
def test_rows_are_numbered_as_in_the_file(
    many: File, shelf: Shelf, changed: Any, said: str
) -> None:
    records = [*csv.DictReader(io.StringIO(many.text.decode(), newline=""))]
    number, cells = changed
    records[number] |= cells
    text = text_of(Case(many.reader.decoder.spec, records), "\n")
    file = File(many.reader.decoder.spec, text)
    with pytest.raises(ForecastRefused, match=said):
        cut(file, shelf, group_bytes=1000, part_bytes=500)
    assert [*shelf.scratch.iterdir()] == []


def test_row_between_two_steps_is_told_by_its_number(shelf: Shelf) -> None:
    shops = [rows(f"s{n}", [*FIVE, None], days(1, 6)) for n in range(4)]
    case = case_of([row for shop in shops for row in shop], timeStep=2)
    file = File(case.spec, text_of(case, "\n"))
    with pytest.raises(IrregularTimestamp, match="row 1 "):
        cut(file, shelf, group_bytes=1)


def test_whoever_is_to_end_reads_no_further(many: File, shelf: Shelf) -> None:
    class Ended(Exception):
        pass

    looks = iter(range(3))

    def check() -> None:
        if next(looks, None) is None:
            raise Ended

    with pytest.raises(Ended):
        cut(many, shelf, part_bytes=100, check=check)
    assert [*shelf.scratch.iterdir()] == []


@given(
    text=st.text(st.sampled_from('ab,"\n\r'), max_size=40),
    columns=st.integers(1, 3),
)
def test_bounds_are_the_spans(text: str, columns: int) -> None:
    data = text.encode()
    try:
        expected = [*spans(data, columns)]
    except BodyUnreadable:
        with pytest.raises(BodyUnreadable):
            bounds(data, columns)
        return
    starts, ends = bounds(data, columns)
    assert [*zip(starts, ends, strict=True)] == expected


@given(text=st.text(st.sampled_from("ab,\n"), max_size=40))
def test_bounds_of_plain_records_are_the_spans(text: str) -> None:
    data = text.encode()
    starts, ends = bounds(data, 2)
    assert [*zip(starts, ends, strict=True)] == [*spans(data, 2)]
