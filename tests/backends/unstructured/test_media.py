"""Content types as requests name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unstructured.frames import NoMessage, begin, read_head, read_prefix
from backends.unstructured.media import Content, codec, is_media_type


@pytest.mark.parametrize(
    ("header", "kind", "charset"),
    [
        (None, "application/octet-stream", None),
        ("", "application/octet-stream", None),
        ("nonsense", "application/octet-stream", None),
        ("Text/Plain; charset=UTF-8", "text/plain", "UTF-8"),
        ('text/csv;header=present; charset="latin-1"', "text/csv", "latin-1"),
        ("a/" + "b" * 300, "application/octet-stream", None),
    ],
)
def test_header_is_read(header, kind, charset):
    found = Content.of(b"", header)
    assert (found.kind, found.charset) == (kind, charset)


@pytest.mark.parametrize("name", ["base64", "zip", "rot13", "no such", "a\0b", None])
def test_what_is_no_charset_is_utf_8(name):
    assert codec(name) == "utf-8"


@given(st.text(max_size=80))
def test_what_is_declared_fits_a_header(header):
    found = Content.of(b"", header)
    assert is_media_type(found.kind)
    assert codec(found.charset)


@given(st.binary(min_size=28, max_size=28))
def test_rubbish_is_no_prefix(data):
    with pytest.raises(NoMessage):
        read_prefix(data, b"m" * 16)


def test_prefix_is_read_as_it_was_written():
    text = begin(b"m" * 16, {"kind": "answer"}, 7)
    mark, sizes = read_prefix(text[:28], b"m" * 16)
    assert (mark, sizes.body) == (b"m" * 16, 7)
    assert read_head(text[28:]) == {"kind": "answer"}


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 60_000])
def test_head_is_an_object(data):
    with pytest.raises(NoMessage):
        read_head(data)
