"""Bodies to panels: CSV and JSON, small and large, say the same."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import Config
from app.store.settings import DeploymentSettings
from app.timeseries.rows import Rows, RowsWanted
from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.refusals import (
    ForecastRefused,
    MissingCells,
    MissingColumns,
    NotAClass,
    NotNumeric,
    NoValidOutputRows,
)
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from tests.backends.trees.effort import effort


def spec_of(**changes: Any) -> Spec:
    return load_spec(
        {
            "version": 1,
            "target": "sales",
            "datetimeColumn": "Time",
            "datetimeFormat": "%Y-%m-%d %H:%M",
            "timeUnit": "HOUR",
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -3, "end": 0},
            "forecastWindow": {"start": 1, "end": 3},
            "knownInAdvance": ["promo"],
            "features": [
                {"name": "lag", "op": "lag"},
                {"name": "promo", "op": "known", "column": "promo"},
                {"name": "sky", "op": "lag", "column": "sky"}
                | {"categories": ["wet", "dry"]},
            ],
        }
        | changes
    )


CLASSES = {"targetType": "Binary", "classes": ["no", "yes"]}


def records_of(hours: int, shops: Sequence[Any] = ("007", "b")) -> list[dict[str, Any]]:
    """Rows in no order, some cells missing; numbers with all their digits."""
    random = np.random.default_rng(6)
    found = []
    for shop in shops:
        for hour in range(hours):
            time = np.datetime64("2024-01-31T22:00") + np.timedelta64(hour, "h")
            sales = float(random.normal() * 1e3)
            found.append(
                {
                    "Time": str(time).replace("T", " "),
                    "shop": shop,
                    "sales": None if random.random() < 0.1 else sales,
                    "promo": None if random.random() < 0.1 else random.random(),
                    "sky": [None, "wet", "dry", "new"][random.integers(4)],
                    "other": "x,\ny",
                }
            )
    random.shuffle(found)  # type: ignore[arg-type]
    return found


def as_csv(records: Sequence[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def as_json(records: Sequence[Any]) -> bytes:
    return json.dumps(records).encode()


KINDS = {"text/csv": as_csv, "application/json": as_json}
both = pytest.mark.parametrize("kind", KINDS)


def read(body: bytes, kind: str, spec: Spec, **more: Any) -> Rows:
    settings = DeploymentSettings().changed(more.pop("settings", {}))
    passed = more.pop("passthrough", ())
    return RowsWanted(PanelDecoder(spec), settings, passed, Config()).read(body, kind)


def assert_same(found: Panel, expected: Panel) -> None:
    for name in ("times", "steps", "series"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert list(found.labels) == list(expected.labels)
    assert found.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        values = np.where(np.isnan(column), 0, column).view(np.int64)
        same = np.where(np.isnan(found.columns[name]), 0, found.columns[name])
        np.testing.assert_array_equal(same.view(np.int64), values)
        np.testing.assert_array_equal(np.isnan(found.columns[name]), np.isnan(column))
    sent = [expected.originals[each] for each in expected.original]
    assert [found.originals[each] for each in found.original] == sent


@pytest.mark.parametrize("word", ["NAN", "-nan", "nan(x)", "NA"])
@pytest.mark.parametrize("hours", [10, 1000])
def test_words_for_no_number_are_refused_in_small_and_large_files(
    hours: int, word: str
) -> None:
    records = records_of(hours, ("007",))
    records[7]["sales"] = word
    with pytest.raises(NotNumeric, match=r"\(row 7\), which is not numeric"):
        read(as_csv(records), "text/csv", spec_of())


# Up to 8 kB CSV is read otherwise, and above 1 MB in several chunks.
@pytest.mark.parametrize("hours", [10, 100, 12_000])
@pytest.mark.parametrize("changes", [{}, CLASSES, {"seriesIdColumn": None}])
def test_csv_and_json_give_the_same_panel(hours: int, changes: dict[str, Any]) -> None:
    spec = spec_of(**changes)
    shops = ("007",) if spec.series_id_column is None else ("007", "b")
    records = records_of(hours, shops)
    if changes is CLASSES:
        for place, record in enumerate(records):
            record["sales"] = [None, "no", "yes"][place % 3]
    found = [read(make(records), kind, spec) for kind, make in KINDS.items()]
    assert_same(found[0].panel, found[1].panel)
    panel = found[0].panel
    assert len(panel) == len(records)
    if changes is not CLASSES:
        expected = [math.nan if r["sales"] is None else r["sales"] for r in records]
        np.testing.assert_array_equal(panel.target, expected)
    assert {panel.labels[each] for each in panel.series} == (
        {None} if spec.series_id_column is None else {"007", "b"}
    )


@effort(60)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False) | st.none(),
            st.sampled_from(["007", "7", "a b", 'say "a"', "x,y", "ł"]),
            st.sampled_from(["wet", "dry", None, "new", "NA"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_any_cells_mean_the_same_in_csv_and_json(
    cells: list[tuple[Any, ...]], is_long: bool
) -> None:
    records = [
        {
            "Time": f"2024-01-{place + 1:02} 00:00",
            "sales": sales,
            "shop": shop,
            "promo": sales,
            "sky": sky,
            "other": "x" * 9000 * is_long,
        }
        for place, (sales, shop, sky) in enumerate(cells)
    ]
    spec = spec_of()
    found = [read(make(records), kind, spec).panel for kind, make in KINDS.items()]
    assert_same(found[0], found[1])


@both
def test_ids_that_are_numbers_keep_their_kind(kind: str) -> None:
    records = records_of(5, (7, 8))
    panel = read(KINDS[kind](records), kind, spec_of()).panel
    expected = [7, 8] if kind == "application/json" else ["7", "8"]
    assert sorted(panel.labels) == expected


@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("token", ["NaN", "null", '""', '"NaN"'])
def test_missing_targets_of_json_are_missing(token: str, size: int) -> None:
    records = records_of(size)
    records[2]["sales"] = "@"
    body = as_json(records).replace(b'"@"', token.encode())
    panel = read(body, "application/json", spec_of()).panel
    assert np.isnan(panel.target[2])


@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("token", ["", "NaN", "nan", "null", "NULL", " "])
def test_missing_targets_of_csv_are_missing(token: str, size: int) -> None:
    records = records_of(size)
    records[2]["sales"] = token
    panel = read(as_csv(records), "text/csv", spec_of()).panel
    assert np.isnan(panel.target[2])


@both
@pytest.mark.parametrize("size", [3, 3000, 12_000])
@pytest.mark.parametrize("text", ["n/a", "NA", "1,234", "N/A", "None", "?", "#N/A"])
def test_words_are_no_missing_targets(kind: str, size: int, text: str) -> None:
    records = records_of(size)
    row = len(records) - 2
    records[row]["sales"] = text
    with pytest.raises(NotNumeric) as caught:
        read(KINDS[kind](records), kind, spec_of())
    assert str(caught.value) == (
        f"The \"sales\" feature contains the value '{text}' (row {row}), which is not"
        " numeric."
    )


@both
@pytest.mark.parametrize("size", [3, 12_000])
def test_rows_are_named_by_their_number_in_the_body(kind: str, size: int) -> None:
    records = records_of(size)
    row = len(records) - 1
    for column, error in (("Time", MissingCells), ("shop", MissingCells)):
        broken = [*records[:-1], records[-1] | {column: ""}]
        with pytest.raises(error, match=f"first at row {row}"):
            read(KINDS[kind](broken), kind, spec_of())
    for record in records:
        record["sales"] = "yes"
    records[-1]["sales"] = "maybe"
    with pytest.raises(NotAClass, match=rf"'maybe' \(row {row}\)"):
        read(KINDS[kind](records), kind, spec_of(**CLASSES))


@both
def test_passed_columns_are_those_of_the_rows(kind: str) -> None:
    records = records_of(12_000)
    rows = read(KINDS[kind](records), kind, spec_of(), passthrough=("other", "Time"))
    places = np.array([23_999, 0, 7, 7])
    for name, cells in rows.passed(places).items():
        values = cells if isinstance(cells, list) else cells.to_pylist()
        assert values == [records[each][name] for each in places]


@pytest.mark.parametrize("body", [b"[]", b"Time,sales,shop,promo,sky\n"])
def test_bodies_without_rows_are_not_valid(body: bytes) -> None:
    kind = "application/json" if body == b"[]" else "text/csv"
    with pytest.raises(NoValidOutputRows):
        read(body, kind, spec_of())


@both
def test_columns_that_are_not_there_are_named(kind: str) -> None:
    records = [
        {name: each[name] for name in ("shop", "sky", "promo")}
        for each in records_of(4)
    ]
    with pytest.raises(MissingColumns) as caught:
        read(KINDS[kind](records), kind, spec_of())
    assert str(caught.value) == "Missing column(s): Time, sales"


@both
def test_history_without_the_targets_column_is_refused(kind: str) -> None:
    records = [
        {name: cell for name, cell in each.items() if name != "sales"}
        for each in records_of(4)
    ]
    with pytest.raises(ForecastRefused):
        read(KINDS[kind](records), kind, spec_of())
