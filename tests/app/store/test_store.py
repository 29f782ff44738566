"""The verbs, on SQLite and on PostgreSQL."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from app.store.errors import (
    AmbiguousToken,
    DeploymentIdTaken,
    InvalidId,
    InvalidName,
    InvalidSetting,
    NameTaken,
    UnknownDeployment,
    UnknownModel,
    UnknownToken,
    UnknownUser,
)
from app.store.identifiers import check_id
from app.store.records import Caller
from app.store.settings import DeploymentSettings
from backends.humility import NoOperation, Rule, UncertainPrediction

HEX = "0123456789abcdef01234567"


@pytest.fixture
def ann(store):
    return store.add_user("ann")


@pytest.fixture
def stored(store, ann, model):
    return store.add_model(model, "ann", 12_345)


@pytest.fixture
def deployment(store, stored):
    return store.create_deployment("sex", "ann", stored.id)


UNCERTAIN = Rule("1" * 24, "close", UncertainPrediction(0.4, 0.6), NoOperation())


def now():
    return datetime.now(UTC)


def test_new_store_is_empty(store):
    snapshot = store.snapshot()
    assert snapshot.generation == store.generation() == 0
    assert not snapshot.users and not snapshot.tokens
    assert not snapshot.deployments and not snapshot.models


def test_user_is_found_as_added(store):
    root = store.add_user("root@example.com", admin=True)
    assert store.user_by_name("root@example.com") == root
    assert store.users() == [root]
    assert root.admin
    check_id(root.id)


def test_user_name_is_taken_once(store, ann):
    with pytest.raises(NameTaken, match="'ann'"):
        store.add_user("ann", admin=True)
    assert store.users() == [ann]


@pytest.mark.parametrize(
    "name", ["", " ", "ann ", "a:b", "a\nb", "a\0b", "\ud800", "\u2028", "x" * 257]
)
def test_unusable_user_name_is_refused(store, name):
    with pytest.raises(InvalidName, match="^A user name"):
        store.add_user(name)


@pytest.mark.parametrize("name", ["Ann Ó", "田中\u3000太郎", "می\u200cخواهم", "🙂"])
def test_user_names_are_of_any_script(store, name):
    store.add_user(name)
    assert store.user_by_name(name).name == name


@pytest.mark.parametrize("name", ["bob", "ANN", "", "ann\0", "\ud800", "a%"])
def test_unknown_user_is_named(store, ann, name):
    with pytest.raises(UnknownUser, match="There is no user"):
        store.user_by_name(name)


def test_times_are_read_as_written(store, ann):
    # Whatever the zone of the database's session is.
    (read,) = store.users()
    assert read.created_at == ann.created_at
    assert read.created_at.tzinfo is UTC
    assert now() - read.created_at < timedelta(minutes=1)


def test_token_authenticates_its_user(store, ann):
    token, secret = store.create_token("ann")
    assert token.expires_at is None
    assert store.tokens() == [token]
    assert store.snapshot().authenticate(secret, now()).user == ann


def test_plain_text_is_not_kept(store, ann):
    token, secret = store.create_token("ann")
    assert secret.startswith(token.id)
    kept = repr([dataclasses.astuple(each) for each in store.tokens()])
    assert secret not in kept and secret[24:] not in kept


def test_token_expires(store, ann):
    token, secret = store.create_token("ann", timedelta(days=90))
    assert token.expires_at == token.created_at + timedelta(days=90)
    snapshot = store.snapshot()
    assert snapshot.authenticate(secret, now() + timedelta(days=89)).user == ann
    assert snapshot.authenticate(secret, now() + timedelta(days=91)) is None


def test_expired_token_is_listed_and_not_in_the_snapshot(store, ann):
    token, _ = store.create_token("ann", timedelta(microseconds=1))
    assert store.tokens() == [token]
    assert not store.snapshot().tokens


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(-1), timedelta.max])
def test_impossible_expiry_is_refused(store, ann, expires):
    with pytest.raises(InvalidSetting, match="^expires: "):
        store.create_token("ann", expires)


def test_token_needs_a_user(store):
    with pytest.raises(UnknownUser):
        store.create_token("ann")


@pytest.mark.parametrize("given", ["id", "beginning", "secret"])
def test_token_is_revoked_by(store, ann, given):
    token, secret = store.create_token("ann")
    kept, kept_secret = store.create_token("ann")
    text = {"id": token.id, "beginning": token.id[:12], "secret": secret}[given]
    revoked = store.revoke_token(text)
    assert revoked.id == token.id and revoked.revoked_at is not None
    snapshot = store.snapshot()
    assert snapshot.authenticate(secret, now()) is None
    assert snapshot.authenticate(kept_secret, now()).user == ann
    assert set(store.tokens()) == {revoked, kept}


def test_revoking_again_changes_nothing(store, ann):
    token, _ = store.create_token("ann")
    assert store.revoke_token(token.id) == store.revoke_token(token.id)


def test_deployment_token_names_owner_and_deployment(store, deployment):
    token, secret = store.create_deployment_token(deployment.id)
    assert (token.user_id, token.deployment_id) == (deployment.owner_id, deployment.id)
    assert store.tokens() == [token]
    caller = store.snapshot().authenticate(secret, now())
    assert (caller.user.name, caller.deployment_id) == ("ann", deployment.id)


def test_deployment_token_expires(store, deployment):
    token, secret = store.create_deployment_token(deployment.id, timedelta(days=1))
    assert token.expires_at == token.created_at + timedelta(days=1)
    assert not store.snapshot().authenticate(secret, now() + timedelta(days=2))


@pytest.mark.parametrize("deployment_id", [HEX, "", "\0"])
def test_deployment_token_needs_a_deployment(store, ann, deployment_id):
    with pytest.raises(UnknownDeployment):
        store.create_deployment_token(deployment_id)
    assert not store.tokens()


def test_deleted_deployment_takes_its_tokens_along(store, deployment):
    _, secret = store.create_deployment_token(deployment.id)
    other = store.create_deployment("other", "ann", None)
    kept = [store.create_deployment_token(other.id)[0], store.create_token("ann")[0]]
    store.delete_deployment(deployment.id)
    assert store.tokens() == kept
    assert store.snapshot().authenticate(secret, now()) is None


@pytest.mark.parametrize("text", ["", "ab", "%" * 6, "______", HEX, "a'b\0", "é" * 9])
def test_unknown_token_is_refused(store, ann, text):
    store.create_token("ann")
    with pytest.raises(UnknownToken):
        store.revoke_token(text)


def test_ambiguous_beginning_revokes_nothing(store, ann, monkeypatch):
    ids = iter(["abcdef" + "0" * 18, "abcdef" + "1" * 18])
    monkeypatch.setattr("app.store.store.new_id", lambda: next(ids))
    _, first = store.create_token("ann")
    _, second = store.create_token("ann")
    with pytest.raises(AmbiguousToken, match="abcdef"):
        store.revoke_token("abcdef")
    assert len(store.snapshot().tokens) == 2


def test_model_is_entered_once(store, stored, model):
    store.add_user("bob")
    assert store.add_model(model, "bob", 1) == stored
    assert store.snapshot().models == {model.id: stored}
    assert (stored.name, stored.task, stored.target) == (model.name, "binary", "sex")


def test_large_bundle_size_is_kept(store, ann, model):
    store.add_model(model, "ann", 2**40)
    assert store.snapshot().models[model.id].nbytes == 2**40


@pytest.mark.parametrize(
    ("change", "error"),
    [({"id": "x"}, InvalidId), ({"name": "a\0"}, InvalidName)],
)
def test_model_that_cannot_be_kept_is_refused(store, ann, model, change, error):
    with pytest.raises(error):
        store.add_model(dataclasses.replace(model, **change), "ann", 1)


def test_deployment_is_found_as_created(store, deployment, stored, ann):
    assert store.deployment(deployment.id) == deployment
    assert store.deployments() == [deployment]
    assert dict(store.snapshot().deployments) == {deployment.id: deployment}
    assert deployment.owner_id == ann.id and deployment.model_id == stored.id
    assert deployment.enabled and deployment.threshold is None
    assert deployment.settings == DeploymentSettings()
    check_id(deployment.id)


def test_deployment_may_choose_its_id(store, stored):
    settings = DeploymentSettings(labels="names", association_id="\ud800\0 id")
    created = store.create_deployment(
        "sex", "ann", stored.id, threshold=0.3, deployment_id=HEX, settings=settings
    )
    assert created.id == HEX
    assert store.deployment(HEX) == created
    assert created.threshold == 0.3 and created.settings == settings


def test_chosen_id_is_taken_once(store, deployment):
    with pytest.raises(DeploymentIdTaken, match=deployment.id):
        store.create_deployment("x", "ann", None, deployment_id=deployment.id)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"deployment_id": HEX.upper()}, InvalidId),
        ({"label": "a\nb"}, InvalidName),
        ({"owner": "bob"}, UnknownUser),
        ({"model_id": HEX}, UnknownModel),
        ({"model_id": "\0"}, UnknownModel),
        ({"threshold": 2}, InvalidSetting),
    ],
)
def test_wrong_deployment_is_refused(store, stored, arguments, error):
    right = {"label": "sex", "owner": "ann", "model_id": stored.id}
    with pytest.raises(error):
        store.create_deployment(**right | arguments)
    assert store.deployments() == []


def test_external_deployment_has_no_model(store, ann):
    created = store.create_deployment("elsewhere", "ann", None)
    assert store.deployment(created.id).model_id is None


def test_deployments_are_listed_oldest_first(store, ann):
    labels = ["c", "a", "b"]
    for label in labels:
        store.create_deployment(label, "ann", None)
    assert [each.label for each in store.deployments()] == labels
    listed = store.snapshot().deployments_of(Caller(ann, None))
    assert [each.label for each in listed] == labels


def test_update_changes_what_is_given(store, deployment):
    changed = store.update_deployment(
        deployment.id,
        label="new",
        threshold=0.25,
        enabled=False,
        settings={"labels": "names"},
    )
    assert changed == dataclasses.replace(
        deployment,
        label="new",
        threshold=0.25,
        enabled=False,
        settings=DeploymentSettings(labels="names"),
        updated_at=changed.updated_at,
    )
    assert changed.updated_at > deployment.updated_at
    assert store.deployment(deployment.id) == changed


def test_update_keeps_what_is_not_given(store, deployment):
    store.update_deployment(deployment.id, threshold=0.25, settings={"labels": "names"})
    changed = store.update_deployment(deployment.id, settings={"association_id": "id"})
    assert changed.threshold == 0.25
    assert changed.settings == DeploymentSettings(labels="names", association_id="id")


def test_threshold_goes_back_to_the_models_own(store, deployment):
    store.update_deployment(deployment.id, threshold=0.25)
    assert store.update_deployment(deployment.id, threshold=None).threshold is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"label": ""}, InvalidName),
        ({"threshold": -1}, InvalidSetting),
        ({"settings": {"labels": "x"}}, InvalidSetting),
        ({"settings": {"colour": "x"}}, InvalidSetting),
    ],
)
def test_refused_update_changes_nothing(store, deployment, changes, error):
    before = store.snapshot()
    with pytest.raises(error):
        store.update_deployment(deployment.id, **{"enabled": False, **changes})
    assert store.snapshot() == before


def test_deployment_is_disabled_and_enabled(store, deployment):
    assert not store.set_enabled(deployment.id, False).enabled
    assert not store.deployment(deployment.id).enabled
    assert store.set_enabled(deployment.id, True).enabled


def test_model_is_replaced(store, deployment, model):
    other = store.add_model(dataclasses.replace(model, id=HEX), "ann", 1)
    assert store.replace_model(deployment.id, other.id).model_id == HEX
    assert store.deployment(deployment.id).model_id == HEX


def test_model_is_replaced_only_by_a_stored_one(store, deployment):
    with pytest.raises(UnknownModel, match=HEX):
        store.replace_model(deployment.id, HEX)
    assert store.deployment(deployment.id) == deployment


def test_deleted_deployment_leaves_its_model(store, deployment, stored):
    store.delete_deployment(deployment.id)
    snapshot = store.snapshot()
    assert not snapshot.deployments
    assert stored.id in snapshot.models


@pytest.mark.parametrize("deployment_id", [HEX, "", "x", "\0", "\ud800"])
@pytest.mark.parametrize(
    "verb",
    [
        lambda store, id: store.deployment(id),
        lambda store, id: store.update_deployment(id, label="x"),
        lambda store, id: store.update_deployment(id, settings={}),
        lambda store, id: store.replace_model(id, "ab" * 12),
        lambda store, id: store.set_enabled(id, True),
        lambda store, id: store.delete_deployment(id),
    ],
    ids=["get", "update", "settings", "replace", "enable", "delete"],
)
def test_unknown_deployment_is_refused(store, stored, verb, deployment_id):
    with pytest.raises(UnknownDeployment, match="cannot be found$"):
        verb(store, deployment_id)


def test_every_change_raises_the_generation(store, model):
    store.add_user("ann")
    deployment = store.create_deployment("x", "ann", None).id
    token, _ = store.create_token("ann")
    changes = [
        lambda: store.add_user("bob"),
        lambda: store.create_token("ann"),
        lambda: store.revoke_token(token.id),
        lambda: store.add_model(model, "ann", 1),
        lambda: store.create_deployment("y", "ann", model.id),
        lambda: store.update_deployment(deployment, label="z"),
        lambda: store.set_enabled(deployment, False),
        lambda: store.replace_model(deployment, model.id),
        lambda: store.delete_deployment(deployment),
    ]
    for change in changes:
        before = store.generation()
        change()
        assert store.generation() == before + 1
        assert store.snapshot().generation == before + 1


def test_refused_change_leaves_the_generation(store, ann):
    before = store.generation()
    with pytest.raises(NameTaken):
        store.add_user("ann")
    assert store.generation() == before


def test_snapshot_cannot_be_changed(store, ann):
    with pytest.raises(TypeError):
        store.snapshot().users["x"] = ann


def test_store_is_good_on_both_sides_of_a_fork(store, ann, in_child):
    # As when gunicorn's master has used the store before it forks the workers.
    assert store.generation() == 1

    def add_in_child():
        store.add_user("child")
        store.dispose()
        return store.generation() == 2

    assert in_child(add_in_child)
    assert [user.name for user in store.users()] == ["ann", "child"]


def test_rules_are_changed_and_found(store, deployment):
    changed = store.change_humility(deployment.id, lambda found: [UNCERTAIN])
    assert changed.settings == DeploymentSettings(humility=(UNCERTAIN,))
    assert changed.updated_at > deployment.updated_at
    assert store.deployment(deployment.id) == changed
    assert store.snapshot().deployments[deployment.id] == changed
    store.update_deployment(deployment.id, settings={"labels": "names"})
    assert store.deployment(deployment.id).settings.humility == (UNCERTAIN,)
    emptied = store.change_humility(deployment.id, lambda found: [])
    assert emptied.settings.humility == ()


def test_refused_rules_leave_everything_as_it_was(store, deployment):
    def refuse(found):
        assert found == deployment
        raise InvalidSetting("humility", "no")

    before = store.generation()
    for change in (refuse, lambda found: [UNCERTAIN] * 2):
        with pytest.raises(InvalidSetting):
            store.change_humility(deployment.id, change)
    with pytest.raises(UnknownDeployment):
        store.change_humility(HEX, lambda found: [])
    assert store.generation() == before
    assert store.deployment(deployment.id) == deployment


def test_replacement_that_is_refused_replaces_nothing(store, deployment, model):
    other = store.add_model(dataclasses.replace(model, id=HEX), "ann", 1)
    store.change_humility(deployment.id, lambda found: [UNCERTAIN])

    def refuse(found):
        assert found.settings.humility == (UNCERTAIN,)
        raise InvalidSetting("humility", "no")

    with pytest.raises(InvalidSetting):
        store.replace_model(deployment.id, other.id, check=refuse)
    assert store.deployment(deployment.id).model_id == deployment.model_id


def test_disposed_store_opens_again(store, ann):
    store.dispose()
    assert store.users() == [ann]
