"""Settings, identifiers, and what a snapshot answers."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import tables
from app.store.errors import InvalidId, InvalidSetting, UnknownDeployment
from app.store.records import (
    SETTING_NAMES,
    Caller,
    Deployment,
    DeploymentSettings,
    HumilityCount,
    Snapshot,
    StoredModel,
    Token,
    User,
    check_id,
    new_id,
    new_secret,
    secret_digest,
)
from app.store.setting_checks import check_threshold

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = User("a" * 24, "ann", NOW)
BOB = User("b" * 24, "bob", NOW)
ROOT = User("c" * 24, "root", NOW, "admin")
SECRET = new_secret("d" * 24)
RULE_CARD = {
    "id": "0" * 24,
    "name": "far out",
    "trigger": {"type": "low_observation", "feature": "x", "levels": ["a", 1]},
    "action": {"type": "override", "value": "b"},
}
BY_ANN, BY_BOB, BY_ROOT = (Caller(user, None) for user in (ANN, BOB, ROOT))
DEPLOYMENT = Deployment(
    id="e" * 24,
    label="of ann",
    owner_id=ANN.id,
    model_id=None,
    threshold=None,
    enabled=True,
    settings=DeploymentSettings(),
    created_at=NOW,
    updated_at=NOW,
    deployed_at=NOW,
)


def snapshot(*, expires_at=None, revoked_at=None, opens=None):
    digest = secret_digest(SECRET)
    token = Token("d" * 24, ANN.id, digest, NOW, expires_at, revoked_at, opens)
    users = {user.id: user for user in (ANN, BOB, ROOT)}
    return Snapshot(1, users, {digest: token}, {DEPLOYMENT.id: DEPLOYMENT}, {})


@pytest.mark.parametrize(
    ("record", "table"),
    [
        (User, tables.users),
        (Token, tables.tokens),
        (StoredModel, tables.models),
        (Deployment, tables.deployments),
        (HumilityCount, tables.humility_counts),
    ],
)
def test_records_have_the_columns_of_their_table(record, table):
    names = [field.name for field in dataclasses.fields(record)]
    assert names == [column.name for column in table.columns]


@pytest.mark.parametrize("text", ["", "a" * 23, "a" * 25, "A" * 24, "g" * 24, "../x"])
def test_other_forms_are_no_identifiers(text):
    with pytest.raises(InvalidId, match="24 lower-case hexadecimal digits"):
        check_id(text)


def test_identifier_ends_where_it_ends():
    with pytest.raises(InvalidId):
        check_id("a" * 24 + "\n")


def test_new_identifiers_are_valid_and_differ():
    assert check_id(new_id()) != check_id(new_id())


def test_secret_is_letters_and_digits_after_the_token_id():
    first, second = new_secret("f" * 24), new_secret("f" * 24)
    assert first.isascii() and first.isalnum()
    assert first.startswith("f" * 24)
    assert first != second
    # 62 characters each: what follows the id is beyond guessing.
    assert (len(first) - 24) * math.log2(62) >= 160


def test_token_shows_no_digest():
    token = snapshot().tokens[secret_digest(SECRET)]
    assert token.digest not in repr(token)


def test_token_names_its_user():
    assert snapshot().authenticate(SECRET, NOW) == BY_ANN


@given(st.text() | st.just("\ud800") | st.just("x" * 100_000))
def test_other_text_names_nobody(text):
    assert snapshot().authenticate(text, NOW) is None


def test_token_expires_at_its_moment():
    expiring = snapshot(expires_at=NOW)
    assert expiring.authenticate(SECRET, NOW - timedelta(microseconds=1)) == BY_ANN
    assert expiring.authenticate(SECRET, NOW) is None


def test_revoked_token_names_nobody():
    assert snapshot(revoked_at=NOW).authenticate(SECRET, NOW) is None


@pytest.mark.parametrize("caller", [BY_ANN, BY_ROOT])
def test_owner_and_admin_see_a_deployment(caller):
    assert snapshot().deployment(DEPLOYMENT.id, caller) == DEPLOYMENT
    assert snapshot().deployments_of(caller) == [DEPLOYMENT]


def test_others_do_not_see_a_deployment():
    text = f"^Deployment {DEPLOYMENT.id} cannot be found for user {BOB.id}$"
    with pytest.raises(UnknownDeployment, match=text):
        snapshot().deployment(DEPLOYMENT.id, BY_BOB)
    assert snapshot().deployments_of(BY_BOB) == []


def test_token_of_a_deployment_names_its_owner():
    found = snapshot(opens=DEPLOYMENT.id).authenticate(SECRET, NOW)
    assert found == Caller(ANN, DEPLOYMENT.id)


@pytest.mark.parametrize("user", [ANN, ROOT])
def test_token_of_a_deployment_opens_no_other(user):
    other = dataclasses.replace(DEPLOYMENT, id="2" * 24)
    found = dataclasses.replace(
        snapshot(), deployments={each.id: each for each in (DEPLOYMENT, other)}
    )
    caller = Caller(user, DEPLOYMENT.id)
    assert found.deployment(DEPLOYMENT.id, caller) == DEPLOYMENT
    assert found.deployments_of(caller) == [DEPLOYMENT]
    with pytest.raises(UnknownDeployment, match=f"{other.id} .* user {user.id}$"):
        found.deployment(other.id, caller)


def test_token_of_a_deployment_opens_nothing_that_its_user_may_not():
    caller = Caller(BOB, DEPLOYMENT.id)
    with pytest.raises(UnknownDeployment):
        snapshot().deployment(DEPLOYMENT.id, caller)


def test_caller_tells_when_the_token_is_for_another():
    assert BY_ANN.may_open(DEPLOYMENT.id) and BY_BOB.may_open("anything")
    bound = Caller(ROOT, DEPLOYMENT.id)
    assert bound.may_open(DEPLOYMENT.id)
    assert not bound.may_open("2" * 24)


SERVED = dataclasses.replace(DEPLOYMENT, model_id="a" * 24)


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, (SERVED.id, SERVED.model_id)),
        ({"project_id": "5" * 24}, ("5" * 24, SERVED.model_id)),
        ({"project_model_id": "6" * 24}, (SERVED.id, "6" * 24)),
        ({"project_id": "5" * 24, "project_model_id": "6" * 24}, ("5" * 24, "6" * 24)),
    ],
)
def test_deployment_has_one_older_address(settings, address):
    deployment = dataclasses.replace(SERVED, settings=DeploymentSettings(**settings))
    found = dataclasses.replace(snapshot(), deployments={deployment.id: deployment})
    assert found.project_deployment(*address, BY_ANN) == deployment
    assert found.project_deployment(*address, BY_BOB) is None
    if settings:
        own = (SERVED.id, SERVED.model_id)
        assert found.project_deployment(*own, BY_ANN) is None


def test_token_of_a_deployment_skips_older_ones_of_one_address():
    second = dataclasses.replace(SERVED, id="2" * 24)
    settings = DeploymentSettings(project_id="5" * 24)
    made = [dataclasses.replace(each, settings=settings) for each in (SERVED, second)]
    found = dataclasses.replace(
        snapshot(), deployments={each.id: each for each in made}
    )
    address = ("5" * 24, SERVED.model_id)
    assert found.project_deployment(*address, Caller(ANN, second.id)) == made[1]
    assert found.project_deployment(*address, Caller(ANN, "3" * 24)) is None


def test_oldest_deployment_has_an_older_address_first():
    second = dataclasses.replace(SERVED, id="2" * 24)
    settings = DeploymentSettings(project_id="5" * 24)
    made = [dataclasses.replace(each, settings=settings) for each in (SERVED, second)]
    found = dataclasses.replace(
        snapshot(), deployments={each.id: each for each in made}
    )
    address = ("5" * 24, SERVED.model_id)
    assert found.project_deployment(*address, BY_ANN) == made[0]


def test_own_deployments_have_an_older_address_before_those_of_others():
    own = dataclasses.replace(SERVED, id="2" * 24)
    older = dataclasses.replace(SERVED, owner_id=BOB.id, shared_with=(ANN.id,))
    settings = DeploymentSettings(project_id="5" * 24)
    made = [dataclasses.replace(each, settings=settings) for each in (older, own)]
    found = dataclasses.replace(
        snapshot(), deployments={each.id: each for each in made}
    )
    address = ("5" * 24, SERVED.model_id)
    assert found.project_deployment(*address, BY_ANN) == made[1]
    assert found.project_deployment(*address, BY_BOB) == made[0]


def test_unknown_deployment_reads_as_one_that_is_not_seen():
    text = f"^Deployment nothing cannot be found for user {ROOT.id}$"
    with pytest.raises(UnknownDeployment, match=text):
        snapshot().deployment("nothing", BY_ROOT)


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
