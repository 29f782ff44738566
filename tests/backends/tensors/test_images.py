from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from io import BytesIO
from math import floor
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from backends.features import DataError
from backends.tensors import images
from backends.tensors.images import checked, encode, media_type
from backends.tensors.spec import Color, Layout, Picture, Resample

LIMIT = 50_000_000
NOISE = np.random.default_rng(7).integers(0, 256, (6, 9, 3), dtype=np.uint8)
COLORS = Image.fromarray(NOISE)
# The layout without channels goes with grey.
ARRANGEMENTS = [
    (color, layout)
    for color, layout in itertools.product(get_args(Color), get_args(Layout))
    if color == "L" or layout != "NHW"
]
PLAIN = {"low": 0.0, "high": 255.0, "layout": "NHWC"}


def decode(data: bytes, picture: Picture, limit: int) -> np.ndarray:
    return images.decode(checked(data, limit), picture)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def levels(data: bytes, height: int = 6, width: int = 9, **settings: object):
    """What decode answers, in 0..255."""
    return decode(data, Picture(height, width, **(PLAIN | settings)), LIMIT)


def luma(colors: np.ndarray) -> np.ndarray:
    """ITU-R 601-2 in whole numbers, as Pillow's manual has it."""
    red, green, blue = np.moveaxis(colors.astype(np.int64), -1, 0)
    return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width, height, depth, colors, raw, *, interlaced=0, before=b"", inflated=None):
    """A PNG whose rows, each with its filter in front, are these bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, interlaced)
    pixels = zlib.compress(raw) if inflated is None else inflated
    parts = chunk(b"IHDR", header), before, chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows(array: np.ndarray) -> bytes:
    """Rows of a PNG, none of them filtered; numbers of 16 bits big-endian."""
    return b"".join(b"\0" + row.tobytes() for row in array)


# Formats and modes.


@pytest.mark.parametrize("options", [("PNG", {}), ("WEBP", {"lossless": True})])
def test_exact_formats_answer_exact_pixels(options):
    data = saved(COLORS, options[0], **options[1])
    assert np.array_equal(levels(data), NOISE)


def test_gif_answers_its_colors():
    few = NOISE // 128 * 255
    assert np.array_equal(levels(saved(Image.fromarray(few), "GIF")), few)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {"quality": 95})],
)
def test_lossy_formats_answer_near_pixels(kind, options):
    slope = np.add.outer(np.arange(64), np.arange(64))[..., None] + [0, 40, 90]
    data = saved(Image.fromarray(slope.astype(np.uint8)), kind, **options)
    assert np.abs(levels(data, 64, 64) - slope).max() <= 12


def test_jpeg_answers_what_pillow_does():
    data = saved(COLORS, "JPEG", exif=Image.Exif(), icc_profile=b"x" * 70_000)
    assert np.array_equal(levels(data), np.asarray(Image.open(BytesIO(data))))


def test_grey_from_colors_is_luma():
    data = saved(COLORS, "PNG")
    assert np.array_equal(levels(data, color="L")[..., 0], luma(NOISE))


def test_a_palette_makes_no_difference():
    indexed = COLORS.quantize(7)
    for color in ("RGB", "L"):
        plain = levels(saved(indexed.convert("RGB"), "PNG"), color=color)
        assert np.array_equal(levels(saved(indexed, "PNG"), color=color), plain)


@pytest.mark.parametrize("transparency", [0, 2, bytes([0, 80, 255]), b"\0\0\0"])
def test_transparent_palettes_keep_their_colors(transparency):
    indexed = COLORS.quantize(7)
    data = saved(indexed, "PNG", transparency=transparency)
    assert np.array_equal(levels(data), np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"exact": True})])
def test_alpha_is_dropped(kind, options):
    image = COLORS.convert("RGBA")
    image.putalpha(Image.fromarray(NOISE[..., 0] // 2))
    if kind == "WEBP":
        options |= {"lossless": True}
    assert np.array_equal(levels(saved(image, kind, **options)), NOISE)


def test_grey_with_alpha_keeps_its_grey():
    grey = Image.fromarray(NOISE[..., 0])
    image = Image.merge("LA", (grey, Image.fromarray(NOISE[..., 1])))
    wanted = np.repeat(NOISE[..., :1], 3, axis=2)
    assert np.array_equal(levels(saved(image, "PNG")), wanted)


def test_grey_is_repeated_for_three_channels():
    data = saved(Image.fromarray(NOISE[..., 0]), "PNG")
    assert np.array_equal(levels(data), np.repeat(NOISE[..., :1], 3, axis=2))


def test_one_bit_is_black_and_white():
    bits = NOISE[..., 0] > 127
    data = saved(Image.fromarray(bits), "PNG")
    assert np.array_equal(levels(data, color="L")[..., 0], bits * 255)


@pytest.mark.parametrize("depth", [2, 4])
def test_few_bits_reach_from_black_to_white(depth):
    data = png(2, 1, depth, 0, bytes([0, ((1 << depth) - 1) << (8 - depth)]))
    assert levels(data, 1, 2, color="L").ravel().tolist() == [255, 0]


def test_16_bits_of_grey_are_scaled():
    numbers = np.arange(65536).reshape(256, 256)
    found = levels(png(256, 256, 16, 0, rows(numbers.astype(">u2"))), 256, 256)
    wanted = [floor(Fraction(each, 257) + Fraction(1, 2)) for each in range(65536)]
    assert found[..., 0].ravel().tolist() == wanted


@pytest.mark.parametrize(("colors", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_color_keep_the_upper_half(colors, samples):
    numbers = np.random.default_rng(1).integers(0, 65536, (4, 5, samples))
    found = levels(png(5, 4, 16, colors, rows(numbers.astype(">u2"))), 4, 5)
    upper = numbers >> 8
    wanted = np.repeat(upper[..., :1], 3, axis=2) if samples == 2 else upper[..., :3]
    assert np.array_equal(found, wanted)


def test_cmyk_jpegs_answer_their_colors():
    inks = np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]])
    wide = np.repeat(np.repeat(inks[None].astype(np.uint8), 8, 0), 8, 1)
    data = saved(Image.fromarray(wide, "CMYK"), "JPEG", quality=100)
    found = levels(data, 8, 32)[4, 4::8]
    wanted = [[255, 255, 255], [0, 255, 255], [255, 255, 0], [0, 0, 0]]
    assert np.abs(found - wanted).max() <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_only_the_first_frame_is_decoded(kind):
    frames = [Image.new("RGB", (9, 6), (each, 0, 0)) for each in range(0, 200, 10)]
    options = {"lossless": True} if kind == "WEBP" else {}
    first = Image.new("RGB", (9, 6), (0, 255, 0))
    data = saved(first, kind, save_all=True, append_images=frames, **options)
    assert Image.open(BytesIO(data)).n_frames == 21
    assert (levels(data) == [0, 255, 0]).all()


# Orientation.

TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_pictures_are_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = levels(saved(COLORS, kind, **options))
    data = saved(COLORS, kind, exif=exif, **options)
    wanted = TURNED[orientation](stored)
    assert np.array_equal(levels(data, *wanted.shape[:2]), wanted)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    assert np.array_equal(wanted, np.asarray(upright))


def test_pictures_are_turned_before_they_are_fitted():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(COLORS, "PNG", exif=exif)
    turned = saved(Image.fromarray(np.rot90(NOISE, -1)), "PNG")
    for fit in ("stretch", "crop", "pad"):
        found = levels(data, 4, 5, fit=fit)
        assert np.array_equal(found, levels(turned, 4, 5, fit=fit))


# Numbers and layouts.


@pytest.mark.parametrize(("color", "layout"), ARRANGEMENTS)
def test_numbers_are_those_of_the_definition(color, layout):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    picture = Picture(6, 9, color, layout, -1.0, 3.0, mean, std)
    found = decode(saved(COLORS, "PNG"), picture, LIMIT)
    order = {"RGB": [0, 1, 2], "BGR": [2, 1, 0]}.get(color)
    stored = luma(NOISE)[..., None] if order is None else NOISE[..., order]
    assert found.dtype == np.float64 and found.flags.c_contiguous
    assert found.shape == picture.axes
    for row, column, channel in np.ndindex(stored.shape):
        place = {
            "NCHW": (channel, row, column),
            "NHWC": (row, column, channel),
            "NHW": (row, column),
        }[layout]
        share = int(stored[row, column, channel]) / 255
        wanted = (-1.0 + share * 4.0 - mean[channel]) / std[channel]
        assert found[place] == pytest.approx(wanted, abs=1e-12)


def test_whole_numbers_stay_whole():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = levels(saved(Image.fromarray(every), "PNG"), 16, 16, color="L")
    assert found.ravel().tolist() == list(range(256))


# Size.


@pytest.mark.parametrize("resample", get_args(Resample))
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_the_right_size_passes_through(fit, resample):
    found = levels(saved(COLORS, "PNG"), fit=fit, resample=resample)
    assert np.array_equal(found, NOISE)


@pytest.mark.parametrize("resample", get_args(Resample))
def test_crop_and_pad_keep_pixels_that_need_no_scaling(resample):
    data = saved(COLORS, "PNG")
    cut = levels(data, 6, 4, fit="crop", resample=resample)
    assert np.array_equal(cut, NOISE[:, 2:6])
    padded = levels(data, 11, 9, fit="pad", resample=resample)
    assert np.array_equal(padded[2:8], NOISE)
    assert not padded[:2].any() and not padded[8:].any()


def test_every_filter_is_pillows():
    data = saved(COLORS, "PNG")
    for resample in get_args(Resample):
        wanted = COLORS.resize((5, 11), Image.Resampling[resample.upper()])
        found = levels(data, 11, 5, resample=resample)
        assert np.array_equal(found, np.asarray(wanted)), resample


TINY = Fraction(1, 10**9)


def nearest(source: np.ndarray, height: int, width: int, edges: tuple) -> np.ndarray:
    """The pixel under the middle of each wanted one.

    edges: TINY takes the pixel before, where a middle falls on an edge between two.
    """

    def under(wanted: int, size: int, edge: Fraction) -> list[int]:
        middles = [each + Fraction(1, 2) for each in range(wanted)]
        return [max(0, floor(each * size / wanted - edge)) for each in middles]

    found_rows = under(height, source.shape[0], edges[0])
    return source[np.ix_(found_rows, under(width, source.shape[1], edges[1]))]


def rounded(number: Fraction) -> int:
    return max(1, floor(number + Fraction(1, 2)))


def fitted(source: np.ndarray, height: int, width: int, fit: str, edges: tuple):
    """The size as it is defined, in fractions, with the nearest pixels."""
    tall, wide = source.shape[:2]
    if fit == "crop":
        scale = max(Fraction(height, tall), Fraction(width, wide))
        high, broad = rounded(height / scale), rounded(width / scale)
        top, left = (tall - high) // 2, (wide - broad) // 2
        source = source[top : top + high, left : left + broad]
    if fit != "pad":
        return nearest(source, height, width, edges)
    scale = min(Fraction(height, tall), Fraction(width, wide))
    high, broad = rounded(tall * scale), rounded(wide * scale)
    whole = np.zeros((height, width, 3), source.dtype)
    top, left = (height - high) // 2, (width - broad) // 2
    place = slice(top, top + high), slice(left, left + broad)
    whole[place] = nearest(source, high, broad, edges)
    return whole


SIDE = st.integers(1, 30)


@settings(max_examples=150, deadline=None)
@given(tall=SIDE, wide=SIDE, height=SIDE, width=SIDE)
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_fits_are_those_of_the_definition(fit, tall, wide, height, width):
    every = np.arange(tall * wide).reshape(tall, wide)
    source = np.stack([every & 255, every >> 8, every * 0 + 1], -1).astype(np.uint8)
    data = saved(Image.fromarray(source), "PNG", compress_level=0)
    found = levels(data, height, width, fit=fit, resample="nearest")
    # Pillow adds steps up in doubles: on an edge it may take either pixel.
    ways = [
        (found == fitted(source, height, width, fit, edges)).all(axis=2)
        for edges in itertools.product((0, TINY), repeat=2)
    ]
    assert np.any(ways, axis=0).all()


def test_box_averages_whole_blocks():
    source = np.random.default_rng(3).integers(0, 256, (12, 20), dtype=np.uint8)
    found = levels(
        saved(Image.fromarray(source), "PNG"), 4, 5, color="L", resample="box"
    )
    for row, column in np.ndindex(4, 5):
        block = source[3 * row : 3 * row + 3, 4 * column : 4 * column + 4].tolist()
        across = [rounded_half_up(sum(line), 4) for line in block]
        assert found[row, column, 0] == rounded_half_up(sum(across), 3)


def rounded_half_up(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


@pytest.mark.parametrize(("tall", "wide"), [(1, 60_000), (60_000, 1)])
def test_ribbons_take_no_more_than_they_are(tall, wide):
    data = saved(Image.new("L", (wide, tall), 255), "PNG")
    for fit in ("stretch", "crop", "pad"):
        assert levels(data, 8, 8, color="L", fit=fit).any()


# Encoding.


@pytest.mark.parametrize(("color", "layout"), ARRANGEMENTS)
def test_png_gives_back_what_was_decoded(color, layout):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    picture = Picture(6, 9, color, layout, -1.0, 1.0, mean, std)
    numbers = decode(saved(COLORS, "PNG"), picture, LIMIT).astype(np.float32)
    again = Image.open(BytesIO(encode(numbers, picture)))
    assert (again.format, media_type(picture)) == ("PNG", "image/png")
    wanted = luma(NOISE) if color == "L" else NOISE
    assert np.array_equal(np.asarray(again), wanted)


def test_jpeg_gives_back_nearly_what_was_decoded():
    picture = Picture(32, 32, "BGR", encoding="jpeg")
    slope = np.add.outer(np.arange(32), np.arange(32))[..., None] * 2 + [0, 60, 120]
    data = saved(Image.fromarray(slope.astype(np.uint8)), "PNG")
    again = Image.open(BytesIO(encode(decode(data, picture, LIMIT), picture)))
    assert (again.format, media_type(picture)) == ("JPEG", "image/jpeg")
    assert np.abs(np.asarray(again).astype(int) - slope).max() <= 8


def test_numbers_are_rounded_and_clipped():
    picture = Picture(1, 6, "L", "NHW", 0.0, 255.0)
    numbers = np.array([[-3.0, 1.49, 1.51, 254.6, 256.0, 1e308]])
    assert np.asarray(Image.open(BytesIO(encode(numbers, picture)))).tolist() == [
        [0, 1, 2, 255, 255, 255]
    ]
    huge = Picture(1, 6, "L", "NHW", std=(10.0, 1.0, 1.0))
    assert np.asarray(Image.open(BytesIO(encode(numbers, huge))))[0, -1] == 255


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(number):
    with pytest.raises(ValueError, match="not finite"):
        encode(np.full((3, 2, 2), number), Picture(2, 2))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 4\) has \(2, 4, 3\)"):
        encode(np.zeros((2, 4, 3)), Picture(2, 4))


# Files that are not what they should be.

SMALL = Picture(4, 4)


def refusal(data: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(DataError) as caught:
        decode(data, SMALL, limit)
    return str(caught.value)


def test_other_kinds_are_refused_with_the_kinds_taken():
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    others = [saved(COLORS, kind) for kind in ("TIFF", "BMP", "PDF", "EPS", "ICO")]
    for data in (*others, svg, b"a text", b"\0", b"RIFF\4\0\0\0WAVE"):
        assert "send a PNG, JPEG, WebP or GIF" in refusal(data)
    assert refusal(b"") == "the picture is empty"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_files_cut_anywhere_are_refused(kind):
    data = saved(COLORS, kind)
    # A GIF ends after its pixels, and a JPEG's last marker says nothing more.
    whole = len(data) - {"PNG": 0, "WEBP": 0, "JPEG": 2, "GIF": 3}[kind]
    for length in range(16, whole):
        assert refusal(data[:length]) in (
            *("the picture is truncated", "the picture is damaged"),
            "the picture has no pixels",
        )


def test_a_size_beyond_the_limit_is_refused():
    data = png(30_000, 30_000, 8, 2, b"")
    assert refusal(data) == (
        "the picture has 900,000,000 pixels, at most 50,000,000 are taken"
    )
    assert decode(saved(COLORS, "PNG"), SMALL, 54).shape == (3, 4, 4)
    assert "54 pixels" in refusal(saved(COLORS, "PNG"), 53)


def test_the_limit_is_the_callers_and_not_pillows():
    # Pillow warns from 89 million pixels on.
    data = png(10_000, 9_000, 1, 0, bytes(1_251 * 9_000))
    assert not decode(data, Picture(2, 2, "L", resample="nearest"), 10**8).any()


def test_a_side_beyond_the_limit_is_refused():
    assert refusal(png(70_000, 1, 1, 0, bytes(8_751))) == (
        "the picture is 70,000 pixels long, at most 65,535 are taken"
    )


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_pictures_without_pixels_are_refused(size):
    assert refusal(png(*size, 8, 0, b"")) == "the picture has no pixels"


def test_missing_rows_are_not_black():
    """Pillow answers them so."""
    whole = rows(np.full((4, 4), 9, np.uint8))
    assert decode(png(4, 4, 8, 0, whole), SMALL, LIMIT).all()
    for length in (0, 1, 10, 15, 19):
        assert refusal(png(4, 4, 8, 0, whole[:length])) == "the picture is truncated"


def test_a_black_last_row_is_taken():
    for width, height, depth, colors in itertools.product([1, 8, 9], [1, 3], [8], [0]):
        row = b"\0" + bytes(width)
        data = png(width, height, depth, colors, row * height)
        assert not levels(data, height, width, color="L").any()


def test_pixels_beyond_the_last_row_are_not_inflated():
    data = png(4, 4, 8, 0, bytes(20) + bytes(1 << 26))
    assert not decode(data, SMALL, LIMIT).any()


WORST = """
import resource, struct, sys, zlib
from backends.features import DataError
from backends.tensors.images import checked
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for each in sys.argv[1:]:
    try:
        checked(bytes.fromhex(each), 50_000_000)
    except DataError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_claims_are_refused_before_memory_is_spent():
    webp, gif = bytearray(saved(COLORS, "WEBP")), bytearray(saved(COLORS, "GIF"))
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    frame = gif.index(b",", 13 + 3 * (2 << (gif[10] & 7)))
    gif[frame + 1 : frame + 9] = b"\xff" * 8
    # Pillow would fill what a frame leaves behind when it opens the file.
    gif[frame:frame] = b"!\xf9\4\x08\0\0\0\0"
    jpeg = bytearray(saved(COLORS, "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\xff" * 4
    files = [webp, gif, jpeg, png(65_535, 65_535, 8, 6, b"")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORST, *[each.hex() for each in files]],
        capture_output=True,
        text=True,
    )
    *refused, megabytes = done.stdout.splitlines()
    assert done.stderr == ""
    assert [each.endswith("50,000,000 are taken") for each in refused] == [True] * 4
    assert int(megabytes) < 8


def test_only_the_plugins_of_the_four_formats_are_loaded():
    script = (
        "import sys, backends.tensors.images as images, backends.tensors.spec as spec\n"
        "file = images.checked(bytes.fromhex(sys.argv[1]), 100)\n"
        "images.decode(file, spec.Picture(2, 2))\n"
        "images.encode(images.np.zeros((3, 2, 2)), spec.Picture(2, 2))\n"
        "print(*sorted(each for each in sys.modules if each.endswith('ImagePlugin')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, saved(COLORS, "WEBP").hex()],
        capture_output=True,
        text=True,
    )
    # Pillow itself loads two more that are small, when it opens the first file.
    wanted = {"Gif", "Jpeg", "Png", "WebP", "Bmp", "Ppm"}
    assert set(done.stdout.split()) == {f"PIL.{each}ImagePlugin" for each in wanted}


def test_many_threads_decode_at_once():
    kinds = [saved(COLORS, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]
    alone = [levels(data, 4, 5) for data in kinds]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda data: levels(data, 4, 5), kinds * 100))
    for each, wanted in zip(found, alone * 100, strict=True):
        assert np.array_equal(each, wanted)


# Any bytes at all.


def with_exif(kind: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(COLORS, kind, exif=exif, **options)


def moving(kind: str) -> bytes:
    frames = [COLORS.rotate(180), Image.fromarray(NOISE[::-1])]
    return saved(COLORS, kind, save_all=True, append_images=frames, disposal=2)


FILES = {
    "png": with_exif("PNG"),
    "png-p": saved(COLORS.quantize(5), "PNG", transparency=b"\0\7"),
    "png-16": png(3, 3, 16, 0, bytes(range(21))),
    "apng": moving("PNG"),
    "jpeg": with_exif("JPEG"),
    "jpeg-progressive": saved(COLORS, "JPEG", progressive=True),
    "jpeg-cmyk": saved(COLORS.convert("CMYK"), "JPEG"),
    "webp": with_exif("WEBP"),
    "webp-lossless": saved(COLORS.convert("RGBA"), "WEBP", lossless=True),
    "webp-moving": saved(COLORS, "WEBP", save_all=True, append_images=[COLORS]),
    "gif": saved(COLORS, "GIF"),
    "gif-moving": moving("GIF"),
}


def checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that damage gets past them."""
    mended, position = bytearray(data), 8
    while position + 12 <= len(mended):
        end = position + 8 + int.from_bytes(mended[position : position + 4])
        mended[end : end + 4] = zlib.crc32(mended[position + 4 : end]).to_bytes(4)
        position = end + 4
    return bytes(mended)


def refused_or_whole(data: bytes) -> None:
    for picture in (Picture(4, 5, "L", fit="crop"), Picture(5, 4, fit="pad")):
        try:
            found = decode(data, picture, 10_000)
        except DataError as error:
            assert str(error)[0].islower()
        else:
            assert found.shape == picture.axes and np.isfinite(found).all()


CHANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 6), st.binary(max_size=6)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=120, deadline=None)
@given(changes=CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused_or_decoded(name, changes):
    data = FILES[name]
    for place, length, bytes_ in changes:
        data = data[:place] + bytes_ + data[place + length :]
    refused_or_whole(data)
    if name.startswith(("png", "apng")):
        refused_or_whole(checksums(data))


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from(
        [b"", *(each[:n] for each in FILES.values() for n in (6, 20))]
    ),
    rest=st.binary(max_size=200),
)
@example(start=b"RIFF\0\0\0\0WEBPVP8X", rest=b"")
def test_any_bytes_are_refused_or_decoded(start, rest):
    refused_or_whole(start + rest)


def test_large_pictures_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(images, "_LARGE_PIXELS", 53)
    large, small = saved(COLORS, "PNG"), saved(COLORS.crop((0, 0, 5, 5)), "PNG")
    with ThreadPoolExecutor(1) as pool:
        with images._LARGE:
            waiting = pool.submit(levels, large)
            assert levels(small, 5, 5).shape == (5, 5, 3)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert (waiting.result(timeout=120) == NOISE).all()
