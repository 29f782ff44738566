"""Tokens that open the predictions of one deployment, and nothing else."""

from __future__ import annotations

import base64

import pytest

CSV = b"tenure,monthly charge,contract,region,plan,senior\n12,70.5,One year,01,2,True\n"


@pytest.fixture(scope="module")
def token(services, site):
    """One that opens the deployment churn."""
    _, secret = services.store.create_deployment_token(site.deployments["churn"])
    services.refresh()
    return secret


@pytest.fixture(scope="module")
def admins(services, site):
    """A deployment of the admin's, and a token that opens it alone."""
    model_id = services.store.deployment(site.deployments["churn"]).model_id
    deployment = services.store.create_deployment("of root", "root", model_id)
    _, secret = services.store.create_deployment_token(deployment.id)
    services.refresh()
    return deployment.id, secret


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
def test_each_scheme_is_let_in(predict, token, layout):
    for header in (
        f"Bearer {token}",
        f"Token {token}",
        basic(token, ""),
        basic("ann@example.com", token),
    ):
        answer = predict("churn", CSV, headers={"Authorization": header}, layout=layout)
        assert answer.status_code == 200, header


def test_name_beside_it_is_the_owners(predict, token):
    for name in ("", "bob", "root", token):
        answer = predict("churn", CSV, headers={"Authorization": basic(name, token)})
        assert answer.status_code == 401


def test_users_token_is_let_in_with_an_empty_password(predict, site):
    header = basic(site.tokens["ann@example.com"], "")
    assert predict("churn", CSV, headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
@pytest.mark.parametrize("other", ["price", "plan", "external", "0" * 24])
def test_other_deployments_cannot_be_found(predict, site, token, layout, other):
    headers = {"Authorization": f"Bearer {token}"}
    answer = predict(other, CSV, headers=headers, layout=layout)
    assert answer.status_code == 404
    found = site.deployments.get(other, other)
    user = site.users["ann@example.com"]
    text = f"Deployment {found} cannot be found for user {user}"
    assert answer.json == {"message": text}


def test_admins_token_for_one_deployment_opens_no_other(predict, site, admins):
    deployment_id, secret = admins
    headers = {"Authorization": f"Bearer {secret}"}
    assert predict(deployment_id, CSV, headers=headers).status_code == 200
    assert predict("churn", CSV, headers=headers).status_code == 404
    usual = {"Authorization": f"Bearer {site.tokens['root']}"}
    assert predict("churn", CSV, headers=usual).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("churn", 200), ("price", 404)])
def test_older_addresses_keep_to_it_too(predict, services, site, token, name, status):
    deployment = services.store.deployment(site.deployments[name])
    answer = predict.client.post(
        f"/predApi/v1.0/{deployment.id}/{deployment.model_id}/predict",
        data=CSV,
        content_type="text/csv",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == status, answer.data


def test_deleted_deployment_ends_its_token(predict, services, site):
    model_id = services.store.deployment(site.deployments["churn"]).model_id
    made = services.store.create_deployment("brief", "ann@example.com", model_id)
    _, secret = services.store.create_deployment_token(made.id)
    services.refresh()
    headers = {"Authorization": f"Bearer {secret}"}
    assert predict(made.id, CSV, headers=headers).status_code == 200
    services.store.delete_deployment(made.id)
    services.refresh()
    assert predict(made.id, CSV, headers=headers).status_code == 401
