"""Bodies of the rows API: JSON, forms, and forms that call themselves JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import encode_multipart

from app.body import read_content_type
from app.errors import (
    AppError,
    BodyTooLarge,
    BodyUnreadable,
    DuplicateColumns,
    JsonUnreadable,
    NoDataToPredict,
    UnsupportedMediaType,
)
from app.rows.body import read
from backends.features import DataError
from backends.tensors.refusals import TypeMismatch
from backends.tensors.sent import Upload

JSON = "application/json"
NAMES = st.text(min_size=1, max_size=5)
CELLS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=3),
    max_leaves=6,
)
FOUR = b"""{
    "rows": [
        {"Type": "animal", "Sound": "miaow", "Size": 0.4},
        {"Type": "animal", "Sound": "woof", "Size": 1.2},
        {"Type": "vehicle", "Sound": "tchoo", "Size": 80},
        {"Type": "vehicle", "Sound": "vroom", "Size": 3.2}
    ]
}
"""


def rows_of(body: bytes, content_type: str | None = JSON):
    kind, pieces = read(body, content_type)
    return kind, [row for piece in pieces for row in piece]


def multipart(fields):
    boundary, body = encode_multipart(fields)
    return body, f"multipart/form-data; boundary={boundary}"


def test_rows_of_json_are_read_in_order():
    kind, rows = rows_of(FOUR)
    assert kind == "rows"
    assert rows == json.loads(FOUR)["rows"]


@pytest.mark.parametrize(
    "content_type",
    [
        *(JSON, None, "", "text/json", "application/json; charset=utf-8"),
        *("application/x-www-form-urlencoded", "text/plain"),
    ],
)
def test_json_is_json_whatever_its_type_says(content_type):
    assert rows_of(FOUR, content_type)[1] == json.loads(FOUR)["rows"]


@given(st.lists(st.dictionaries(NAMES, CELLS, max_size=4), min_size=1, max_size=9))
def test_any_rows_are_read_as_they_are(rows):
    body = json.dumps({"rows": rows}).encode()
    assert rows_of(body) == ("rows", rows)
    assert rows_of(json.dumps({"rows": rows}, indent=1).encode())[1] == rows


def test_many_rows_come_in_pieces():
    rows = [{"x": number, "y": "x" * 20} for number in range(40_000)]
    _, pieces = read(json.dumps({"rows": rows}).encode(), JSON)
    found = list(pieces)
    assert len(found) > 1
    assert [row for piece in found for row in piece] == rows


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (b"{", JsonUnreadable, "is not valid JSON"),
        (b'{"rows": [{"a": 1}, {"a": ]}', JsonUnreadable, "at byte 26"),
        (b'{"rows": [{"a": 1}]} x', JsonUnreadable, "is not valid JSON"),
        (b"[]", TypeMismatch, "has no rows"),
        (b'"rows"', TypeMismatch, "has no rows"),
        (b"{}", TypeMismatch, "has no rows"),
        (b'{"Rows": [{"a": 1}]}', TypeMismatch, "has no rows"),
        (b'{"rows": {"a": 1}}', TypeMismatch, "'rows' is no array"),
        (b'{"rows": [{"a": 1}, 2]}', TypeMismatch, "row 1 is no object"),
        (b'{"rows": [[1]]}', TypeMismatch, "row 0 is no object"),
        (b'{"rows": [{"a": 1}], "b": [1]}', TypeMismatch, "unknown key 'b'"),
        (b'{"rows": []}', NoDataToPredict, "No data"),
        (b'{"rows": [{"a": 1, "a": 2}]}', DuplicateColumns, "'a'"),
        (b'{"rows": [{"a": 1}], "rows": []}', DuplicateColumns, "'rows'"),
        (b'{"rows": [{"a": %s, "a": 1}]}' % (b"1" * 5000), DuplicateColumns, "'a'"),
    ],
)
def test_json_that_holds_no_rows_says_why(body, error, text):
    with pytest.raises(error) as raised:
        rows_of(body)
    assert text in str(raised.value)


def test_fields_of_a_form_are_one_row():
    kind, rows = rows_of(*multipart({"Type": "animal", "Size": "0.4"}))
    assert (kind, rows) == ("row", [{"Type": "animal", "Size": "0.4"}])


def test_files_of_a_form_are_uploads():
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\xff\r\n--b--\r\n"
    )
    for content_type in ("multipart/form-data; boundary=b", JSON, None):
        assert rows_of(body, content_type) == (
            "row",
            [{"image": Upload(b"\x89PNG\xff")}],
        )


def part(head, data):
    return b'--b\r\nContent-Disposition: form-data; name="x"\r\n%s\r\n%s\r\n--b--' % (
        head,
        data,
    )


@pytest.mark.parametrize(
    ("head", "data", "value"),
    [
        (b"", "grün".encode(), "grün"),
        (b"Content-Type: text/plain\r\n", b"1", "1"),
        (b"Content-Type: text/plain; charset=utf-16\r\n", "1".encode("utf-16"), "1"),
        (b"Content-Type: application/json\r\n", b"[1, 2]", "[1, 2]"),
        (b"Content-Type: image/png\r\n", b"\x89PNG", Upload(b"\x89PNG")),
    ],
)
def test_field_of_a_form_is_what_its_type_says(head, data, value):
    assert rows_of(part(head, data), JSON) == ("row", [{"x": value}])


def test_field_that_is_no_text_is_refused():
    with pytest.raises(BodyUnreadable, match="not valid UTF-8"):
        rows_of(part(b"", b"\xff\xfe"), JSON)


def test_form_that_calls_itself_json_is_known_by_its_boundary():
    body, _ = multipart({"Size": "0.4"})
    assert rows_of(body, JSON) == ("row", [{"Size": "0.4"}])


def test_urlencoded_fields_are_one_row():
    body = b"Type=ani+mal&Size=0.4&Sound=%E2%98%83"
    expected = {"Type": "ani mal", "Size": "0.4", "Sound": "\N{SNOWMAN}"}
    kind = "application/x-www-form-urlencoded"
    assert rows_of(body, kind) == ("row", [expected])


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"a,b\n1,2\n", "text/csv", UnsupportedMediaType),
        (b"\x89PNG", "image/png", UnsupportedMediaType),
        (b"\x89PNG", None, BodyUnreadable),
        (b"x", "multipart/form-data", BodyUnreadable),
        (b"a=1&a=2", "application/x-www-form-urlencoded", DuplicateColumns),
        (b"nothing", "application/x-www-form-urlencoded", BodyUnreadable),
        (b"a=%ff", "application/x-www-form-urlencoded", BodyUnreadable),
        (b"--b\r\n\r\n--b--\r\n", JSON, BodyUnreadable),
        (b"--b--\r\n", JSON, BodyUnreadable),
        (b'{"rows": [{"a": "\xff"}]}', JSON, JsonUnreadable),
        (b"{}", "application/json; charset=klingon", UnsupportedMediaType),
    ],
)
def test_other_bodies_are_refused(body, content_type, error):
    with pytest.raises(error):
        rows_of(body, content_type)


def test_field_that_is_there_twice_is_refused():
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' for _ in "ab"
    )
    with pytest.raises(DuplicateColumns, match="'x' more than once"):
        rows_of(body + b"--b--\r\n")


@pytest.mark.parametrize("end", [10, 24, 60, 70])
def test_form_that_is_cut_off_is_refused(end):
    body, content_type = multipart({"x": "1", "y": "2"})
    assert rows_of(body, content_type)[1] == [{"x": "1", "y": "2"}]
    with pytest.raises(BodyUnreadable, match="not valid multipart"):
        rows_of(body[:-end], content_type)


def test_parts_without_end_are_refused():
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    with pytest.raises(BodyTooLarge):
        rows_of(part * 1_001 + b"--b--\r\n")


TYPES = st.sampled_from(
    [
        *(None, JSON, "multipart/form-data; boundary=b", "text/csv"),
        *("application/x-www-form-urlencoded", "application/json; charset=utf-16"),
    ]
)
STARTS = st.sampled_from([b"", b"--b", b'{"rows": [', b'{"rows":[{"a":1}]', b"a=1&"])


@given(STARTS, st.binary(max_size=60), TYPES)
def test_no_body_raises_anything_else(start, rest, content_type):
    try:
        kind, rows = rows_of(start + rest, content_type)
    except (AppError, DataError):
        return
    assert kind in ("rows", "row")
    assert all(isinstance(row, dict) for row in rows)
    assert read_content_type(content_type or "")[0] != "text/csv" or kind == "row"
