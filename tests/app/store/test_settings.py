"""Which settings a deployment may have, and how they are kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.errors import InvalidSetting
from app.store.setting_checks import check_threshold
from app.store.settings import SETTING_NAMES, DeploymentSettings

RULE_CARD = {
    "id": "0" * 24,
    "name": "far out",
    "trigger": {"type": "low_observation", "feature": "x", "levels": ["a", 1]},
    "action": {"type": "override", "value": "b"},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", "number"),
        ("labels", None),
        ("labels", ["names"]),
        ("approval_workflow", 1),
        ("approval_workflow", "on"),
        ("approval_status", "approved"),
        ("prediction_warning", None),
        ("prediction_warning_lower", math.nan),
        ("prediction_warning_lower", "1"),
        ("prediction_warning_lower", True),
        ("prediction_warning_upper", math.inf),
        ("prediction_warning_upper", 10**400),
        ("invalid_numbers", "ignore"),
        ("unknown_categories", False),
        ("association_id", ""),
        ("association_id", 5),
        ("association_id", ["id"]),
        ("original_format_timestamp", None),
        ("allow_partial_history", "true"),
        ("prediction_intervals", 80),
        ("prediction_interval_size", None),
        ("prediction_interval_size", True),
        ("prediction_interval_size", "80"),
        ("prediction_interval_size", 0),
        ("prediction_interval_size", 100.5),
        ("prediction_interval_size", 101),
        ("prediction_interval_size", math.nan),
        ("rows_per_request", 0),
        ("rows_per_request", 10**9 + 1),
        ("rows_per_request", "5"),
        ("rows_per_request", True),
        ("requests_per_minute", 0),
        ("requests_per_minute", 0.5),
        ("requests_per_minute", -1),
        ("requests_per_minute", 1_000_001),
        ("requests_per_minute", math.inf),
        ("requests_per_minute", [5]),
        ("tensor_json", None),
        ("tensor_json", "false"),
        ("humility_enabled", "yes"),
        ("humility", None),
        ("humility", {}),
        ("humility", "[]"),
        ("humility", [None]),
        ("humility", [{"id": "0" * 24}]),
        ("humility", [RULE_CARD] * 2),
        ("humility", [{**RULE_CARD, "id": f"{each:024x}"} for each in range(11)]),
    ],
)
def test_wrong_setting_is_refused_by_name(name, value):
    with pytest.raises(InvalidSetting, match=f"^{name}: "):
        DeploymentSettings.from_json({name: value})


def test_rules_survive_json():
    settings = DeploymentSettings.from_json({"humility": [RULE_CARD]})
    assert settings.humility[0].trigger.levels == ("a", 1)
    assert settings.to_json()["humility"] == [RULE_CARD]
    assert DeploymentSettings.from_json(settings.to_json()) == settings
    assert DeploymentSettings.from_json({}).humility == ()


def test_mistake_in_a_rule_names_the_rule():
    cards = [RULE_CARD, {**RULE_CARD, "name": ""}]
    with pytest.raises(InvalidSetting, match="^humility: rule 2: name: "):
        DeploymentSettings.from_json({"humility": cards})


def test_rules_rest_while_humility_is_off():
    settings = DeploymentSettings.from_json({"humility": [RULE_CARD]})
    assert settings.active_rules == settings.humility
    off = settings.changed({"humility_enabled": False})
    assert off.active_rules == ()
    assert off.humility == settings.humility


@pytest.mark.parametrize("rules", [[], None, "x", (None,), [RULE_CARD]])
def test_settings_hold_rules_and_nothing_else(rules):
    with pytest.raises(InvalidSetting, match="^humility: "):
        DeploymentSettings(humility=rules)


def test_unknown_setting_is_refused_by_name():
    with pytest.raises(InvalidSetting, match="^label: is not a setting"):
        DeploymentSettings.from_json({"label": "names"})


def test_bounds_must_be_in_order():
    bounds = {"prediction_warning_lower": 2, "prediction_warning_upper": 1.5}
    with pytest.raises(InvalidSetting, match="below the lower bound"):
        DeploymentSettings.from_json(bounds)


def test_bounds_may_change_together():
    settings = DeploymentSettings(
        prediction_warning_lower=0, prediction_warning_upper=1
    )
    higher = {"prediction_warning_upper": 6, "prediction_warning_lower": 5}
    changed = settings.changed(higher)
    assert (changed.prediction_warning_lower, changed.prediction_warning_upper) == (
        5,
        6,
    )


def test_whole_bound_is_kept_as_float():
    settings = DeploymentSettings(prediction_warning_lower=5)
    assert isinstance(settings.prediction_warning_lower, float)


@pytest.mark.parametrize("size", [1, 80.0, 100])
def test_size_of_intervals_is_kept_as_a_whole_number(size):
    settings = DeploymentSettings(prediction_interval_size=size)
    assert settings.prediction_interval_size == size
    assert type(settings.prediction_interval_size) is int


@pytest.mark.parametrize("name", ["rows_per_request", "requests_per_minute"])
@pytest.mark.parametrize("most", [1, 80.0, 1_000_000])
def test_limit_is_kept_as_a_whole_number(name, most):
    limit = getattr(DeploymentSettings(**{name: most}), name)
    assert limit == most
    assert type(limit) is int


def test_settings_have_no_limits_unless_they_are_set():
    usual = DeploymentSettings()
    assert usual.rows_per_request is usual.requests_per_minute is None
    assert usual.tensor_json
    limited = usual.changed({"rows_per_request": 5.0, "tensor_json": False})
    assert limited.to_stored() == {"rows_per_request": 5, "tensor_json": False}
    assert limited.changed({"rows_per_request": None, "tensor_json": True}) == usual


def test_settings_of_forecasts_that_were_not_stored_have_defaults():
    stored = {
        name: value
        for name, value in DeploymentSettings(labels="names").to_json().items()
        if name.startswith(("labels", "approval", "prediction_warning"))
    }
    settings = DeploymentSettings.from_json(stored)
    assert settings == DeploymentSettings(labels="names")
    assert not settings.original_format_timestamp
    assert not settings.allow_partial_history
    assert not settings.prediction_intervals
    assert settings.prediction_interval_size == 80


def test_settings_with_their_defaults_are_not_stored():
    assert DeploymentSettings().to_stored() == {}
    settings = DeploymentSettings(labels="names", prediction_intervals=True)
    assert settings.to_stored() == {"labels": "names", "prediction_intervals": True}
    back = settings.changed({"prediction_intervals": False, "labels": "numeric"})
    assert back.to_stored() == {}


def test_rules_are_stored():
    settings = DeploymentSettings.from_json({"humility": [RULE_CARD]})
    assert settings.to_stored() == {"humility": [RULE_CARD]}


def test_shown_settings_are_all_there():
    assert tuple(DeploymentSettings().to_json()) == SETTING_NAMES


def test_changed_settings_keep_the_others():
    settings = DeploymentSettings(labels="names").changed({"association_id": "id"})
    assert settings == DeploymentSettings(labels="names", association_id="id")


@given(
    st.dictionaries(
        st.sampled_from(SETTING_NAMES) | st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.sampled_from(["names", "PENDING", "missing", "error"]),
            lambda each: st.lists(each) | st.dictionaries(st.text(), each),
            max_leaves=3,
        ),
    )
)
def test_settings_survive_json_or_are_refused(values):
    try:
        settings = DeploymentSettings.from_json(values)
    except InvalidSetting:
        return
    assert DeploymentSettings.from_json(settings.to_json()) == settings
    assert DeploymentSettings.from_json(settings.to_stored()) == settings


@pytest.mark.parametrize("threshold", [None, 0, 0.5, 1])
def test_threshold_is_a_probability(threshold):
    assert check_threshold(threshold) == threshold


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan, math.inf, "0.5", True])
def test_other_threshold_is_refused(threshold):
    with pytest.raises(InvalidSetting, match="^threshold: "):
        check_threshold(threshold)
