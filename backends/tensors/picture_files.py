"""What a picture file says of itself, read before anything decodes it.

A decoder is handed the parts that make the pixels of the first picture, and nothing
else: texts, profiles, thumbnails and EXIF data can be made to fill the memory of who
reads them, and no number of an answer depends on them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from backends.features import DataError

Format = Literal["PNG", "JPEG", "WEBP", "GIF"]

# A part is walked over in less than a microsecond, and has at least two bytes: a file
# of nothing but parts would hold a worker for long. Cameras write some hundreds.
MOST_PARTS: Final = 100_000
# Each scan of a JPEG goes over all the picture again, for a few bytes of the file.
# Encoders write ten; the most thorough optimisers a few more.
MOST_SCANS: Final = 100

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_GIF: Final = (b"GIF87a", b"GIF89a")
_KEPT_CHUNKS: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
# Samples of a pixel, by PNG's colour type, and the depths in bits that it may have.
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {
    **{0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8)},
    **{4: (8, 16), 6: (8, 16)},
}
_PALETTE: Final = 3
# Column and row of the first pixel, and the steps to the next, in each pass.
_PASSES: Final = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_ONE_PASS: Final = ((0, 0, 1, 1),)
_INFLATED_AT_ONCE: Final = 1 << 20

# Inside a scan a 0xFF is followed by 0, or is a restart: the next of these ends it.
_MARKER: Final = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_START, _END, _SCAN, _TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APPLICATION_1: Final = 0xE1
# Comments, and what applications add; JFIF's and Adobe's tell the kind of colours.
_NOT_PIXELS: Final = frozenset((*range(0xE0, 0xF0), 0xFE)) - {0xE0, 0xEE}

_IMAGE, _EXTENSION, _CONTROL, _TRAILER = 0x2C, 0x21, 0xF9, 0x3B
_HAS_EXIF: Final = 0x08

_EXIF: Final = b"Exif\0\0"
_ORIENTATION: Final = 0x0112
_UNREADABLE: Final = "the picture's EXIF data cannot be read: send it without them"
TRUNCATED: Final = "the picture is truncated"
DAMAGED: Final = "the picture is damaged"


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file, none of whose pixels is decoded.

    data: the file, reduced to what makes the pixels of its first picture.
    width, height: in pixels as they are stored, before they are turned; above 0.
    orientation: 1 to 8, EXIF's: how the stored pixels are to be turned.
    """

    format: Format
    data: bytes
    width: int
    height: int
    orientation: int = 1


def read(data: bytes) -> PictureFile:
    """Tell the format by the content, and walk over the parts of the file.

    Takes time by the length of the file, and not by the size that it claims.

    Raises DataError for another format, a file that is cut off or damaged, of too many
    parts or scans, without pixels, and for EXIF data that cannot be read.
    """
    if not data:
        raise DataError("the picture is empty")
    try:
        file = _read(data)
    except (struct.error, IndexError) as error:
        raise DataError(TRUNCATED) from error
    if file.width == 0 or file.height == 0:
        raise DataError("the picture has no pixels")
    return file


def _read(data: bytes) -> PictureFile:
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(_GIF):
        return _gif(data)
    raise DataError("this is no picture of a known kind: send a PNG, JPEG, WebP or GIF")


def _counted(count: int) -> None:
    if count > MOST_PARTS:
        raise DataError(f"the picture's file has more than {MOST_PARTS:,} parts")


def _png(data: bytes) -> PictureFile:
    kept, exif, palettes = [_PNG], b"", 0
    for kind, chunk in _chunks(data):
        palettes += kind == b"PLTE"
        if kind in _KEPT_CHUNKS:
            kept.append(_intact(kind, chunk))
        elif kind == b"eXIf":
            exif = chunk[8:-4]
    joined = b"".join(kept)
    width, height, depth, colors, _ = _header(joined)
    if depth not in _DEPTHS.get(colors, ()) or (colors == _PALETTE and not palettes):
        raise DataError(DAMAGED)
    return PictureFile("PNG", joined, width, height, _orientation(exif))


def _header(png: bytes) -> tuple[int, int, int, int, int]:
    """Width, height, bits of a sample, colour type, whether it is interlaced."""
    width, height, depth, colors, interlaced = struct.unpack_from(">IIBBxxB", png, 16)
    return width, height, depth, colors, interlaced


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole chunk, the header first and the end last."""
    position, count = len(_PNG), 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise DataError(TRUNCATED)
        # The header comes first and once, and has 13 bytes.
        if (kind == b"IHDR") != (count == 0) or (count == 0 and length != 13):
            raise DataError(DAMAGED)
        yield kind, data[position:end]
        if kind == b"IEND":
            return
        position, count = end, count + 1
        _counted(count)


def _intact(kind: bytes, chunk: bytes) -> bytes:
    # Pillow leaves the checksums of the pixels out.
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
        raise DataError(DAMAGED)
    if kind == b"PLTE" and (len(chunk) == 12 or len(chunk) % 3):
        raise DataError(DAMAGED)
    return chunk


def has_all_rows(file: PictureFile) -> bool:
    """Whether the pixels of a PNG are all there: Pillow takes missing rows as black.

    Takes about as long as decoding. Of the other formats Pillow tells it.
    """
    inflating, left = zlib.decompressobj(), _inflated_size(file)
    for kind, chunk in _chunks(file.data):
        waiting = chunk[8:-4] if kind == b"IDAT" else b""
        while waiting and left > 0 and not inflating.eof:
            left -= len(inflating.decompress(waiting, min(left, _INFLATED_AT_ONCE)))
            waiting = inflating.unconsumed_tail
    return left <= 0


def _inflated_size(file: PictureFile) -> int:
    _, _, depth, colors, interlaced = _header(file.data)
    bits, size = depth * _SAMPLES[colors], 0
    for column, row, right, down in _PASSES if interlaced else _ONE_PASS:
        columns = max(0, -(-(file.width - column) // right))
        rows = max(0, -(-(file.height - row) // down))
        # Each row begins with a byte for its filter.
        size += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return size


def _jpeg(data: bytes) -> PictureFile:
    kept, exif, sizes = [data[:2]], [], []
    scans = first = 0
    for kind, start, end in _segments(data):
        if kind == _SCAN:
            scans, first = scans + 1, first or start
        elif not scans:
            part = data[start:end]
            if kind in _FRAMES:
                sizes.append(struct.unpack_from(">HH", part, 5))
            if kind == _APPLICATION_1 and part[4:].startswith(_EXIF):
                exif.append(part[4 + len(_EXIF) :])
            if kind not in _NOT_PIXELS:
                kept.append(part)
        if scans > MOST_SCANS:
            raise DataError(f"the picture has more than {MOST_SCANS} scans")
    if not scans:
        raise DataError(TRUNCATED)
    if len(sizes) != 1:
        raise DataError(DAMAGED)
    height, width = sizes[0]
    joined = b"".join((*kept, data[first:]))
    return PictureFile("JPEG", joined, width, height, _orientation(b"".join(exif)))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; of a scan only its header."""
    position, count = 2, 0
    while found := _MARKER.search(data, position):
        kind, start, position = found[1][0], found.start(), found.end()
        if kind == _END:
            return
        if kind not in (_START, _TEMPORARY):
            (length,) = struct.unpack_from(">H", data, position)
            position += length
        if position > len(data):
            raise DataError(TRUNCATED)
        yield kind, start, position
        count += 1
        _counted(count)


def _webp(data: bytes) -> PictureFile:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise DataError(TRUNCATED)
    width, height = _webp_size(data)
    has_exif = data[12:16] == b"VP8X" and data[20] & _HAS_EXIF
    exif = _webp_exif(data, end) if has_exif else b""
    return PictureFile("WEBP", data[:end], width, height, _orientation(exif))


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little")
        return width + 1, int.from_bytes(data[27:30], "little") + 1
    raise DataError(DAMAGED)


def _webp_exif(data: bytes, end: int) -> bytes:
    position, count = 12, 0
    while position < end:
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return data[position + 8 : position + 8 + length]
        # Chunks start at even places.
        position, count = position + 8 + length + length % 2, count + 1
        _counted(count)
    return b""


def _gif(data: bytes) -> PictureFile:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (2 << (flags & 7)) * 3 * (flags >> 7)
    kept, count = [data[:position]], 0
    while data[position] != _IMAGE:
        start = position
        if data[position] == _TRAILER:
            raise DataError("the picture has no pixels")
        position += 1
        if data[start] == _EXTENSION:
            position, count = _after_blocks(data, position + 1, count)
            if data[start + 1] == _CONTROL:
                kept.append(data[start:position])
        count += 1
        _counted(count)
    left, top, columns, rows = struct.unpack_from("<4H", data, position + 1)
    if not columns or not rows:
        raise DataError("the picture has no pixels")
    joined = b"".join((*kept, data[position:]))
    # Where the first frame goes beyond the whole, the whole is taken as that wide.
    return PictureFile(
        "GIF", joined, max(width, left + columns), max(height, top + rows)
    )


def _after_blocks(data: bytes, position: int, count: int) -> tuple[int, int]:
    while length := data[position]:
        position, count = position + 1 + length, count + 1
        _counted(count)
    return position + 1, count


def _orientation(exif: bytes) -> int:
    """EXIF's orientation; 1 if none is told, or one that nobody knows."""
    tiff = exif.removeprefix(_EXIF)
    if not tiff:
        return 1
    try:
        return _tagged(tiff, {b"II*\0": "<", b"MM\0*": ">"}[tiff[:4]])
    except (struct.error, KeyError) as error:
        raise DataError(_UNREADABLE) from error


def _tagged(tiff: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
        if tag == _ORIENTATION:
            letter = {3: "H", 4: "I"}[kind]
            (value,) = struct.unpack_from(f"{order}{letter}", tiff, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1
