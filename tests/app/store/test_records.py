"""Secrets of tokens, and what a snapshot answers."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import tables
from app.store.errors import UnknownDeployment
from app.store.humility_totals import HumilityCount
from app.store.records import (
    Caller,
    Deployment,
    Snapshot,
    StoredModel,
    Token,
    User,
    new_secret,
    secret_digest,
)
from app.store.settings import DeploymentSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = User("a" * 24, "ann", NOW)
BOB = User("b" * 24, "bob", NOW)
ROOT = User("c" * 24, "root", NOW, "admin")
SECRET = new_secret("d" * 24)
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
