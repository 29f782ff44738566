"""Rows to a panel: whatever their order and spelling, and what is wrong with which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.features import Columns, DataError
from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.panel_reader import PanelReader
from backends.timeseries.refusals import (
    DuplicateTimestamp,
    ForecastRefused,
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
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import panel_of_table
from tests.backends.timeseries.by_definition import Rows
from tests.backends.timeseries.random_specs import Case, cases, panel_of
from tests.backends.trees.effort import effort

NAN = math.nan


def spec_of(**changes: Any) -> Spec:
    return load_spec(
        {
            "version": 1,
            "target": "sales",
            "targetType": "Regression",
            "datetimeColumn": "Time",
            "datetimeFormat": "%m/%d/%y",
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -3, "end": 0},
            "forecastWindow": {"start": 1, "end": 3},
            "features": [
                {"name": "lag", "op": "lag"},
                {"name": "temp", "op": "lag", "column": "temp"},
            ],
        }
        | changes
    )


def row(day: int, sales: Any = 1.0, shop: Any = "a", temp: Any = 0.5) -> Any:
    return {"Time": f"10/{day:02}/08", "sales": sales, "shop": shop, "temp": temp}


def refused(
    kind: type[Exception], records: Sequence[Any], spec: Spec | None = None
) -> str:
    """The same text, however many rows come at once."""
    spec = spec or spec_of()
    texts = set()
    for parts in ([records], [records[:3], records[3:]], [[each] for each in records]):
        reader = PanelReader(PanelDecoder(spec))
        with pytest.raises(kind) as caught:
            for part in parts:
                add(reader, part)
            reader.finish()
        texts.add(str(caught.value))
    assert len(texts) == 1, texts
    return texts.pop()


def add(reader: PanelReader, records: Sequence[Any]) -> None:
    names = (*reader.decoder.texts, reader.spec.target)
    cells = {name: [record.get(name) for record in records] for name in names}
    reader.add(cells, reader.decoder.columns.from_records(records))


def as_records(panel: Panel) -> list[tuple[Any, ...]]:
    """What each row is, in an order that has nothing to do with the request's."""
    names = sorted(panel.columns)
    found = [
        (
            str(panel.labels[panel.series[row]]),
            str(panel.times[row]),
            panel.originals[panel.original[row]],
            *(repr(float(panel.columns[name][row])) for name in names),
        )
        for row in range(len(panel))
    ]
    return sorted(found)


# ---- What is read


@effort(60)
@given(cases(), st.randoms())
def test_order_of_rows_changes_nothing(case: Case, random: Any) -> None:
    panel = case.panel
    records = list(case.records)
    random.shuffle(records)
    other = panel_of(records, case.spec)
    assert as_records(other) == as_records(panel)
    rows = Rows(records, case.spec)
    # Labels are in the order of their first rows.
    assert other.labels == list(dict.fromkeys(rows.series))
    order = [case.records.index(each) for each in records]
    apart = np.diff(panel.steps[order] - other.steps)
    if case.spec.is_row_based or case.spec.time_unit not in ("MONTH", "QUARTER"):
        assert not apart.any()


@effort(60)
@given(cases(), st.integers(1, 5))
def test_rows_may_come_some_at_a_time(case: Case, at_once: int) -> None:
    reader = PanelReader(PanelDecoder(case.spec))
    for start in range(0, len(case.records), at_once):
        part = case.records[start : start + at_once]
        names = (*reader.decoder.texts, reader.spec.target)
        cells = {name: [each.get(name) for each in part] for name in names}
        reader.add(
            cells, reader.decoder.columns.from_records(part, refuse_invalid=False)
        )
    panel, other = case.panel, reader.finish()
    for name in ("times", "steps", "series"):
        np.testing.assert_array_equal(getattr(other, name), getattr(panel, name))
    assert other.labels == panel.labels
    assert as_records(other) == as_records(panel)


@effort(60)
@given(cases())
def test_steps_are_as_defined(case: Case) -> None:
    panel, rows = case.panel, Rows(case.records, case.spec)
    for place, (time, key) in enumerate(zip(rows.times, rows.keys, strict=True)):
        assert panel.times[place] == np.datetime64(time)
        if case.spec.is_row_based:
            assert panel.steps[place] == key
        else:
            passed = int(panel.steps[place] - panel.steps[0])
            assert rows.shifted(rows.keys[0], passed) == key
        # What no feature uses is not decoded.
        assert panel.columns.keys() == case.spec.used_columns
        for name in case.spec.used_columns:
            expected = rows.cell(rows.series[place], key, name)
            np.testing.assert_array_equal(panel.columns[name][place], expected)
    grid = panel.grid(int(panel.steps.min()) - 2, int(panel.steps.max()) + 3)
    found = grid.find(panel.series, panel.steps)
    np.testing.assert_array_equal(found, np.arange(len(panel)))
    assert (grid.rows >= 0).sum() == len(panel)
    firsts = [
        panel.steps[panel.series == each].min() for each in range(len(panel.labels))
    ]
    np.testing.assert_array_equal(panel.first_steps, firsts)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("1.5", 1.5),
        (" 2 ", 2.0),
        ("1e3", 1000.0),
        ("-0.25", -0.25),
        (7, 7.0),
        *((each, NAN) for each in ("", " ", None, NAN, "null", "NULL", "nan", "NaN")),
    ],
)
def test_targets_are_numbers_or_missing(sent: Any, expected: float) -> None:
    for others in ([1.0, 2.0], ["3", None], [4, "5.0"]):
        records = [row(1, others[0]), row(2, sent), row(3, others[1])]
        panel = panel_of(records, spec_of())
        np.testing.assert_array_equal(panel.target[1], expected)


@pytest.mark.parametrize("text", ["", "null", "nan", " 2 ", "1e3", "0.1", "12345.678"])
def test_targets_of_arrow_are_read_alike(text: str) -> None:
    records = [row(1, "1"), row(2, text)]
    table = pa.Table.from_pylist(records)
    panel = panel_of_table(table, spec_of())
    np.testing.assert_array_equal(panel.target, panel_of(records, spec_of()).target)


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["007", "7", 7, "07"], ["007", "7", "07"]),
        ([1, "1", 2, 1], [1, 2]),
        (["1", 1, "x"], ["1", "x"]),
        ([1.5, "1.5"], [1.5]),
        ([True, "True", "true"], [True, "true"]),
        ([0, False], [0, False]),
        (["b", "a", "b"], ["b", "a"]),
        ([" a", "a"], [" a", "a"]),
    ],
)
def test_series_ids_are_texts_and_kept_as_they_came(
    ids: list[Any], labels: list[Any]
) -> None:
    records = [row(day, shop=each) for day, each in enumerate(ids, 1)]
    panel = panel_of(records, spec_of())
    assert list(map(repr, panel.labels)) == list(map(repr, labels))
    texts = [str(each) for each in ids]
    known = [str(each) for each in labels]
    assert panel.series.tolist() == [known.index(each) for each in texts]


def test_dates_may_be_numbers_in_json() -> None:
    spec = spec_of(datetimeFormat="%Y%m%d")
    dates: list[Any] = [20081001, "20081002", 20081003]
    records = [row(1) | {"Time": each} for each in dates]
    panel = panel_of(records, spec)
    assert panel.steps.tolist() == [0, 1, 2]
    assert [panel.originals[each] for each in panel.original] == dates


def test_years_of_two_digits_are_those_of_strptime() -> None:
    spec = spec_of(timeUnit="YEAR", datetimeFormat="%y")
    records = [row(1) | {"Time": each} for each in ("68", "69", "99", "00")]
    panel = panel_of(records, spec)
    assert panel.times.astype("datetime64[Y]").astype(str).tolist() == [
        *("2068", "1969", "1999", "2000")
    ]


def test_one_series_needs_no_id() -> None:
    panel = panel_of([row(2), row(1)], spec_of(seriesIdColumn=None))
    assert list(panel.labels) == [None]
    assert panel.steps.tolist() == [0, -1]


CLASSES = {"targetType": "Binary", "classes": ["no", "yes"]}


def test_classes_are_positions_among_those_of_the_spec() -> None:
    sent = ["yes", "no", None, "", NAN, "yes"]
    panel = panel_of(
        [row(day, each) for day, each in enumerate(sent, 1)], spec_of(**CLASSES)
    )
    np.testing.assert_array_equal(panel.target, [1, 0, NAN, NAN, NAN, 1])
    numbers = spec_of(targetType="Multiclass", classes=[3, 1, 2])
    panel = panel_of([row(1, "1"), row(2, 3), row(3, "2.0"), row(4, 1.0)], numbers)
    np.testing.assert_array_equal(panel.target, [1, 0, 2, 1])


# ---- What is refused


def test_no_rows_are_not_valid() -> None:
    reader = PanelReader(PanelDecoder(spec_of()))
    with pytest.raises(NoValidOutputRows):
        reader.finish()


def test_missing_columns_are_named_in_one_order() -> None:
    decoder = PanelDecoder(spec_of())
    with pytest.raises(MissingColumns) as caught:
        decoder.check_columns({"shop": None})
    assert str(caught.value) == "Missing column(s): Time, sales, temp"
    decoder.check_columns(dict.fromkeys(["temp", "sales", "Time", "shop", "more"]))


@pytest.mark.parametrize("value", ["", None, NAN])
@pytest.mark.parametrize("column", ["Time", "shop"])
def test_missing_dates_and_ids_are_named_with_their_row(
    column: str, value: Any
) -> None:
    records = [row(day) for day in range(1, 8)]
    records[5][column] = value
    records[6][column] = value
    text = refused(MissingCells, records)
    assert text == (f'The "{column}" feature contains missing values (first at row 5).')


@pytest.mark.parametrize("value", ["OCT-27", "10/32/08", "10/7/2008", " 10/07/08", 7])
def test_first_date_of_another_format_is_named(value: Any) -> None:
    records = [row(day) for day in range(1, 8)]
    records[4]["Time"] = value
    records[5]["Time"] = "another"
    text = refused(UnmatchedDate, records)
    assert text.startswith(
        f"The \"Time\" feature contains the value '{value}', which does not match the"
        " original format %m/%d/%y (e.g., '"
    )


@pytest.mark.parametrize("value", ["1899-12-31", "2262-04-12", "0001-01-01"])
def test_dates_out_of_range_do_not_match(value: str) -> None:
    records = [row(1) | {"Time": "1900-01-01"}, row(2) | {"Time": value}]
    assert value in refused(UnmatchedDate, records, spec_of(datetimeFormat="%Y-%m-%d"))


def test_second_row_of_a_step_is_named() -> None:
    records = [row(5), row(1), row(5, shop="b"), row(3), row(1, shop="b"), row(5)]
    text = refused(DuplicateTimestamp, [*records, row(1)])
    assert text == 'Duplicate timestamp 10/05/08 (row 5) in series "a".'
    alone = spec_of(seriesIdColumn=None)
    text = refused(DuplicateTimestamp, [row(1), row(2), row(3), row(2)], alone)
    assert text == "Duplicate timestamp 10/02/08 (row 3)."


def test_two_days_of_a_month_are_one_step() -> None:
    spec = spec_of(timeUnit="MONTH")
    text = refused(DuplicateTimestamp, [row(5), row(9)], spec)
    assert text == 'Duplicate timestamp 10/09/08 (row 1) in series "a".'


def test_duplicates_are_found_far_apart() -> None:
    spec = spec_of(timeUnit="SECOND", datetimeFormat="%Y-%m-%d")
    days = ["1900-01-01", "2262-01-01", "2000-01-01", "2262-01-01", "1900-01-01"]
    text = refused(DuplicateTimestamp, [row(1) | {"Time": each} for each in days], spec)
    assert text == 'Duplicate timestamp 2262-01-01 (row 3) in series "a".'


def test_row_based_duplicates_are_named_too() -> None:
    spec = spec_of(windowsBasisUnit="ROW")
    text = refused(DuplicateTimestamp, [row(5), row(1), row(7), row(1)], spec)
    assert text == 'Duplicate timestamp 10/01/08 (row 3) in series "a".'


@effort(60)
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from("ab")), min_size=1, max_size=14
    )
)
def test_duplicates_are_those_by_hand(keys: list[tuple[int, str]]) -> None:
    records = [row(day, shop=shop) for day, shop in keys]
    twice = [place for place, key in enumerate(keys) if key in keys[:place]]
    if twice:
        assert f"(row {twice[0]})" in refused(DuplicateTimestamp, records)
    else:
        assert len(panel_of(records, spec_of())) == len(keys)


def test_first_row_between_two_steps_is_named() -> None:
    spec = spec_of(timeStep=2)
    records = [row(5), row(9), row(1), row(4), row(2)]
    text = refused(IrregularTimestamp, records, spec)
    assert text == (
        'The "Time" feature is not regularly spaced: row 3 (10/04/08) is not a multiple'
        " of 2 day(s) from the first row."
    )


def test_irregular_rows_are_steps_of_their_own() -> None:
    spec = spec_of(windowsBasisUnit="ROW", timeStep=2)
    records = [row(9), row(5), row(4, shop="b"), row(1), row(8, shop="b")]
    assert panel_of(records, spec).steps.tolist() == [2, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "value",
    ["n/a", "1,234", "NA", "?", "None", "x", "1 2", "NAN", "Nan", "-nan", "nan(x)"],
)
def test_target_that_is_no_number_is_refused(value: str) -> None:
    records = [row(day, float(day)) for day in range(1, 7)]
    records[4]["sales"] = value
    assert refused(NotNumeric, records) == (
        f"The \"sales\" feature contains the value '{value}' (row 4), which is not"
        " numeric."
    )
    table = pa.Table.from_pylist(
        [each | {"sales": str(each["sales"])} for each in records]
    )
    with pytest.raises(NotNumeric, match="row 4"):
        panel_of_table(table, spec_of())


def test_truth_is_no_number() -> None:
    records = [row(day, float(day)) for day in range(1, 7)]
    records[4]["sales"] = True
    assert "the value True (row 4)" in refused(NotNumeric, records)


@pytest.mark.parametrize("value", ["inf", "-Infinity", math.inf, 10**400, "1e999"])
def test_target_that_is_not_finite_is_refused(value: Any) -> None:
    records = [row(day) for day in range(1, 7)]
    records[3]["sales"] = value
    assert "inf (row 3)" in refused(NotNumeric, records)


@pytest.mark.parametrize("value", [[], {"a": 1}, [1]])
@pytest.mark.parametrize("kind", [{}, CLASSES])
def test_target_that_is_no_cell_is_refused(kind: dict[str, Any], value: Any) -> None:
    records = [row(day, "no" if kind else 1.0) for day in range(1, 7)]
    records[4]["sales"] = value
    text = refused(NotAClass if kind else NotNumeric, records, spec_of(**kind))
    assert text.startswith(
        'The "sales" feature contains the value of an array or object (row 4), which is'
    )


@pytest.mark.parametrize("value", [[], {"a": 1}])
@pytest.mark.parametrize("column", ["Time", "shop"])
def test_dates_and_ids_that_are_no_cells_are_refused(column: str, value: Any) -> None:
    records = [row(day) for day in range(1, 7)]
    records[4][column] = value
    text = refused(DataError, records)
    assert f"column '{column}', row 4" in text


def test_class_that_is_none_is_refused() -> None:
    records = [row(day, "no") for day in range(1, 7)]
    records[4]["sales"] = "maybe"
    assert refused(NotAClass, records, spec_of(**CLASSES)) == (
        "The \"sales\" feature contains the value 'maybe' (row 4), which is none of the"
        " classes 'no', 'yes'."
    )


@pytest.mark.parametrize("value", [-1, -1.5, "-1"])
def test_target_without_a_logarithm_is_refused(value: Any) -> None:
    spec = spec_of(targetTransform=[{"op": "log1p"}])
    records = [row(day) for day in range(1, 7)]
    records[2]["sales"] = -0.99
    assert panel_of(records, spec).target[2] == -0.99
    records[4]["sales"] = value
    assert "(row 4), whose logarithm" in refused(WithoutLogarithm, records, spec)


def test_too_many_cells_are_refused() -> None:
    panel = panel_of([row(1), row(9), row(3, shop="b")], spec_of())
    assert panel.grid(0, 8, 18).rows.shape == (2, 9)
    with pytest.raises(ForecastTooLarge, match="18 cells, more than 17"):
        panel.grid(0, 8, 17)


def test_rows_outside_a_grid_are_not_in_it() -> None:
    panel = panel_of([row(day) for day in (5, 1, 9)], spec_of())
    grid = panel.grid(-3, 2)
    assert grid.rows.tolist() == [[-1, -1, -1, 0, -1, -1]]
    times = panel.times_at(grid, np.zeros(2, int), np.array([0, 1]))
    assert times.astype("datetime64[D]").astype(str).tolist() == [
        *("2008-10-05", "2008-10-06")
    ]


ODD: list[Any] = [None, "", "a", "007", 7, 7.0, True, NAN, math.inf, -1, [], {}, "n/a"]
DATES: list[Any] = [
    f"{datetime(2008, 10, 1) + timedelta(days=each):%m/%d/%y}" for each in range(6)
]


@effort(150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "Time": st.sampled_from([*DATES, *DATES, *ODD]),
                "sales": st.sampled_from([1.0, 2, "3", *ODD]),
                "shop": st.sampled_from(["a", "b", *ODD]),
            }
        ),
        max_size=6,
    ),
    st.sampled_from([{}, CLASSES, {"windowsBasisUnit": "ROW"}]),
)
def test_anything_is_read_or_refused(records: list[Any], kind: dict[str, Any]) -> None:
    spec = spec_of(**kind)
    reader = PanelReader(PanelDecoder(spec))
    columns = Columns(np.zeros((len(records), 1)))
    cells = {
        name: [each[name] for each in records] for name in ("Time", "sales", "shop")
    }
    try:
        reader.add(cells, columns)
        panel = reader.finish()
    except (ForecastRefused, DataError):
        return
    assert len(panel) == len(records)
    assert np.isfinite(panel.target[~np.isnan(panel.target)]).all()


def test_whole_targets_of_any_size_are_rounded_to_numbers() -> None:
    sizes = [2**53 + 1, -(2**62) - 1, 3, None]
    records = [row(day, size) for day, size in enumerate(sizes, 1)]
    table = pa.Table.from_pylist(records)
    assert pa.types.is_integer(table.schema.field("sales").type)
    expected = [float(2**53), -float(2**62), 3.0, NAN]
    for panel in (panel_of_table(table, spec_of()), panel_of(records, spec_of())):
        np.testing.assert_array_equal(panel.target, expected)
