"""What is told of a deployment over HTTP, and its answers, in their schemas."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import validate

from schemas.rows import CODES, DeploymentFacts, RowsAnswer, RowsError

ROW = {
    "tenure": 12,
    "monthly charge": 70.5,
    "contract": "One year",
    "region": "01",
    "plan": 2,
    "senior": True,
}


def told(caller, name, page="", **headers):
    deployment_id = caller.site.deployments.get(name, name)
    token = caller.site.tokens["ann@example.com"]
    given = {"Authorization": f"Bearer {token}", **headers}
    return caller.client.get(f"/deployment/{deployment_id}{page}", headers=given)


@pytest.mark.parametrize("name", ["churn", "price", "plan", "onnx-parcel", "disabled"])
def test_facts_of_columns_keep_to_their_schema(predict, name):
    answer = told(predict, name)
    assert answer.status_code == 200, answer.data
    assert DeploymentFacts().validate(answer.json) == {}
    assert (answer.json["status"] == "disabled") == (name == "disabled")


@pytest.mark.parametrize("name", ["digits", "columns", "steps", "negative"])
def test_facts_of_tensors_keep_to_their_schema(forward, name):
    answer = told(forward, name)
    assert answer.status_code == 200, answer.data
    assert DeploymentFacts().validate(answer.json) == {}


@pytest.mark.parametrize("name", ["digits", "columns", "steps", "negative", "echo"])
def test_documents_of_tensors_are_valid(forward, name):
    answer = told(forward, name, "/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    validate(json.loads(answer.data))


def test_inputs_are_told_in_the_models_order(predict, specimens):
    names = list(specimens["churn"].model.columns)
    assert [each["name"] for each in told(predict, "churn").json["inputs"]] == names
    found = json.loads(told(predict, "churn", "/openapi.json").data)
    row = found["components"]["schemas"]["input-row"]
    assert list(row["properties"]) == names


def test_facts_lead_to_the_rows_and_the_document(predict):
    facts = told(predict, "churn", Host="a.example").json
    own = f"http://a.example/deployment/{predict.site.deployments['churn']}"
    assert (facts["url"], facts["openapi"]) == (f"{own}/forward", f"{own}/openapi.json")
    body = json.dumps({"rows": [ROW]})
    answer = predict("churn", body, "application/json", layout="rows")
    assert answer.status_code == 200, answer.data
    assert RowsAnswer().validate(answer.json) == {}


@pytest.mark.parametrize("page", ["", "/openapi.json"])
@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("0" * 24, {}, 404),
        ("x", {}, 404),
        ("external", {}, 400),
        ("churn", {"Authorization": "Bearer x"}, 401),
    ],
)
def test_refusals_keep_to_their_schema(predict, page, name, headers, status):
    answer = told(predict, name, page, **headers)
    assert answer.status_code == status
    assert RowsError().validate(answer.json) == {}
    assert answer.json["errorCode"] in CODES[status]


def test_forecasts_have_no_rows(forecast):
    answer = told(forecast, "sales")
    assert (answer.status_code, answer.json["errorCode"]) == (400, "BadData")
    assert "timeSeriesPredictions" in answer.json["errorMessage"]


@pytest.fixture
def crowded(predict):
    """A server that has as many requests in flight as it takes on."""
    admission = predict.services.admission
    taken = predict.services.config.max_in_flight
    for _ in range(taken):
        admission.__enter__()
    yield predict
    for _ in range(taken):
        admission.__exit__(None, None, None)


@pytest.mark.parametrize("page", ["", "/openapi.json"])
def test_crowded_server_tells_nothing(crowded, page):
    answer = told(crowded, "churn", page)
    assert (answer.status_code, answer.json["errorCode"]) == (503, "ServiceUnavailable")
    assert answer.headers["Retry-After"] == "1"


def test_what_is_told_does_not_count_as_a_request(predict):
    seldom = predict.deploy("churn", requests_per_minute=1)
    for page in ("", "/openapi.json", ""):
        assert told(predict, seldom, page).status_code == 200
    body = json.dumps({"rows": [ROW]})
    for status in (200, 429):
        answer = predict(seldom, body, "application/json", layout="rows")
        assert answer.status_code == status
    assert told(predict, seldom).status_code == 200
