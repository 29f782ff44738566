"""What comes in as CSV of any dialect is kept as one, and what is none is refused."""

import csv
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batch import intake
from app.batch.intake import InputRefused, PartIncomplete, joined, normalised
from app.batch.spec import CsvSettings
from app.errors import BodyTooLarge, NoDataToPredict

DEFAULT = CsvSettings()


def keep(data, settings=DEFAULT, codec="utf_8", step=7, most_columns=100, **options):
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    return b"".join(normalised(pieces, settings, codec, most_columns, **options))


def records(data):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_usual_input_is_kept_as_it_is():
    data = 'a,b\r\n1,"x, ""y""\r\nz"\r\n2,ü\r\n'.encode()
    assert keep(data) == data.replace(b"a,b\r\n", b"a,b\n")


def test_byte_order_mark_is_dropped():
    assert keep(b"\xef\xbb\xbfa\n1\n", step=1) == b"a\n1\n"


def test_only_the_mark_at_the_beginning_is_dropped():
    assert keep("a\n\ufeff1\n".encode(), step=1) == "a\n\ufeff1\n".encode()


def test_last_row_gets_its_newline():
    assert keep(b"a,b\n1,2") == b"a,b\n1,2\n"


def test_empty_lines_before_the_header_are_dropped():
    assert keep(b"\n\r\na,b\n1,2\n") == b"a,b\n1,2\n"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"a,b", b"a,b\n", b"a,b\r\n\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_input_without_rows_is_refused(data, delimiter):
    with pytest.raises(NoDataToPredict):
        keep(data.replace(b",", delimiter.encode()), CsvSettings(delimiter=delimiter))


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_empty_line_is_a_row_of_one_column(delimiter):
    kept = keep(b"a\n\n1\n", CsvSettings(delimiter=delimiter))
    assert kept in (b"a\n\n1\n", b'a\r\n""\r\n1\r\n')


@pytest.mark.parametrize("step", [1, 3, 100])
def test_bytes_that_are_no_utf8_are_refused_by_their_place(step):
    with pytest.raises(InputRefused, match="not valid UTF-8: byte 6 cannot"):
        keep(b"a,b\n1,\xff\n", step=step)


def test_character_that_is_cut_off_is_refused():
    with pytest.raises(InputRefused, match="ends within a character"):
        keep(b"a,b\n1,\xc3")


@pytest.mark.parametrize("settings", [DEFAULT, CsvSettings(delimiter=";")])
def test_quote_that_is_never_closed_is_refused(settings):
    with pytest.raises(InputRefused, match="never closed"):
        keep(b'a\n1\n"2\n3\n', settings)


@pytest.mark.parametrize("settings", [DEFAULT, CsvSettings(delimiter=";")])
def test_record_without_end_is_refused_before_it_is_held(settings, monkeypatch):
    monkeypatch.setattr(intake, "MOST_RECORD", 3_000_000)
    line = b"x" * 1000 + b"\n"

    def endless():
        yield b'a\n"'
        for _ in range(100_000):
            yield line * 100

    with pytest.raises(InputRefused):
        list(normalised(endless(), settings, "utf_8", 100))


@pytest.mark.parametrize("settings", [DEFAULT, CsvSettings(delimiter=";")])
def test_more_columns_than_may_be_are_refused(settings):
    data = settings.delimiter.join("abcdef").encode() + b"\n1\n"
    with pytest.raises(BodyTooLarge):
        keep(data, settings, most_columns=5)


@pytest.mark.parametrize(
    ("settings", "codec"),
    [
        (CsvSettings(delimiter=";"), "utf_8"),
        (CsvSettings(delimiter="tab"), "utf_8"),
        (CsvSettings(quotechar="'"), "utf_8"),
        (CsvSettings(encoding="latin-1"), "latin_1"),
        (CsvSettings(encoding="utf-16"), "utf_16"),
        (CsvSettings(delimiter="|", encoding="cp1252"), "cp1252"),
    ],
)
def test_other_dialects_are_written_anew(settings, codec):
    rows = [["a", "b,;|"], ["1", 'ü\'"x"\ny'], ["", "\t"]]
    text = io.StringIO()
    comma = "\t" if settings.delimiter == "tab" else settings.delimiter
    csv.writer(text, delimiter=comma, quotechar=settings.quotechar).writerows(rows)
    assert records(keep(text.getvalue().encode(codec), settings, codec)) == rows


@pytest.mark.parametrize("delimiter", "0123456789abcdef")
def test_delimiter_may_be_any_character(delimiter):
    data = f"x{delimiter}y\nv{delimiter}w\n"
    kept = keep(data.encode(), CsvSettings(delimiter=delimiter))
    assert kept == b"x,y\r\nv,w\r\n"


def test_cell_that_is_too_long_is_refused():
    data = b"a;b\n1;" + b"x" * (csv.field_size_limit() + 1)
    with pytest.raises(InputRefused, match="field larger than"):
        keep(data, CsvSettings(delimiter=";"), step=1000)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_memory_is_bounded_whatever_the_size(delimiter):
    piece = f'1{delimiter}"{1000 * "x"}, and"\n'.encode() * 100

    def pieces():
        yield f"a{delimiter}b\n".encode()
        for _ in range(200):
            yield piece

    tracemalloc.start()
    try:
        settings = CsvSettings(delimiter=delimiter)
        size = sum(map(len, normalised(pieces(), settings, "utf_8", 10)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 20_000_000 > 2 * peak


# Parts


def join(*parts):
    kept = [io.BytesIO(keep(part, is_part=True)) for part in parts]
    return b"".join(joined(kept, 100))


def test_parts_are_joined_under_one_header():
    assert join(b"a,b\r\n1,2\r\n", b"a,b\r\n3,4\r\n") == b"a,b\n1,2\r\n3,4\r\n"


def test_part_without_rows_adds_none():
    assert join(b"a\n", b"a\n1\n", b"a\n") == b"a\n1\n"


def test_parts_of_other_newlines_lose_no_empty_row():
    assert join(b"a\r1\r", b"a\n\n2\n").splitlines() == [b"a", b"1", b"", b"2"]


def test_parts_without_any_row_are_refused():
    with pytest.raises(NoDataToPredict):
        join(b"a\n", b"a\n")


def test_part_with_another_header_is_refused():
    with pytest.raises(InputRefused, match="Part 1 has another header"):
        join(b"a,b\n1,2\n", b"a,c\n1,2\n")


@pytest.mark.parametrize(
    "data", [b"a,b\r\n1,2\r\n3,", b"a,b\r\n1,2\r", b"a,b\n1,2", b"a,b"]
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_part_that_was_cut_off_is_refused(data, delimiter):
    data = data.replace(b",", delimiter.encode())
    with pytest.raises(PartIncomplete):
        keep(data, CsvSettings(delimiter=delimiter), is_part=True)


@pytest.mark.parametrize("text", ["a,b\r\n1,ü\r\n2,üü\r\n", "ä,b\r\n1,2\r\n3,ö\r\n"])
def test_part_sent_with_a_length_in_characters_is_refused(text):
    with pytest.raises(InputRefused):
        keep(text.encode()[: len(text)], is_part=True)


# Whatever is sent

CELLS = st.text(st.sampled_from("ab1,;\t\"'\n\r üß€\u2028\x00\x0b"), max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=2, max_size=8).filter(
    lambda rows: any(rows[0])
)
STEPS = st.integers(1, 20)


@given(ROWS, STEPS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_rows_are_kept_whatever_the_quotes(rows, step, quoting):
    text = io.StringIO()
    csv.writer(text, quoting=quoting).writerows(rows)
    assert records(keep(text.getvalue().encode(), step=step)) == rows


@given(
    ROWS,
    STEPS,
    st.sampled_from([";", "\t", "|", ","]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["utf_8", "utf_16", "utf_32", "utf_7", "utf_8_sig"]),
)
def test_rows_of_every_dialect_are_kept(rows, step, delimiter, quotechar, codec):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quotechar=quotechar).writerows(rows)
    settings = CsvSettings(delimiter, quotechar, codec)
    kept = keep(text.getvalue().encode(codec), settings, codec, step)
    assert records(kept) == rows


@given(st.binary(max_size=60), STEPS, st.sampled_from(["utf_8", "utf_16", "cp1252"]))
def test_any_bytes_are_kept_or_refused(data, step, codec):
    settings = CsvSettings(";" if step % 2 else ",", '"', codec)
    try:
        kept = keep(data, settings, codec, step)
    except (InputRefused, NoDataToPredict):
        return
    assert kept.endswith((b"\n", b"\r")) and kept.decode()


@given(
    st.text(st.sampled_from('ab,"\n\r'), max_size=40).map(lambda text: "h,i\n" + text),
    STEPS,
)
def test_text_with_quotes_anywhere_is_read_as_the_csv_module_does(text, step):
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    try:
        kept = keep(text.encode(), step=step)
    except NoDataToPredict:
        assert len(expected) == 1
    except InputRefused as error:
        assert "never closed" in str(error)
    else:
        assert [row for row in records(kept) if row] == expected


@given(st.lists(ROWS, min_size=1, max_size=4), STEPS)
def test_any_parts_make_the_whole(parts, step):
    header = ["x", "y"]
    sent = []
    for rows in parts:
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        sent.append(text.getvalue().encode())
    kept = [io.BytesIO(keep(part, step=step, is_part=True)) for part in sent]
    whole = records(b"".join(joined(kept, 100)))
    assert whole == [header, *(row for rows in parts for row in rows)]
