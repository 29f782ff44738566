"""Humility rules: where a model should not be trusted, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends.model import Feature, Label, Model

if TYPE_CHECKING:
    # The store reads rules, and has no use for pyarrow.
    from backends.features import Columns

# Source: "Humility settings".
MOST_RULES = 10

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UncertainPrediction:
    """Regression: a prediction outside the bounds; binary: a probability inside.

    A value on a bound is inside. The probability is the positive label's.
    """

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class OutlyingInput:
    """A number of a feature outside the bounds; a missing value is not outside."""

    feature: str
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class LowObservation:
    """A level of a categorical feature, or a text, that is not listed.

    A level that the model does not know is on no list, and neither is a missing value;
    a missing text is the empty one.
    """

    feature: str
    levels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series that the model of a time series was not trained on."""


@dataclass(frozen=True, slots=True)
class NoOperation:
    """The rule is only told of."""


@dataclass(frozen=True, slots=True)
class Override:
    """The prediction is replaced: a class label, or a number for regression."""

    value: Label


@dataclass(frozen=True, slots=True)
class ThrowError:
    """The request is refused."""

    message: str = "Humility ReturnError action triggered."


Trigger = UncertainPrediction | OutlyingInput | LowObservation | NewSeries
Action = NoOperation | Override | ThrowError


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger and an action, under a name. id: 24 hex digits."""

    id: str
    name: str
    trigger: Trigger
    action: Action


@dataclass(frozen=True, slots=True)
class Humbled:
    """What rules found in some rows.

    triggered: bool (rules, n_rows).
    overriding: int (n_rows,): the rule whose value takes the prediction's place; -1
        where none does.
    """

    triggered: Bools
    overriding: NDArray[np.intp]


class HumilityError(Exception):
    """A rule with ThrowError triggered; the message is the rule's.

    rule: which one, for those who own the deployment.
    humbled: what all rules found, for those who count.
    """

    def __init__(self, message: str, rule: Rule, humbled: Humbled) -> None:
        super().__init__(message)
        self.rule = rule
        self.humbled = humbled


def judge(
    rules: Sequence[Rule],
    model: Model,
    columns: Columns,
    values: NDArray[np.float64],
    new_series: Bools | None = None,
) -> Humbled:
    """Hold rows against rules, in their order.

    rules: those that fit the model, see `fitting`.
    values: float64 (n_rows, k), what the model predicted for them.
    new_series: bool (n_rows,): which rows are of a series that training did not have;
        None: nobody knows, and no row is.
    Raises HumilityError if a rule that throws one triggers.

    All triggers are evaluated. An error goes before everything else, the first rule's
    before another's; of several values the first rule's is taken.

    Source: "Humility settings", multiple rules.
    """
    triggered = np.zeros((len(rules), len(values)), np.bool_)
    overriding = np.full(len(values), -1, np.intp)
    for number, rule in enumerate(rules):
        if not isinstance(rule.trigger, NewSeries):
            triggered[number] = _find(rule.trigger, model, columns, values)
        elif new_series is not None:
            triggered[number] = new_series
    for number in reversed(range(len(rules))):
        if isinstance(rules[number].action, Override):
            overriding[triggered[number]] = number
    humbled = Humbled(triggered, overriding)
    for rule, found in zip(rules, triggered, strict=True):
        if isinstance(rule.action, ThrowError) and found.any():
            raise HumilityError(rule.action.message, rule, humbled)
    return humbled


def fitting(rules: Sequence[Rule], model: Model) -> tuple[Rule, ...]:
    """The rules that can be held against the model's rows; the others rest.

    While a deployment's model is replaced, rules made for the new one may meet the
    old one.
    """
    return tuple(rule for rule in rules if misfit(rule, model) is None)


def misfit(rule: Rule, model: Model) -> str | None:
    """Why a rule cannot be held against the model's rows; None: it can."""
    problem = _misfit_of_trigger(rule.trigger, model)
    if problem is None and isinstance(rule.action, Override):
        problem = _misfit_of_value(rule.action.value, model)
    if problem is None and model.task == "multiclass":
        # Source: "Humility settings", multiclass deployments.
        if not isinstance(rule.action, Override):
            problem = "a rule of a multiclass model overrides the prediction"
    return problem


def has_series(model: Model) -> bool:
    """Whether the model forecasts several time series, told apart by their ids."""
    return bool(model.time_series and model.time_series.get("seriesIdColumn"))


def _misfit_of_trigger(trigger: Trigger, model: Model) -> str | None:
    if isinstance(trigger, NewSeries):
        return _misfit_of_new_series(model)
    if isinstance(trigger, UncertainPrediction):
        if model.task == "multiclass":
            return "predictions of a multiclass model are not held against bounds"
        return None
    kinds: tuple[str, ...] = ("numeric",)
    if isinstance(trigger, LowObservation):
        kinds = ("categorical", "text")
    feature = _feature(model, trigger.feature)
    if feature is None:
        return f"the model has no feature {trigger.feature!r}"
    if feature.kind not in kinds:
        wanted = " or ".join(kinds)
        return f"the feature {trigger.feature!r} is {feature.kind}, not {wanted}"
    return None


def _misfit_of_new_series(model: Model) -> str | None:
    if model.time_series is None:
        return "only a time series model knows new series"
    if not has_series(model):
        return "the model forecasts one series only, which has no id"
    return None


def _misfit_of_value(value: Label, model: Model) -> str | None:
    if model.task != "regression":
        # True is no name of the class 1: answers spell them apart.
        if any(type(each) is type(value) and each == value for each in model.labels):
            return None
        return f"{value!r} is not a class of the model"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    return f"the prediction is a number, and {value!r} is none"


def _find(
    trigger: UncertainPrediction | OutlyingInput | LowObservation,
    model: Model,
    columns: Columns,
    values: NDArray[np.float64],
) -> Bools:
    """Which rows a trigger that fits the model fires for; bool (n_rows,)."""
    if isinstance(trigger, UncertainPrediction):
        outside = _is_outside(values[:, 0], trigger.lower, trigger.upper)
        return outside if model.task == "regression" else ~outside
    position = [each.name for each in model.features].index(trigger.feature)
    column = columns.matrix[:, position]
    if isinstance(trigger, OutlyingInput):
        return _is_outside(column, trigger.lower, trigger.upper)
    if model.features[position].kind == "text":
        return _is_other_text(columns.texts[position], trigger.levels)
    return _is_not_listed(column, model.features[position], trigger.levels)


def _is_outside(values: NDArray[np.float64], lower: float, upper: float) -> Bools:
    # NaN is neither below nor above.
    return np.asarray((values < lower) | (values > upper))


def _is_not_listed(
    codes: NDArray[np.float64], feature: Feature, levels: tuple[Label, ...]
) -> Bools:
    listed = frozenset(levels)
    is_other = [each not in listed for each in feature.categories or ()]
    # One place more, for the missing and the unknown.
    table = np.array([*is_other, True])
    positions = np.where(np.isnan(codes), len(is_other), codes).astype(np.intp)
    return np.asarray(table[positions])


def _is_other_text(texts: NDArray[np.object_], listed: tuple[Label, ...]) -> Bools:
    is_listed = map(frozenset(listed).__contains__, texts.tolist())
    return ~np.fromiter(is_listed, np.bool_, len(texts))


def _feature(model: Model, name: str) -> Feature | None:
    return next((each for each in model.features if each.name == name), None)
