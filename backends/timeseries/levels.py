"""What a model predicts instead of the target, and the way back.

The target's levels are its values and what each transform makes of them, one after the
other. A baseline is no level: it depends on how far ahead a row is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.spec import (
    Baseline,
    Diff,
    Difference,
    Lag,
    Log1p,
    Rolling,
    SeasonalLag,
    Spec,
    Transform,
    extent,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def levels(values: Floats, transforms: Sequence[Transform]) -> list[Floats]:
    """The target's levels, its values first; float64 (n, steps) each, oldest first.

    The first steps of a difference are missing.
    """
    found = [values]
    for transform in transforms:
        last = found[-1]
        if isinstance(transform, Log1p):
            found.append(np.log1p(last))
        elif isinstance(transform, Difference):
            period = transform.period
            apart = np.full_like(last, np.nan)
            apart[:, period:] = last[:, period:] - last[:, :-period]
            found.append(apart)
    return found


def inverse(values: Floats, spec: Spec) -> Floats:
    """Bring values from the scale that is added up on to the target's units."""
    # What is not finite is refused when all is done.
    with np.errstate(over="ignore"):
        return np.expm1(values) if spec.is_logarithmic else values


def scale(values: Floats, spec: Spec) -> Floats:
    """Bring values in the target's units to the scale that is added up on."""
    return np.log1p(values) if spec.is_logarithmic else values


def seasonal_offsets(distances: Ints, period: int, end: int) -> Ints:
    """Where the newest step at the predicted step's phase lies, from the origin.

    end: of the derivation window; the step is not after it.
    """
    back = -(-(distances - end) // period) * period
    return distances - back


def baseline_of(spec: Spec) -> Baseline | None:
    """The spec's baseline, if it has one."""
    return next((each for each in spec.transforms if isinstance(each, Baseline)), None)


def undone_with(spec: Spec) -> list[int]:
    """Offsets of the targets that undo the differences of all steps ahead."""
    differences = [each for each in spec.transforms if isinstance(each, Difference)]
    wanted = {
        (level, step - each.period)
        for step in range(1, spec.forecast_window.end + 1)
        for level, each in enumerate(differences)
    }
    # What is after the origin was predicted before.
    for level in range(len(differences) - 1, 0, -1):
        period = differences[level - 1].period
        here = {offset for each, offset in wanted if each == level and offset <= 0}
        wanted |= {
            (level - 1, offset - back) for offset in here for back in (0, period)
        }
    return sorted({offset for level, offset in wanted if level == 0 and offset <= 0})


def differenced_from(spec: Spec) -> int | None:
    """The first offset whose target differences need; None: there are none.

    Everything from there to the origin has to be known.
    """
    needed = undone_with(spec)
    if not needed:
        return None
    window = spec.feature_derivation_window
    looked_at = [
        extent(feature, window)
        for feature in spec.features
        if isinstance(feature, Lag | Rolling | Diff | SeasonalLag)
        and feature.source == "transformed"
    ]
    firsts = [each[0] - spec.differenced for each in looked_at if each is not None]
    return min([*needed, *firsts])
