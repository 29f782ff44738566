"""What can be chosen for each deployment, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from app.store.errors import InvalidSetting
from app.store.setting_checks import (
    check_choice,
    check_column,
    check_hex,
    check_number,
    check_rules,
    check_switch,
    check_whole,
    rules_from_json,
    rules_to_json,
)

if TYPE_CHECKING:
    # `setting_checks` imports it where there are rules: the package brings numpy.
    from backends.humility import Rule

Labels = Literal["numeric", "names"]
ApprovalStatus = Literal["APPROVED", "PENDING"]
InvalidNumbers = Literal["error", "missing"]
UnknownCategories = Literal["missing", "error"]
ShapOutput = Literal["margin", "probability"]


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """What can be chosen for each deployment.

    labels: how JSON answers of a binary model name the classes: 1 and 0, or the
        class names.
    approval_workflow: whether answers carry `approval_status`.
    prediction_warning: whether clients may ask for isOutlierPrediction.
    prediction_warning_lower, prediction_warning_upper: bounds in target units,
        instead of the model's own; None keeps that one.
    invalid_numbers: text in a numeric column is refused, or read as missing.
    unknown_categories: a level unseen in training is read as missing, or refused.
    association_id: column passed through without being asked for.
    association_required: whether rows that lack that column are refused.
    shap_output: SHAP values of a binary model add up to its margin, or to the
        probability.
    original_format_timestamp: forecasts tell each row's time as it was sent too.
    allow_partial_history: series are predicted that lack history that features or
        differencing look back at.
    prediction_intervals: whether forecasts of regression tell intervals.
    prediction_interval_size: how many percent of the actual values an interval is to
        hold, 1 to 100.
    rows_per_request: how many rows a request may have, from 1; None: as many as the
        server takes.
    requests_per_minute: how many requests a minute are answered, over all workers;
        None: all.
    tensor_json: rows by name are answered arrays as {"shape", "data"}; else as data
        URLs of .npy, for older clients.
    project_id, project_model_id: ids under which older addresses know the deployment
        and its model, 24 hex digits; None: the deployment's own and its model's.
    humility_enabled: whether rows are held against the humility rules.
    humility: the rules, in the order of their application; at most ten.
    python_hook: id of the model whose Python code may be run; None: no code is.

    Raises InvalidSetting naming the setting that has a wrong value.
    """

    labels: Labels = "numeric"
    approval_workflow: bool = False
    approval_status: ApprovalStatus = "APPROVED"
    prediction_warning: bool = True
    prediction_warning_lower: float | None = None
    prediction_warning_upper: float | None = None
    invalid_numbers: InvalidNumbers = "error"
    unknown_categories: UnknownCategories = "missing"
    association_id: str | None = None
    association_required: bool = False
    shap_output: ShapOutput = "margin"
    original_format_timestamp: bool = False
    allow_partial_history: bool = False
    prediction_intervals: bool = False
    prediction_interval_size: int = 80
    rows_per_request: int | None = None
    requests_per_minute: int | None = None
    tensor_json: bool = True
    project_id: str | None = None
    project_model_id: str | None = None
    humility_enabled: bool = True
    humility: tuple[Rule, ...] = ()
    python_hook: str | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in _SWITCHES:
            check_switch(name, getattr(self, name))
        for name in ("prediction_warning_lower", "prediction_warning_upper"):
            # 5 and 5.0 are one bound, and so one value.
            object.__setattr__(self, name, check_number(name, getattr(self, name)))
        low, high = self.prediction_warning_lower, self.prediction_warning_upper
        if low is not None and high is not None and low > high:
            raise InvalidSetting(
                "prediction_warning_upper", f"{high} is below the lower bound {low}"
            )
        size = check_whole(
            "prediction_interval_size", self.prediction_interval_size, 1, 100
        )
        object.__setattr__(self, "prediction_interval_size", size)
        for name, most in _LIMITS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check_whole(name, value, 1, most))
        if self.association_id is not None:
            check_column("association_id", self.association_id)
        for name in ("project_id", "project_model_id", "python_hook"):
            check_hex(name, getattr(self, name))
        if self.humility != ():
            check_rules(self.humility)

    @property
    def active_rules(self) -> tuple[Rule, ...]:
        """The humility rules that rows are held against."""
        return self.humility if self.humility_enabled else ()

    def to_json(self) -> dict[str, Any]:
        """As plain data: every setting by its name."""
        return {name: getattr(self, name) for name in SETTING_NAMES} | {
            "humility": rules_to_json(self.humility)
        }

    def to_stored(self) -> dict[str, Any]:
        """As plain data, without those that have their default.

        Older releases refuse settings that they do not know, and so read what has
        none of these set.
        """
        usual = DeploymentSettings().to_json()
        return {
            name: value
            for name, value in self.to_json().items()
            if value != usual[name]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DeploymentSettings:
        """Read plain data; a setting that is not there has its default.

        Raises InvalidSetting naming the one that is unknown or wrong.
        """
        if "humility" in values:
            values = {**values, "humility": rules_from_json(values["humility"])}
        return cls().changed(values)

    def changed(self, changes: Mapping[str, Any]) -> DeploymentSettings:
        """These settings with some set anew; raises InvalidSetting."""
        for name in changes:
            if name not in SETTING_NAMES:
                known = ", ".join(SETTING_NAMES)
                raise InvalidSetting(
                    str(name)[:64], f"is not a setting; there are {known}"
                )
        return dataclasses.replace(self, **changes)


SETTING_NAMES = tuple(field.name for field in dataclasses.fields(DeploymentSettings))

_CHOICES: dict[str, tuple[str, ...]] = {
    "labels": get_args(Labels),
    "approval_status": get_args(ApprovalStatus),
    "invalid_numbers": get_args(InvalidNumbers),
    "unknown_categories": get_args(UnknownCategories),
    "shap_output": get_args(ShapOutput),
}
_SWITCHES = (
    *("approval_workflow", "prediction_warning", "humility_enabled"),
    *("original_format_timestamp", "allow_partial_history", "prediction_intervals"),
    *("tensor_json", "association_required"),
)
_LIMITS = {"rows_per_request": 1_000_000_000, "requests_per_minute": 1_000_000}
