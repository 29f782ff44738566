"""The batch_scoring command line: what it asks before it sends a file, and ids."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from app.passwords import hash_password
from tests.api_client import api_of

KEY = "DR-key-1"
HEADERS = {"Content-Type": "text/csv; charset=utf8", "datarobot-key": KEY}


def basic(user, secret):
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def test_ids_are_what_it_takes_for_ids(predict):
    for told in api_of(predict).items("deployments/"):
        ids = [told["id"], told["model"]["projectId"]]
        for each in filter(None, ids):
            assert re.fullmatch(r"[0-9a-fA-F]{24}", each), told["label"]


def test_project_and_model_are_read_from_the_deployment(serve, site, specimens):
    caller = serve(datarobot_key=KEY)
    deployment = site.deployments["churn"]
    model = api_of(caller).get(f"deployments/{deployment}/")["model"]
    address = f"/predApi/v1.0/{model['projectId']}/{model['id']}/predict"
    user = site.tokens["ann@example.com"]
    answer = caller.client.post(
        address,
        data=specimens["churn"].frame[:3].to_csv(index=False).encode(),
        headers={**HEADERS, "Authorization": basic("ann@example.com", user)},
    )
    assert answer.status_code == 200, answer.data
    assert [row["rowId"] for row in json.loads(answer.data)["data"]] == [0, 1, 2]


@pytest.mark.parametrize("compress", [False, True])
def test_one_row_is_tried_first(serve, site, specimens, compress):
    body = specimens["churn"].frame[:1].to_csv(index=False, lineterminator="\r\n")
    sent = gzip.compress(body.encode()) if compress else body.encode()
    headers = {
        **HEADERS,
        "Authorization": basic("ann@example.com", site.tokens["ann@example.com"]),
        "Content-Encoding": "gzip" if compress else "",
    }
    answer = serve(datarobot_key=KEY)("churn", sent, headers=headers)
    assert answer.status_code == 200
    assert float(answer.headers["X-DataRobot-Execution-Time"]) > 0


@pytest.fixture(scope="module")
def with_password(predict):
    """Ann's password."""
    password = "correct horse, battery stäple"
    hashed = hash_password(password)
    predict.services.store.update_user("ann@example.com", password=hashed)
    predict.services.refresh()
    return password


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_password_is_changed_for_a_token(predict, with_password, method, compress):
    # It says what the file's type is, though there is no body yet.
    headers = {**HEADERS, "Authorization": basic("ann@example.com", with_password)}
    if compress:
        headers["Content-Encoding"] = "gzip"
    answer = predict.client.open(
        "/predApi/v1.0/api_token", method=method, headers=headers
    )
    assert answer.status_code == 200, answer.data
    token = answer.get_json()["api_token"]
    tried = predict(
        "churn", b"a\n1\n", headers={"Authorization": basic("ann@example.com", token)}
    )
    assert tried.status_code == 422


def test_wrong_password_is_401(predict, with_password):
    headers = {**HEADERS, "Authorization": basic("ann@example.com", "guess")}
    answer = predict.client.get("/predApi/v1.0/api_token", headers=headers)
    assert answer.status_code == 401
