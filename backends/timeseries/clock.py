"""The steps of time: timestamps to whole numbers of steps, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.timeseries.spec import Unit

Ints = NDArray[np.int64]
# datetime64[us]
Times = NDArray[np.datetime64]

_SECOND = 1_000_000
_MICROSECONDS: Mapping[Unit, int] = {
    "SECOND": _SECOND,
    "MINUTE": 60 * _SECOND,
    "HOUR": 3_600 * _SECOND,
    "DAY": 86_400 * _SECOND,
    "WEEK": 7 * 86_400 * _SECOND,
}
_MONTHS: Mapping[Unit, int] = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@dataclass(frozen=True, slots=True)
class Clock:
    """Numbers the steps from that of one timestamp, which is 0.

    Seconds to weeks are as long as each other, months, quarters and years are not: a
    timestamp belongs to the one it lies in, whatever its day.

    unit, step: of time, and how many of it make a step.
    anchor: the timestamp of step 0, datetime64[us].
    day: months, quarters and years: of the month that steps are at; of shorter months
        it is the last one.
    """

    unit: Unit
    step: int
    anchor: Any
    day: int = 1

    @classmethod
    def of(cls, unit: Unit, step: int, times: Times) -> Clock:
        """The clock whose step 0 is the first of these timestamps."""
        anchor = times[0].astype("datetime64[us]")
        return cls(unit, step, anchor, _day_of_month(times) if unit in _MONTHS else 1)

    def steps(self, times: Times) -> Ints:
        """Which step each timestamp lies in, int64; the one before where between."""
        passed, length = self._passed(times)
        return np.asarray(passed // length)

    def is_on_grid(self, times: Times) -> NDArray[np.bool_]:
        """Whether each timestamp is a whole number of steps away from step 0."""
        passed, length = self._passed(times)
        return np.asarray(passed % length == 0)

    def times(self, steps: Ints) -> Times:
        """The timestamp of each step, datetime64[us]."""
        if self.unit in _MICROSECONDS:
            length = _MICROSECONDS[self.unit] * self.step
            return np.asarray(self.anchor + (steps * length).astype("timedelta64[us]"))
        month = self.anchor.astype("datetime64[M]")
        months = month + (steps * self.step * _MONTHS[self.unit])
        ends = (months + 1).astype("datetime64[D]") - 1
        days = np.minimum(months.astype("datetime64[D]") + (self.day - 1), ends)
        passed = self.anchor - self.anchor.astype("datetime64[D]")
        return np.asarray(days.astype("datetime64[us]") + passed)

    def _passed(self, times: Times) -> tuple[Ints, int]:
        """What passed since step 0, in parts of a step, and how many make a step."""
        if self.unit in _MICROSECONDS:
            passed = (times - self.anchor).astype("timedelta64[us]").astype(np.int64)
            return passed, _MICROSECONDS[self.unit] * self.step
        length = _MONTHS[self.unit]
        months = times.astype("datetime64[M]").astype(np.int64)
        first = self.anchor.astype("datetime64[M]").astype(np.int64)
        return months // length - first // length, self.step


def _day_of_month(times: Times) -> int:
    """The latest day that any is at, whichever comes first; 31 for ends of months."""
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    if ((days + 1).astype("datetime64[M]") != months).all():
        return 31
    return int((days - months.astype("datetime64[D]")).astype(np.int64).max()) + 1
