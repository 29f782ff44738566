"""One rule for each kind of cell, whichever way the cell comes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.features import MISSING_NUMBERS, Columns, DataError, Decoder
from backends.model import Feature, Label

ODD_TEXTS = (
    *("", " ", "01234", "1e5", " 1.5 ", "\t7\n", "+3", "1.", ".5", "-0.0", "1E-3"),
    *("1e400", "-1e400", "4.9e-324", "1e-400", "inf", "-Infinity", "nan", "-NaN"),
    *("nan(7)", "17.56%", "%", "5 %", "1%%", "inf%", "true%", "1_000", "0x10", "1d"),
    *("١٢", "１", "1\x00", "1,5", "..", "e5", "+-1", "ſ", "ınf", "--", "ü", "a b"),
    *("true", "TRUE", "False", "1", "1.0", "0", "2", "723", "1" * 400, "9" * 20),
    *("18446744073709551615", "9007199254740993", "9007199254740992.5", "-0"),
    *("None", "null", " NULL ", "NA", "N/A ", "?", "#N/A", "low", " low", "Low"),
)
LEVELS: tuple[tuple[Label, ...], ...] = (
    ("low", "high", "", "723", "1.0", "True"),
    ("low", " low", "null", "ü", "1e5"),
    (1, 2, 723, 9007199254740993, 18446744073709551615),
    (0.5, 1, -0.0, 1e22),
    (False, True),
    ("a", 1, True, 2.5),
)
FEATURES = (
    Feature("number", "numeric"),
    Feature("whole", "numeric", "int64"),
    Feature("given", "numeric", missing="error"),
    Feature("whole and given", "numeric", "int64", missing="error"),
    Feature("text", "text", "string", missing="empty"),
    Feature("given text", "text", "string", missing="error"),
    *(
        Feature(f"level {position}", "categorical", categories=levels)
        for position, levels in enumerate(LEVELS)
    ),
    Feature("given level", "categorical", "int64", ("low", "1"), missing="error"),
)

texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers().map(str),
    st.from_regex(
        r"[ ]?[+-]?[0-9]{0,3}\.?[0-9]{0,3}(e[0-9]{1,3})?[%]?", fullmatch=True
    ),
)
cells = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from((0, 1, 2, 723, 2**53, 2**53 + 1, 2**64 - 1, 10**400, -(10**400))),
    st.sampled_from((0.5, 1.0, -0.0, 1e22, 1e300, math.inf, math.nan, 5e-324)),
    st.floats(),
)

SPACE = " \t\n\r\v\f"
BAD = object()


def plain_number(text: str) -> Any:
    """The number of a text without its spaces, the slow and obvious way."""
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    text = text[:-1] if text[-1:] == "%" else text
    if (
        re.match(r"[+-]?nan(\([A-Za-z0-9_]*\))?$", text, re.I | re.A)
        and text[-1] != "\n"
    ):
        return math.nan
    if not text or set(text) - set("0123456789+-.eEiInNfFtTyY"):
        return BAD
    try:
        return float(text)
    except ValueError:
        return BAD


def expected_number(cell: Any) -> Any:
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        cell = cell.strip(SPACE)
        return math.nan if cell in MISSING_NUMBERS else plain_number(cell)
    return float(str(float(cell) if isinstance(cell, bool | float) else cell))


def spelled(cell: Any, feature: Feature | None = None) -> str:
    """A JSON cell as the CSV cell that pandas' to_csv writes for it."""
    if cell is None or cell != cell:
        # A level may be the empty text, which is all that CSV has for null.
        return "null" if feature and "" in (feature.categories or ()) else ""
    return str(cell)


def expected_level(cell: Any, levels: Sequence[Label]) -> Any:
    if isinstance(cell, str) and cell in levels:
        return levels.index(cell)
    if cell is None or cell != cell or cell in ("", "null", "NULL"):
        return math.nan
    if any(isinstance(level, str) for level in levels):
        names = [str(level) for level in levels]
        return names.index(str(cell)) if str(cell) in names else BAD
    if isinstance(cell, str):
        cell = cell.strip(SPACE)
        if cell in ("", "null", "NULL"):
            return math.nan
        number = plain_number(cell)
        if re.match(r"[+-]?[0-9]{1,20}\Z", cell, re.A):
            number = int(cell) if -(2**63) <= int(cell) < 2**64 else number
        if number != number:
            return math.nan
        cell = number
    return list(levels).index(cell) if cell in levels else BAD


def expected_cell(cell: Any, feature: Feature) -> Any:
    """A float, a text, or BAD and what stands for the cell where it is let be."""
    if feature.kind == "text":
        text = spelled(cell)
        return (BAD, text) if feature.missing == "error" and not text else text
    if feature.kind == "numeric":
        value = expected_number(cell)
    else:
        value = expected_level(cell, feature.categories or ())
    if value is BAD or (feature.missing == "error" and value != value):
        return BAD, math.nan
    if feature.dtype == "int64" and feature.kind == "numeric" and value == value:
        if math.isinf(value) or value % 1 or abs(value) > 2**53:
            return BAD, value
    return value


def decoder(*features: Feature) -> Decoder:
    return Decoder(features)


def batch_of(
    features: Sequence[Feature], rows: Sequence[Sequence[Any]]
) -> pa.RecordBatch:
    """Rows as the CSV reader brings them when each cell stays a text."""
    arrays = [
        pa.array([spelled(row[position], feature) for row in rows], pa.string())
        for position, feature in enumerate(features)
    ]
    return pa.RecordBatch.from_arrays(arrays, [feature.name for feature in features])


def record_of(features: Sequence[Feature], row: Sequence[Any]) -> dict[str, Any]:
    names = [feature.name for feature in features]
    # In another order than the model's, between other columns.
    return {"": 0, **dict(reversed(list(zip(names, row, strict=True)))), "other": []}


def outcome(columns: Columns) -> Any:
    """What makes two results the same: the bits of each number, but any NaN is one."""
    matrix = np.where(np.isnan(columns.matrix), np.nan, columns.matrix)
    assert columns.matrix.dtype == np.float64 and columns.matrix.flags.c_contiguous
    return (
        matrix.shape,
        matrix.tobytes(),
        {position: column.tolist() for position, column in columns.texts.items()},
        columns.unknown_categories,
        columns.invalid_numbers,
    )


def attempt(decode: Any, *arguments: Any, **policy: Any) -> Any:
    """The outcome, or column and row of the error."""
    try:
        return outcome(decode(*arguments, **policy))
    except DataError as error:
        return re.sub(r": .*", "", str(error), flags=re.S)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Feature], list[list[Any]]]:
    features = draw(st.lists(st.sampled_from(FEATURES), min_size=1, unique=True))
    row = st.lists(cells, min_size=len(features), max_size=len(features))
    return features, draw(st.lists(row, min_size=1, max_size=5))


@settings(max_examples=300, deadline=None)
@given(tables(), st.booleans(), st.booleans())
def test_both_ways_follow_the_slow_rule(
    table: tuple[list[Feature], list[list[Any]]],
    refuse_unknown: bool,
    refuse_invalid: bool,
) -> None:
    features, rows = table
    policy: Any = {"refuse_unknown": refuse_unknown, "refuse_invalid": refuse_invalid}
    matrix = np.full((len(rows), len(features)), np.nan)
    strings: dict[int, list[str]] = {}
    counts = {"categorical": 0, "numeric": 0, "text": 0}
    wrong = None
    for row, values in enumerate(rows):
        for position, (feature, cell) in enumerate(zip(features, values, strict=True)):
            value = expected_cell(cell, feature)
            if isinstance(value, tuple):
                value = value[1]
                is_absent = feature.kind == "text" or value == value
                counts[feature.kind] += not is_absent
                refused = refuse_unknown if feature.kind == "categorical" else True
                if feature.kind == "numeric" and not is_absent:
                    refused = refuse_invalid
                if (refused or feature.missing == "error") and wrong is None:
                    wrong = f"column {feature.name!r}, row {row}"
            if feature.kind == "text":
                strings.setdefault(position, []).append(value)
            else:
                matrix[row, position] = value
    expected = wrong or outcome(
        Columns(
            matrix,
            {k: np.array(v, object) for k, v in strings.items()},
            counts["categorical"],
            counts["numeric"],
        )
    )
    decode = Decoder(features)
    records = [record_of(features, row) for row in rows]
    assert attempt(decode.from_records, records, **policy) == expected
    assert attempt(decode.from_batch, batch_of(features, rows), **policy) == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_arrow_reads_no_text_otherwise_than_the_rule(column: list[str]) -> None:
    decode = decoder(Feature("x", "numeric"))
    lines = [text.replace('"', "") for text in column]
    body = "".join(f'"{text}"\n' for text in lines).encode()
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(body),
            read_options=pyarrow.csv.ReadOptions(column_names=["x"], use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={"x": pa.float64()}, null_values=MISSING_NUMBERS
            ),
        )
    except pa.ArrowInvalid:
        return
    (batch,) = table.combine_chunks().to_batches()
    expected = outcome(decode.from_records([{"x": text} for text in lines]))
    assert outcome(decode.from_batch(batch)) == expected


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("01234", 1234.0),
        ("17.56%", 17.56),
        (" 1e5\n", 100_000.0),
        ("1e400", math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("TRUE", 1.0),
        (False, 0.0),
        (2**64, 2.0**64),
        *((token, math.nan) for token in MISSING_NUMBERS),
    ],
)
def test_number_is_read(cell: Any, number: float) -> None:
    columns = decoder(Feature("x", "numeric")).from_records([{"x": cell}])
    assert columns.matrix.tolist() == [[pytest.approx(number, rel=0, nan_ok=True)]]
    assert columns.invalid_numbers == 0


@pytest.mark.parametrize("cell", ["abc", "1_000", "１", "0x10", "1 2", "%", "--1"])
def test_text_that_is_no_number_is_refused_or_counted(cell: str) -> None:
    decode = decoder(Feature("x", "numeric"))
    with pytest.raises(DataError, match="column 'x', row 7: a number is expected, not"):
        decode.from_records([{"x": cell}], first_row=7)
    columns = decode.from_records([{"x": cell}, {"x": 1}], refuse_invalid=False)
    assert columns.invalid_numbers == 1
    assert np.isnan(columns.matrix[0, 0]) and columns.matrix[1, 0] == 1


@pytest.mark.parametrize("kind", ["numeric", "categorical", "text"])
@pytest.mark.parametrize(("cell", "shown"), [([1], "an array"), ({}, "an object")])
def test_array_or_object_is_never_a_cell(kind: Any, cell: Any, shown: str) -> None:
    levels = ("a",) if kind == "categorical" else None
    decode = decoder(Feature("x", kind, categories=levels))
    rows = [{"x": "a" if kind != "numeric" else 1}, {"x": cell}]
    with pytest.raises(DataError, match=f"column 'x', row 1: .*, not {shown}"):
        decode.from_records(rows, refuse_invalid=False)


def test_first_error_is_that_of_the_lowest_row_then_column() -> None:
    decode = decoder(Feature("a", "numeric"), Feature("b", "numeric"))
    records = [{"a": 1, "b": 2}, {"a": 1, "b": "x"}, {"a": "y", "b": 2}]
    with pytest.raises(DataError, match="column 'b', row 1: .* 'x'"):
        decode.from_records(records)
    records[1]["a"] = "z"
    with pytest.raises(DataError, match="column 'a', row 1: .* 'z'"):
        decode.from_records(records)


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(DataError) as error:
        decoder(Feature("x", "numeric")).from_records([{"x": "ab" * 1000}])
    assert str(error.value).endswith("not '" + ("ab" * 20)[:39] + "…'")


def test_level_is_its_exact_text() -> None:
    levels = ("01234", " a", "NA", "", "true")
    decode = decoder(Feature("x", "categorical", categories=levels))
    cells = ["01234", "1234", " a", "a", "NA", "", None, "null", True, math.nan]
    columns = decode.from_records([{"x": cell} for cell in cells])
    codes = [0, math.nan, 1, math.nan, 2, 3, math.nan, math.nan, 4, math.nan]
    assert np.array_equal(columns.matrix[:, 0], codes, equal_nan=True)
    assert columns.unknown_categories == 2


def test_level_that_is_a_number_is_found_by_value() -> None:
    decode = decoder(Feature("x", "categorical", categories=(3, 1, 2)))
    cells = ["1", "1.0", 1, 1.0, " 01 ", True, "true"]
    columns = decode.from_records([{"x": cell} for cell in cells])
    assert columns.matrix[:, 0].tolist() == [1.0] * len(cells)
    assert columns.unknown_categories == 0


def test_level_that_is_a_number_may_be_missing() -> None:
    decode = decoder(Feature("x", "categorical", categories=(3, 1, 2)))
    columns = decode.from_records([{"x": cell} for cell in (" ", "null", "nan", None)])
    assert np.isnan(columns.matrix).all() and columns.unknown_categories == 0
    assert decode.from_records([{"x": "NA"}]).unknown_categories == 1


def test_unknown_level_is_refused_if_wanted() -> None:
    decode = decoder(Feature("x", "categorical", categories=("a",)))
    message = "column 'x', row 0: a known level is expected, not 'b'"
    with pytest.raises(DataError, match=message):
        decode.from_records([{"x": "b"}], refuse_unknown=True)


def test_unknown_level_cannot_be_missing_where_missing_is_refused() -> None:
    feature = Feature("x", "categorical", "int64", ("a",), missing="error")
    with pytest.raises(DataError, match="a known level is expected, not 'b'"):
        decoder(feature).from_records([{"x": "b"}])


@pytest.mark.parametrize("cell", [1.5, "2.5", 2**54, "inf", 1e300])
def test_whole_number_keeps_its_value_or_is_refused(cell: Any) -> None:
    decode = decoder(Feature("x", "numeric", "int64"))
    with pytest.raises(DataError, match="column 'x', row 0: a whole number"):
        decode.from_records([{"x": cell}])
    assert decode.from_records([{"x": 2**53}]).matrix[0, 0] == 2.0**53


def test_missing_value_is_refused_where_the_model_has_none() -> None:
    decode = decoder(Feature("x", "numeric", missing="error"))
    with pytest.raises(DataError, match="column 'x', row 1: a value is missing"):
        decode.from_records([{"x": 1}, {"x": None}])


def test_feature_that_no_record_has_is_named() -> None:
    decode = decoder(*(Feature(name, "numeric") for name in "abc"))
    message = "columns that the model takes are not in the data: 'a', 'c'"
    with pytest.raises(DataError, match=message):
        decode.from_records([{"b": 1}, {"b": 2}])
    with pytest.raises(DataError, match=message):
        decode.from_batch(pa.RecordBatch.from_pydict({"b": [1.0]}))


def test_key_that_only_some_records_have_is_missing_in_others() -> None:
    decode = decoder(Feature("a", "numeric"), Feature("b", "numeric"))
    columns = decode.from_records([{"a": 1}, {"b": 2}])
    assert np.array_equal(
        columns.matrix, [[1, math.nan], [math.nan, 2]], equal_nan=True
    )
    part = decode.from_records([{"a": 1}], complete=False)
    assert np.array_equal(part.matrix, [[1, math.nan]], equal_nan=True)


def test_columns_of_other_types_are_read_cell_by_cell() -> None:
    features = (
        Feature("i", "numeric"),
        Feature("b", "numeric"),
        Feature("d", "categorical", categories=("x", "y")),
        Feature("l", "categorical", categories=(1, 2)),
    )
    batch = pa.RecordBatch.from_pydict(
        {
            "i": pa.array([1, None]),
            "b": pa.array([True, False]),
            "d": pa.array(["y", None]).dictionary_encode(),
            "l": pa.array([2.0, 1.0]),
        }
    )
    columns = decoder(*features).from_batch(batch)
    expected = [[1, 1, 1, 1], [math.nan, 0, math.nan, 0]]
    assert np.array_equal(columns.matrix, expected, equal_nan=True)


def test_table_decodes_like_its_batches() -> None:
    texts = [*map(str, range(70_000)), "", "x"]
    table = pa.table({"number": ["1"] * len(texts), "text": texts})
    table = pa.concat_tables([table.slice(0, 10), table.slice(10)])
    decode = Decoder((FEATURES[4], FEATURES[0]))
    columns = decode.from_table(table)
    assert columns.texts[0].tolist() == texts
    assert np.array_equal(columns.matrix[:, 1], np.ones(len(texts)))
    assert len(decode.from_table(table.slice(0, 0))) == 0
    assert len(decode.from_table(table.schema.empty_table())) == 0


def test_wrong_cell_of_a_table_is_named_by_its_row() -> None:
    table = pa.table({"x": ["1"] * 70_000 + ["much"]})
    with pytest.raises(DataError, match="column 'x', row 70000.*'much'"):
        Decoder((Feature("x", "numeric"),)).from_table(table)


def test_decoder_serves_many_threads_at_once() -> None:
    decode = Decoder(FEATURES[:1] + FEATURES[6:9])
    sets = [
        [{"number": n, "level 0": "low", "level 1": "ü", "level 2": n % 3}] * 50
        for n in range(40)
    ]
    alone = [outcome(decode.from_records(records)) for records in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda r: outcome(decode.from_records(r)), sets))
    assert together == alone


# ---- Offset and exposure

BESIDE = Decoder(
    (Feature("x", "numeric"), Feature("note", "text", "string", missing="empty")),
    offset="o",
    exposure="e",
)
SENT: dict[str, Any] = {"x": 1.5, "note": "a", "o": -2, "e": 0.5}


def texts_batch(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    names = list(rows[0])
    arrays = [
        pa.array([None if row[name] is None else str(row[name]) for row in rows])
        for name in names
    ]
    return pa.RecordBatch.from_arrays(
        [each.cast(pa.string()) for each in arrays], names
    )


def test_offset_and_exposure_stand_beside_the_matrix() -> None:
    rows = [SENT, SENT | {"o": 3.0, "e": 4}]
    for columns in (
        BESIDE.from_records(rows),
        BESIDE.from_batch(texts_batch(rows)),
        BESIDE.from_table(pa.Table.from_batches([texts_batch(rows)])),
    ):
        assert columns.matrix[:, 0].tolist() == [1.5, 1.5]
        assert columns.matrix.shape == (2, 2) and columns.matrix.flags.c_contiguous
        assert columns.offset is not None and columns.offset.tolist() == [-2, 3]
        assert columns.exposure is not None and columns.exposure.tolist() == [0.5, 4]


def test_one_of_the_two_leaves_the_other_out() -> None:
    only = Decoder((Feature("x", "numeric"),), exposure="e").from_records([SENT])
    assert only.offset is None
    assert only.exposure is not None and only.exposure.tolist() == [0.5]
    other = Decoder((Feature("x", "numeric"),), offset="o").from_records([SENT])
    assert other.exposure is None
    assert other.offset is not None and other.offset.tolist() == [-2]


def test_features_alone_leave_both_out() -> None:
    columns = Decoder((Feature("x", "numeric"),)).from_records([SENT])
    assert columns.offset is None and columns.exposure is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"o": None}, "column 'o', row 1: a value is missing"),
        ({"e": None}, "column 'e', row 1: a value is missing"),
        ({"e": "NA"}, "column 'e', row 1: a value is missing"),
        ({"o": "much"}, "column 'o', row 1: a number is expected, not 'much'"),
        ({"o": math.inf}, "column 'o', row 1: a finite number is expected, not inf"),
        ({"e": math.inf}, "'e', row 1: a finite number above 0 is expected, not inf"),
        ({"e": 0}, "'e', row 1: a finite number above 0 is expected, not 0.0"),
        ({"e": -0.0}, "'e', row 1: a finite number above 0 is expected, not -0.0"),
        ({"e": -1}, "'e', row 1: a finite number above 0 is expected, not -1.0"),
        ({"o": "inf", "e": 0}, "column 'o', row 1"),
    ],
)
def test_row_without_a_proper_offset_or_exposure_is_named(
    change: Mapping[str, Any], said: str
) -> None:
    rows = [SENT, SENT | change]
    for policy in ({}, {"refuse_invalid": False}):
        with pytest.raises(DataError, match=re.escape(said)):
            BESIDE.from_records(rows, **policy)
        with pytest.raises(DataError, match=re.escape(said)):
            BESIDE.from_batch(texts_batch(rows), **policy)


def test_missing_offset_and_exposure_columns_are_listed() -> None:
    with pytest.raises(DataError, match="not in the data: 'o', 'e'"):
        BESIDE.from_records([{"x": 1, "note": ""}])


amounts = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.floats(min_value=5e-324, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.tuples(amounts, amounts, sizes), min_size=1, max_size=40))
def test_rows_keep_their_offset_and_exposure_when_taken_and_joined(
    rows: list[tuple[float, float, float]],
) -> None:
    records = [dict(zip("xoe", row, strict=True), note="") for row in rows]
    columns = BESIDE.from_records(records)
    order = np.arange(len(rows))[::-1]
    both = Columns.join([columns, columns.take(order)])
    for place, values in enumerate((both.matrix[:, 0], both.offset, both.exposure)):
        expected = [row[place] for row in [*rows, *rows[::-1]]]
        assert values is not None and values.tolist() == expected
    bare = replace(both, offset=None, exposure=None)
    assert bare.offset is None and bare.exposure is None
    np.testing.assert_array_equal(bare.matrix, both.matrix)


def test_joined_parts_add_up_what_they_counted() -> None:
    decode = Decoder((Feature("x", "numeric"), Feature("t", "text", missing="empty")))
    part = decode.from_records([{"x": "?!", "t": "a"}], refuse_invalid=False)
    joined = Columns.join([part, part])
    assert (joined.invalid_numbers, joined.unknown_categories) == (2, 0)
    assert joined.texts[1].tolist() == ["a", "a"] and joined.offset is None
