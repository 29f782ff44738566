"""Arrays as .npy files, read without pickle, and their sizes checked beforehand."""

from __future__ import annotations

import io
import math
import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.features import DataError
from backends.strict_json import shown

NPY: Final = "application/x.peltarion.npy"

_MAGIC = b"\x93NUMPY"
# Bytes that hold the header's length, by version of the format.
_LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
# As numpy has them.
_LONGEST_HEADER = 10_000
_MOST_AXES = 64
_MOST_BYTES = 2**63 - 1
# Numpy evaluates the header as a Python literal, which warns of hostile ones, or fails
# in many ways; a pattern does neither. Python 2 wrote sizes as 3L.
_ENTRY = re.compile(
    r"\s*+(?P<quote>['\"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*+:\s*+"
    r"(?:(?P<mark>['\"])(?P<descr>[^'\"]*+)(?P=mark)"
    r"|(?P<order>True|False)"
    r"|\((?P<sizes>[0-9L,\s]*+)\))"
    r"\s*+(?:,|(?=\}))\s*+",
    re.ASCII,
)
_KEYS = {"descr", "fortran_order", "shape"}
_SIZES = re.compile(r"(?:[0-9]{1,100}L?\s*+(?:,\s*+|$))*+", re.ASCII)
_DESCR = re.compile(r"[<>=|]?(?:\?|b1|[iu][1248]|f[248])", re.ASCII)


def read(data: bytes) -> NDArray[Any]:
    """The array in a file of the format's version 1.0, 2.0 or 3.0.

    Returns booleans, whole numbers, or floats of at most 64 bits, in the machine's
    byte order and C order; a copy.

    Raises DataError.

    Source: numpy, "numpy.lib.format".
    """
    header, start = _split(data)
    descr, is_fortran, shape = _parse(header)
    if not _DESCR.fullmatch(descr):
        raise DataError(
            "an .npy file of booleans, whole numbers or floats of at most 64 bits is"
            f" expected, not one of {shown(descr)}"
        )
    dtype = np.dtype(descr)
    _check_size(shape, dtype.itemsize, len(data) - start)
    array = np.frombuffer(data, dtype, offset=start)
    array = array.reshape(shape, order="F" if is_fortran else "C")
    if dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise DataError("the .npy file has booleans that are neither 0 nor 1")
    return np.array(array, dtype.newbyteorder("="), order="C")


def write(array: NDArray[Any]) -> bytes:
    """The file of an array of booleans or numbers, of the lowest version."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _split(data: bytes) -> tuple[str, int]:
    """The header, and where the content begins."""
    if not data.startswith(_MAGIC):
        raise DataError("an .npy file is expected, and it begins otherwise")
    version = data[len(_MAGIC) : len(_MAGIC) + 2]
    if version not in _LENGTHS:
        raise DataError(
            "an .npy file of version 1.0, 2.0 or 3.0 is expected, not"
            f" {'.'.join(map(str, version)) or 'none'}"
        )
    begin = len(_MAGIC) + 2 + _LENGTHS[version]
    length = int.from_bytes(data[len(_MAGIC) + 2 : begin], "little")
    if length > _LONGEST_HEADER:
        raise DataError(
            f"the header of the .npy file is longer than {_LONGEST_HEADER:,} bytes"
        )
    if len(data) < begin + length:
        raise DataError("the .npy file ends within its header")
    return data[begin : begin + length].decode("latin-1"), begin + length


def _parse(header: str) -> tuple[str, bool, tuple[int, ...]]:
    text = header.strip()
    entries: dict[str, re.Match[str]] = {}
    place = 1
    while entry := _ENTRY.match(text, place):
        entries[entry["key"]] = entry
        place = entry.end()
    is_whole = text.startswith("{") and text[place:] == "}"
    if not is_whole or entries.keys() != _KEYS:
        raise _not_understood(header)
    descr = entries["descr"]["descr"]
    order = entries["fortran_order"]["order"]
    sizes = entries["shape"]["sizes"]
    if descr is None or order is None or sizes is None:
        raise _not_understood(header)
    return descr, order == "True", _read_sizes(sizes, header)


def _read_sizes(text: str, header: str) -> tuple[int, ...]:
    text = text.strip()
    if not _SIZES.fullmatch(text):
        raise _not_understood(header)
    sizes = [each.strip().rstrip("L") for each in text.split(",")]
    if sizes[-1] == "":
        sizes.pop()
    if len(sizes) > _MOST_AXES:
        raise DataError(f"the .npy file has more than {_MOST_AXES} axes")
    return tuple(map(int, sizes))


def _not_understood(header: str) -> DataError:
    return DataError(f"the header of the .npy file is not understood: {shown(header)}")


def _check_size(shape: tuple[int, ...], itemsize: int, nbytes: int) -> None:
    # Numpy multiplies the other sizes even where one of them is 0.
    if math.prod(size or 1 for size in shape) * itemsize > _MOST_BYTES:
        raise DataError("the .npy file claims more numbers than any array has")
    expected = math.prod(shape) * itemsize
    if nbytes != expected:
        raise DataError(
            f"the .npy file has {nbytes:,} bytes of content, not the {expected:,} that"
            " its header claims"
        )
