"""A value as clients send it to an array of the shape and type that a graph takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backends.features import DataError, read_number
from backends.strict_json import shown
from backends.tensors import npy, sent_json
from backends.tensors.refusals import DataUrlInvalid, TypeMismatch
from backends.tensors.sent import Upload, is_data_url, read_data_url

Shape = tuple[int | None, ...]

# Of one number, whichever of the two a graph says.
_SINGLE: Final[tuple[Shape, ...]] = ((), (1,))
_MEDIA_TYPES = (npy.NPY, "application/octet-stream")
_NUMBERS = frozenset((int, float))
_BOOLEANS = frozenset((int, float, bool))
_FLOATS = ("float16", "float32", "float64")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
# From the next one on a float64 no longer tells neighbouring whole numbers apart.
_LARGEST_WHOLE = 2**53 - 1
# What the narrowest float still has: no other overflows there either.
_IN_EVERY_FLOAT = 65504.0
# Lists within lists that are looked into, and axes that messages show.
_DEEPEST = 64
_MOST_SHOWN = 8


def read_array(value: object, shape: Shape, dtype: str) -> NDArray[Any]:
    """The array in a value of JSON, of a text in a form, or of a file in one.

    shape: None for an axis of any size but 0; () and (1,) take a single number.
    dtype: numpy's name of a type of booleans, whole numbers or floats.

    A value is a number; lists of the very shape; `{"shape": [...], "data": [...]}`,
    the data flat; an .npy file, as `Upload` or data URL; or the text of any of them.

    Returns what is exactly the array that was sent, save that floats are rounded to
    those of `dtype` and whole numbers to floats. JSON and texts have no NaN and no
    infinity; .npy files may.

    Raises TypeMismatch, DataUrlInvalid, and DataError for other shapes, for numbers
    that the type cannot hold, and for broken files.
    """
    read = _READERS.get(type(value))
    if read is None:
        raise TypeMismatch(f"{_wanted(shape)} is expected, not {shown(value)}")
    return read(value, shape, dtype)


def _read_single(value: float, shape: Shape, dtype: str) -> NDArray[Any]:
    if shape not in _SINGLE:
        raise TypeMismatch(f"{_wanted(shape)} is expected, not a single number")
    # So is nearly every number, and there may be one in each of many rows.
    if type(value) in _NUMBERS and dtype in _FLOATS and abs(value) <= _IN_EVERY_FLOAT:
        return np.full(_sizes(shape), value, dtype)
    return _from_numbers([value], (), dtype).reshape(_sizes(shape))


def _read_text(text: str, shape: Shape, dtype: str) -> NDArray[Any]:
    if is_data_url(text):
        return _read_npy(_content(text), shape, dtype)
    if text.lstrip().startswith(("[", "{")):
        sent = sent_json.read(text.encode(errors="surrogatepass"), "the text")
        return read_array(sent, shape, dtype)
    number = _read_literal(text) if shape in _SINGLE else None
    if number is None or number != number:
        raise TypeMismatch(f"{_wanted(shape)} is expected, not {shown(text)}")
    return _read_single(number, shape, dtype)


def _content(text: str) -> bytes:
    media_type, data = read_data_url(text)
    if media_type not in _MEDIA_TYPES:
        raise DataUrlInvalid(
            f"a data URL of {npy.NPY} is expected, not of {shown(media_type)}"
        )
    return data


def _read_literal(text: str) -> float | None:
    # As a float a whole number of 64 bits would be rounded.
    literal = text.strip()
    return int(literal) if _INTEGER.fullmatch(literal) else read_number(text)


def _read_file(upload: Upload, shape: Shape, dtype: str) -> NDArray[Any]:
    return _read_npy(upload.data, shape, dtype)


def _read_npy(data: bytes, shape: Shape, dtype: str) -> NDArray[Any]:
    array = npy.read(data)
    check_shape(array.shape, shape)
    if array.dtype == np.bool_ and dtype != "bool":
        raise TypeMismatch("an .npy file of numbers is expected, not of booleans")
    return _cast(array, dtype).reshape(_sizes(shape, array.shape))


def _read_object(value: dict[str, Any], shape: Shape, dtype: str) -> NDArray[Any]:
    if value.keys() != {"shape", "data"}:
        raise TypeMismatch(
            f"{_wanted(shape)} is expected, of which an object has the keys 'shape' and"
            " 'data' only"
        )
    sizes, flat = value["shape"], value["data"]
    if type(sizes) is not list or not {int}.issuperset(map(type, sizes)):
        raise TypeMismatch("'shape': a list of whole numbers is expected")
    if type(flat) is not list:
        raise TypeMismatch(f"'data': a list is expected, not {shown(flat)}")
    check_shape(tuple(sizes), shape)
    count = math.prod(sizes)
    if len(flat) != count:
        raise DataError(
            f"'data': as many numbers as the shape has, {count:,}, are expected, not"
            f" {len(flat):,}"
        )
    return _from_numbers(flat, tuple(sizes), dtype).reshape(_sizes(shape, tuple(sizes)))


def _read_list(value: list[Any], shape: Shape, dtype: str) -> NDArray[Any]:
    flat, sizes = flatten(value)
    check_shape(sizes, shape)
    return _from_numbers(flat, sizes, dtype).reshape(_sizes(shape, sizes))


def flatten(value: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """What lists within lists hold, and their sizes from the outer to the inner."""
    flat = value
    sizes: tuple[int, ...] = (len(value),)
    while flat and type(flat[0]) is list and len(sizes) < _DEEPEST:
        _check_alike(flat, sizes)
        sizes = (*sizes, len(flat[0]))
        flat = list(chain.from_iterable(flat))
    return flat, sizes


def _check_alike(lists: list[Any], sizes: tuple[int, ...]) -> None:
    """Raise TypeMismatch or DataError unless all are lists, and of one length."""
    if {*map(type, lists)} != {list}:
        at = next(at for at, each in enumerate(lists) if type(each) is not list)
        raise TypeMismatch(
            f"{_place(at, sizes)}a list is expected, not {shown(lists[at])}"
        )
    length = len(lists[0])
    if {*map(len, lists)} != {length}:
        at = next(at for at, each in enumerate(lists) if len(each) != length)
        raise DataError(
            f"{_place(at, sizes)}a list of the length {length}, like those before it,"
            f" is expected, not of {len(lists[at])}"
        )


def check_shape(sizes: tuple[int, ...], shape: Shape) -> None:
    """Raise DataError unless an array of these sizes is of the shape."""
    if shape in _SINGLE and sizes in _SINGLE:
        return
    fits = len(sizes) == len(shape) and all(
        size > 0 if expected is None else size == expected
        for size, expected in zip(sizes, shape, strict=True)
    )
    if not fits:
        sent = "an array of the shape " if shape in _SINGLE else ""
        raise DataError(f"{_wanted(shape)} is expected, not {sent}{_spelled(sizes)}")


def _sizes(shape: Shape, sent: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The shape, its open axes as they were sent."""
    return tuple(
        sent[axis] if size is None else size for axis, size in enumerate(shape)
    )


def _from_numbers(flat: list[Any], sizes: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """An array of the sizes, which have as many numbers."""
    allowed = _BOOLEANS if dtype == "bool" else _NUMBERS
    types = {*map(type, flat)}
    if not types <= allowed:
        at = next(at for at, each in enumerate(flat) if type(each) not in allowed)
        raise TypeMismatch(
            f"{_place(at, sizes)}a number is expected, not {shown(flat[at])}"
        )
    if types == {int} and np.dtype(dtype).kind in "iu":
        return _from_whole(flat, sizes, dtype)
    if int in types and np.dtype(dtype).kind in "iu":
        # One by one: as floats whole numbers from 2^53 on would lose their ends.
        whole = [number for each in flat if (number := _exact(each)) is not None]
        if len(whole) == len(flat):
            return _from_whole(whole, sizes, dtype)
    # No JSON has such a number: its readers refuse it, and the text of a form may.
    try:
        array = np.array(flat, np.float64).reshape(sizes)
    except OverflowError as error:
        raise DataError("a number is larger than any float") from error
    _refuse(~np.isfinite(array), array, "a finite number")
    return _cast(array, dtype)


def _exact(number: int | float) -> int | None:
    """The whole number, if it is one, and a float of this value is no other."""
    if isinstance(number, int):
        return number
    is_whole = number.is_integer() and abs(number) <= _LARGEST_WHOLE
    return int(number) if is_whole else None


def _from_whole(flat: list[int], sizes: tuple[int, ...], dtype: str) -> NDArray[Any]:
    try:
        return np.array(flat, dtype).reshape(sizes)
    except OverflowError as error:
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        at = next(at for at, each in enumerate(flat) if not low <= each <= high)
        raise DataError(
            f"{_place(at, sizes)}{_whole(low, high)} is expected, not {shown(flat[at])}"
        ) from error


def _cast(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The same numbers as another type, in which they have to be the same."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        _refuse((array != 0) & (array != 1), array, "true or false, or 1 or 0,")
        return array.astype(dtype)
    return _to_whole(array, dtype) if kind in "iu" else _to_float(array, dtype)


def _to_whole(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    if array.dtype.kind == "f":
        low, high = max(low, -_LARGEST_WHOLE), min(high, _LARGEST_WHOLE)
        array = array.astype(np.float64)
        fits = (array == np.trunc(array)) & (array >= low) & (array <= high)
    else:
        fits = (array >= low) & (array <= high)
    _refuse(~fits, array, _whole(low, high))
    return array.astype(dtype)


def _to_float(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    # What it would warn of is looked for instead.
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    _refuse(np.isinf(rounded) & np.isfinite(array), array, f"a number that {dtype} has")
    return rounded


def _refuse(is_bad: NDArray[np.bool_], array: NDArray[Any], wanted: str) -> None:
    """Raise DataError for the first of the bad numbers, if there is one."""
    if is_bad.any():
        at = int(is_bad.argmax())
        value = shown(array.flat[at].item())
        raise DataError(f"{_place(at, array.shape)}{wanted} is expected, not {value}")


def _whole(low: int, high: int) -> str:
    return f"a whole number from {low} to {high}"


def _wanted(shape: Shape) -> str:
    return (
        "a number" if shape in _SINGLE else f"an array of the shape {_spelled(shape)}"
    )


def _spelled(shape: Shape) -> str:
    sizes = ["any" if size is None else str(size) for size in shape[:_MOST_SHOWN]]
    if len(shape) > _MOST_SHOWN:
        sizes.append("...")
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _place(at: int, sizes: tuple[int, ...]) -> str:
    """`at [3][0]: `, of the element that is the n-th in all."""
    places = []
    for size in reversed(sizes):
        at, place = divmod(at, size)
        places.append(f"[{place}]")
    return f"at {''.join(reversed(places))}: " if places else ""


_READERS: Final[dict[type, Callable[[Any, Shape, str], NDArray[Any]]]] = {
    bool: _read_single,
    int: _read_single,
    float: _read_single,
    str: _read_text,
    list: _read_list,
    dict: _read_object,
    Upload: _read_file,
}
