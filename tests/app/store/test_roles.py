"""Roles, sharing and the audit."""

from datetime import UTC, datetime

import pytest

from app.store.errors import CannotOwn, InvalidSetting, UnknownDeployment, UnknownUser
from app.store.records import Actor, Caller

SECRET = "scrypt:32768:8:1$salt$" + "ab" * 64


@pytest.fixture
def people(store):
    roles = ("admin", "user", "predictor")
    return {role: store.add_user(role, role=role) for role in roles}


@pytest.fixture
def deployment(store, people):
    return store.create_deployment("one", "user", None)


def visible(store, user, deployment_id=None):
    caller = Caller(user, deployment_id)
    return {each.label for each in store.snapshot().deployments_of(caller)}


def test_role_is_found_as_given(store, people):
    assert [each.role for each in store.users()] == ["admin", "user", "predictor"]
    assert [each.admin for each in store.users()] == [True, False, False]
    assert store.add_user("old way", admin=True).role == "admin"


def test_predictor_owns_nothing(store, people, model):
    for verb in (
        lambda: store.create_deployment("x", "predictor", None),
        lambda: store.add_model(model, "predictor", 1),
    ):
        with pytest.raises(CannotOwn, match="'predictor' owns nothing"):
            verb()
    assert store.deployments() == [] and not store.snapshot().models


def test_owner_becomes_no_predictor(store, deployment):
    with pytest.raises(CannotOwn, match="owns deployments"):
        store.update_user("user", role="predictor")
    assert store.user_by_name("user").role == "user"
    store.delete_deployment(deployment.id)
    assert store.update_user("user", role="predictor").role == "predictor"


def test_predictor_has_tokens(store, people):
    _, secret = store.create_token("predictor")
    caller = store.snapshot().authenticate(secret, datetime.now(UTC))
    assert caller.user.role == "predictor"


@pytest.mark.parametrize("role", ["user", "predictor"])
def test_shared_deployment_is_seen_and_not_changed(store, people, deployment, role):
    other = store.add_user("other", role=role)
    assert visible(store, other) == set()
    shared = store.share_deployment(deployment.id, "other")
    assert shared.shared_with == (other.id,)
    assert store.deployment(deployment.id) == shared
    assert visible(store, other) == {"one"}
    assert not shared.is_changed_by(Caller(other, None))
    store.share_deployment(deployment.id, "other", shared=False)
    assert visible(store, other) == set()
    assert store.deployment(deployment.id).shared_with == ()


def test_sharing_once_more_is_no_change(store, people, deployment):
    for name in ("predictor", "admin"):
        store.share_deployment(deployment.id, name)
    before = store.audit(deployment.id)
    again = store.share_deployment(deployment.id, "predictor")
    assert again.shared_with == (people["predictor"].id, people["admin"].id)
    assert store.audit(deployment.id) == before


def test_sharing_with_several_is_one_change_or_none(store, people, deployment):
    store.share_deployment(deployment.id, "predictor")
    before = store.audit(), store.deployment(deployment.id)
    wanted = {"admin": True, "nobody": True, "predictor": False}
    with pytest.raises(UnknownUser):
        store.change_sharing(deployment.id, wanted)
    assert (store.audit(), store.deployment(deployment.id)) == before
    del wanted["nobody"]
    changed = store.change_sharing(deployment.id, wanted)
    assert changed.shared_with == (people["admin"].id,)
    assert len(store.audit()) == len(before[0]) + 1


def test_sharing_again_changes_nothing(store, people, deployment):
    first = store.share_deployment(deployment.id, "predictor")
    again = store.share_deployment(deployment.id, "predictor")
    assert again.shared_with == first.shared_with
    owners = store.share_deployment(deployment.id, "user")
    assert owners.shared_with == first.shared_with
    never = store.share_deployment(deployment.id, "admin", shared=False)
    assert never.shared_with == first.shared_with


def test_sharing_needs_both(store, people, deployment):
    with pytest.raises(UnknownUser):
        store.share_deployment(deployment.id, "nobody")
    with pytest.raises(UnknownDeployment):
        store.share_deployment("f" * 24, "user")


def test_owner_and_admins_change(people, deployment):
    changing = {role for role in people if deployment.is_changed_by(_as(people[role]))}
    assert changing == {"admin", "user"}


def test_token_of_one_deployment_changes_nothing(people, deployment):
    assert not deployment.is_changed_by(Caller(people["user"], deployment.id))


def _as(user):
    return Caller(user, None)


def test_model_is_used_by_owner_and_admins(store, people, model):
    stored = store.add_model(model, "user", 1)
    using = {role for role in people if stored.is_used_by(_as(people[role]))}
    assert using == {"admin", "user"}
    assert not stored.is_used_by(Caller(people["user"], "d" * 24))


def test_description_and_importance_are_kept(store, people):
    made = store.create_deployment(
        "x", "user", None, description="what\nfor", importance="HIGH"
    )
    assert store.deployment(made.id) == made
    changed = store.update_deployment(made.id, description=None, importance="CRITICAL")
    assert (changed.description, changed.importance) == (None, "CRITICAL")
    assert store.update_deployment(made.id, label="y").importance == "CRITICAL"
    with pytest.raises(InvalidSetting):
        store.update_deployment(made.id, importance="high")


def test_replaced_model_is_deployed_anew(store, people, model):
    store.add_model(model, "user", 1)
    made = store.create_deployment("x", "user", None)
    updated = store.update_deployment(made.id, label="y")
    assert updated.deployed_at == made.deployed_at
    assert store.replace_model(made.id, model.id).deployed_at > made.deployed_at


def test_change_is_told_with_its_differences(store, people, deployment):
    acting = store.acting(Actor("user", "api"))
    start = datetime.now(UTC)
    changes = {"labels": "names", "association_id": "id"}
    acting.update_deployment(deployment.id, label="two", settings=changes)
    acting.update_deployment(deployment.id, settings={"association_id": None})
    second, first = store.audit(deployment.id)[:2]
    assert first.before == {
        "label": "one",
        "settings": {"labels": None, "association_id": None},
    }
    assert first.after == {"label": "two", "settings": changes}
    assert second.before == {"settings": {"association_id": "id"}}
    assert second.after == {"settings": {"association_id": None}}
    assert (first.actor, first.via, first.action) == ("user", "api", "update")
    assert (first.kind, first.object_id) == ("deployment", deployment.id)
    assert start <= first.created_at <= second.created_at


def test_store_tells_of_itself_unless_someone_acts(store, people):
    entry = store.audit(people["user"].id)[0]
    assert (entry.actor, entry.via, entry.action) == ("foretell", "server", "create")
    assert entry.before is None and entry.after["role"] == "user"


def test_deletion_tells_what_was_there(store, deployment):
    store.delete_deployment(deployment.id)
    entry = store.audit()[0]
    assert (entry.action, entry.after) == ("delete", None)
    assert entry.before["label"] == "one" and entry.before["owner_id"]


def test_tokens_that_go_with_a_deployment_are_told(store, deployment):
    kept, _ = store.create_token("user")
    gone = [store.create_deployment_token(deployment.id)[0].id for _ in range(2)]
    store.revoke_token(gone[0])
    number = store.audit(most=1)[0].number
    store.delete_deployment(deployment.id)
    told = [each for each in reversed(store.audit()) if each.number > number]
    assert [(each.action, each.kind, each.object_id) for each in told] == [
        *(("delete", "token", each) for each in gone),
        ("delete", "deployment", deployment.id),
    ]
    assert told[1].before["deployment_id"] == deployment.id and told[1].after is None
    assert told[1].before["digest"] == "(hidden)"
    assert store.tokens() == [kept]


def test_reason_of_a_replacement_is_told(store, people, model, deployment):
    stored = store.add_model(model, "user", 1)
    store.replace_model(deployment.id, stored.id, reason="DATA_DRIFT")
    entry = store.audit(deployment.id)[0]
    assert entry.after["reason"] == "DATA_DRIFT" and "reason" not in entry.before
    assert entry.after["model_id"] == stored.id
    store.replace_model(deployment.id, stored.id)
    assert "reason" not in store.audit(deployment.id)[0].after


def test_every_verb_is_told_once(store, people, model):
    token, _ = store.create_token("user")
    stored = store.add_model(model, "user", 1)
    store.add_model(model, "user", 1)
    made = store.create_deployment("x", "user", None)
    bound, _ = store.create_deployment_token(made.id)
    store.replace_model(made.id, stored.id)
    store.set_enabled(made.id, False)
    store.set_enabled(made.id, False)
    store.share_deployment(made.id, "predictor")
    store.change_humility(made.id, lambda deployment: ())
    store.revoke_token(token.id)
    store.revoke_token(token.id)
    told = [(each.kind, each.action) for each in reversed(store.audit())][3:]
    assert told == [
        *(("token", "create"), ("model", "create"), ("deployment", "create")),
        *(("token", "create"), ("deployment", "update"), ("deployment", "update")),
        *(("deployment", "update"), ("token", "update")),
    ]
    assert store.audit(bound.id)[0].after["deployment_id"] == made.id


def test_audit_holds_no_secret(store, people):
    token, secret = store.create_token("user")
    store.update_user("user", password=SECRET)
    store.update_user("user", password=SECRET[::-1])
    store.revoke_token(token.id)
    told = repr(store.audit())
    for hidden in (secret, secret[24:], token.digest, SECRET, SECRET[::-1]):
        assert hidden not in told
    changed, given = store.audit(people["user"].id)[:2]
    assert (given.before, given.after) == ({"password": None}, {"password": "(hidden)"})
    assert changed.before == changed.after == {"password": "(hidden)"}


def test_refused_change_is_not_told(store, deployment):
    count = len(store.audit())
    with pytest.raises(InvalidSetting):
        store.update_deployment(deployment.id, settings={"labels": "x"})
    with pytest.raises(UnknownUser):
        store.share_deployment(deployment.id, "nobody")
    assert len(store.audit()) == count


def test_audit_is_read_in_pieces(store):
    names = [f"user {number}" for number in range(7)]
    for name in names:
        store.add_user(name)
    first = store.audit(most=3)
    then = store.audit(most=3, before=first[-1].number)
    told = [each.after["name"] for each in first + then]
    assert told == names[:0:-1]
    numbers = [each.number for each in first + then]
    assert numbers == sorted(numbers, reverse=True)
    assert store.audit("\0") == store.audit("f" * 24) == []
