"""What it means that two matrices of scores are the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def assert_same_bits(found: Floats, wanted: Floats, rows: Floats) -> None:
    """All bits are the same; NaN is NaN, whatever its bits."""
    assert (found.dtype, found.shape) == (np.float64, wanted.shape)
    differ = (_bits(found) != _bits(wanted)).any(axis=1)
    assert not differ.any(), _first(differ, found, wanted, rows)


def assert_close(found: Floats, wanted: Floats, rows: Floats, *, units: int) -> None:
    """The same but for so many units in the last place."""
    assert (found.dtype, found.shape) == (np.float64, wanted.shape)
    differ = (distance(found, wanted) > units).any(axis=1)
    assert not differ.any(), _first(differ, found, wanted, rows)


def distance(found: Floats, wanted: Floats) -> NDArray[np.float64]:
    """How many float64 numbers lie between each pair, one end included."""
    return np.abs(_ordered(found) - _ordered(wanted))


def _ordered(values: Floats) -> NDArray[np.float64]:
    # As long double: a difference of two int64 may not be one, and 64 bits hold it.
    bits = _bits(values)
    ordered = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    return ordered.astype(np.longdouble)


def _bits(values: Floats) -> NDArray[np.int64]:
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _first(
    differ: NDArray[np.bool_], found: Floats, wanted: Floats, rows: Floats
) -> str:
    row = int(np.flatnonzero(differ)[0])
    return (
        f"{differ.sum()} of {len(differ)} rows differ; row {row},"
        f" {rows[row].tolist()}: {found[row].tolist()}, not {wanted[row].tolist()}"
    )
