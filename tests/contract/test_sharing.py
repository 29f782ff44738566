"""Those whom a deployment is shared with ask it for predictions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from werkzeug.test import TestResponse

from app.config import Config
from app.factory import create_app
from app.services import Services
from tests.conftest import Caller, Site, make_site
from tests.specimens import Specimen, compile_specimen

LAYOUTS = ("legacy", "serverless", "rows")
READ = ("", "capabilities/", "features/", "settings/", "humilityRules/")
CHANGES = (
    ("PATCH", "", {"label": "x"}),
    ("DELETE", "", None),
    ("PATCH", "status/", {"status": "inactive"}),
    ("PATCH", "settings/", {"humility": {"enabled": False}}),
    ("PATCH", "model/", {"modelId": "f" * 24}),
    ("POST", "model/validation/", {"modelId": "f" * 24}),
    ("PATCH", "accessControl/", {"data": [{"username": "bob", "role": "CONSUMER"}]}),
    ("GET", "accessControl/", None),
    ("GET", "sharedRoles/", None),
)


@pytest.fixture(scope="module")
def shared(
    specimens: Mapping[str, Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """churn is shared with sue, a user, and bot, a predictor; plan with nobody."""
    few = {name: specimens[name] for name in ("churn", "plan")}
    site = make_site(tmp_path_factory.mktemp("shared"), few, compile_specimen, {})
    app = create_app(Config(home=site.home))
    services: Services = app.extensions["foretell"]
    tokens = dict(site.tokens)
    for name, role in (("sue", "user"), ("bot", "predictor")):
        services.store.add_user(name, role=role)  # type: ignore[arg-type]
        services.store.share_deployment(site.deployments["churn"], name)
        tokens[name] = services.store.create_token(name)[1]
    services.refresh()
    yield Caller(services, app.test_client(), replace(site, tokens=tokens))
    services.close()


def as_user(shared: Caller, name: str) -> Caller:
    tokens = {"ann@example.com": shared.site.tokens[name]}
    site: Site = replace(shared.site, tokens=tokens)
    return Caller(shared.services, shared.client, site)


def rows(specimens: Mapping[str, Specimen], name: str, layout: str) -> str:
    records = specimens[name].frame[:2].to_json(orient="records")
    return f'{{"rows": {records}}}' if layout == "rows" else records


def manage(
    shared: Caller, user: str, method: str, path: str, body: object = None
) -> TestResponse:
    headers = {"Authorization": f"Bearer {shared.site.tokens[user]}"}
    sent = {} if body is None else {"json": body}
    return shared.client.open(f"/api/v2/{path}", method=method, headers=headers, **sent)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("user", ["sue", "bot"])
def test_shared_deployment_predicts(
    shared: Caller, specimens: Mapping[str, Specimen], user: str, layout: str
) -> None:
    body = rows(specimens, "churn", layout)
    kind = "application/json"
    owners = shared("churn", body, kind, layout=layout)
    theirs = as_user(shared, user)("churn", body, kind, layout=layout)
    assert owners.status_code == theirs.status_code == 200, theirs.data
    drop = ("executionTime", "timestamp", "id")
    first, second = (
        {key: value for key, value in each.json.items() if key not in drop}
        for each in (owners, theirs)
    )
    assert first == second


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("user", ["sue", "bot"])
def test_other_deployments_stay_unseen(
    shared: Caller, specimens: Mapping[str, Specimen], user: str, layout: str
) -> None:
    body = rows(specimens, "plan", layout)
    answer = as_user(shared, user)("plan", body, "application/json", layout=layout)
    assert answer.status_code == 404


@pytest.mark.parametrize("user", ["sue", "bot"])
@pytest.mark.parametrize("layout", ["predApi/v1.0", "api/v2"])
def test_bytes_are_answered_where_predictions_are(
    shared: Caller, user: str, layout: str
) -> None:
    headers = {"Authorization": f"Bearer {shared.site.tokens[user]}"}
    # 422: seen, and of another kind than takes bytes.
    for name, status in (("churn", 422), ("plan", 404)):
        place = f"{layout}/deployments/{shared.site.deployments[name]}"
        answer = shared.client.post(
            f"/{place}/predictionsUnstructured", data=b"x", headers=headers
        )
        assert answer.status_code == status, answer.data


@pytest.mark.parametrize("user", ["sue", "bot"])
def test_shared_deployment_is_told_alone(shared: Caller, user: str) -> None:
    churn, plan = (shared.site.deployments[name] for name in ("churn", "plan"))
    listed = manage(shared, user, "GET", "deployments/").json
    assert [each["id"] for each in listed["data"]] == [churn]
    for path in READ:
        assert (
            manage(shared, user, "GET", f"deployments/{churn}/{path}").status_code
            == 200
        )
        assert (
            manage(shared, user, "GET", f"deployments/{plan}/{path}").status_code == 404
        )
    permissions = listed["data"][0]["permissions"]
    assert set(permissions) == {"CAN_MAKE_PREDICTIONS", "CAN_VIEW"}


@pytest.mark.parametrize("user", ["sue", "bot"])
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_shared_deployment_is_not_changed(
    shared: Caller, user: str, method: str, path: str, body: object
) -> None:
    churn, plan = (shared.site.deployments[name] for name in ("churn", "plan"))
    before = shared.services.store.deployments()
    asked = manage(shared, user, method, f"deployments/{churn}/{path}", body)
    assert asked.status_code == 403, asked.data
    assert (
        manage(shared, user, method, f"deployments/{plan}/{path}", body).status_code
        == 404
    )
    assert shared.services.store.deployments() == before


def test_batch_jobs_are_made_where_predictions_are(shared: Caller) -> None:
    for user in ("sue", "bot"):
        for name, status in (("churn", 202), ("plan", 404)):
            body = {"deploymentId": shared.site.deployments[name]}
            asked = manage(shared, user, "POST", "batchPredictions/", body)
            assert asked.status_code == status, (user, name, asked.data)


def test_what_is_no_longer_shared_is_not_found(
    shared: Caller, specimens: Mapping[str, Specimen]
) -> None:
    store, services = shared.services.store, shared.services
    made = shared.deploy("churn")
    store.share_deployment(made, "bot")
    services.refresh()
    body = rows(specimens, "churn", "legacy")
    ask = as_user(shared, "bot")
    assert ask(made, body, "application/json").status_code == 200
    store.share_deployment(made, "bot", shared=False)
    services.refresh()
    assert ask(made, body, "application/json").status_code == 404
