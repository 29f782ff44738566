"""What every management request brings."""

from __future__ import annotations

import io
import time

import pytest

from app.config import Config
from app.factory import create_app
from app.management.requests import query_of
from schemas.management import InvalidFields


def test_a_query_is_read_as_utf_8():
    assert query_of("search=gr%C3%B6%C3%9Fe&x=") == {"search": "größe", "x": ""}
    with pytest.raises(InvalidFields) as caught:
        query_of("a=1&b=2&a=3")
    assert caught.value.errors == {"a": "value is given more than once"}


def test_without_its_database_a_server_tells_what_it_knows(tmp_path):
    app = create_app(Config(home=tmp_path))
    services = app.extensions["foretell"]
    services.store.migrate()
    services.store.add_user("ann")
    deployment = services.store.create_deployment("a", "ann", None)
    token = services.store.create_token("ann")[1]
    services.refresh()
    services.close()
    (tmp_path / "foretell.db").rename(tmp_path / "away.db")
    client = app.test_client()
    path, headers = (
        f"/api/v2/deployments/{deployment.id}/",
        {"Authorization": f"Bearer {token}"},
    )
    assert client.get(path, headers=headers).json["label"] == "a"
    answer = client.patch(path, json={"label": "b"}, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    text = "The server's database does not answer; try again shortly"
    assert answer.json == {"message": text}
    (tmp_path / "away.db").rename(tmp_path / "foretell.db")
    answer = client.patch(path, json={"label": "b"}, headers=headers)
    assert answer.status_code == 204
    services.close()


class Trickle(io.RawIOBase):
    """A body of which a byte comes now and then, and that never ends."""

    def readable(self):
        return True

    def readinto(self, buffer):
        time.sleep(0.01)
        buffer[:1] = b" "
        return 1


def test_a_small_body_is_not_waited_for_as_long_as_rows_are(tmp_path, monkeypatch):
    monkeypatch.setattr("app.management.requests._BODY_SECONDS", 0.05)
    app = create_app(Config(home=tmp_path))
    services = app.extensions["foretell"]
    services.store.migrate()
    services.store.add_user("ann")
    deployment = services.store.create_deployment("a", "ann", None)
    token = services.store.create_token("ann")[1]
    services.refresh()
    answer = app.test_client().patch(
        f"/api/v2/deployments/{deployment.id}/",
        headers={"Authorization": f"Bearer {token}"},
        environ_overrides={"wsgi.input": Trickle(), "CONTENT_LENGTH": "1000000"},
    )
    assert answer.status_code == 408
    services.close()


def test_a_changed_role_counts_at_once(tmp_path):
    app = create_app(Config(home=tmp_path))
    services = app.extensions["foretell"]
    services.store.migrate()
    services.store.add_user("ann")
    services.store.add_user("bob")
    services.store.create_deployment("a", "ann", None)
    token = services.store.create_token("bob")[1]
    services.refresh()
    headers = {"Authorization": f"Bearer {token}"}
    client = app.test_client()

    def seen():
        return client.get("/api/v2/deployments/", headers=headers).json["totalCount"]

    assert seen() == 0
    # Another process does this.
    services.store.update_user("bob", role="admin")
    assert seen() == 1
    services.close()
