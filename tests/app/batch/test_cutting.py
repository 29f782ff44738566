import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch import cutting
from app.batch.cutting import Head, Part, cut_parts, read_head, whole
from app.errors import BodyTooLarge, BodyUnreadable, NoDataToPredict

CELLS = st.text(alphabet='ab,"\r\n é', max_size=8)
NEWLINES = st.sampled_from(["\n", "\r\n", "\r"])


def parts_of(data: bytes, size: int, **begin: Any) -> tuple[Head, list[Part]]:
    head = read_head(io.BytesIO(data), 100)
    return head, list(cut_parts(io.BytesIO(data), head, part_bytes=size, **begin))


def cell(text: str, quoted: bool) -> str:
    if quoted or any(each in text for each in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[list[str]]]:
    """A CSV file and its records; some cells are quoted that need not be."""
    columns, quoted = draw(st.integers(1, 4)), draw(st.booleans())
    row = st.lists(CELLS, min_size=columns, max_size=columns)
    rows = draw(st.lists(row, min_size=1, max_size=30))
    newline = draw(NEWLINES)
    names = [f"column {each}" for each in range(columns)]
    lines = [",".join(cell(each, quoted) for each in row) for row in [names, *rows]]
    # Of one column the last line may be empty: its newline tells that it is there.
    ended = not lines[-1] or draw(st.booleans())
    return (newline.join(lines) + newline * ended).encode(), rows


@settings(max_examples=400, deadline=None)
@given(files(), st.integers(1, 60))
def test_parts_hold_the_records_of_the_file_in_order(file, size):
    data, rows = file
    head, parts = parts_of(data, size)
    found = []
    for number, part in enumerate(parts):
        text = data[part.start : part.end].decode()
        records = list(csv.reader(io.StringIO(text, newline="")))
        if len(head.names) > 1:
            records = [record for record in records if record]
        records = [record or [""] for record in records]
        assert (part.number, part.first_row) == (number, len(found))
        assert part.rows == len(records)
        found += records
    assert found == rows


@settings(max_examples=200, deadline=None)
@given(files(), st.integers(1, 60))
def test_parts_are_the_same_from_the_end_of_any_of_them(file, size):
    data, _ = file
    _, parts = parts_of(data, size)
    for place, part in enumerate(parts):
        _, others = parts_of(
            data,
            size,
            start=part.end,
            number=part.number + 1,
            first_row=part.first_row + part.rows,
        )
        assert others == parts[place + 1 :]


def test_record_longer_than_a_part_is_one_part():
    data = b'a,b\n1,2\n3,"' + b"x\n" * 100 + b'"\n4,5\n'
    _, parts = parts_of(data, 4)
    assert [part.rows for part in parts] == [1, 2]
    assert data[parts[1].start : parts[1].end].startswith(b'3,"x')


def test_newline_of_two_bytes_is_not_cut():
    data = b"a\r\n" + b"1\r\n" * 20
    for size in range(1, 10):
        _, parts = parts_of(data, size)
        assert sum(part.rows for part in parts) == 20
        assert {data[part.end - 2 : part.end] for part in parts} == {b"\r\n"}


def test_empty_lines_are_rows_of_one_column_only():
    assert sum(part.rows for part in parts_of(b"a\n1\n\n\n2\n", 2)[1]) == 4
    assert sum(part.rows for part in parts_of(b"a,b\n1,1\n\n\n2,2\n", 2)[1]) == 2


def test_header_may_follow_a_byte_order_mark_and_empty_lines():
    head, parts = parts_of(b"\xef\xbb\xbf\n\r\na,b\r\n1,2\r\n", 100)
    assert head == Head(("a", "b"), b"a,b\n", 11)
    assert parts == [Part(0, 11, 16, 0, 1)]


def test_header_may_be_longer_than_what_is_read_at_once(monkeypatch):
    monkeypatch.setattr(cutting, "_HEADER_BYTES", 2)
    head, parts = parts_of(b'"a\n,",b\n1,2\n', 100)
    assert (head.names, len(parts)) == (("a\n,", "b"), 1)


@pytest.mark.parametrize("text", [b"", b"\n\n", b" \n", b"a,b", b"a,b\n", b"a,b\n\n\n"])
def test_file_without_rows_is_refused(text):
    with pytest.raises(NoDataToPredict):
        parts_of(text, 100)


@pytest.mark.parametrize("text", [b'a,"b\n1,2\n', b'a,b\n1,2\n1,"2\n1,3\n'])
def test_quote_that_is_never_closed_is_refused(text):
    with pytest.raises(BodyUnreadable, match="never closed"):
        parts_of(text, 5)


def test_record_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(cutting, "MOST_RECORD_BYTES", 64)
    with pytest.raises(BodyUnreadable, match="record at byte 8 .* longer than"):
        parts_of(b'a,b\n1,2\n3,"' + b"x" * 1000, 4)
    monkeypatch.setattr(cutting, "_HEADER_BYTES", 4)
    with pytest.raises(BodyUnreadable, match="header .* longer than"):
        parts_of(b'"' + b"a" * 1000, 4)


def test_too_many_columns_are_refused():
    with pytest.raises(BodyTooLarge, match="100 columns"):
        parts_of(b"a," * 200 + b"a\n1\n", 4)


def test_newline_of_the_header_may_be_cut_by_what_is_read_at_once(monkeypatch):
    monkeypatch.setattr(cutting, "_HEADER_BYTES", 4)
    file = io.BytesIO(b"abc\r\n1\r\n")
    head = read_head(file, 10)
    assert (head.text, head.end) == (b"abc\n", 5)
    assert [part.rows for part in cut_parts(file, head)] == [1]


def test_whole_file_has_the_rows_of_all_parts():
    file = io.BytesIO(b"a,b\n1,2\n3,4\n5,6\n")
    head = read_head(file, 10)
    assert whole(file, head, 5) == Part(0, 4, 16, 0, 3)


class Short(io.BytesIO):
    """Gives less than it is asked for, as files elsewhere may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7) if size and size > 0 else size)


@pytest.mark.parametrize("size", [10, 100, 10**6])
def test_parts_are_the_same_of_a_file_that_reads_short(size):
    data = b"column a,column b\n" + b'1,"x\ny"\n' * 50
    head, parts = parts_of(data, size)
    short = read_head(Short(data), 100)
    assert short == head
    assert list(cut_parts(Short(data), short, part_bytes=size)) == parts
