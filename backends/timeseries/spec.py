"""The spec: which features a time series model takes, and how they are derived.

Plain data, read from JSON by `spec_json`. Training and serving derive by the same spec
with the same code, so that the model meets the features it was trained on.

Offsets are time steps relative to the origin: the forecast point for the direct
strategy, the step before the predicted one for the recursive one. 0 is the newest step,
none is positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from backends.model import Feature, Label, Task

# What reading a spec raises, under the name that training code knows it by.
from backends.strict_json import SpecError as SpecError

TargetType = Literal["Regression", "Binary", "Multiclass"]
Unit = Literal["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]
Strategy = Literal["direct", "recursive"]
Source = Literal["raw", "transformed"]
Statistic = Literal[
    "mean",
    "std",
    "min",
    "max",
    "sum",
    "median",
    "count",
    "first",
    "last",
    "quantile",
    "most_frequent",
]
DatePart = Literal[
    "year",
    "quarter",
    "month",
    "day",
    "dayofweek",
    "dayofyear",
    "week",
    "hour",
    "minute",
    "second",
    "is_month_start",
    "is_month_end",
    "is_weekend",
]

UNITS: tuple[Unit, ...] = get_args(Unit)
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
DATE_PARTS: tuple[DatePart, ...] = get_args(DatePart)


@dataclass(frozen=True, slots=True)
class Window:
    """Steps from start to end. The feature derivation window leaves out its start."""

    start: int
    end: int


# ---- Features that look at what a column had in the derivation window


@dataclass(frozen=True, slots=True)
class Lag:
    """The column's value at an offset."""

    name: str
    column: str
    offset: int = 0
    source: Source = "raw"


@dataclass(frozen=True, slots=True)
class Rolling:
    """A statistic of the column's values at the offsets end - window + 1 .. end.

    min_count: with fewer values the feature is missing.
    ddof: of the standard deviation. quantile: 0 to 1, of the statistic "quantile",
    between two values linearly.
    """

    name: str
    column: str
    stat: Statistic
    window: int
    end: int = 0
    source: Source = "raw"
    min_count: int = 1
    ddof: int = 1
    quantile: float = 0.5


@dataclass(frozen=True, slots=True)
class Diff:
    """The column's value at the offset less that `period` steps before."""

    name: str
    column: str
    period: int
    offset: int = 0
    source: Source = "raw"


@dataclass(frozen=True, slots=True)
class SeasonalLag:
    """The newest value at the predicted step's phase of the period."""

    name: str
    column: str
    period: int
    source: Source = "raw"


@dataclass(frozen=True, slots=True)
class Static:
    """What the series has in the column: its newest value in the derivation window."""

    name: str
    column: str


# ---- Features of the predicted row


@dataclass(frozen=True, slots=True)
class Known:
    """The column's value in the predicted row, known in advance."""

    name: str
    column: str


@dataclass(frozen=True, slots=True)
class SeriesCode:
    """The position of the series among the categories."""

    name: str
    categories: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Date:
    """A part of the predicted row's timestamp; Monday is day 0 of the week."""

    name: str
    part: DatePart


@dataclass(frozen=True, slots=True)
class IsEvent:
    """1 on a day of the calendar, else 0; by the predicted row's timestamp."""

    name: str


@dataclass(frozen=True, slots=True)
class DaysToEvent:
    """Days to the next day of the calendar, 0 on one; missing after the last."""

    name: str


@dataclass(frozen=True, slots=True)
class DaysSinceEvent:
    """Days since the last day of the calendar, 0 on one; missing before the first."""

    name: str


@dataclass(frozen=True, slots=True)
class ForecastDistance:
    """How many steps after the forecast point the predicted row is."""

    name: str


Derived = (
    Lag
    | Rolling
    | Diff
    | SeasonalLag
    | Static
    | Known
    | SeriesCode
    | Date
    | IsEvent
    | DaysToEvent
    | DaysSinceEvent
    | ForecastDistance
)
# Those that look back.
Historic = Lag | Rolling | Diff | SeasonalLag | Static


# ---- What the model predicts instead of the target


@dataclass(frozen=True, slots=True)
class Log1p:
    """log(1 + y)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Direct: y less the newest value at the predicted step's phase of the period."""

    period: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Recursive: y less what it was `period` steps before."""

    period: int


Transform = Log1p | Baseline | Difference


@dataclass(frozen=True, slots=True)
class Spec:
    """What a time series deployment knows beside its model.

    columns: every column of the data but the series id and the timestamp, by name:
        numeric or categorical. The target is among them; one of classes is
        categorical, its categories are the classes in the model's order.
    series_id_column: None: one series.
    is_row_based: steps are rows, of each series, not units of time.
    known_in_advance: columns that the predicted rows have to have.
    features: in the model's order.
    transforms: applied in this order, undone in reverse.
    calendar: days of events, ISO 8601, ascending.
    intervals: size in percent to forecast distance to what is added to the prediction
        before the inverse of log1p, low and high; every distance of the window.
    models: forecast distance to model file; empty: one model for all.
    raw: the JSON that the spec was read from.
    """

    target: str
    target_type: TargetType
    datetime_column: str
    datetime_format: str
    feature_derivation_window: Window
    forecast_window: Window
    columns: Mapping[str, Feature]
    features: tuple[Derived, ...]
    series_id_column: str | None = None
    time_unit: Unit = "DAY"
    time_step: int = 1
    is_row_based: bool = False
    known_in_advance: tuple[str, ...] = ()
    strategy: Strategy = "direct"
    transforms: tuple[Transform, ...] = ()
    calendar: tuple[str, ...] = ()
    intervals: Mapping[int, Mapping[int, tuple[float, float]]] = field(
        default_factory=dict
    )
    models: Mapping[int, str] = field(default_factory=dict)
    raw: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def names(self) -> list[str]:
        """The features' names, in the model's order."""
        return [feature.name for feature in self.features]

    @property
    def task(self) -> Task:
        """What the model does."""
        return _TASKS[self.target_type]

    @property
    def classes(self) -> tuple[Label, ...]:
        """Class labels in the model's order; empty for regression."""
        return self.columns[self.target].categories or ()

    @property
    def differenced(self) -> int:
        """By how many steps differencing widens the derivation window."""
        return sum(each.period for each in self.transforms if type(each) is Difference)

    @property
    def effective_start(self) -> int:
        """Start, left out, of the derivation window that differencing has widened.

        Source: "Time series modelling framework": [-28, 0] with a difference of 7 days
        needs [-35, 0].
        """
        return self.feature_derivation_window.start - self.differenced

    @property
    def history(self) -> int:
        """How many steps up to the forecast point a request's history has to span."""
        return -self.effective_start

    @property
    def historic_columns(self) -> tuple[str, ...]:
        """Columns that features look back at, the target among them."""
        looked_at = [
            each.column for each in self.features if isinstance(each, Historic)
        ]
        return tuple(dict.fromkeys([self.target, *looked_at]))

    @property
    def used_columns(self) -> frozenset[str]:
        """The target, and the columns that features look at."""
        looked_at = [
            each.column for each in self.features if isinstance(each, Historic | Known)
        ]
        return frozenset([self.target, *looked_at])

    @property
    def is_logarithmic(self) -> bool:
        """Whether predictions are the inverse of log1p."""
        return any(type(each) is Log1p for each in self.transforms)


_TASKS: Mapping[TargetType, Task] = {
    "Regression": "regression",
    "Binary": "binary",
    "Multiclass": "multiclass",
}


def extent(feature: Derived, window: Window) -> tuple[int, int] | None:
    """The first and the last offset that a feature looks at; None: it looks at none.

    window: the feature derivation window.
    """
    if isinstance(feature, Lag):
        return feature.offset, feature.offset
    if isinstance(feature, Rolling):
        return feature.end - feature.window + 1, feature.end
    if isinstance(feature, Diff):
        return feature.offset - feature.period, feature.offset
    if isinstance(feature, SeasonalLag):
        return window.end - feature.period + 1, window.end
    if isinstance(feature, Static):
        return window.start + 1, window.end
    return None
