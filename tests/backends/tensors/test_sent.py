"""Data URLs: read as browsers read them, or refused."""

from __future__ import annotations

import base64
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.tensors.refusals import DataUrlInvalid
from backends.tensors.sent import is_data_url, read_data_url, write_data_url


@given(st.binary())
def test_written_data_url_is_read_back(data: bytes) -> None:
    url = write_data_url("image/png", data)
    assert url == f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert read_data_url(url) == ("image/png", data)


@given(st.binary(), st.integers(1, 80), st.sampled_from(["\n", "\r\n", " ", "%0A"]))
def test_wrapped_base64_is_read(data: bytes, width: int, end: str) -> None:
    text = base64.b64encode(data).decode()
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    assert read_data_url(f"data:a/b;base64,{end.join(lines)}{end}") == ("a/b", data)


@given(st.binary())
def test_padding_may_be_left_out_or_escaped(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for sent in (text.rstrip("="), text.replace("=", "%3D"), text.replace("=", "%3d")):
        assert read_data_url(f"data:a/b;base64,{sent}") == ("a/b", data)


@given(st.binary(), st.sampled_from(["", "/+", "=,;"]))
def test_escaped_content_is_read(data: bytes, safe: str) -> None:
    escaped = quote_from_bytes(data, safe=safe)
    assert read_data_url(f"data:a/b,{escaped}") == ("a/b", data)


@given(st.text(alphabet="%25aF9gé\n,;=", max_size=20))
@example("%")
@example("%4")
@example("%%41")
@example("%254")
def test_stray_percent_signs_stay(text: str) -> None:
    assert read_data_url(f"data:,{text}") == ("text/plain", unquote_to_bytes(text))


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        ("data:", "text/plain"),
        ("DATA:Image/PNG", "image/png"),
        ("data: image/svg+xml ;charset=utf-8", "image/svg+xml"),
        ("data:;charset=utf-8", "text/plain"),
        ("data:application/x.peltarion.npy;name=a.npy", "application/x.peltarion.npy"),
    ],
)
def test_media_type_is_lower_case_without_parameters(
    head: str, media_type: str
) -> None:
    assert read_data_url(f"{head},QUI=") == (media_type, b"QUI=")
    assert read_data_url(f"{head};base64,QUI=") == (media_type, b"AB")
    assert read_data_url(f"{head}; BASE64 ,QUI=") == (media_type, b"AB")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("QUI=", "a data URL is expected, not 'QUI='"),
        ("http://a/b", "a data URL is expected"),
        ("data", "a data URL is expected"),
        ("", "a data URL is expected, not ''"),
        ("data:image/png;base64", "no comma"),
        ("data:" + ";" * 1_000_000 + ",", "no comma"),
        ("data:image;base64,QUI=", "no media type: 'image'"),
        ("data:base64,QUI=", "no media type: 'base64'"),
        ("data:a/b c;base64,QUI=", "no media type"),
        ("data:a/b;base64,Q", "cut off, or padded wrongly"),
        ("data:a/b;base64,QQ=", "cut off, or padded wrongly"),
        ("data:a/b;base64,QUI==", "cut off, or padded wrongly"),
        ("data:a/b;base64,QUJD====", "cut off, or padded wrongly"),
        ("data:a/b;base64,=", "cut off, or padded wrongly"),
        ("data:a/b;base64,QQ==QUI=", "not in base64"),
        ("data:a/b;base64,Q-_=", "not in base64"),
        ("data:a/b;base64,Qé=", "not in base64"),
        ("data:a/b;base64,%zzz", "not in base64"),
        ("data:a/b,\ud800", "characters that no text may have"),
    ],
)
def test_what_is_no_data_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataUrlInvalid, match=message) as caught:
        read_data_url(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["data:", "Data:,a", "DATA:image/png"])
def test_scheme_is_told_in_any_case(text: str) -> None:
    assert is_data_url(text)
    assert not is_data_url(" " + text)
    assert not is_data_url(text[:4])


PARTS = ["data:", "a/b", ";base64", ";", ",", "=", "%3D", "%", "QUJD", "Q", "\n", "é"]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3)).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        media_type, content = read_data_url(text)
    except DataUrlInvalid as error:
        assert str(error)[0].islower()
    else:
        assert "/" in media_type
        assert len(content) <= len(text.encode())


def test_megabytes_are_read_at_once() -> None:
    data = bytes(range(256)) * 20_000
    assert read_data_url(write_data_url("a/b", data))[1] == data
    assert read_data_url("data:a/b," + quote_from_bytes(data, safe=""))[1] == data
