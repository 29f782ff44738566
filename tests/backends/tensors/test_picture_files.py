from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backends.features import DataError
from backends.tensors import images
from backends.tensors.picture_files import MOST_PARTS, MOST_SCANS, has_all_rows, read
from backends.tensors.spec import Picture

COLORS = Image.fromarray(
    np.random.default_rng(5).integers(0, 256, (6, 9, 3), dtype=np.uint8)
)


def saved(kind: str, **options: object) -> bytes:
    file = BytesIO()
    COLORS.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def header(*numbers: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *numbers))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


GREY = header(1, 1, 8, 0, 0, 0, 0)
PIXEL = chunk(b"IDAT", zlib.compress(b"\0\7"))
END = chunk(b"IEND")


def segment(marker: int, data: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def tiff(value: int, kind: int = 3, order: str = "<", tag: int = 0x0112) -> bytes:
    """EXIF data of one entry."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHI{'I' if kind == 4 else 'Hxx'}", tag, kind, 1, value)
    return start + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(data)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_format_and_size_are_told(kind):
    file = read(saved(kind))
    assert (file.format, file.width, file.height) == (kind, 9, 6)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": tiff(3)}])
def test_every_webp_tells_its_size(options):
    file = read(saved("WEBP", **options))
    assert (file.width, file.height) == (9, 6)
    assert file.orientation == (3 if "exif" in options else 1)


@pytest.mark.parametrize("lossless", [True, False])
def test_the_widest_webp_tells_its_size(lossless):
    file = BytesIO()
    Image.new("RGB", (16_383, 1)).save(file, "WEBP", lossless=lossless)
    assert (read(file.getvalue()).width, read(file.getvalue()).height) == (16_383, 1)


# What does not make pixels.


def test_only_what_makes_pixels_is_handed_on():
    profile, text = b"profile" * 20_000, b"a text" * 9_000
    noted = saved("PNG", icc_profile=profile, exif=tiff(6))
    assert read(noted).data == saved("PNG")
    jpeg = saved("JPEG", icc_profile=profile, comment=text, exif=tiff(6))
    assert read(jpeg).data == saved("JPEG")


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_chunks_that_would_inflate_are_not_read(kind):
    bomb = b"name\0\0" + zlib.compress(bytes(1 << 24))
    assert read(png(GREY, chunk(kind, bomb), PIXEL, END)).data == png(GREY, PIXEL, END)


def test_other_pictures_behind_a_jpeg_do_not_count():
    data = saved("JPEG") * 30 + b"\xff\xda" * 500
    assert (read(data).width, read(data).height) == (9, 6)


def as_pillow_takes_it(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def decode(data: bytes, picture: Picture, limit: int) -> np.ndarray:
    return images.decode(images.checked(data, limit), picture)


def as_it_is_decoded(data: bytes) -> np.ndarray:
    height, width = as_pillow_takes_it(data).shape[:2]
    picture = Picture(height, width, layout="NHWC", high=255.0)
    return decode(data, picture, 10_000)


def test_what_tells_the_kind_of_colors_is_kept():
    # Without JFIF's segment, Adobe's says that the colours are RGB.
    adobe = segment(0xEE, b"Adobe\0\x64" + bytes(5))
    data = b"\xff\xd8" + adobe + saved("JPEG")[20:]
    found = as_it_is_decoded(data)
    assert np.array_equal(found, as_pillow_takes_it(data))
    assert not np.array_equal(found, as_it_is_decoded(saved("JPEG")))


def test_a_frame_smaller_than_the_whole_leaves_the_transparent_color():
    data = bytearray(saved("GIF"))
    data[6:10] = struct.pack("<HH", 20, 20)
    frame = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    data[frame:frame] = b"!\xf9\4\1\0\0\5\0"
    found = as_it_is_decoded(bytes(data))
    assert np.array_equal(found, as_pillow_takes_it(bytes(data)))
    color = list(data[13 + 3 * 5 : 13 + 3 * 6])
    assert found[19, 19].tolist() == color and any(color)


# Orientation.


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_is_told(order, kind):
    exif = tiff(5, kind, order)
    assert read(saved("JPEG", exif=b"Exif\0\0" + exif)).orientation == 5
    assert read(png(GREY, chunk(b"eXIf", exif), PIXEL, END)).orientation == 5
    assert read(png(GREY, PIXEL, chunk(b"eXIf", exif), END)).orientation == 5


@pytest.mark.parametrize("exif", [b"", tiff(0), tiff(9), tiff(6, tag=0x0113)])
def test_pictures_of_no_known_orientation_are_upright(exif):
    assert read(saved("JPEG", exif=b"Exif\0\0" + exif)).orientation == 1


@pytest.mark.parametrize(
    "exif",
    [b"II", b"an error", tiff(6)[:-8], tiff(6)[:9], tiff(6, kind=7), b"II*\0\xff" * 2],
)
def test_exif_data_that_cannot_be_read_are_refused(exif):
    told = "the picture's EXIF data cannot be read: send it without them"
    assert refusal(saved("JPEG", exif=b"Exif\0\0" + exif)) == told
    assert refusal(png(GREY, chunk(b"eXIf", exif), PIXEL, END)) == told


@settings(max_examples=200, deadline=None)
@given(exif=st.binary(max_size=60) | st.binary(max_size=60).map(tiff(6).__add__))
def test_any_exif_data_are_refused_or_read(exif):
    try:
        file = read(png(GREY, chunk(b"eXIf", exif), PIXEL, END))
    except DataError as error:
        assert "EXIF" in str(error)
    else:
        assert file.orientation in range(1, 9)


# Damage.


def test_wrong_checksums_are_refused():
    """Pillow leaves those of the pixels out."""
    data = bytearray(png(GREY, PIXEL, END))
    data[data.index(b"IDAT") + 14] ^= 1
    assert refusal(bytes(data)) == "the picture is damaged"


@pytest.mark.parametrize(
    "chunks",
    [
        (PIXEL, GREY, END),
        (GREY, header(60_000, 60_000, 8, 0, 0, 0, 0), PIXEL, END),
        (header(1, 1, 3, 0, 0, 0, 0), PIXEL, END),
        (header(1, 1, 8, 5, 0, 0, 0), PIXEL, END),
        (header(1, 1, 8, 3, 0, 0, 0), PIXEL, END),
        (header(1, 1, 8, 3, 0, 0, 0), chunk(b"PLTE", b"1234"), PIXEL, END),
        (chunk(b"IHDR", b"short"), PIXEL, END),
    ],
)
def test_pngs_that_break_the_rules_are_refused(chunks):
    assert refusal(png(*chunks)) == "the picture is damaged"


def test_pngs_without_an_end_are_refused():
    assert refusal(png(GREY, PIXEL)) == "the picture is truncated"


def test_jpegs_of_two_sizes_are_refused():
    data = saved("JPEG")
    place = data.index(b"\xff\xc0")
    length = struct.unpack_from(">H", data, place + 2)[0] + 2
    again = data[:place] + data[place : place + length] + data[place:]
    assert refusal(again) == "the picture is damaged"


def test_gifs_of_a_frame_without_pixels_are_refused():
    data = bytearray(saved("GIF"))
    frame = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    data[frame + 5 : frame + 9] = bytes(4)
    assert refusal(bytes(data)) == "the picture has no pixels"
    assert refusal(bytes(data[:frame]) + b";") == "the picture has no pixels"


def test_a_frame_beyond_the_whole_makes_it_larger():
    data = bytearray(saved("GIF"))
    frame = data.index(b",", 13 + 3 * (2 << (data[10] & 7)))
    data[frame + 1 : frame + 5] = struct.pack("<HH", 100, 200)
    file = read(bytes(data))
    assert (file.width, file.height) == (109, 206)
    assert decode(bytes(data), Picture(206, 109), 30_000).any()


# Files of too many parts.


@pytest.mark.parametrize(
    "data",
    [
        png(GREY, *[chunk(b"tEXt")] * (MOST_PARTS + 1), PIXEL, END),
        saved("JPEG")[:2] + segment(0xFE) * (MOST_PARTS + 1) + saved("JPEG")[2:],
        b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * (MOST_PARTS + 1),
        b"GIF89a\1\0\1\0\0\0\0" + bytes(MOST_PARTS + 1),
    ],
)
def test_files_of_too_many_parts_are_refused(data):
    assert refusal(data) == "the picture's file has more than 100,000 parts"


@pytest.mark.parametrize("progressive", [True, False])
def test_jpegs_of_too_many_scans_are_refused(progressive):
    data = saved("JPEG", progressive=progressive)
    scan = segment(0xDA, bytes.fromhex("010100000000"))
    few = MOST_SCANS - 10
    assert read(data[:-2] + scan * few + data[-2:]).width == 9
    told = refusal(data[:-2] + scan * (MOST_SCANS + 1) + data[-2:])
    assert told == "the picture has more than 100 scans"


# The rows of a PNG.

PASSES = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]


def interlaced(array: np.ndarray) -> bytes:
    """Rows of bytes in the order of Adam M. Costello's seven passes."""
    parts = [array[row::down, column::right] for column, row, right, down in PASSES]
    rows = [row for part in parts if part.size for row in part]
    return b"".join(b"\0" + row.tobytes() for row in rows)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 1), (8, 8), (11, 9)])
def test_interlaced_pngs_have_all_their_rows(height, width):
    array = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    raw = interlaced(array)
    start = header(width, height, 8, 0, 0, 0, 1)
    picture = Picture(height, width, "L", "NHW", 0.0, 255.0)
    data = png(start, chunk(b"IDAT", zlib.compress(raw)), END)
    assert np.array_equal(decode(data, picture, 10_000), array)
    short = png(start, chunk(b"IDAT", zlib.compress(raw[:-1])), END)
    assert not has_all_rows(read(short))
    with pytest.raises(DataError, match="truncated"):
        decode(short, picture, 10_000)


def test_missing_rows_of_an_early_pass_are_noticed():
    """The last pass ends before the last row, which is there."""
    raw = interlaced(np.full((11, 9), 200, np.uint8))
    start = header(9, 11, 8, 0, 0, 0, 1)
    data = png(start, chunk(b"IDAT", zlib.compress(raw[:-10])), END)
    assert as_pillow_takes_it(data)[10].all() and not as_pillow_takes_it(data)[9].any()
    with pytest.raises(DataError, match="truncated"):
        decode(data, Picture(11, 9), 10_000)


@pytest.mark.parametrize(
    ("depth", "colors", "size"),
    [(1, 0, 2), (2, 0, 3), (4, 3, 5), (8, 2, 27), (16, 4, 36), (16, 6, 72)],
)
def test_rows_are_counted_in_every_mode(depth, colors, size):
    raw = bytes(3 * (1 + size))
    for taken, whole in ((raw, True), (raw[:-1], False)):
        start = header(9, 3, depth, colors, 0, 0, 0) + chunk(b"PLTE", bytes(3))
        packed = zlib.compress(taken)
        pixels = chunk(b"IDAT", packed[:5]), chunk(b"IDAT", packed[5:])
        assert has_all_rows(read(png(start, *pixels, END))) is whole
