"""Changes of the store, seen by every worker without a restart."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from app.store.store import Store
from tests.server.processes import Answer, Server, wait_for
from tests.server.served_models import FIRST, SECOND, ServedModels, foretell, frame

Ask = Callable[[http.client.HTTPConnection], Answer]


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    store = server.store()
    yield store
    store.dispose()


@pytest.fixture
def deployment(server: Server, models: ServedModels, store: Store) -> Iterator[str]:
    """One more deployment of the first model, which both workers have answered for."""
    made = store.create_deployment("followed", "admin", models.ids[FIRST]).id
    wait_for_all(server, lambda over: server.predict(made, over=over), 200)
    yield made
    if any(each.id == made for each in store.deployments()):
        store.delete_deployment(made)


def wait_for_all(server: Server, ask: Ask, status: int) -> float:
    """Ask every worker until all answer with the status; returns the seconds."""
    return wait_for_answers(server, ask, lambda answer: answer.status == status)


def wait_for_answers(
    server: Server, ask: Ask, holds: Callable[[Answer], bool]
) -> float:
    connections = server.connections()
    began = time.monotonic()
    wait_for(lambda: all(holds(ask(connection)) for connection in connections))
    return time.monotonic() - began


def test_new_deployment_is_seen(
    server: Server, models: ServedModels, store: Store
) -> None:
    made = store.create_deployment("new", "admin", models.ids[FIRST]).id
    wait_for_all(server, lambda over: server.predict(made, over=over), 200)
    store.delete_deployment(made)


def test_replaced_model_is_seen(
    server: Server, models: ServedModels, store: Store, deployment: str
) -> None:
    rows = frame(5, seed=8)
    expected = models.probabilities(SECOND, rows)
    store.replace_model(deployment, models.ids[SECOND])
    wait_for_answers(
        server,
        lambda over: server.predict(deployment, rows, over=over),
        lambda answer: answer.headers["x-datarobot-model-id"] == models.ids[SECOND],
    )
    for connection in server.connections():
        answer = server.predict(deployment, rows, over=connection)
        assert answer.positives == expected
        assert answer.headers["x-datarobot-model-cache-hit"] == "true"


def test_disabled_and_enabled_are_seen(
    server: Server, store: Store, deployment: str
) -> None:
    store.set_enabled(deployment, False)
    wait_for_all(server, lambda over: server.predict(deployment, over=over), 422)
    answer = server.predict(deployment)
    assert (
        answer.message == "The deployment you are trying to predict on is not active."
    )
    store.set_enabled(deployment, True)
    wait_for_all(server, lambda over: server.predict(deployment, over=over), 200)


def test_deleted_deployment_is_seen(
    server: Server, models: ServedModels, store: Store, deployment: str
) -> None:
    store.delete_deployment(deployment)
    wait_for_all(server, lambda over: server.predict(deployment, over=over), 404)
    assert server.predict(deployment).message == (
        f"Deployment {deployment} cannot be found for user {models.user}"
    )


def test_new_threshold_is_seen(server: Server, store: Store, deployment: str) -> None:
    store.update_deployment(deployment, threshold=0.75)
    wait_for_answers(
        server,
        lambda over: server.predict(deployment, over=over),
        lambda answer: answer.json["data"][0]["predictionThreshold"] == 0.75,
    )


def test_new_settings_are_seen(server: Server, store: Store, deployment: str) -> None:
    store.update_deployment(deployment, settings={"labels": "names"})
    wait_for_answers(
        server,
        lambda over: server.predict(deployment, over=over),
        lambda answer: (
            answer.json["data"][0]["predictionValues"][0]["label"] != 1
            or answer.json["data"][0]["predictionValues"][1]["label"] == "0"
        ),
    )


def test_new_and_revoked_tokens_are_seen(server: Server, store: Store) -> None:
    token, secret = store.create_token("admin")
    wait_for_all(server, lambda over: server.predict(token=secret, over=over), 200)
    store.revoke_token(token.id)
    wait_for_all(server, lambda over: server.predict(token=secret, over=over), 401)
    assert server.predict(token=secret).message == "Invalid API token"


def test_expired_token_is_refused(server: Server, store: Store) -> None:
    # Long enough for a busy machine to see it before.
    _, secret = store.create_token("admin", timedelta(seconds=6))
    wait_for_all(server, lambda over: server.predict(token=secret, over=over), 200)
    began = time.monotonic()
    wait_for_all(server, lambda over: server.predict(token=secret, over=over), 401)
    assert time.monotonic() - began < 60


def test_other_users_do_not_see_a_deployment(
    server: Server, store: Store, deployment: str
) -> None:
    user = store.add_user("stranger")
    _, secret = store.create_token("stranger")
    wait_for_all(
        server, lambda over: server.predict(deployment, token=secret, over=over), 404
    )
    assert server.predict(deployment, token=secret).message == (
        f"Deployment {deployment} cannot be found for user {user.id}"
    )


def test_command_line_changes_a_running_server(
    server: Server, models: ServedModels, deployment: str
) -> None:
    foretell(server.home, "replace-model", deployment, models.bundles["second"])
    wait_for_answers(
        server,
        lambda over: server.predict(deployment, over=over),
        lambda answer: answer.headers["x-datarobot-model-id"] == models.ids[SECOND],
    )
    foretell(server.home, "delete", deployment, "--yes")
    wait_for_all(server, lambda over: server.predict(deployment, over=over), 404)


def test_changes_are_seen_within_a_second(
    server: Server, models: ServedModels, store: Store, deployment: str
) -> None:
    """The median of several, as a busy machine may delay any single one."""
    connections = server.connections()
    taken = []
    for model in [SECOND, FIRST] * 3:
        wanted = models.ids[model]
        store.replace_model(deployment, wanted)
        began = time.monotonic()
        for connection in connections:
            wait_for(lambda: _model(server, deployment, connection) == wanted)  # noqa: B023
        taken.append(time.monotonic() - began)
    assert statistics.median(taken) < 1, taken


def _model(
    server: Server, deployment: str, connection: http.client.HTTPConnection
) -> str:
    answer = server.predict(deployment, over=connection)
    assert answer.status == 200
    return answer.headers["x-datarobot-model-id"]
