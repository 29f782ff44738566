"""Values as the bytes of an answer: numbers in their shortest form, texts, cells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

Tokens = Iterable[bytes]

# The largest power of ten that a double holds exactly.
_LARGEST_EXACT_POWER = 22
# Up to so many numbers, numpy's calls cost more than Python's rounding.
_FEW = 32
_CSV_QUOTED = re.compile(r'[",\r\n]')


def round_decimals(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Round to at most so many digits after the point, exactly; -0.0 becomes 0.0.

    Equal to Python's `round` on every value. A number scaled by a power of ten is off
    by at most half a unit in its last place: where that could decide between two
    neighbours, Python's own decimal rounding does.
    """
    if decimals > _LARGEST_EXACT_POWER or len(values) < _FEW:
        return _round_slowly(values, decimals)
    scale = 10.0**decimals
    # Numbers beyond this have no digit to round, and would overflow when scaled.
    has_digits = np.abs(values) < 2.0**52
    scaled = np.where(has_digits, values, 0.0) * scale
    rounded = np.rint(scaled) / scale
    doubtful = np.abs(scaled - np.floor(scaled) - 0.5) <= np.abs(scaled) * 2.0**-51
    # NaN among them.
    doubtful |= ~has_digits
    if doubtful.any():
        rounded[doubtful] = _round_slowly(values[doubtful], decimals)
    return np.asarray(rounded + 0.0)


def _round_slowly(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    return np.array(_rounded(values, decimals), np.float64)


def _rounded(values: NDArray[np.float64], decimals: int) -> list[float]:
    # No double has a digit further than 1,074 places behind the point.
    places = min(decimals, 1100)
    # Adding 0.0 makes -0.0 positive.
    return [round(value, places) + 0.0 for value in values.tolist()]


def number_tokens(values: NDArray[np.float64], decimals: int) -> list[bytes]:
    """Each number rounded, in its shortest form; NaN, infinity: null."""
    if len(values) < _FEW:
        return list(map(orjson.dumps, _rounded(values, decimals)))
    return _tokens(round_decimals(np.ascontiguousarray(values), decimals))


def csv_numbers(values: NDArray[np.float64], decimals: int) -> list[bytes]:
    """Each number rounded, as recorded CSV answers spell it; NaN, infinity: empty."""
    rounded = round_decimals(np.ascontiguousarray(values), decimals)
    return _as_in_csv(_tokens(rounded), rounded)


def exact_tokens(values: NDArray[np.float64]) -> list[bytes]:
    """Each number in its shortest form, none rounded; -0.0 becomes 0.0."""
    return _tokens(np.ascontiguousarray(values + 0.0))


def integer_tokens(values: NDArray[np.int64]) -> list[bytes]:
    """Each integer."""
    return _tokens(np.ascontiguousarray(values))


def sent_numbers(values: NDArray[np.float64]) -> list[bytes]:
    """Numbers as they were sent, whole ones without a point; NaN, infinity: null."""
    # Adding 0.0 makes -0.0 positive.
    return [token.removesuffix(b".0") for token in _tokens(values + 0.0)]


def sent_csv_numbers(values: NDArray[np.float64]) -> list[bytes]:
    """The same in CSV; NaN and infinity: empty."""
    tokens = [b"" if token == b"null" else token for token in sent_numbers(values)]
    return _as_in_csv(tokens, np.where(np.isfinite(values), values, 0.0))


def _as_in_csv(tokens: list[bytes], values: NDArray[np.float64]) -> list[bytes]:
    """The tokens of numbers with those that CSV spells in another way."""
    # Recorded CSV answers spell these as Python does: 6.50871e-05.
    sizes = np.abs(values)
    unusual = (sizes != 0.0) & ~((sizes >= 1e-4) & (sizes < 1e16))
    for position in np.flatnonzero(unusual).tolist():
        value = float(values[position])
        tokens[position] = repr(value).encode() if math.isfinite(value) else b""
    return tokens


def _tokens(values: NDArray[np.float64] | NDArray[np.int64]) -> list[bytes]:
    if not values.size:
        return []
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].split(b",")


def pick(
    choices: Sequence[bytes], positions: NDArray[np.intp] | NDArray[np.bool_]
) -> list[bytes]:
    """The choice at each of some positions."""
    return [choices[position] for position in positions.tolist()]


def spelled_once(values: Sequence[Any], spelled: Callable[[Any], bytes]) -> list[bytes]:
    """The text of each value, each different one spelled once.

    Values of two types are different, however equal: 1, 1.0 and True.
    """
    keys: Sequence[Any] = values
    if len(set(map(type, values))) > 1:
        keys = list(zip(map(type, values), values, strict=True))
    texts = {
        key: spelled(value)
        for key, value in dict(zip(keys, values, strict=True)).items()
    }
    return [texts[key] for key in keys]


def plain(values: Sequence[Any] | pa.Array) -> Sequence[Any]:
    """Cells as Python's own values."""
    return values.to_pylist() if isinstance(values, pa.Array) else values


def json_value(value: Any) -> bytes:
    """A passthrough value as JSON; NaN and infinities, which JSON lacks, as null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # An integer that does not fit 64 bits.
        return orjson.dumps(str(value))


def csv_cell(value: Any) -> bytes:
    """A value as a CSV cell: quoted only where it must be; None is empty."""
    if value is None:
        return b""
    text = value if isinstance(value, str) else _cell_text(value)
    if _CSV_QUOTED.search(text) or text[:1] == " " or text[-1:] == " ":
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def csv_lines(columns: Iterable[Tokens]) -> bytes:
    """Lines of CSV, each ended; columns that are constant may be without end."""
    lines = [b",".join(cells) for cells in zip(*columns, strict=False)]
    return b"\n".join([*lines, b""])


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return json_value(value).decode()
