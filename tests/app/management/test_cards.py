"""Deployments whose bundle is damaged, away, or tells how much features matter."""

from __future__ import annotations

import json

import pytest

from app.config import Config
from app.factory import create_app
from app.management.features import features
from backends.bundle import CARD, STATISTICS
from tests.api_client import api_of, message_of
from tests.conftest import Caller, make_site
from tests.specimens import compile_specimen


@pytest.fixture
def own(specimens, tmp_path):
    """An application of its own, with one deployment."""
    chosen = {"churn": specimens["churn"]}
    site = make_site(tmp_path, chosen, compile_specimen, {})
    app = create_app(Config(home=tmp_path))
    services = app.extensions["foretell"]
    services.refresh()
    yield Caller(services, app.test_client(), site)
    services.close()


@pytest.fixture
def folder(own, specimens):
    return own.services.bundles.path(specimens["churn"].model.id)


def test_a_damaged_bundle_hides_no_deployment(own, folder):
    (folder / CARD).write_text("{}")
    api = api_of(own)
    deployment = own.site.deployments["churn"]
    told = api.get(f"deployments/{deployment}/")
    assert told["model"]["targetType"] == "Binary"
    assert not told["capabilities"]["supportsHumilityRules"]
    assert list(api.items("deployments/")) == [told]
    change = {"humility": {"enabled": False}}
    answer = api.ask("PATCH", f"deployments/{deployment}/settings/", change)
    assert answer.status == 202
    for method, path, body in (
        ("GET", "features/", None),
        ("POST", "humilityRules/", {"name": "a", "trigger": {}, "action": {}}),
    ):
        answer = api.ask(method, f"deployments/{deployment}/{path}", body)
        assert answer.status in (422, 503)
    answer = api.ask("GET", f"deployments/{deployment}/features/")
    text = "The deployment's model cannot be loaded"
    assert (answer.status, message_of(answer)["message"]) == (503, text)


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        (
            {"impact": {"normalised": [1, 0.5, 0, None, 0.25, 0.125]}},
            [1, 0.5, 0, None, 0.25, 0.125],
        ),
        ({"impact": {"normalised": [1, 0.5]}}, [None] * 6),
        ({"impact": None}, [None] * 6),
        ([], [None] * 6),
    ],
)
def test_impacts_are_those_of_the_bundle(own, folder, specimens, statistics, expected):
    (folder / STATISTICS).write_text(json.dumps(statistics))
    services = own.services
    deployment = services.snapshot.deployments[own.site.deployments["churn"]]
    told = features(services, deployment, specimens["churn"].model)
    assert [each["importance"] for each in told] == expected
