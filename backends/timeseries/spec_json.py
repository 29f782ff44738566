"""The spec of a time series model, read from JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias, get_args

from backends.model import Feature, Label
from backends.timeseries.dates import DateFormat
from backends.timeseries.feature_json import (
    MOST_STEPS,
    Setting,
    check_kind,
    check_reach,
    read_feature,
)
from backends.timeseries.spec import (
    UNITS,
    Baseline,
    Derived,
    Difference,
    Historic,
    Known,
    Log1p,
    Source,
    Spec,
    Strategy,
    TargetType,
    Transform,
    Unit,
    Window,
)
from backends.timeseries.strict_json import Value, read, shown

_VERSION = 1
_MOST_DISTANCES = 10_000
_MOST_FEATURES = 10_000
_MOST_TRANSFORMS = 10
# Timestamps lie between 1900 and 2262.
_MOST_YEARS = 362

_REQUIRED = (
    *("version", "target", "targetType", "datetimeColumn", "datetimeFormat"),
    *("featureDerivationWindow", "forecastWindow", "features"),
)
_OPTIONAL = (
    *("seriesIdColumn", "timeUnit", "timeStep", "windowsBasisUnit", "classes"),
    *("knownInAdvance", "strategy", "targetTransform", "calendar", "models"),
    *("predictionIntervals", "explanations", "model", "goldenSample"),
)

_Members: TypeAlias = Mapping[str, Value]

_STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_TARGET_TYPES: tuple[TargetType, ...] = get_args(TargetType)
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


def load_spec(source: Path | str | Mapping[str, Any]) -> Spec:
    """Read a spec.

    source: path of a file of JSON, or the object itself.

    Raises SpecError, which begins with the path of what is wrong: `features[3].window`.
    """
    value = read(source)
    members = value.members(_REQUIRED, _OPTIONAL)
    if members["version"].whole(1, MOST_STEPS) != _VERSION:
        members["version"].expect(str(_VERSION))
    head = _head(members)
    clock = _clock(members)
    derivation, forecast = _windows(members, head.strategy, clock)
    transforms = _transforms(members, head, derivation)
    calendar = _calendar(members)
    features = _features(
        members["features"],
        Setting(
            target=head.target,
            target_type=head.target_type,
            datetime_column=head.datetime_column,
            series_id_column=head.series_id_column,
            window=derivation,
            known_in_advance=head.known_in_advance,
            source=_default_source(transforms, head.strategy),
            is_recursive=head.strategy == "recursive",
            has_calendar=bool(calendar),
        ),
    )
    columns = _columns(members["features"], features, head)
    _check_files(members, len(features))
    spec = Spec(
        target=head.target,
        target_type=head.target_type,
        datetime_column=head.datetime_column,
        datetime_format=_datetime_format(members["datetimeFormat"]),
        feature_derivation_window=derivation,
        forecast_window=forecast,
        columns=columns,
        features=features,
        series_id_column=head.series_id_column,
        time_unit=clock.unit,
        time_step=clock.step,
        is_row_based=clock.is_row_based,
        known_in_advance=head.known_in_advance,
        strategy=head.strategy,
        transforms=transforms,
        calendar=calendar,
        intervals=_intervals(members, head.target_type, forecast),
        models=_models(members, head.strategy, forecast),
        raw=value.data,
    )
    _check_history(members, spec)
    return spec


# ---- What the columns are


@dataclass(frozen=True, slots=True)
class _Head:
    target: str
    target_type: TargetType
    classes: tuple[Label, ...]
    datetime_column: str
    series_id_column: str | None
    known_in_advance: tuple[str, ...]
    strategy: Strategy


def _head(members: _Members) -> _Head:
    target = members["target"].text()
    target_type = members["targetType"].choice(_TARGET_TYPES)
    taken = {target: "target"}
    datetime_column = _untaken(members["datetimeColumn"], taken)
    taken[datetime_column] = "datetimeColumn"
    series_id_column = None
    # null is what single series may say as well.
    if (series := members.get("seriesIdColumn")) and series.data is not None:
        series_id_column = _untaken(series, taken)
        taken[series_id_column] = "seriesIdColumn"
    known = []
    if "knownInAdvance" in members:
        for each in members["knownInAdvance"].items():
            known.append(_untaken(each, taken))
            taken[known[-1]] = "knownInAdvance"
    strategy = members.get("strategy")
    return _Head(
        target,
        target_type,
        _classes(members, target_type),
        datetime_column,
        series_id_column,
        tuple(known),
        strategy.choice(_STRATEGIES) if strategy else "direct",
    )


def _untaken(value: Value, taken: Mapping[str, str]) -> str:
    name = value.text()
    if name in taken:
        value.refuse(f"{shown(name)} is in {taken[name]} already")
    return name


def _classes(members: _Members, target_type: TargetType) -> tuple[Label, ...]:
    value = members.get("classes")
    if target_type == "Regression":
        if value is not None:
            value.refuse("a target of targetType Regression has none")
        return ()
    if value is None:
        members["targetType"].refuse(f"{target_type} needs the key classes")
    classes = value.labels(least=2)
    if target_type == "Binary" and len(classes) != 2:
        value.refuse(f"a Binary target has 2, not {len(classes)}")
    return classes


def _datetime_format(value: Value) -> str:
    text = value.text()
    try:
        DateFormat(text)
    except ValueError as error:
        value.refuse(str(error))
    return text


# ---- Steps of time


@dataclass(frozen=True, slots=True)
class _Clock:
    unit: Unit
    step: int
    is_row_based: bool


def _clock(members: _Members) -> _Clock:
    unit: Unit = "DAY"
    if "timeUnit" in members:
        unit = members["timeUnit"].choice(UNITS)
    step = 1
    if "timeStep" in members:
        most = int(_MOST_YEARS * _PER_YEAR[unit])
        step = members["timeStep"].whole(1, most)
    basis: str = unit
    if "windowsBasisUnit" in members:
        basis = members["windowsBasisUnit"].choice((unit, "ROW"))
    return _Clock(unit, step, basis == "ROW")


def _windows(
    members: _Members, strategy: Strategy, clock: _Clock
) -> tuple[Window, Window]:
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
    if not clock.is_row_based:
        _check_years(value, forecast.end, clock)
    return derivation, forecast


def _window(value: Value, low: int, high: int) -> Window:
    ends = value.members(("start", "end"))
    return Window(ends["start"].whole(low, high), ends["end"].whole(low, high))


def _check_years(value: Value, steps: int, clock: _Clock) -> None:
    if steps * clock.step > _MOST_YEARS * _PER_YEAR[clock.unit]:
        value.refuse(f"{steps:,} steps are more than the years from 1900 to 2262")


def _check_history(members: _Members, spec: Spec) -> None:
    """Differencing widens the window: what it then is has its limits as well."""
    value = members["featureDerivationWindow"]
    if spec.history > MOST_STEPS:
        value.refuse(
            f"with its differences the model needs {spec.history:,} steps of history, "
            f"at most {MOST_STEPS:,} are allowed"
        )
    if not spec.is_row_based:
        clock = _Clock(spec.time_unit, spec.time_step, is_row_based=False)
        _check_years(value, spec.history, clock)


# ---- What the model predicts instead of the target


def _transforms(
    members: _Members, head: _Head, window: Window
) -> tuple[Transform, ...]:
    if "targetTransform" not in members:
        return ()
    values = members["targetTransform"].items(_MOST_TRANSFORMS)
    if values and head.target_type != "Regression":
        members["targetTransform"].refuse("only a target of Regression has transforms")
    transforms: list[Transform] = []
    for value in values:
        transforms.append(_transform(value, head.strategy, window))
        _check_stack(value, transforms)
    return tuple(transforms)


def _transform(value: Value, strategy: Strategy, window: Window) -> Transform:
    op = value.table().get("op") or value.members(("op",))["op"]
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


def _default_source(
    transforms: Sequence[Transform], strategy: Strategy
) -> Source | None:
    """Of features of the target; None where there is no other than raw."""
    if all(isinstance(each, Baseline) for each in transforms):
        return None
    return "transformed" if strategy == "recursive" else "raw"


def _calendar(members: _Members) -> tuple[str, ...]:
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


# ---- Features and the columns that they look at


def _features(value: Value, setting: Setting) -> tuple[Derived, ...]:
    values = value.items(_MOST_FEATURES)
    if not values:
        value.refuse("at least one is expected")
    features: list[Derived] = []
    names: dict[str, int] = {}
    for position, each in enumerate(values):
        feature = read_feature(each, setting)
        features.append(feature)
        # LightGBM writes spaces as underscores.
        first = names.setdefault(feature.name.replace(" ", "_"), position)
        if first != position:
            each.refuse(
                f"the name is that of features[{first}]; spaces count as underscores",
                feature.name,
            )
    return tuple(features)


def _columns(
    value: Value, features: Sequence[Derived], head: _Head
) -> dict[str, Feature]:
    """Every column: the target first, then those of features, then other known ones."""
    values = value.items()
    categories: dict[str, tuple[Label, ...]] = {}
    if head.classes:
        categories[head.target] = head.classes
    names = [head.target]
    for each, feature in zip(values, features, strict=True):
        if isinstance(feature, Historic | Known):
            names.append(feature.column)
            _gather_categories(each, feature.column, categories, head)
    columns = {
        name: _column(name, categories.get(name))
        for name in dict.fromkeys([*names, *head.known_in_advance])
    }
    for each, feature in zip(values, features, strict=True):
        if isinstance(feature, Historic):
            is_code = feature.column == head.target and head.target_type == "Binary"
            check_kind(each, feature, columns[feature.column], is_code=is_code)
    return columns


def _gather_categories(
    feature: Value, column: str, categories: dict[str, tuple[Label, ...]], head: _Head
) -> None:
    given = feature.table().get("categories")
    if given is None:
        return
    if column == head.target and not head.classes:
        given.refuse("the target of targetType Regression is numeric")
    levels = given.labels()
    if categories.setdefault(column, levels) != levels:
        given.refuse(f"the column {shown(column)} has other ones elsewhere")


def _column(name: str, categories: tuple[Label, ...] | None) -> Feature:
    if categories is None:
        return Feature(name, "numeric")
    return Feature(name, "categorical", categories=categories)


# ---- What belongs to the answer


def _intervals(
    members: _Members, target_type: TargetType, window: Window
) -> dict[int, dict[int, tuple[float, float]]]:
    value = members.get("predictionIntervals")
    if value is None:
        return {}
    if target_type != "Regression":
        value.refuse("only a target of Regression has intervals")
    table = value.table()
    space = table.pop("space", None)
    if space is None:
        value.members(("space",), value.data)
    assert space is not None
    space.choice(("model",))
    sizes = {str(size): size for size in range(1, 101)}
    intervals = {}
    for key, each in table.items():
        if key not in sizes:
            each.refuse("sizes are whole numbers from 1 to 100")
        distances = each.members((), _distances(window))
        intervals[sizes[key]] = {
            int(distance): _bounds(bounds) for distance, bounds in distances.items()
        }
    return intervals


def _distances(window: Window) -> dict[str, int]:
    """Each distance of the forecast window by its key."""
    return {str(each): each for each in range(window.start, window.end + 1)}


def _bounds(value: Value) -> tuple[float, float]:
    ends = value.items()
    if len(ends) != 2:
        value.refuse(f"low and high are expected, not {len(ends)} numbers")
    low, high = (each.number() for each in ends)
    if low > high:
        value.refuse(f"low {low} is above high {high}")
    return low, high


def _models(members: _Members, strategy: Strategy, window: Window) -> dict[int, str]:
    value = members.get("models")
    if value is None:
        return {}
    if strategy == "recursive":
        value.refuse("the recursive strategy has one model for all distances")
    files = value.members(_distances(window))
    return {int(distance): file.file_name() for distance, file in files.items()}


def _check_files(members: _Members, features: int) -> None:
    """What only says where the model and its samples are, or counts them."""
    if "model" in members:
        model = members["model"].members((), ("file", "numFeatures"))
        if "file" in model:
            model["file"].file_name()
        if "numFeatures" in model and model["numFeatures"].whole(1, 10**9) != features:
            model["numFeatures"].refuse(f"the spec has {features} features")
    for key, files in _OTHER_FILES.items():
        if key in members:
            for file in members[key].members((), files).values():
                file.text()


_OTHER_FILES = {"explanations": ("reference",), "goldenSample": ("request", "expected")}
