"""How near an output's numbers must come to those that are wanted."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What graphs answer in float16 has three digits.
_HALF_TOLERANCE: Final = (1e-2, 1e-3)


def allowed(wanted: Floats, dtype: str, tolerance: tuple[float, float]) -> Floats:
    """How far each number may be off; of the shape of `wanted`.

    dtype: numpy's name of what the graph answers in.
    tolerance: relative, and absolute for each unit of the largest number that is
        wanted; of float16 it is wider.
    """
    relative, absolute = _HALF_TOLERANCE if dtype == "float16" else tolerance
    scale = float(np.max(np.abs(wanted), initial=0.0))
    return relative * np.abs(wanted) + absolute * scale


def first_beyond(found: NDArray[Any], wanted: Floats, allowed: Floats) -> int | None:
    """Position of the first number that is further off than is allowed; None if none.

    found, wanted, allowed: (n,). Whatever is not a number is too far off.
    """
    wrong = ~(np.abs(found.astype(np.float64) - wanted) <= allowed)
    return int(np.argmax(wrong)) if wrong.any() else None
