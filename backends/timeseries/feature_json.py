"""The features of a spec, read from JSON: their keys, and what they may look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from backends.strict_json import Value, shown
from backends.timeseries.columns_json import Roles
from backends.timeseries.spec import (
    DATE_PARTS,
    STATISTICS,
    Date,
    DaysSinceEvent,
    DaysToEvent,
    Derived,
    Diff,
    ForecastDistance,
    Historic,
    IsEvent,
    Known,
    Lag,
    Rolling,
    SeasonalLag,
    SeriesCode,
    Source,
    Static,
    Window,
    extent,
)
from backends.timeseries.steps_json import MOST_STEPS, check_reach

_MOST_FEATURES = 10_000
_MOST_NAME = 1024

# LightGBM refuses the marks, and its file has one line for all names.
_NO_NAME = re.compile('[\0-\x1f\x7f-\x9f\u2028\u2029,:\\[\\]{}"]')

_Members: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Setting:
    """What features are read against.

    fed_back: steps after the forecast point that the recursive strategy derives
        features from, once it has predicted the target there; 0 for the direct one.
    source: of the target, unless the feature says which; None: there is only raw.
    """

    roles: Roles
    window: Window
    fed_back: int
    source: Source | None
    has_calendar: bool


def read_features(value: Value, setting: Setting) -> tuple[Derived, ...]:
    """Read the list of features.

    Raises SpecError for a key that is unknown, missing or wrong, for a column or a
    window that a feature may not have, and for a name that is there twice.
    """
    values = value.items(_MOST_FEATURES)
    if not values:
        value.refuse("at least one is expected")
    features: list[Derived] = []
    names: dict[str, int] = {}
    for position, each in enumerate(values):
        feature = _read_feature(each, setting)
        features.append(feature)
        # LightGBM writes spaces as underscores.
        first = names.setdefault(feature.name.replace(" ", "_"), position)
        if first != position:
            each.refuse(
                f"the name is that of features[{first}]; spaces count as underscores",
                feature.name,
            )
    return tuple(features)


def _read_feature(value: Value, setting: Setting) -> Derived:
    op = value.need("op")
    read, required, optional = _OPS[op.choice(_OPS)]
    members = value.members(("name", "op", *required), optional)
    feature = read(_name(members["name"]), members, setting)
    _check_column(feature, members, setting)
    _check_extent(feature, value, setting)
    return feature


def _name(value: Value) -> str:
    name = value.text()
    if name != name.strip() or len(name) > _MOST_NAME:
        value.expect(
            f"a text of at most {_MOST_NAME} characters without space at its ends"
        )
    if found := _NO_NAME.search(name):
        value.refuse(f"{shown(name)} has {shown(found[0])}, which LightGBM refuses")
    return name


# ---- The keys of each op


def _column(members: _Members, setting: Setting) -> str:
    return members["column"].text() if "column" in members else setting.roles.target


def _source(members: _Members, setting: Setting) -> Source:
    given = members.get("source")
    asked: Source | None = given.choice(_SOURCES) if given else setting.source
    # Only the target has another level, and only with transforms that make one.
    if setting.source is None or _column(members, setting) != setting.roles.target:
        return "raw"
    return asked or "raw"


def _offset(members: _Members, key: str, setting: Setting) -> int:
    if key not in members:
        return setting.window.end
    return members[key].whole(-MOST_STEPS, MOST_STEPS)


def _lag(name: str, members: _Members, setting: Setting) -> Derived:
    return Lag(
        name,
        _column(members, setting),
        _offset(members, "offset", setting),
        _source(members, setting),
    )


def _rolling(name: str, members: _Members, setting: Setting) -> Derived:
    stat = members["stat"].choice(STATISTICS)
    window = members["window"].whole(1, MOST_STEPS)
    least, ddof = members.get("minCount"), members.get("ddof")
    return Rolling(
        name,
        _column(members, setting),
        stat,
        window,
        _offset(members, "end", setting),
        _source(members, setting),
        least.whole(1, window) if least else 1,
        ddof.whole(0, MOST_STEPS) if ddof else 1,
        _quantile(members, stat == "quantile"),
    )


def _quantile(members: _Members, is_needed: bool) -> float:
    value = members.get("quantile")
    if value is None:
        if is_needed:
            members["stat"].refuse("'quantile' needs the key quantile, from 0 to 1")
        return 0.5
    if not is_needed:
        value.refuse("only the stat 'quantile' has one")
    quantile = value.number()
    if not 0 <= quantile <= 1:
        value.expect("a number from 0 to 1")
    return quantile


def _diff(name: str, members: _Members, setting: Setting) -> Derived:
    return Diff(
        name,
        _column(members, setting),
        members["period"].whole(1, MOST_STEPS),
        _offset(members, "offset", setting),
        _source(members, setting),
    )


def _seasonal_lag(name: str, members: _Members, setting: Setting) -> Derived:
    return SeasonalLag(
        name,
        _column(members, setting),
        members["period"].whole(1, MOST_STEPS),
        _source(members, setting),
    )


def _static(name: str, members: _Members, setting: Setting) -> Derived:
    return Static(name, members["column"].text())


def _known(name: str, members: _Members, setting: Setting) -> Derived:
    column = members["column"]
    if column.text() not in setting.roles.known_in_advance:
        column.refuse(f"{shown(column.data)} is not in knownInAdvance")
    return Known(name, column.data)


def _series_code(name: str, members: _Members, setting: Setting) -> Derived:
    if setting.roles.series_id_column is None:
        members["op"].refuse("'series_code' needs the key seriesIdColumn of the spec")
    return SeriesCode(name, members["categories"].labels())


def _date(name: str, members: _Members, setting: Setting) -> Derived:
    return Date(name, members["part"].choice(DATE_PARTS))


def _event(kind: type[IsEvent | DaysToEvent | DaysSinceEvent]) -> _Reader:
    def read(name: str, members: _Members, setting: Setting) -> Derived:
        if not setting.has_calendar:
            members["op"].refuse(
                f"{shown(members['op'].data)} needs a calendar in the spec"
            )
        return kind(name)

    return read


def _forecast_distance(name: str, members: _Members, setting: Setting) -> Derived:
    if setting.roles.strategy == "recursive":
        members["op"].refuse(
            "'forecast_distance' is not allowed for the recursive strategy, "
            "which always predicts the next step"
        )
    return ForecastDistance(name)


_SOURCES: tuple[Source, ...] = ("raw", "transformed")
_Reader = Callable[[str, _Members, Setting], Derived]

# Op to reader, required keys and optional ones, beside name and op.
_OPS: Mapping[str, tuple[_Reader, tuple[str, ...], tuple[str, ...]]] = {
    "lag": (_lag, (), ("column", "offset", "source", "categories")),
    "rolling": (
        _rolling,
        ("stat", "window"),
        ("column", "end", "minCount", "ddof", "quantile", "source", "categories"),
    ),
    "diff": (_diff, ("period",), ("column", "offset", "source")),
    "seasonal_lag": (_seasonal_lag, ("period",), ("column", "source", "categories")),
    "static": (_static, ("column",), ("categories",)),
    "known": (_known, ("column",), ("categories",)),
    "series_code": (_series_code, ("categories",), ()),
    "date": (_date, ("part",), ()),
    "is_event": (_event(IsEvent), (), ()),
    "days_to_event": (_event(DaysToEvent), (), ()),
    "days_since_event": (_event(DaysSinceEvent), (), ()),
    "forecast_distance": (_forecast_distance, (), ()),
}


# ---- What a feature may read


def _check_column(feature: Derived, members: _Members, setting: Setting) -> None:
    if not isinstance(feature, Historic) or "column" not in members:
        return
    column = members["column"]
    if feature.column == setting.roles.datetime_column:
        column.refuse(f"{shown(feature.column)} is the datetimeColumn; use the op date")
    if feature.column == setting.roles.series_id_column:
        column.refuse(
            f"{shown(feature.column)} is the seriesIdColumn; use the op series_code"
        )


def _check_extent(feature: Derived, value: Value, setting: Setting) -> None:
    reach = extent(feature, setting.window)
    if reach is None or not isinstance(feature, Historic):
        return
    check_reach(value, reach, setting.window, feature.name)
    # Training has what comes after the forecast point, serving only predictions of the
    # target.
    is_fed_back = feature.column == setting.roles.target or isinstance(feature, Static)
    if not is_fed_back and reach[1] + setting.fed_back > 0:
        value.refuse(
            f"the recursive strategy does not know {shown(feature.column)} after the"
            f" forecast point: look back {setting.fed_back} steps or more",
            feature.name,
        )
