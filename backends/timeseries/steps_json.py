"""Steps of time in a spec, read from JSON: units, windows, transforms, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from backends.strict_json import Value, shown
from backends.timeseries.spec import (
    UNITS,
    Baseline,
    Difference,
    Log1p,
    Source,
    Spec,
    Strategy,
    TargetType,
    Transform,
    Unit,
    Window,
)

MOST_STEPS = 100_000
_MOST_DISTANCES = 10_000
# What features of one forecast point look at takes 8 bytes a cell, some times over.
_MOST_CELLS = 2**24
_MOST_TRANSFORMS = 10
# Timestamps lie between 1900 and 2262.
_MOST_YEARS = 362

_Members: TypeAlias = Mapping[str, Value]

# Units in a year, in the mean.
_PER_YEAR: Mapping[Unit, float] = {
    "SECOND": 365.25 * 86400,
    "MINUTE": 365.25 * 1440,
    "HOUR": 365.25 * 24,
    "DAY": 365.25,
    "WEEK": 365.25 / 7,
    "MONTH": 12,
    "QUARTER": 4,
    "YEAR": 1,
}


@dataclass(frozen=True, slots=True)
class Basis:
    """How far apart steps are, and whether windows count rows instead."""

    unit: Unit
    step: int
    is_row_based: bool


def read_basis(members: _Members) -> Basis:
    """Read the unit of time, and whether windows count it or rows."""
    unit: Unit = "DAY"
    if "timeUnit" in members:
        unit = members["timeUnit"].choice(UNITS)
    step = 1
    if "timeStep" in members:
        most = int(_MOST_YEARS * _PER_YEAR[unit])
        step = members["timeStep"].whole(1, most)
    counted: str = unit
    if "windowsBasisUnit" in members:
        counted = members["windowsBasisUnit"].choice((unit, "ROW"))
    return Basis(unit, step, counted == "ROW")


def read_windows(
    members: _Members, strategy: Strategy, basis: Basis
) -> tuple[Window, Window]:
    """Read the feature derivation window and the forecast window."""
    value = members["featureDerivationWindow"]
    derivation = _window(value, -MOST_STEPS, MOST_STEPS)
    if not derivation.start < derivation.end <= 0:
        value.refuse("needs start < end <= 0")
    if strategy == "recursive" and derivation.end != 0:
        value.refuse("the recursive strategy needs end = 0")
    value = members["forecastWindow"]
    forecast = _window(value, -_MOST_DISTANCES, _MOST_DISTANCES)
    if not 1 <= forecast.start <= forecast.end:
        value.refuse("needs 1 <= start <= end")
    if not basis.is_row_based:
        _check_years(value, forecast.end, basis)
    return derivation, forecast


def _window(value: Value, low: int, high: int) -> Window:
    ends = value.members(("start", "end"))
    return Window(ends["start"].whole(low, high), ends["end"].whole(low, high))


def _check_years(value: Value, steps: int, basis: Basis) -> None:
    if steps * basis.step > _MOST_YEARS * _PER_YEAR[basis.unit]:
        value.refuse(f"{steps:,} steps are more than the years from 1900 to 2262")


def check_history(members: _Members, spec: Spec) -> None:
    """Refuse a window that looks at too much, once differencing has widened it."""
    value = members["featureDerivationWindow"]
    if spec.history > MOST_STEPS:
        value.refuse(
            f"with its differences the model needs {spec.history:,} steps of history, "
            f"at most {MOST_STEPS:,} are allowed"
        )
    columns = len(spec.historic_columns)
    if spec.history * columns > _MOST_CELLS:
        value.refuse(
            f"features look back {spec.history:,} steps at {columns:,} columns, which"
            f" are more than {_MOST_CELLS:,} cells"
        )
    if not spec.is_row_based:
        basis = Basis(spec.time_unit, spec.time_step, is_row_based=False)
        _check_years(value, spec.history, basis)


# ---- What the model predicts instead of the target


def read_transforms(
    members: _Members, target_type: TargetType, strategy: Strategy, window: Window
) -> tuple[Transform, ...]:
    """Read what is done to the target, of regression only."""
    if "targetTransform" not in members:
        return ()
    values = members["targetTransform"].items(_MOST_TRANSFORMS)
    if values and target_type != "Regression":
        members["targetTransform"].refuse("only a target of Regression has transforms")
    transforms: list[Transform] = []
    for value in values:
        transforms.append(_transform(value, strategy, window))
        _check_stack(value, transforms)
    return tuple(transforms)


def _transform(value: Value, strategy: Strategy, window: Window) -> Transform:
    op = value.need("op")
    name = op.choice(("log1p", "baseline", "difference"))
    if name == "log1p":
        value.members(("op",))
        return Log1p()
    if name != _DIFFERENCING[strategy]:
        op.refuse(
            f"{shown(name)} is not allowed for the {strategy} strategy; "
            f"allowed are log1p, {_DIFFERENCING[strategy]}"
        )
    period = value.members(("op", "period"))["period"].whole(1, MOST_STEPS)
    if name == "difference":
        return Difference(period)
    check_reach(value, (window.end - period + 1, window.end), window)
    return Baseline(period)


_DIFFERENCING: Mapping[Strategy, str] = {
    "direct": "baseline",
    "recursive": "difference",
}


def _check_stack(value: Value, transforms: Sequence[Transform]) -> None:
    """The last transform has to fit those before it."""
    if isinstance(transforms[-1], Log1p) and len(transforms) > 1:
        value.refuse("log1p has to be the first, and once")
    if sum(isinstance(each, Baseline) for each in transforms) > 1:
        value.refuse("at most one baseline is allowed")


def default_source(
    transforms: Sequence[Transform], strategy: Strategy
) -> Source | None:
    """Of features of the target; None where there is no other than raw."""
    if all(isinstance(each, Baseline) for each in transforms):
        return None
    return "transformed" if strategy == "recursive" else "raw"


def read_calendar(members: _Members) -> tuple[str, ...]:
    """Read days of events, and sort them."""
    if "calendar" not in members:
        return ()
    values = members["calendar"].items()
    days = [_day(value) for value in values]
    seen: set[str] = set()
    for value, day in zip(values, days, strict=True):
        if day in seen:
            value.refuse(f"{shown(day)} is there twice")
        seen.add(day)
    return tuple(sorted(days))


def _day(value: Value) -> str:
    text = value.data
    try:
        # Other spellings of ISO 8601 are read as well, and would not be sorted right.
        if isinstance(text, str) and date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    value.expect("a day like 2012-12-25")


def check_reach(
    value: Value, reach: tuple[int, int], window: Window, about: str = ""
) -> None:
    """Refuse what looks at steps outside the feature derivation window."""
    first, last = reach
    if first <= window.start or last > window.end:
        value.refuse(
            f"reads steps {first}..{last}, outside the feature derivation window "
            f"({window.start}, {window.end}]",
            about,
        )
