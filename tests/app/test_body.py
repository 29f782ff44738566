"""From what a client sends to UTF-8 of a known kind, within limits."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.body import read_body, unwrap
from app.config import Config
from app.errors import (
    AppError,
    BodyTooLarge,
    BodyUnreadable,
    DeadlineExceeded,
    NoDataToPredict,
    UnsupportedMediaType,
)

LIMITS = Config()
SMALL = dataclasses.replace(LIMITS, max_body=5_000_000)
ROWS = b"a,b\n1,2\n"


class Stream:
    """A body that comes in pieces, and is never asked for more than is left."""

    def __init__(self, body: bytes, piece: int = 10_000) -> None:
        self.body = io.BytesIO(body)
        self.piece = piece
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self.body.read(min(size, self.piece))
        self.read_bytes += len(data)
        return data


def read(
    body: bytes,
    encoding: str | None = None,
    *,
    length: int | None = -1,
    limits: Config = LIMITS,
    seconds: float = 60,
) -> bytes:
    return read_body(
        Stream(body),
        content_length=len(body) if length == -1 else length,
        content_encoding=encoding,
        limits=limits,
        deadline=time.monotonic() + seconds,
    )


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body with the boundary `cut`; parts are heads and contents."""
    return (
        b"".join(
            b"--cut\r\nContent-Disposition: form-data; "
            + head.encode()
            + b"\r\n\r\n"
            + content
            + b"\r\n"
            for head, content in parts
        )
        + b"--cut--\r\n"
    )


Compress = Callable[[bytes], bytes]
each_compression = pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("bz2", bz2.compress)]
)
FORM = "multipart/form-data; boundary=cut"


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity , "])
@pytest.mark.parametrize("length", [-1, None])
def test_body_is_read_as_sent(encoding: str | None, length: int | None) -> None:
    body = random.Random(0).randbytes(1_000_000)
    assert read(body, encoding, length=length) == body


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("bz2", bz2.compress),
        ("identity, BZ2", bz2.compress),
    ],
)
def test_compressed_body_is_inflated(encoding: str, compress: Compress) -> None:
    rng = random.Random(0)
    for body in (b"x", rng.randbytes(700_000), b"0" * 900_000):
        assert read(compress(body), encoding) == body
        assert read(compress(body), encoding, length=None) == body


@each_compression
def test_concatenated_streams_are_one_body(encoding: str, compress: Compress) -> None:
    sent = compress(b"a\n") + compress(b"") + compress(b"1\n" * 300_000)
    assert read(sent, encoding) == b"a\n" + b"1\n" * 300_000


@each_compression
def test_damaged_compression_is_refused(encoding: str, compress: Compress) -> None:
    sent = compress(random.Random(0).randbytes(1000))
    broken = sent[:500] + bytes([sent[500] ^ 255]) + sent[501:]
    for body in (sent[:-1], sent[:20], sent + b"x", sent + b"\0" * 9, broken, b"junk"):
        with pytest.raises(BodyUnreadable, match="The compressed body is damaged"):
            read(body, encoding)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "gzip,bz2", "ü"])
def test_other_encodings_are_not_supported(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding"):
        read(b"x", encoding)


@pytest.mark.parametrize("length", [-1, None])
def test_body_of_the_largest_size_is_read(length: int | None) -> None:
    body = bytes(SMALL.max_body)
    assert read(body, length=length, limits=SMALL) == body
    with pytest.raises(BodyTooLarge, match="larger than 5000000 bytes"):
        read(body + b"x", length=length, limits=SMALL)


def test_body_that_goes_on_is_not_read_to_its_end() -> None:
    stream = Stream(bytes(20_000_000), piece=1_000_000)
    with pytest.raises(BodyTooLarge):
        read_body(
            stream,
            content_length=None,
            content_encoding=None,
            limits=SMALL,
            deadline=time.monotonic() + 60,
        )
    assert stream.read_bytes == SMALL.max_body + 1


def test_body_shorter_than_announced_is_refused() -> None:
    with pytest.raises(BodyUnreadable, match="ends after 5 of the 6 bytes announced"):
        read(b"12345", length=6)


@pytest.mark.parametrize("encoding", [None, "gzip", "bz2"])
def test_empty_body_has_no_data(encoding: str | None) -> None:
    compress = {None: bytes, "gzip": gzip.compress, "bz2": bz2.compress}[encoding]
    with pytest.raises(NoDataToPredict, match="^No data to predict on$"):
        read(compress(b""), encoding)


def test_deadline_ends_reading() -> None:
    class Slow(Stream):
        def read(self, size: int, /) -> bytes:
            time.sleep(0.02)
            return super().read(size)

    stream = Slow(bytes(1000), piece=1)
    with pytest.raises(DeadlineExceeded):
        read_body(
            stream,
            content_length=1000,
            content_encoding=None,
            limits=LIMITS,
            deadline=time.monotonic() + 0.1,
        )
    assert 0 < stream.read_bytes < 100


def test_deadline_ends_inflating(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.0, 1.0, 2.0))
    monkeypatch.setattr("app.body.time.monotonic", lambda: next(times, 2.0))
    sent = gzip.compress(bytes(2_000_000))
    with pytest.raises(DeadlineExceeded):
        read_body(
            io.BytesIO(sent),
            content_length=len(sent),
            content_encoding="gzip",
            limits=LIMITS,
            deadline=1.5,
        )


def test_broken_connection_is_told_from_a_slow_one() -> None:
    class Broken(Stream):
        def __init__(self, error: OSError) -> None:
            super().__init__(b"")
            self.error = error

        def read(self, size: int, /) -> bytes:
            raise self.error

    expected: dict[OSError, type[Exception]] = {
        ConnectionResetError(): BodyUnreadable,
        TimeoutError(): TimeoutError,
    }
    for error, raised in expected.items():
        with pytest.raises(raised):
            read_body(
                Broken(error),
                content_length=9,
                content_encoding=None,
                limits=LIMITS,
                deadline=time.monotonic() + 60,
            )


@each_compression
def test_bomb_takes_no_more_memory_than_the_limit(
    encoding: str, compress: Compress
) -> None:
    sent = compress(bytes(60_000_000))
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        read(sent, encoding, limits=SMALL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * SMALL.max_body


def test_ratio_is_capped_but_small_bodies_inflate_freely() -> None:
    limits = dataclasses.replace(LIMITS, max_inflation=10)
    sent = gzip.compress(bytes(1_000_000))
    assert len(sent) * 100 < 1_000_000
    assert len(read(sent, "gzip", limits=limits)) == 1_000_000
    with pytest.raises(BodyTooLarge, match="inflates to more than 10 times"):
        read(gzip.compress(bytes(1_100_000)), "gzip", limits=limits)


@each_compression
def test_streams_without_end_are_refused(encoding: str, compress: Compress) -> None:
    sent = compress(b"") * 200_000
    started = time.monotonic()
    with pytest.raises(BodyTooLarge, match="10000 compressed streams"):
        read(sent, encoding)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/csv", "text/plain; charset=UTF-8", "TEXT/CSV", "text/x-anything"),
        *("application/octet-stream", "application/x-www-form-urlencoded"),
        *("application/csv", "application/vnd.ms-excel", 'text/csv; charset="utf-8"'),
    ],
)
def test_type_means_csv(content_type: str) -> None:
    assert unwrap(ROWS, content_type) == ("csv", ROWS)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/json", "Application/JSON; charset=utf8", "a/b+json"],
)
def test_type_means_json(content_type: str) -> None:
    assert unwrap(b"[]", content_type) == ("json", b"[]")


@pytest.mark.parametrize(
    "content_type",
    ["image/png", "application/pdf", "application/zip", "multipart/mixed", "audio/x"],
)
def test_other_types_are_not_supported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"Content-Type '{content_type}'"):
        unwrap(ROWS, content_type)


TEXT = "größe,价格\n½,€ 5\n"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        *(("utf-8", TEXT), ("UTF8", TEXT), ("utf-16", TEXT), ("utf_16_be", TEXT)),
        *(("utf-32", TEXT), ("utf-7", TEXT), ("gb18030", TEXT), ("utf-8-sig", TEXT)),
        *(("latin-1", "größe\n½\n"), ("windows-1252", "größe\n€\n"), ("ascii", "a\n")),
        *(("cp437", "größe\n½\n"), ("shift_jis", "価格\n五\n"), ("koi8_u", "ціна\n1")),
    ],
)
def test_charset_is_any_python_text_codec(charset: str, text: str) -> None:
    text = text * 100_000
    kind, data = unwrap(text.encode(charset), f"text/csv; charset={charset}")
    assert (kind, data.decode()) == ("csv", text)


@pytest.mark.parametrize(
    "charset",
    [
        *("nonsense", "punycode", "idna", "unicode_escape", "raw-unicode-escape"),
        *("base64", "zip", "rot13", "undefined", "mbcs", "aliases", "x" * 9000),
    ],
)
def test_other_charsets_are_not_supported(charset: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"charset '{charset[:50]}"):
        unwrap(ROWS, f"text/csv; charset={charset}")


@pytest.mark.parametrize(
    ("charset", "start", "wrong", "byte"),
    [
        ("utf-8", b"a\n" * 200_000, b"\xff\n", 400_000),
        ("utf-8", b"\xc3\xa4" * 131_071 + b"a", b"\xc3(", 262_143),
        ("utf-8", b"a,b\n1,", b"\xe4\xb8", 6),
        ("ascii", b"a\n", b"\xe4", 2),
        ("utf-16-le", b"a\0" * 200_000, b"\x00\xdc", 400_000),
        ("shift_jis", b"a" * 262_143 + b"\x89\xbf", b"\x81", 262_145),
    ],
)
def test_text_that_cannot_be_decoded_names_the_byte(
    charset: str, start: bytes, wrong: bytes, byte: int
) -> None:
    with pytest.raises(BodyUnreadable, match=f"byte {byte} cannot be decoded"):
        unwrap(start + wrong, f"text/csv; charset={charset}")


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(BodyUnreadable, match="not valid UTF-7"):
        unwrap(b"a\n+2AA-\n", "text/csv; charset=utf-7")


def test_byte_order_mark_is_dropped() -> None:
    assert unwrap(b"\xef\xbb\xbf" + ROWS, "text/csv")[1] == ROWS
    assert unwrap(b"\xef\xbb\xbf" + "ä\n1\n".encode(), "")[1] == "ä\n1\n".encode()
    assert unwrap(
        "\ufeffa\n1\n".encode("utf-16-le"), "text/csv; charset=utf-16-le"
    ) == (
        "csv",
        b"a\n1\n",
    )


@pytest.mark.parametrize("body", [b"\n \r\n", b"\xef\xbb\xbf", b" "])
@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_blank_body_has_no_data(body: bytes, content_type: str) -> None:
    with pytest.raises(NoDataToPredict):
        unwrap(body, content_type)


def test_file_part_of_a_form_holds_the_rows() -> None:
    body = form(
        ('name="value"', b"9" * 600_000),
        ('name="file"; filename="rows.csv"\r\nContent-Type: text/csv', ROWS * 90_000),
        ('name="file"', b"ignored"),
    )
    assert unwrap(body, FORM) == ("csv", ROWS * 90_000)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ('name="file"', "csv"),
        ('name="file"; filename="x.JSON"', "json"),
        ('name="file"; filename="x.txt"', "csv"),
        ('name=file; filename="x.json"\r\nContent-Type: text/csv', "csv"),
        ('name="file"; filename="x.csv"\r\nContent-Type: application/json', "json"),
        (
            'name="file"; filename="x.json"\r\nContent-Type: application/octet-stream',
            "json",
        ),
    ],
)
def test_part_says_what_it_holds(head: str, kind: str) -> None:
    assert unwrap(form((head, ROWS)), FORM) == (kind, ROWS)


def test_part_has_a_charset_of_its_own() -> None:
    head = 'name="file"\r\nContent-Type: text/csv; charset=latin-1'
    assert unwrap(form((head, b"\xe4\n1")), FORM)[1] == "ä\n1".encode()
    body = form(('name="file"', b"\xe4\n1"))
    assert unwrap(body, FORM + "; charset=latin-1")[1] == "ä\n1".encode()


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (form(('name="other"', ROWS)), FORM, "no complete part named 'file'"),
        (form(('name="file"', ROWS))[:-12], FORM, "not valid multipart/form-data"),
        (form(), FORM, "no complete part named 'file'"),
        (ROWS, FORM, "not valid multipart/form-data"),
        (ROWS, "multipart/form-data", "no boundary"),
        (ROWS, 'multipart/form-data; boundary="ü"', "not valid multipart/form-data"),
        (b"--cut\r\nX: y\r\n\r\na\r\n--cut--", FORM, "not valid multipart/form-data"),
    ],
)
def test_form_without_a_whole_file_part_is_refused(
    body: bytes, content_type: str, message: str
) -> None:
    with pytest.raises(BodyUnreadable, match=message):
        unwrap(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        form(*[('name="x"', b"")] * 1001),
        b"--cut\r\n" + b"a:b\n" * 3_000_000,
        b"x" * 3_000_000,
    ],
)
def test_form_of_endless_parts_or_heads_is_refused(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(BodyTooLarge, match="too many parts, or too long heads"):
        unwrap(body, FORM)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=99).map(gzip.compress),
        st.binary(max_size=99).map(bz2.compress),
        st.lists(
            st.sampled_from(
                (b"--cut", b"\r\n", b"\n", b"\r", b'; name="file"', b"--", b"\xff")
                + (b"Content-Disposition: form-data", b": ", b"Content-Type", b"a,b")
            ),
            max_size=30,
        ).map(b"".join),
    ),
    st.sampled_from((None, "gzip", "bz2", "identity")),
    st.one_of(
        st.sampled_from((FORM, "text/csv", "application/json", "", "/", ";;", "a;b=")),
        st.text(max_size=40),
        st.text(max_size=20).map("text/csv; charset=".__add__),
    ),
)
def test_nothing_but_errors_of_ours_is_raised(
    body: bytes, encoding: str | None, content_type: str
) -> None:
    try:
        kind, data = unwrap(read(body, encoding), content_type)
    except AppError:
        return
    assert kind in ("csv", "json") and data.decode()
