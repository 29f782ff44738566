"""Whatever bodies and queries say, the management API answers in its dialect."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.management_deployments import (
    AccessChange,
    DeploymentChange,
    DeploymentQuery,
    SharedRolesChange,
    StatusChange,
)
from schemas.management_projects import ModelChange, ProjectQuery
from schemas.management_settings import RuleChange, RulesChange, SettingsChange
from tests.contract.effort import effort

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["active", "LOW", "CONSUMER", "bob", "updateRoles", "user", "names"]
    ),
)


def keys_of(*schemas):
    """What bodies of these schemas may have, and what nobody knows."""
    found = {"wd", "data", "id", "type", "feature", "levels", "value", "message"}
    for schema in schemas:
        for field in schema().fields.values():
            found.add(field.data_key or field.name)
            inner = getattr(field, "schema", None) or getattr(
                getattr(field, "inner", None), "schema", None
            )
            if inner is not None:
                found |= keys_of(type(inner))
    return found


KEYS = sorted(
    keys_of(
        *(DeploymentChange, StatusChange, AccessChange, SharedRolesChange),
        *(SettingsChange, RulesChange, RuleChange, ModelChange),
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)
ROUTES = [
    ("PATCH", "deployments/{}/"),
    ("PATCH", "deployments/{}/status/"),
    ("PATCH", "deployments/{}/settings/"),
    ("PATCH", "deployments/{}/accessControl/"),
    ("PATCH", "deployments/{}/sharedRoles/"),
    ("PUT", "deployments/{}/humilityRules/"),
    ("POST", "deployments/{}/humilityRules/"),
    ("PATCH", "deployments/{}/humilityRules/" + "f" * 24 + "/"),
    ("PATCH", "projects/{0}/models/{1}/"),
]
LISTS = {
    "deployments/": DeploymentQuery,
    "deployments/{}/features/": DeploymentQuery,
    "deployments/{}/humilityStats/": DeploymentQuery,
    "predictionServers/": DeploymentQuery,
    "projects/": ProjectQuery,
}


@pytest.fixture(scope="module")
def ask(predict):
    deployment = predict.deploy("churn")
    model = predict.services.snapshot.deployments[deployment].model_id
    token = predict.site.tokens["ann@example.com"]

    def ask(method, path, body=b"", query="", content_type="application/json"):
        return predict.client.open(
            f"/api/v2/{path.format(deployment, model)}",
            method=method,
            data=body,
            query_string=query,
            content_type=content_type,
            headers={"Authorization": f"Bearer {token}"},
        )

    return ask


def check(answer):
    """Done, or refused in the documented dialect."""
    if answer.status_code < 400:
        return
    assert answer.status_code in (400, 404, 409, 422), answer.data
    assert answer.headers["Content-Type"] == "application/json"
    told = json.loads(answer.data.decode("ascii"))
    assert isinstance(told["message"], str) and told["message"]
    assert (told["message"] == "Invalid field data") == ("errors" in told)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_bodies_of_any_json(ask, method, path):
    @effort(100)
    @given(BODIES | VALUES)
    def check_body(body):
        check(ask(method, path, json.dumps(body)))

    check_body()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_bodies_of_any_bytes(ask, method, path):
    @effort(30)
    @given(st.binary(max_size=64))
    def check_body(body):
        check(ask(method, path, body))

    check_body()


@pytest.mark.parametrize("path", LISTS)
def test_queries_of_any_text(ask, path):
    names = [field.data_key or name for name, field in LISTS[path]().fields.items()]
    words = st.text(max_size=6) | st.sampled_from(
        ["1", "-1", "label", "active", "9" * 30]
    )
    queries = st.lists(st.tuples(st.sampled_from([*names, "start", "wd"]), words))

    @effort(60)
    @given(queries)
    def check_query(query):
        query = [(name, text.encode(errors="replace")) for name, text in query]
        check(ask("GET", path, query=urlencode(query)))

    check_query()


@effort(60)
@given(st.text(max_size=40))
def test_ids_of_any_text(ask, text):
    part = quote(text.encode(errors="replace"), safe="")
    for path in (f"deployments/{part}/", f"status/{part}/", f"projects/{part}/"):
        answer = ask("GET", path.replace("{", "%7B").replace("}", "%7D"))
        assert answer.status_code in (200, 308, 400, 404, 405)
