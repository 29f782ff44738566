"""What values settings may have; whatever is wrong is refused by its name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from app.store.errors import InvalidSetting
from app.store.identifiers import ID

if TYPE_CHECKING:
    # Imported below where there are rules: the package brings numpy.
    from backends.humility import Rule


def check_threshold(threshold: float | None) -> float | None:
    """The threshold as float; raises InvalidSetting when it is no probability."""
    number = check_number("threshold", threshold)
    if number is not None and not 0 <= number <= 1:
        raise InvalidSetting("threshold", f"{number} is not between 0 and 1")
    return number


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises InvalidSetting for what is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        wanted = " or ".join(choices)
        raise InvalidSetting(name, f"{wanted} is expected, not {_shown(value)}")


def check_switch(name: str, value: object) -> None:
    """Raises InvalidSetting for what is neither true nor false."""
    if not isinstance(value, bool):
        raise InvalidSetting(name, f"true or false is expected, not {_shown(value)}")


def check_number(name: str, value: object) -> float | None:
    """A finite number as float, None as None; raises InvalidSetting."""
    if value is None:
        return None
    # A boolean is an int to Python, and a mistake here.
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InvalidSetting(name, f"a finite number is expected, not {_shown(value)}")


def check_whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number of the range, its ends included; raises InvalidSetting."""
    number = check_number(name, value)
    if number is None or not number.is_integer() or not least <= number <= most:
        raise InvalidSetting(
            name,
            f"a whole number from {least} to {most} is expected, not {_shown(value)}",
        )
    return int(number)


def check_column(name: str, value: object) -> None:
    """Raises InvalidSetting for what is no column's name."""
    if not isinstance(value, str) or not value:
        raise InvalidSetting(name, f"a column's name is expected, not {_shown(value)}")


def check_hex(name: str, value: object) -> None:
    """Raises InvalidSetting for what has not the form of an identifier; None may be."""
    if value is not None and not (isinstance(value, str) and ID.fullmatch(value)):
        raise InvalidSetting(
            name, f"24 hexadecimal digits are expected, not {_shown(value)}"
        )


def rules_to_json(rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """Humility rules as plain data."""
    if not rules:
        return []
    from backends.humility_json import to_json

    return list(map(to_json, rules))


def rules_from_json(cards: object) -> tuple[Rule, ...]:
    """Humility rules of plain data; raises InvalidSetting naming the wrong one."""
    if not isinstance(cards, list):
        raise InvalidSetting("humility", f"a list is expected, not {_shown(cards)}")
    if not cards:
        return ()
    from backends.humility import MOST_RULES
    from backends.humility_json import InvalidRule, from_json

    rules = []
    for number, card in enumerate(cards[: MOST_RULES + 1], 1):
        try:
            rules.append(from_json(card))
        except InvalidRule as error:
            raise InvalidSetting("humility", f"rule {number}: {error}") from None
    return tuple(rules)


def check_rules(rules: object) -> None:
    """Raises InvalidSetting for too many rules, and for two of one id."""
    from backends.humility import MOST_RULES, Rule

    if not isinstance(rules, tuple) or not all(
        isinstance(each, Rule) for each in rules
    ):
        raise InvalidSetting("humility", f"rules are expected, not {_shown(rules)}")
    if len(rules) > MOST_RULES:
        raise InvalidSetting("humility", f"there are at most {MOST_RULES} rules")
    if len({each.id for each in rules}) < len(rules):
        raise InvalidSetting("humility", "two rules have one id")


def _shown(value: object) -> str:
    if isinstance(value, str | float | bool | None):
        return repr(value)[:64]
    # Text of an int can be long beyond Python's own limit, of others anything.
    return f"a value of type {type(value).__name__}"
