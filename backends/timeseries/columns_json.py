"""The columns of a spec, read from JSON: what each is, and its categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, get_args

from backends.model import Feature, Label
from backends.strict_json import Value, shown
from backends.timeseries.dates import DateFormat
from backends.timeseries.spec import (
    Derived,
    Diff,
    Historic,
    Known,
    Rolling,
    Strategy,
    TargetType,
)

_Members: TypeAlias = Mapping[str, Value]

_STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_TARGET_TYPES: tuple[TargetType, ...] = get_args(TargetType)
_NEEDS_NUMBERS = frozenset(["mean", "std", "min", "max", "sum", "median", "quantile"])


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns are, and how the target is predicted."""

    target: str
    target_type: TargetType
    classes: tuple[Label, ...]
    datetime_column: str
    series_id_column: str | None
    known_in_advance: tuple[str, ...]
    strategy: Strategy


def read_roles(members: _Members) -> Roles:
    """Read which column is what; none is two things."""
    target = members["target"].text()
    target_type: TargetType = "Regression"
    if "targetType" in members:
        target_type = members["targetType"].choice(_TARGET_TYPES)
    taken = {target: "target"}
    datetime_column = _take(members["datetimeColumn"], "datetimeColumn", taken)
    series_id_column = None
    # A single series may be said by null as well.
    if (series := members.get("seriesIdColumn")) and series.data is not None:
        series_id_column = _take(series, "seriesIdColumn", taken)
    known = members["knownInAdvance"].items() if "knownInAdvance" in members else []
    strategy: Strategy = "direct"
    if "strategy" in members:
        strategy = members["strategy"].choice(_STRATEGIES)
        if strategy == "recursive" and target_type != "Regression":
            members["strategy"].refuse("recursive is for targets of Regression only")
    return Roles(
        target,
        target_type,
        _classes(members, target_type),
        datetime_column,
        series_id_column,
        tuple(_take(each, "knownInAdvance", taken) for each in known),
        strategy,
    )


def _take(value: Value, role: str, taken: dict[str, str]) -> str:
    """A column's name, which no other role has taken; taken: name to role."""
    name = value.text()
    if name in taken:
        value.refuse(f"{shown(name)} is in {taken[name]} already")
    taken[name] = role
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


def read_datetime_format(value: Value) -> str:
    """Read a format that `DateFormat` takes."""
    text = value.text()
    try:
        DateFormat(text)
    except ValueError as error:
        value.refuse(str(error))
    return text


def read_columns(
    value: Value, features: Sequence[Derived], roles: Roles
) -> dict[str, Feature]:
    """Every column: the target first, then those of features, then other known ones.

    value: the list that the features were read from.

    Raises SpecError for categories that features of one column give differently, and
    for a statistic that the column's values do not have.
    """
    values = value.items()
    categories: dict[str, tuple[Label, ...]] = {}
    if roles.classes:
        categories[roles.target] = roles.classes
    names = [roles.target]
    for each, feature in zip(values, features, strict=True):
        if isinstance(feature, Historic | Known):
            names.append(feature.column)
            _gather_categories(each, feature.column, categories, roles)
    columns = {
        name: _column(name, categories.get(name))
        for name in dict.fromkeys([*names, *roles.known_in_advance])
    }
    for each, feature in zip(values, features, strict=True):
        if isinstance(feature, Historic):
            is_code = feature.column == roles.target and roles.target_type == "Binary"
            _check_kind(each, feature, columns[feature.column], is_code=is_code)
    return columns


def _gather_categories(
    feature: Value, column: str, categories: dict[str, tuple[Label, ...]], roles: Roles
) -> None:
    given = feature.table().get("categories")
    if given is None:
        return
    if column == roles.target and not roles.classes:
        given.refuse("the target of targetType Regression is numeric")
    levels = given.labels()
    if categories.setdefault(column, levels) != levels:
        given.refuse(f"the column {shown(column)} has other ones elsewhere")


def _column(name: str, categories: tuple[Label, ...] | None) -> Feature:
    if categories is None:
        return Feature(name, "numeric")
    return Feature(name, "categorical", categories=categories)


def _check_kind(
    value: Value, feature: Derived, column: Feature, *, is_code: bool
) -> None:
    """Refuse a statistic that the column's values do not have.

    is_code: whether the column's codes count as numbers: 0 and 1 of a binary target.
    """
    is_categorical = column.kind == "categorical"
    if isinstance(feature, Rolling) and feature.stat == "most_frequent":
        if not is_categorical:
            value.refuse("most_frequent needs a column with categories", feature.name)
    elif is_categorical and not is_code and _needs_numbers(feature):
        what = feature.stat if isinstance(feature, Rolling) else "diff"
        value.refuse(
            f"{what} needs numbers, and {shown(column.name)} is categorical",
            feature.name,
        )


def _needs_numbers(feature: Derived) -> bool:
    if isinstance(feature, Rolling):
        return feature.stat in _NEEDS_NUMBERS
    return isinstance(feature, Diff)
