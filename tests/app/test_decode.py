"""The same rows are the same columns, however they are sent."""

from __future__ import annotations

import bz2
import csv
import dataclasses
import gzip
import io
import json
import math
import random
import re
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import decode
from app.body import read_body
from app.config import Config
from app.decode import Wanted, read_csv, read_rows, read_wanted
from app.errors import (
    AppError,
    BodyTooLarge,
    BodyUnreadable,
    DuplicateColumns,
    NoDataToPredict,
    PassthroughColumnsMissing,
    UnsupportedMediaType,
)
from backends.features import DataError, Decoder
from backends.model import Feature

LIMITS = Config()
NUMBER = Feature("number", "numeric")
WHOLE = Feature("whole, or not", "numeric")
LEVEL = Feature('the "level"', "categorical", categories=("low", "hi, gh", "a\nb", "ü"))
YEAR = Feature("", "categorical", categories=(2019, 2020))
TEXT = Feature("text\r\nof two lines", "text", "string", missing="empty")
FEATURES = (NUMBER, WHOLE, LEVEL, YEAR, TEXT)
DECODER = Decoder(FEATURES)

Passthrough = tuple[str, ...] | Literal["all"]


@dataclasses.dataclass
class Rows:
    """What all chunks of a body hold."""

    matrix: np.ndarray
    texts: dict[int, list[str]]
    passthrough: dict[str, list[Any]]
    counts: tuple[int, int]
    chunks: int

    def key(self) -> Any:
        """The same for the same rows: the bits of each number, but any NaN is one."""
        matrix = np.where(np.isnan(self.matrix), np.nan, self.matrix)
        return matrix.shape, matrix.tobytes(), self.texts, self.counts


def read(
    body: bytes | str,
    content_type: str = "text/csv",
    decoder: Decoder = DECODER,
    *,
    passthrough: Passthrough = (),
    limits: Config = LIMITS,
    **policy: bool,
) -> Rows:
    body = body.encode() if isinstance(body, str) else body
    chunks = list(
        read_rows(
            body,
            content_type,
            decoder,
            passthrough=passthrough,
            limits=limits,
            **policy,
        )
    )
    first_row = 0
    for chunk in chunks:
        assert chunk.first_row == first_row
        assert chunk.passthrough.keys() == chunks[0].passthrough.keys()
        assert all(len(v) == len(chunk.columns) for v in chunk.passthrough.values())
        first_row += len(chunk.columns)
    columns = [chunk.columns for chunk in chunks]
    return Rows(
        np.concatenate([each.matrix for each in columns]),
        {
            position: [text for each in columns for text in each.texts[position]]
            for position in columns[0].texts
        },
        {
            name: [
                value for chunk in chunks for value in _values(chunk.passthrough[name])
            ]
            for name in chunks[0].passthrough
        },
        (
            sum(each.unknown_categories for each in columns),
            sum(each.invalid_numbers for each in columns),
        ),
        len(chunks),
    )


def _values(values: Sequence[Any] | pa.Array) -> list[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else list(values)


@contextmanager
def chunks_of(size: int, small_csv: int = 0) -> Iterator[None]:
    """Cut bodies into chunks of so many bytes; CSV up to `small_csv` is not cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_CHUNK_BYTES", size)
        patch.setattr(decode, "_SMALL_CSV", small_csv)
        yield


def numeric(*names: str) -> Decoder:
    return Decoder([Feature(name, "numeric") for name in names])


def as_json(rows: Sequence[dict[str, Any]], **style: Any) -> bytes:
    return json.dumps(rows, **style).encode()


def as_csv(
    rows: Sequence[dict[str, Any]], *, newline: str = "\n", quote_all: bool = False
) -> bytes:
    """As pandas' to_csv writes them."""

    def cell(value: Any) -> str:
        text = "" if value is None or value != value else str(value)
        if (
            quote_all
            or re.search('[",\r\n]', text)
            or (text == "" and len(rows[0]) == 1)
        ):
            return '"' + text.replace('"', '""') + '"'
        return text

    lines = [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)]
    return "".join(",".join(map(cell, line)) + newline for line in lines).encode()


odd_texts = st.one_of(
    st.sampled_from(
        ("", "ü", '"', '""', ",", "\n", "\r\n", "a\nb", "},{", "]", "\\", ":")
    ),
    st.sampled_from(
        ("01234", "NA", "1e5", " spaced ", "null", '5" pipe', "\u2028", "\0")
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from((" 7 ", "01234", "NA", "17.56%", "1e400", "-0.0", "inf", "")),
)
levels = st.sampled_from(("low", "hi, gh", "a\nb", "ü", None, "unseen", " low"))
years = st.sampled_from((2019, 2020.0, "2019", " 2020.0 ", 2021, None, math.nan))
rows_of_a_table = st.lists(
    st.fixed_dictionaries(
        {
            "number": numbers,
            "ignored": odd_texts,
            "whole, or not": numbers,
            'the "level"': levels,
            "": years,
            "text\r\nof two lines": odd_texts,
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(
    rows_of_a_table,
    st.booleans(),
    st.sampled_from(("\n", "\r\n", "\r")),
    st.randoms(use_true_random=False),
    st.integers(1, 300),
)
def test_same_rows_are_the_same_columns_however_sent(
    rows: list[dict[str, Any]],
    quote_all: bool,
    newline: str,
    rng: random.Random,
    size: int,
) -> None:
    shuffled = list(rows[0])
    rng.shuffle(shuffled)
    rows = [{name: row[name] for name in shuffled} for row in rows]
    expected = read(as_json(rows), "application/json").key()
    text = as_csv(rows, quote_all=quote_all, newline=newline)
    form = (
        b'--cut\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        + text
        + b"\r\n--cut--\r\n"
    )
    wide = text.decode().encode("utf-16")
    assert read(text).key() == expected
    assert read(b"\xef\xbb\xbf" + text, "").key() == expected
    assert read(form, "multipart/form-data; boundary=cut").key() == expected
    assert read(wide, "text/plain; charset=utf-16").key() == expected
    for encoding, sent in (("gzip", gzip.compress(text)), ("bz2", bz2.compress(text))):
        body = read_body(
            io.BytesIO(sent),
            content_length=None,
            content_encoding=encoding,
            limits=LIMITS,
            deadline=time.monotonic() + 60,
        )
        assert read(body).key() == expected
    with chunks_of(size):
        assert read(text).key() == expected
        assert read(as_json(rows), "text/json").key() == expected
        assert read(as_json(rows, indent=1), "text/json").key() == expected
        assert read(as_json(rows, ensure_ascii=False), "a/b+json").key() == expected


@settings(max_examples=200, deadline=None)
@given(rows_of_a_table, st.integers(1, 300))
def test_passthrough_is_what_was_sent(rows: list[dict[str, Any]], size: int) -> None:
    text = as_csv(rows)
    lines = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    sent = {name: [line[name] for line in lines] for name in rows[0]}
    objects = json.loads(json.dumps(rows))
    as_sent = {name: [row[name] for row in objects] for name in rows[0]}
    some: Passthrough = ("ignored", "number")
    wanted: tuple[Passthrough, ...] = ("all", some, ())
    plain = read(text).key()
    for passthrough in wanted:
        names = list(rows[0]) if passthrough == "all" else list(passthrough)
        for chunk, small in ((size, 0), (10**6, 10**6)):
            with chunks_of(chunk, small):
                result = read(text, passthrough=passthrough)
                parsed = read(as_json(rows), "text/json", passthrough=passthrough)
            assert result.key() == plain and parsed.key() == plain
            assert list(result.passthrough) == list(parsed.passthrough) == names
            assert result.passthrough == {name: sent[name] for name in names}
            assert repr(parsed.passthrough) == repr({n: as_sent[n] for n in names})


def outcome(body: bytes, decoder: Decoder) -> Any:
    """The rows, or what is raised; without the words that differ by way of reading."""
    try:
        result = read(body, decoder=decoder, passthrough="all")
    except (AppError, DataError) as error:
        return type(error), re.sub(r"not .*", "", str(error), flags=re.S)
    return result.key(), result.passthrough


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from((b"a", b"a,b", b"a,b,c", b'"a",b', b"\n\na")),
    st.lists(
        st.sampled_from((b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"1", b" ", b"x"))
        | st.just("ü".encode()),
        max_size=25,
    ).map(b"".join),
    st.integers(1, 20),
)
@example(b"a", b'"1"\n\n"', 1)
@example(b"a,b", b'"x""",1\r\n5" pipe,"2\r\n"\r\n', 3)
def test_both_csv_readers_agree_at_any_cut(head: bytes, rest: bytes, size: int) -> None:
    body = head + b"\n" + rest
    for decoder in (numeric("a"), Decoder([Feature("a", "text", "string")])):
        with chunks_of(size, small_csv=10_000):
            small = outcome(body, decoder)
        with chunks_of(size):
            cut = outcome(body, decoder)
        with chunks_of(10_000):
            whole = outcome(body, decoder)
        assert small == whole
        # Which of two errors comes first depends on the cut.
        assert cut == whole or (isinstance(cut[0], type) and isinstance(whole[0], type))


def test_single_column_keeps_empty_lines_as_missing_values() -> None:
    expected = [[1.0], [math.nan], [2.0], [math.nan]]
    for newline in ("\n", "\r\n", "\r"):
        body = newline.join(("a", "1", "", "2", "", ""))
        for small in (0, 10_000):
            for size in range(1, 8):
                with chunks_of(size, small):
                    matrix = read(body, decoder=numeric("a")).matrix
                assert np.array_equal(matrix, expected, equal_nan=True)


def test_empty_lines_between_rows_are_no_rows() -> None:
    body = "\r\n\na,b\n\n1,2\n\r\n\n3,4\n\n"
    for small in (0, 10_000):
        with chunks_of(1, small):
            assert read(body, decoder=numeric("b", "a")).matrix.tolist() == [
                [2, 1],
                [4, 3],
            ]


def test_number_that_arrow_does_not_read_is_read_by_the_rule() -> None:
    cells = ["1", " NA ", "true", "17.5%", "\v3", "2"] * 50
    body = "a,b\n" + "".join(f"{cell},{cell}\n" for cell in cells)
    expected = [1, math.nan, 1, 17.5, 3, 2] * 50
    with chunks_of(200):
        result = read(body, decoder=numeric("a", "b"))
    assert result.chunks > 5
    assert np.array_equal(result.matrix, np.c_[expected, expected], equal_nan=True)


@pytest.mark.parametrize("small", [0, 10_000])
def test_error_in_a_later_chunk_names_the_row_of_the_request(small: int) -> None:
    lines = ["a,b", *("1,2" for _ in range(50))]
    with chunks_of(20, small):
        with pytest.raises(DataError, match="column 'b', row 50: a number is .* 'x'"):
            read("\n".join([*lines, "1,x", "y,2"]), decoder=numeric("a", "b"))
        with pytest.raises(BodyUnreadable, match="Row 50 .* has 3 fields, .* has 2"):
            read("\n\n".join([*lines, "1,2,3", "1"]), decoder=numeric("a", "b"))
        with pytest.raises(BodyUnreadable, match="Row 50 .* has 1 fields, .* has 2"):
            read("\n\n".join([*lines, '"1,2"', "1"]), decoder=numeric("a", "b"))


@pytest.mark.parametrize("small", [0, 10_000])
@pytest.mark.parametrize(
    ("body", "byte"),
    [
        ('a,b\n1,"2\n3,4\n', 6),
        ('a,b\n1,2\n"', 8),
        ('a,b\n5" pipe,"x\n', 12),
        ('a,b\n"x""\n', 4),
        ('a,"b\n1,2\n', 2),
    ],
)
def test_quote_that_is_never_closed_is_refused(
    body: str, byte: int, small: int
) -> None:
    for size in (1, 5, 100):
        with chunks_of(size, small):
            with pytest.raises(BodyUnreadable, match=f"quote at byte {byte} is never"):
                read(body, decoder=Decoder([Feature("a", "text")]))


def test_quote_inside_an_unquoted_field_is_a_character() -> None:
    body = 'a,b\n5" pipe,1\n"5"" pipe",2\n"5" pipe",3\n'
    for small in (0, 10_000):
        with chunks_of(10, small):
            result = read(body, passthrough=("a",), decoder=numeric("b"))
        assert result.passthrough["a"] == ['5" pipe', '5" pipe', '5 pipe"']


def test_quoted_newlines_may_stand_at_any_cut() -> None:
    rows = [{"a": "x\n,\r\n" * (n % 4), "b": n} for n in range(60)]
    for size in (1, 7, 50, 333):
        with chunks_of(size):
            result = read(as_csv(rows), passthrough=("a",), decoder=numeric("b"))
        assert result.matrix[:, 0].tolist() == list(range(60))
        assert result.passthrough["a"] == [row["a"] for row in rows]


def test_record_longer_than_a_chunk_is_read_whole() -> None:
    body = b'a,b\n1,"' + b"x\n" * 200_000 + b'"\n2,y\n'
    with chunks_of(10):
        result = read(body, passthrough=("b",), decoder=numeric("a"))
    assert result.matrix[:, 0].tolist() == [1, 2]
    assert len(result.passthrough["b"][0]) == 400_000


def test_column_names_are_read_like_cells() -> None:
    body = '\ufeff"a ""b"", c","line\r\nbreak", é\r\n1,2,3'
    decoder = numeric('a "b", c', "line\r\nbreak", " é")
    assert read(body, decoder=decoder).matrix.tolist() == [[1, 2, 3]]


def test_column_name_without_end_is_refused() -> None:
    with pytest.raises(BodyUnreadable, match="header of the CSV body: field larger"):
        read(f"{'a' * 200_000},b\n1,2\n")


def test_json_numbers_beyond_json_are_read() -> None:
    body = '[{"a": NaN, "b": Infinity}, {"a": -Infinity, "b": 1e400}]'
    matrix = read(body, "text/json", numeric("a", "b")).matrix
    expected = [[math.nan, math.inf], [-math.inf, math.inf]]
    assert np.array_equal(matrix, expected, equal_nan=True)


def test_large_integers_are_the_same_with_and_without_nan_beside() -> None:
    decoder = Decoder(
        [Feature("a", "categorical", categories=("x", str(float(2**64))))]
    )
    row = '{"a": 18446744073709551616, "b": %s}'
    for beside in ("1", "NaN"):
        result = read(f"[{row % beside}]", "text/json", decoder, passthrough=("a",))
        assert result.matrix.tolist() == [[1]]
        assert result.passthrough["a"] == [float(2**64)]
    body = '[{"a": 1%s}, {"a": NaN}]' % ("0" * 5000)
    assert read(body, "text/json", numeric("a")).matrix[0, 0] == math.inf


def test_single_object_is_one_row() -> None:
    assert read('{"a": 1, "b": null}', "text/json", numeric("a")).matrix.tolist() == [
        [1]
    ]


@pytest.mark.parametrize(
    "body",
    [
        '{"data": [{"a": 1}]}',
        '{"a": 1}\n{"a": 2}\n',
        '{"a": [1, 2]}',
        '{"a": 1, "b": [1, 2]}',
        '{"a": {"0": 1}}',
        "[1, 2]",
        "[[1], [2]]",
        '[{"a": 1}, 2]',
        '[{"a": 1}, null]',
        '"a,b"',
        "17",
        "null",
        "a,b\n1,2",
    ],
)
def test_other_json_forms_name_the_accepted_one(body: str) -> None:
    for size in (1, 10_000):
        with chunks_of(size):
            with pytest.raises(
                BodyUnreadable, match="an array of row objects is expect"
            ):
                read(body, "application/json", numeric("a"))


@pytest.mark.parametrize(
    ("body", "byte"),
    [
        ('[{"a": 1},]', 9),
        ('[{"a": 1} {"a": 2}]', 10),
        ('[{"a": "ü", "b": x}]', 18),
        ('[{"a": 1}, {"a": 2}', 19),
        ('[{"a": 1}]]', 10),
        ('[{"a": 1}, {"a": 01}]', 17),
    ],
)
def test_json_that_does_not_parse_names_the_byte(body: str, byte: int) -> None:
    for size in (1, 5, 10_000):
        with chunks_of(size):
            with pytest.raises(
                BodyUnreadable, match=f"not valid JSON: .* byte {byte};"
            ):
                read(body, "application/json", numeric("a"))


def test_json_is_cut_only_between_rows() -> None:
    rows = [
        {"a": n, "b": "},{" * (n % 3), "c": [{"x": 1}, {"x": [{}, {}]}] * (n % 2)}
        for n in range(80)
    ]
    for size in (1, 10, 77, 500):
        with chunks_of(size):
            result = read(as_json(rows), "text/json", numeric("a"), passthrough="all")
        assert result.matrix[:, 0].tolist() == list(range(80))
        assert result.passthrough == {k: [row[k] for row in rows] for k in "abc"}


def test_large_arrays_are_parsed_in_pieces() -> None:
    rows = [{"a": n, "b": {"c": "},{", "d": [{}]}} for n in range(80)]
    with chunks_of(200):
        assert read(as_json(rows), "text/json", numeric("a")).chunks > 5


def test_key_in_some_records_only_is_missing_in_the_others() -> None:
    body = as_json([{"a": 1}] * 20 + [{"b": 2, "c": None}])
    for size in (10, 10_000):
        with chunks_of(size):
            result = read(body, "text/json", numeric("a", "b"), passthrough="all")
            named = read(body, "text/json", numeric("a", "b"), passthrough=("c", "b"))
        expected = [[1, math.nan]] * 20 + [[math.nan, 2]]
        assert np.array_equal(result.matrix, expected, equal_nan=True)
        assert result.passthrough == {
            "a": [1] * 20 + [None],
            "b": [None] * 20 + [2],
            "c": [None] * 21,
        }
        assert list(named.passthrough) == ["c", "b"]
        assert named.passthrough == {n: result.passthrough[n] for n in "cb"}


def test_few_records_of_many_features_are_decoded_at_a_time() -> None:
    names = [f"f{n}" for n in range(1000)]
    body = as_json([dict.fromkeys(names, 1), *({} for _ in range(5000))])
    chunks = read_rows(body, "text/json", numeric(*names), limits=LIMITS)
    sizes = [len(chunk.columns) for chunk in chunks]
    assert sum(sizes) == 5001 and max(sizes) * 1000 <= 1_048_576


@pytest.mark.parametrize(
    "body",
    [
        '[{"a": 1, "a": 2}]',
        '{"a": 1, "\\u0061": 2}',
        '[{"a": 1, "b": ":"}, {"a" : 1, "b": ":\\u003a", "a" : 2}]',
        '[{"a": NaN, "a": 2}]',
        '[{"a": 1, "b": {"a": [{"a": 1, "a": 1}]}}]',
        '[{"a": "::", "a": ""}]',
    ],
)
def test_key_that_stands_twice_is_refused(body: str) -> None:
    for size in (1, 10_000):
        with chunks_of(size):
            with pytest.raises(
                DuplicateColumns, match="more than once in the data: 'a'"
            ):
                read(body, "text/json", numeric("a"))


@pytest.mark.parametrize(
    "body",
    [
        '[{"a": 1, "b": "12:30:00"}]',
        '[{"a": 1, "b:": ":\\":\\u003A"}]',
        '[{"a": 1, "b": {"a": [{"a": ":"}]}}, {"a": 1}]',
        '{"a": 1, "b": "a:a"}',
        '[{"a": 1, "b": %s}]' % ("[" * 300 + "]" * 300),
    ],
)
def test_colons_and_nested_keys_are_no_repeated_keys(body: str) -> None:
    assert read(body, "text/json", numeric("a")).matrix[0, 0] == 1


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.text(':"\\a', max_size=4) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(':"\\ab', max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_repeated_keys_are_found_exactly(value: Any, repeat: bool) -> None:
    body = json.dumps([{"x": 1, "y": value}, {"x": 2, "z": {}}], ensure_ascii=False)
    if repeat:
        body = body.replace('"z": {}', '"z": {"q:": 1, "q:": ":"}')
        with pytest.raises(DuplicateColumns):
            read(body, "text/json", numeric("x"))
    else:
        assert read(body, "text/json", numeric("x")).matrix[:, 0].tolist() == [1, 2]


def test_deep_nesting_is_refused_in_ignored_columns_too() -> None:
    for depth in (1_010, 2_000, 1_000_000):
        body = '[{"a": 1, "b": ' + "[" * depth + "]" * depth + ', "c": ":"}]'
        with pytest.raises(BodyUnreadable, match="depth limit|nested too deeply"):
            read(body, "text/json", numeric("a"))


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(BodyUnreadable, match="no Unicode"):
        read('[{"a": 1, "b": "\\ud800"}]', "text/json", numeric("a"))


CSV_AND_JSON = pytest.mark.parametrize("content_type", ["text/csv", "text/json"])


def body_of(rows: Sequence[dict[str, Any]], content_type: str) -> bytes:
    return as_csv(rows) if content_type == "text/csv" else as_json(rows)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("a,b", "text/csv"),
        ("a,b\n", "text/csv"),
        ("a,b\r\n\r\n", "text/csv"),
        ("x\n", "text/csv"),
        ("[]", "text/json"),
        (" [ ]\n", "text/json"),
    ],
)
def test_data_without_rows_is_refused(body: str, content_type: str) -> None:
    for size in (1, 10_000):
        with chunks_of(size):
            with pytest.raises(NoDataToPredict, match="^No data to predict on$"):
                read(body, content_type, numeric("a", "b"))


@pytest.mark.parametrize("data", [b"", b"\n\r\n"])
def test_file_without_a_header_has_no_data(data: bytes) -> None:
    wanted = Wanted(numeric("a"), (), None, LIMITS, False, True)
    with pytest.raises(NoDataToPredict):
        next(read_csv(data, wanted))


@CSV_AND_JSON
@pytest.mark.parametrize("size", [1, 10_000])
def test_model_columns_that_are_missing_are_listed(
    content_type: str, size: int
) -> None:
    body = body_of([{"a": 1, "c": 2}] * 5, content_type)
    with chunks_of(size), pytest.raises(DataError, match="not in the data: 'b', 'd ü'"):
        read(body, content_type, numeric("a", "b", "c", "d ü"))


@CSV_AND_JSON
@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("Name",), "[u'Name']"),
        (("a", "A", "B"), "[u'A', u'B']"),
        (("it's",), '[u"it\'s"]'),
        (("é€😀",), r"[u'\xe9\u20ac\U0001f600']"),
        (("'\"\\\n\x7f",), r"""[u'\'"\\\n\x7f']"""),
    ],
)
def test_passthrough_columns_that_are_missing_are_listed_as_documented(
    content_type: str, size: int, names: tuple[str, ...], shown: str
) -> None:
    body = body_of([{"a": 1}] * 5, content_type)
    with chunks_of(size), pytest.raises(PassthroughColumnsMissing) as error:
        read(body, content_type, numeric("a"), passthrough=names)
    assert str(error.value) == (
        "passthroughColumns do not match columns, columns expected but not found: "
        + shown
    )


@pytest.mark.parametrize("header", ["a,b,a", 'a,"b",b,"a"', "a,,b,"])
def test_column_that_stands_twice_is_refused(header: str) -> None:
    with pytest.raises(DuplicateColumns, match="Columns stand more than once"):
        read(f"{header}\n1,2,3,4\n", decoder=numeric("a"))


@CSV_AND_JSON
@pytest.mark.parametrize("size", [1, 10_000])
def test_rows_and_columns_are_limited(content_type: str, size: int) -> None:
    rows = [{"a": 1, "b,": 2, "c": 3}] * 4
    body = body_of(rows, content_type)
    enough = dataclasses.replace(LIMITS, max_rows=4, max_columns=3)
    with chunks_of(size):
        assert len(read(body, content_type, numeric("a"), limits=enough).matrix) == 4
        for limit, message in (
            ({"max_rows": 3}, "more than 3 rows"),
            ({"max_columns": 2}, "more than 2 columns"),
        ):
            limits = dataclasses.replace(LIMITS, **limit)  # type: ignore[arg-type]
            with pytest.raises(BodyTooLarge, match=message):
                read(body, content_type, numeric("a"), limits=limits)


def test_endless_header_takes_no_memory() -> None:
    body = b"a" + b"," * 10_000_000 + b"\n1\n"
    tracemalloc.start()
    with pytest.raises(BodyTooLarge, match="more than 10000 columns"):
        read(body, decoder=numeric("a"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000


@CSV_AND_JSON
@pytest.mark.parametrize(
    ("association_id", "passthrough", "names"),
    [
        ("id", (), ["id"]),
        ("id", ("b",), ["id", "b"]),
        ("id", ("b", "id"), ["b", "id"]),
        ("id", "all", ["a", "b", "id"]),
        ("other", ("b",), ["b"]),
    ],
)
def test_association_id_is_passed_through_where_it_is_there(
    content_type: str,
    association_id: str,
    passthrough: Passthrough,
    names: list[str],
) -> None:
    body = body_of([{"a": 1, "b": 2, "id": "x"}], content_type)
    (chunk,) = read_rows(
        body,
        content_type,
        numeric("a"),
        passthrough=passthrough,
        association_id=association_id,
        limits=LIMITS,
    )
    assert list(chunk.passthrough) == names


@CSV_AND_JSON
@pytest.mark.parametrize("size", [10**6, 50])
def test_cells_that_are_shown_come_as_they_were_sent(
    content_type: str, size: int
) -> None:
    level = Feature("l", "categorical", categories=("x",))
    text = Feature("t", "text", dtype="string", missing="empty")
    decoder = Decoder([Feature("n", "numeric"), level, text])
    rows = [
        {"n": n, "l": [" x", "", "y"][n % 3], "t": f"{n}%", "other": "o"}
        for n in range(20)
    ]
    wanted = Wanted(decoder, ("l",), None, LIMITS, False, True, shown=("l", "t"))
    body = body_of(rows, content_type)
    with chunks_of(size, small_csv=size):
        chunks = list(read_wanted(body, content_type, wanted))
    for name in ("l", "t"):
        cells = [
            cell
            for chunk in chunks
            for cell in (
                chunk.cells[name].to_pylist()
                if isinstance(chunk.cells[name], pa.Array)
                else chunk.cells[name]
            )
        ]
        assert cells == [row[name] for row in rows]
    assert all(list(chunk.cells) == ["l", "t"] for chunk in chunks)
    assert all(list(chunk.passthrough) == ["l"] for chunk in chunks)
    # What is not shown is not kept.
    (chunk, *_) = read_rows(body, content_type, decoder, limits=LIMITS)
    assert chunk.cells == {}


@CSV_AND_JSON
def test_policies_reach_every_chunk(content_type: str) -> None:
    level = Feature("l", "categorical", categories=("x",))
    decoder = Decoder([Feature("n", "numeric"), level])
    rows = [
        {"n": "?" if n < 30 else "no", "l": "x" if n < 40 else "y"} for n in range(50)
    ]
    body = body_of(rows, content_type)
    with chunks_of(50):
        result = read(body, content_type, decoder, refuse_invalid=False)
        assert result.counts == (10, 20)
        with pytest.raises(DataError, match="column 'n', row 30"):
            read(body, content_type, decoder)
        with pytest.raises(DataError, match="column 'l', row 40"):
            read(body, content_type, decoder, refuse_invalid=False, refuse_unknown=True)


@CSV_AND_JSON
def test_large_body_is_decoded_in_bounded_memory(content_type: str) -> None:
    rng = random.Random(0)
    rows = [{f"c{n}": rng.random() for n in range(20)} for _ in range(30_000)]
    body = body_of(rows, content_type)
    del rows
    decoder = numeric(*(f"c{n}" for n in range(20)))
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    count = 0
    for chunk in read_rows(body, content_type, decoder, limits=LIMITS):
        count += len(chunk.columns)
        assert pa.total_allocated_bytes() - arrow < 8_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30_000 and len(body) > 10_000_000
    assert peak < 1.2 * len(body)


def test_other_type_is_not_supported() -> None:
    with pytest.raises(UnsupportedMediaType):
        read("a\n1", "image/png", numeric("a"))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                (b"[", b"]", b"{", b"}", b",", b":", b'"', b'"number"', b'"text"', b"1")
                + (b"NaN", b"1e999", b"-", b"\\", b"\\ud800", b"\n", b" ", b"null")
                + (b"\xff", b"\xc3\xa4", b"\xef\xbb\xbf", b'{"number":1}', b"},{")
            ),
            max_size=30,
        ).map(b"".join),
        st.lists(
            st.sampled_from(
                (b"number", b",", b'"', b"\r", b"\n", b"1", b"\0", b"\xff", b"text")
                + (b"\xc3\xa4", b"nan(", b"%", b"\x1a", b";", b"'")
            ),
            max_size=30,
        ).map(b"".join),
    ),
    st.sampled_from(
        ("text/csv", "text/json", "", "text/csv; charset=utf-16", "image/png")
        + ("application/json; charset=latin-1", "multipart/form-data; boundary=x")
        + ("text/csv; charset=utf-7", "text/json; charset=shift_jis")
    ),
    st.sampled_from((("number",), "all", ())),
    st.booleans(),
    st.integers(1, 60),
)
def test_any_bytes_give_rows_or_an_error_of_ours(
    body: bytes, content_type: str, passthrough: Passthrough, strict: bool, size: int
) -> None:
    decoder = (
        Decoder([NUMBER, Feature("text", "text")]) if strict else numeric("number")
    )
    for chunk, small in ((size, 0), (10_000, 10_000)):
        with chunks_of(chunk, small):
            try:
                result = read(body, content_type, decoder, passthrough=passthrough)
            except (AppError, DataError) as error:
                assert str(error)
            else:
                assert len(result.matrix)
