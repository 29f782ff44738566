"""Humility rules as plain data: how settings keep them and interfaces take them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from backends.humility import (
    Action,
    LowObservation,
    NewSeries,
    NoOperation,
    OutlyingInput,
    Override,
    Rule,
    ThrowError,
    Trigger,
    UncertainPrediction,
)
from backends.model import Label

TRIGGERS: dict[str, type[Trigger]] = {
    "uncertain_prediction": UncertainPrediction,
    "outlying_input": OutlyingInput,
    "low_observation": LowObservation,
    "new_series": NewSeries,
}
ACTIONS: dict[str, type[Action]] = {
    "no_operation": NoOperation,
    "override": Override,
    "error": ThrowError,
}

_ID = re.compile(r"[0-9a-f]{24}")
# What breaks lines, and what a database does not keep.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MAX_NAME = 256
_MAX_TEXT = 4096
_MAX_LEVELS = 10_000


class InvalidRule(ValueError):
    """A humility rule has a mistake; the message names it."""


def to_json(rule: Rule) -> dict[str, Any]:
    """A rule as plain data; trigger and action are told apart by their `type`."""
    return {
        "id": rule.id,
        "name": rule.name,
        "trigger": _plain(rule.trigger, TRIGGERS),
        "action": _plain(rule.action, ACTIONS),
    }


def from_json(card: object) -> Rule:
    """Read what `to_json` wrote, or a person.

    Raises InvalidRule naming the key that is missing, unknown or wrong.
    """
    values = _read(card, Rule, "a rule")
    if not isinstance(values["id"], str) or not _ID.fullmatch(values["id"]):
        raise InvalidRule("id: 24 lower-case hexadecimal digits are expected")
    return Rule(
        id=values["id"],
        name=_name(values["name"]),
        trigger=_choose(values["trigger"], TRIGGERS, "trigger"),
        action=_choose(values["action"], ACTIONS, "action"),
    )


def _plain(part: Any, kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    kind = next(name for name, each in kinds.items() if each is type(part))
    values = dataclasses.asdict(part)
    return {"type": kind} | {
        # As JSON has it, so that what is read back is the same.
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def _choose(card: object, kinds: Mapping[str, type[Any]], key: str) -> Any:
    kind = card.get("type") if isinstance(card, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise InvalidRule(f"{key}: an object with a type is expected: {_any_of(kinds)}")
    assert isinstance(card, dict)
    given = {name: value for name, value in card.items() if name != "type"}
    values = _read(given, kinds[kind], key)
    try:
        made = {name: _READERS[name](value) for name, value in values.items()}
        _check_order(made)
    except InvalidRule as error:
        raise InvalidRule(f"{key}: {error}") from None
    return kinds[kind](**made)


def _read(card: object, kind: type[Any], what: str) -> dict[str, Any]:
    """The values for a dataclass, none unknown and none missing."""
    if not isinstance(card, Mapping):
        raise InvalidRule(f"{what}: an object is expected")
    fields = dataclasses.fields(kind)
    known = [each.name for each in fields]
    for name in card:
        if name not in known:
            raise InvalidRule(f"{what}: unknown key {str(name)[:64]!r}")
    for each in fields:
        if each.name not in card and each.default is dataclasses.MISSING:
            raise InvalidRule(f"{what}: {each.name} is missing")
    return dict(card)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or value != value.strip():
        raise InvalidRule("name: a text without space at its ends is expected")
    if _CONTROL.search(value) or len(value) > _MAX_NAME:
        raise InvalidRule(
            f"name: at most {_MAX_NAME} characters are expected, none of control"
        )
    return value


def _bound(key: str, value: object) -> float:
    # A boolean is an int to Python, and a mistake here.
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InvalidRule(f"{key}: a finite number is expected")


def _column(value: object) -> str:
    if isinstance(value, str) and value and not _UNSTORABLE.search(value):
        return value
    raise InvalidRule("feature: a column's name is expected")


def _levels(value: object) -> tuple[Label, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidRule("levels: a list of one level or more is expected")
    if len(value) > _MAX_LEVELS:
        raise InvalidRule(f"levels: at most {_MAX_LEVELS} are expected")
    return tuple(dict.fromkeys(_label("levels", each) for each in value))


def _label(key: str, value: object) -> Label:
    if isinstance(value, str) and not _UNSTORABLE.search(value):
        return value
    if isinstance(value, bool | int | float) and math.isfinite(_bound_of(key, value)):
        return value
    raise InvalidRule(f"{key}: a text or a finite number is expected")


def _bound_of(key: str, value: float) -> float:
    return _bound(key, float(value) if isinstance(value, bool) else value)


def _message(value: object) -> str:
    if isinstance(value, str) and value.strip() and not _UNSTORABLE.search(value):
        if len(value) <= _MAX_TEXT:
            return value
    raise InvalidRule(f"message: a text of at most {_MAX_TEXT} characters is expected")


_READERS = {
    "lower": lambda value: _bound("lower", value),
    "upper": lambda value: _bound("upper", value),
    "feature": _column,
    "levels": _levels,
    "value": lambda value: _label("value", value),
    "message": _message,
}


def _check_order(values: Mapping[str, Any]) -> None:
    if "lower" in values and values["lower"] > values["upper"]:
        raise InvalidRule(
            f"upper: {values['upper']} is below the lower bound {values['lower']}"
        )


def _any_of(kinds: Mapping[str, object]) -> str:
    return ", ".join(kinds)
