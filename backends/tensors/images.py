"""Pictures: the bytes of a file to the numbers of a tensor, and back."""

from __future__ import annotations

import struct
import threading
import zlib
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

# For one format that is not loaded yet, Pillow would load the plugins of all.
from PIL import (  # noqa: F401
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from backends.features import DataError
from backends.tensors.picture_files import (
    DAMAGED,
    TRUNCATED,
    PictureFile,
    has_all_rows,
    read,
)
from backends.tensors.spec import Picture

# Pillow's own limit is one of the process and warns; each picture's size is held
# against the caller's before Pillow sees the file.
Image.MAX_IMAGE_PIXELS = None

# No JPEG or GIF is longer. The filters' tables grow with the side, to more memory than
# the pixels of a picture that is one pixel high.
LONGEST_SIDE: Final = 65_535

# Larger pictures are decoded one at a time in a process: each takes up to 15 bytes of
# memory a pixel, and a small file may hold one.
_LARGE_PIXELS: Final = 4_000_000
_LARGE: Final = threading.Lock()

# A JPEG's: above it, files grow a lot and pictures hardly change.
_QUALITY: Final = 95

# What Pillow raises for damaged files. Damaging files by chance brings OSError only;
# its plugins raise the others too, by intent or by reading past an end.
_BROKEN: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error),
)

_GREY_MODES: Final = frozenset(("1", "L", "LA"))
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def checked(data: bytes, max_pixels: int) -> PictureFile:
    """A PNG, JPEG, WebP or GIF file of no more pixels, width × height.

    Raises DataError for what is no such file, is damaged, cut off or too large.
    """
    file = read(data)
    _check_size(file, max_pixels)
    return file


def decode(file: PictureFile, picture: Picture) -> NDArray[np.float64]:
    """The first picture of a checked file, as a tensor takes it.

    In this order: turned upright as EXIF says, without alpha as if there were none,
    made grey or RGB as Pillow's `convert` does, brought to the size, put into the
    channels' order, range, mean and std. Colour profiles and gamma are not applied.
    Of 16 bits grey is scaled and rounded; of 16 bits in colour the upper 8 count.
    A picture of the right size passes through exactly.

    Returns float64 of one row: (channels, height, width), (height, width, channels) or
    (height, width), as the layout says.

    Raises DataError for what is damaged or cut off. Safe to call from many threads at
    once.
    """
    if file.width * file.height <= _LARGE_PIXELS:
        return _decoded(file, picture)
    with _LARGE:
        return _decoded(file, picture)


def _decoded(file: PictureFile, picture: Picture) -> NDArray[np.float64]:
    image = _in_channels(_pixels(file), picture.channels)
    if file.orientation != 1:
        image = image.transpose(_TURNS[file.orientation])
    return _laid_out(_fitted(image, picture), picture)


def encode(array: NDArray[np.generic], picture: Picture) -> bytes:
    """A file of the picture that a tensor's numbers mean, the inverse of `decode`.

    array: of one row, in the picture's layout. Its numbers are brought back to 0..255,
    rounded to the nearest, halves to the even one, and clipped.

    Raises ValueError for another shape, and for numbers that are not finite.
    """
    values = array.astype(np.float64)
    if values.shape != picture.axes:
        raise ValueError(f"a picture of shape {picture.axes} has {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a picture has numbers that are not finite")
    if picture.layout == "NCHW":
        values = values.transpose(1, 2, 0)
    levels = _levels(values.reshape(picture.height, picture.width, -1), picture)
    return _saved(levels[..., ::-1] if picture.color == "BGR" else levels, picture)


def media_type(picture: Picture) -> str:
    """Of what `encode` makes: image/png or image/jpeg."""
    return f"image/{picture.encoding}"


def _check_size(file: PictureFile, max_pixels: int) -> None:
    pixels = file.width * file.height
    if pixels > max_pixels:
        raise DataError(
            f"the picture has {pixels:,} pixels, at most {max_pixels:,} are taken"
        )
    side = max(file.width, file.height)
    if side > LONGEST_SIDE:
        raise DataError(
            f"the picture is {side:,} pixels long, at most {LONGEST_SIDE:,} are taken"
        )


def _pixels(file: PictureFile) -> Image.Image:
    try:
        image = _loaded(file)
    except _BROKEN as error:
        cut = "truncated" in str(error)
        raise DataError(TRUNCATED if cut else DAMAGED) from error
    # Or else `convert` would convert the colour that means transparent, too.
    image.info.clear()
    return image


def _loaded(file: PictureFile) -> Image.Image:
    image = Image.open(BytesIO(file.data), formats=(file.format,))
    if image.size != (file.width, file.height):
        raise OSError(f"Pillow takes the picture's size as {image.size}")
    image.load()
    if file.format == "PNG" and _may_lack_rows(image) and not has_all_rows(file):
        raise OSError("the rows are truncated")
    return image


def _may_lack_rows(image: Image.Image) -> bool:
    last = image.crop((0, image.height - 1, *image.size))
    return "interlace" in image.info or not np.asarray(last).any()


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    """Mode L for one channel, else RGB.

    Grey from colours goes by RGB: the same picture with a palette and without has the
    same numbers.
    """
    if image.mode.startswith("I"):
        image = _of_16_bits(image)
    image = _converted(image, "L" if image.mode in _GREY_MODES else "RGB")
    return _converted(image, "L" if channels == 1 else "RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _of_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion takes everything above 255 as white.
    levels = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def _fitted(image: Image.Image, picture: Picture) -> Image.Image:
    if picture.fit == "crop":
        return _resized(_cut(image, picture), picture.width, picture.height, picture)
    if picture.fit == "pad":
        return _padded(image, picture)
    return _resized(image, picture.width, picture.height, picture)


def _resized(
    image: Image.Image, width: int, height: int, picture: Picture
) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling[picture.resample.upper()])


def _cut(image: Image.Image, picture: Picture) -> Image.Image:
    """The middle of the picture, in the shape wanted.

    In whole pixels as sent, rounded, halves up; of an odd rest the larger half is cut
    at the right or at the bottom.
    """
    width = min(image.width, _share(image.height, picture.width, picture.height))
    height = min(image.height, _share(image.width, picture.height, picture.width))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _padded(image: Image.Image, picture: Picture) -> Image.Image:
    """The whole picture in the middle, black beside it.

    In whole pixels as wanted, rounded as `_cut` does.
    """
    width = min(picture.width, _share(picture.height, image.width, image.height))
    height = min(picture.height, _share(picture.width, image.height, image.width))
    whole = Image.new(image.mode, (picture.width, picture.height))
    place = (picture.width - width) // 2, (picture.height - height) // 2
    whole.paste(_resized(image, width, height, picture), place)
    return whole


def _share(size: int, numerator: int, denominator: int) -> int:
    """Size × numerator / denominator to the nearest, halves up, at least 1."""
    return max(1, (2 * size * numerator + denominator) // (2 * denominator))


def _laid_out(image: Image.Image, picture: Picture) -> NDArray[np.float64]:
    levels = np.asarray(image).reshape(picture.height, picture.width, -1)
    if picture.color == "BGR":
        levels = levels[..., ::-1]
    numbers = picture.low + levels / 255.0 * (picture.high - picture.low)
    numbers = (numbers - _each(picture.mean, picture)) / _each(picture.std, picture)
    if picture.layout == "NCHW":
        numbers = numbers.transpose(2, 0, 1)
    return np.ascontiguousarray(numbers).reshape(picture.axes)


def _levels(values: NDArray[np.float64], picture: Picture) -> NDArray[np.uint8]:
    # What is beyond the largest number is clipped like all that is too large.
    with np.errstate(over="ignore"):
        shares = values * _each(picture.std, picture) + _each(picture.mean, picture)
        shares = (shares - picture.low) / (picture.high - picture.low)
        return np.clip(np.rint(shares * 255.0), 0, 255).astype(np.uint8)


def _each(numbers: tuple[float, ...], picture: Picture) -> NDArray[np.float64]:
    return np.array(numbers[: picture.channels])


def _saved(levels: NDArray[np.uint8], picture: Picture) -> bytes:
    flat = levels[..., 0] if picture.channels == 1 else levels
    image = Image.fromarray(np.ascontiguousarray(flat))
    file = BytesIO()
    if picture.encoding == "jpeg":
        image.save(file, "JPEG", quality=_QUALITY)
    else:
        image.save(file, "PNG")
    return file.getvalue()
