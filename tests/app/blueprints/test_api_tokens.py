"""Tokens for passwords, and what batch clients ask first."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.test import TestResponse

from app.config import Config
from app.factory import create_app
from app.passwords import hash_password, is_right
from app.services import Services
from tests.conftest import Caller, Site

PASSWORD = "correct horse: ü"
PATH = "/predApi/v1.0/api_token"


@pytest.fixture
def own(tmp_path) -> Iterator[Caller]:  # type: ignore[no-untyped-def]
    """A server of its own, with ann, who has a password, and bob, who has none."""
    app = create_app(Config(home=tmp_path / "home"))
    services: Services = app.extensions["foretell"]
    services.store.migrate()
    for name in ("ann", "bob"):
        services.store.add_user(name)
    services.store.update_user("ann", password=hash_password(PASSWORD))
    _, token = services.store.create_token("ann")
    services.refresh()
    yield Caller(services, app.test_client(), Site(tmp_path, {}, {"ann": token}, {}))
    services.close()


def ask(own: Caller, name: str, secret: str, method: str = "GET") -> TestResponse:
    text = base64.b64encode(f"{name}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {text}"}
    return own.client.open(PATH, method=method, headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_password_gets_a_token_for_a_week(own: Caller, method: str) -> None:
    told = ask(own, "ann", PASSWORD, method)
    assert told.status_code == 200
    assert told.headers["Cache-Control"] == "no-store"
    secret = told.json["api_token"]
    token = own.services.store.tokens()[-1]
    assert token.id == secret[:24]
    assert token.expires_at - token.created_at == timedelta(days=7)
    caller = own.services.snapshot.authenticate(secret, datetime.now(UTC))
    assert caller is not None and caller.user.name == "ann"
    entry = own.services.store.audit(token.id)[0]
    assert (entry.actor, entry.via, entry.action) == ("ann", "api", "create")


def test_token_gets_itself(own: Caller) -> None:
    token = own.site.tokens["ann"]
    count = len(own.services.store.tokens())
    for name, secret in (("ann", token), (token, "")):
        assert ask(own, name, secret).json == {"api_token": token}
    assert len(own.services.store.tokens()) == count


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(("ann", "wrong"), ("ann", ""), ("bob", ""), ("bob", PASSWORD)),
        *(("nobody", PASSWORD), ("", ""), ("\0", PASSWORD), ("ann", "x" * 5000)),
    ],
)
def test_wrong_password_is_refused(own: Caller, name: str, secret: str) -> None:
    told = ask(own, name, secret)
    assert (told.status_code, told.json) == (401, {"message": "Invalid API token"})
    assert len(own.services.store.tokens()) == 1


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic YQ==", "Bearer x", "Basic /w=="]
)
def test_other_authorization_is_refused(own: Caller, header: str) -> None:
    told = own.client.get(PATH, headers={"Authorization": header})
    assert told.status_code == 401


def test_token_of_another_user_is_refused(own: Caller) -> None:
    assert ask(own, "bob", own.site.tokens["ann"]).status_code == 401


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_guessing_is_slowed(own: Caller, name: str) -> None:
    statuses = [ask(own, name, "wrong").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    refused = ask(own, name, PASSWORD)
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    # Others are let in, and so is a token.
    assert ask(own, "bob", "wrong").status_code == 401
    assert ask(own, "ann", own.site.tokens["ann"]).status_code == 200


def test_guessing_at_many_names_is_slowed(own: Caller) -> None:
    count = own.services.logins
    for number in range(60):
        count.check("0" * 24, 60, now=None)
        assert number < 60
    assert ask(own, "someone", "wrong").status_code == 429


def test_new_password_counts_at_once(own: Caller) -> None:
    own.services.store.update_user("bob", password=hash_password("another one"))
    assert ask(own, "bob", "another one").status_code == 200


def test_password_is_kept_salted() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second and PASSWORD not in first
    assert is_right(PASSWORD, first) and is_right(PASSWORD, second)
    assert not is_right(PASSWORD + " ", first) and not is_right("", None)


def info(caller: Caller, name: str, user: str = "ann@example.com") -> TestResponse:
    deployment_id = caller.site.deployments.get(name, name)
    headers = {"Authorization": f"Bearer {caller.site.tokens[user]}"}
    path = f"/predApi/v1.0/deployments/{deployment_id}/batchInfo"
    return caller.client.get(path, headers=headers)


def test_batch_info_tells_model_and_limits(predict: Caller) -> None:
    told = info(predict, "churn").json
    assert told["id"] == predict.site.deployments["churn"]
    assert told["model"]["targetType"] == "Binary"
    assert told["featureCount"] > 1
    assert told["limits"]["maxBodyBytes"] == 52_428_800
    assert told["batch"]["keptHours"] == 48


def test_batch_info_of_an_external_deployment_has_no_model(predict: Caller) -> None:
    told = info(predict, "external").json
    assert told["model"]["targetName"] is told["featureCount"] is None


def test_batch_info_is_for_those_who_see_it(predict: Caller) -> None:
    assert info(predict, "churn", "bob").status_code == 404
    assert info(predict, "f" * 24).status_code == 404
    nobody = replace(predict.site, tokens={"ann@example.com": "x"})
    predict_as = Caller(predict.services, predict.client, nobody)
    assert info(predict_as, "churn").status_code == 401


def test_batch_info_asks_for_the_key(serve) -> None:  # type: ignore[no-untyped-def]
    caller = serve(datarobot_key="key")
    assert info(caller, "churn").json == {
        "message": "The datarobot-key header is missing"
    }
