"""Parquet is scored as the values in it are, and outputs come back typed."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch.intake import InputRefused
from app.batch.parquet import csv_pieces, write
from app.config import Config
from app.decode import read_rows
from app.errors import BodyTooLarge, NoDataToPredict
from backends.features import Decoder, Feature

FEATURES = (
    Feature("number", "numeric"),
    Feature("level", "categorical", categories=("a", "b", "1.0", "True", "é,\n")),
    Feature("code", "categorical", categories=(0, 1, 2.5)),
    Feature("flag", "categorical", categories=("true", "false")),
    Feature("words", "text"),
)
NAMES = [feature.name for feature in FEATURES]


def parquet(table: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    file.seek(0)
    return file


def csv(table: pa.Table, **options: Any) -> bytes:
    return b"".join(csv_pieces(parquet(table), 100, **options))


def assert_decoded_alike(table: pa.Table) -> None:
    """The matrix of the CSV is the one of the values themselves."""
    decoder = Decoder(FEATURES)
    expected = decoder.from_table(table)
    body = csv(table, lower=["flag"])
    chunks = list(read_rows(body, "text/csv", decoder, limits=Config()))
    found = np.concatenate([chunk.columns.matrix for chunk in chunks])
    np.testing.assert_array_equal(found, expected.matrix)
    texts = np.concatenate([chunk.columns.texts[4] for chunk in chunks])
    assert texts.tolist() == expected.texts[4].tolist()


LETTERS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
)
NUMBERS = st.one_of(
    st.none(),
    st.floats(width=64, allow_infinity=False),
    st.sampled_from([0.1, 1e22, 5e-324, -0.0, 2.0**53 + 2]),
)
ROWS = st.lists(
    st.tuples(
        NUMBERS,
        st.sampled_from([None, "a", "b", "1.0", "True", "é,\n"]),
        st.sampled_from([None, 0.0, 1.0, 2.5]),
        st.sampled_from([None, True, False]),
        st.one_of(st.none(), LETTERS),
    ),
    min_size=1,
    max_size=300,
)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_matrix_is_that_of_the_values(rows: list[tuple[Any, ...]]) -> None:
    types = (pa.float64(), pa.string(), pa.float64(), pa.bool_(), pa.string())
    columns = zip(*rows, strict=True)
    arrays = [pa.array(each, kind) for each, kind in zip(columns, types, strict=True)]
    assert_decoded_alike(pa.table(dict(zip(NAMES, arrays, strict=True))))


@pytest.mark.parametrize(
    "number",
    [
        pa.array([0.1, None, -3.4e38], pa.float32()),
        pa.array(np.array([0.1, 2, 65504], np.float16)),
        pa.array([2**63 - 1, None, -(2**63)], pa.int64()),
        pa.array([2**64 - 1, 2**53 + 1, 0], pa.uint64()),
        pa.array([True, None, False]),
        pa.array([1.5, None, 1.5]).dictionary_encode(),
        pa.array(["1.5", None, " 7%"], pa.large_string()),
        pa.array(["1e3", "", "nan"]),
        pa.array([None, None, None], pa.null()),
    ],
    ids=lambda array: str(array.type),
)
def test_number_of_each_type_is_the_value(number: pa.Array) -> None:
    table = pa.table(
        {
            "number": number,
            "level": pa.array(["a", None, "b"]).dictionary_encode(),
            "code": pa.array([1, None, 0], pa.int8()),
            "flag": pa.array([True, None, False]),
            "words": pa.array(["x", None, ""]),
        }
    )
    if pa.types.is_large_string(number.type):
        expected = table.set_column(0, "number", number.cast(pa.string()))
        assert csv(expected) == csv(table)
        table = expected
    assert_decoded_alike(table)


@pytest.mark.parametrize(
    ("array", "cells"),
    [
        (pa.array([Decimal("1.10"), None]), ["1.10", '""']),
        (pa.array([Decimal("1E+3")], pa.decimal128(7, 2)), ["1000.00"]),
        (pa.array([date(2026, 5, 1)]), ["2026-05-01"]),
        (pa.array([time(1, 2, 3)]), ["01:02:03"]),
        (pa.array([datetime(2026, 5, 1, 12)]), ["2026-05-01T12:00:00"]),
        (
            pa.array([datetime(2026, 5, 1, tzinfo=UTC)], pa.timestamp("ms", "UTC")),
            ["2026-05-01T00:00:00+00:00"],
        ),
        (
            pa.array([10**18 + 1000], pa.timestamp("ns")),
            ["2001-09-09T01:46:40.000001"],
        ),
    ],
    ids=str,
)
def test_other_values_are_spelled_as_usual(array: pa.Array, cells: list[str]) -> None:
    assert csv(pa.table({"x": array})).decode().splitlines() == ["x", *cells]


def test_moment_is_written_as_the_model_reads_it() -> None:
    table = pa.table({"at": pa.array([datetime(2026, 5, 1, 12)])})
    assert csv(table, formats={"at": "%d/%m/%Y %H:%M"}) == b"at\n01/05/2026 12:00\n"


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([b"x"]),
        pa.array([1], pa.duration("s")),
        pa.array([10**18 + 1], pa.timestamp("ns")),
        pa.array([1], pa.time64("ns")),
        pa.array([10**18], pa.timestamp("us")),
        pa.array([10**7], pa.date32()),
    ],
    ids=lambda array: str(array.type),
)
def test_value_that_no_cell_holds_is_refused(array: pa.Array) -> None:
    with pytest.raises(InputRefused):
        csv(pa.table({"x": array}))


def test_damaged_file_is_refused() -> None:
    whole = parquet(pa.table({"x": list(range(10_000))})).getvalue()
    for data in (b"", b"a,b\n1,2\n", whole[:-10], whole[len(whole) // 2 :]):
        with pytest.raises(InputRefused):
            list(csv_pieces(io.BytesIO(data), 100))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_changed_byte_is_refused_or_harmless(place: int, byte: int) -> None:
    table = pa.table({"x": [1.5, None, 3.5] * 50, "y": ["a", "b", None] * 50})
    data = bytearray(parquet(table).getvalue())
    data[place % len(data)] = byte
    try:
        list(csv_pieces(io.BytesIO(bytes(data)), 100))
    except (InputRefused, BodyTooLarge, NoDataToPredict):
        pass


def test_file_without_rows_or_columns_is_no_data() -> None:
    for table in (pa.table({"x": pa.array([], pa.string())}), pa.table({})):
        with pytest.raises(NoDataToPredict):
            csv(table)


def test_file_with_more_columns_than_allowed_is_refused() -> None:
    with pytest.raises(BodyTooLarge, match="more than 2 columns"):
        list(csv_pieces(parquet(pa.table({"a": [1], "b": [1], "c": [1]})), 2))


def test_pieces_hold_some_rows_each() -> None:
    table = pa.table({"x": np.arange(100_000)})
    pieces = list(csv_pieces(parquet(table), 100))
    assert max(map(len, pieces)) < 100_000
    assert b"".join(pieces).count(b"\n") == 100_001


def test_output_has_doubles_and_strings() -> None:
    parts = [
        b'score,label,"a,b"\n0.25,1,x\n,,\n',
        b'1e-7,0,"two\nlines"\n',
    ]
    sink = io.BytesIO()
    write(sink, parts, {"score"})
    table = pq.read_table(io.BytesIO(sink.getvalue()))
    assert table.schema.types == [pa.float64(), pa.string(), pa.string()]
    assert table.to_pydict() == {
        "score": [0.25, None, 1e-7],
        "label": ["1", None, "0"],
        "a,b": ["x", None, "two\nlines"],
    }


def test_output_is_the_same_each_time() -> None:
    parts = [b"a,b\n1,x\n", b"2,y\n"]
    sinks = [io.BytesIO(), io.BytesIO()]
    for sink in sinks:
        write(sink, iter(parts), {"a"})
    assert sinks[0].getvalue() == sinks[1].getvalue()


def test_large_output_is_written_in_groups() -> None:
    rows = b"".join(b"%d.5,%d\n" % (row, row) for row in range(200_000))
    sink = io.BytesIO()
    write(sink, [b"a,b\n" + rows, *[rows] * 11], {"a"})
    source = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert source.metadata.num_rows == 2_400_000
    assert source.metadata.num_row_groups > 1
