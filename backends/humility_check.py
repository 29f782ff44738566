"""What a list of humility rules must keep to, for a model to be held to it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from backends.humility import (
    MOST_RULES,
    LowObservation,
    Override,
    Rule,
    Trigger,
    UncertainPrediction,
    misfit,
)
from backends.humility_json import InvalidRule, from_json, to_json
from backends.model import Model


def check(rules: Sequence[Rule], model: Model) -> None:
    """Raise InvalidRule for the first rule that is wrong or does not fit the model.

    Two rules with the same trigger and action are one too many, whatever their names.
    """
    if len(rules) > MOST_RULES:
        raise InvalidRule(f"A deployment has at most {MOST_RULES} humility rules")
    seen: dict[Hashable, Rule] = {}
    for rule in rules:
        _check_rule(rule, model)
        twin = seen.setdefault(_content(rule), rule)
        if twin is not rule:
            raise InvalidRule(
                f"Rule {rule.name!r} has the trigger and the action of {twin.name!r}"
            )
    if len({rule.id for rule in rules}) < len(rules):
        raise InvalidRule("Two rules have one id")


def _check_rule(rule: Rule, model: Model) -> None:
    try:
        from_json(to_json(rule))
    except InvalidRule as error:
        raise InvalidRule(f"Rule {rule.name!r}: {error}") from None
    problem = misfit(rule, model)
    if problem is None:
        problem = _mistake(rule.trigger, model)
    if problem is not None:
        raise InvalidRule(f"Rule {rule.name!r}: {problem}")


def _mistake(trigger: Trigger, model: Model) -> str | None:
    """What is wrong with a trigger that fits the model."""
    if isinstance(trigger, LowObservation):
        return _unknown_level(trigger, model)
    if isinstance(trigger, UncertainPrediction) and model.task == "binary":
        if trigger.lower < 0 or trigger.upper > 1:
            return "bounds of a probability lie between 0 and 1"
    return None


def _unknown_level(trigger: LowObservation, model: Model) -> str | None:
    feature = next(each for each in model.features if each.name == trigger.feature)
    if feature.kind == "text":
        return _no_text(trigger)
    known = frozenset(feature.categories or ())
    for level in trigger.levels:
        if level not in known:
            return f"{level!r} is not a level of {trigger.feature!r} that the model has"
    return None


def _no_text(trigger: LowObservation) -> str | None:
    for level in trigger.levels:
        if not isinstance(level, str):
            return f"{level!r} is no text, as {trigger.feature!r} is"
    return None


def _content(rule: Rule) -> Hashable:
    """What two rules must not have in common; the order of levels means nothing."""
    trigger: Hashable = rule.trigger
    if isinstance(rule.trigger, LowObservation):
        trigger = (rule.trigger.feature, frozenset(rule.trigger.levels))
    if isinstance(rule.action, Override):
        return trigger, "override", rule.action.value
    return trigger, rule.action
