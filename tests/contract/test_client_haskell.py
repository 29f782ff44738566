"""One record at a time, into types: what a client in Haskell sends and decodes."""

from __future__ import annotations

import base64
import json

import pytest

KEY = "DR-key-1"


@pytest.fixture
def ask(serve, site):
    """Sends one record by its address; the status is not looked at."""
    caller = serve(datarobot_key=KEY)
    user = f"ann@example.com:{site.tokens['ann@example.com']}"
    headers = {
        "Authorization": "Basic " + base64.b64encode(user.encode()).decode(),
        "datarobot-key": KEY,
        "Content-Type": "application/json",
        "User-Agent": "haskell wreq-0.5.2.1",
    }

    def send(address, record):
        body = json.dumps([record])
        path = f"/predApi/v1.0/{address}"
        return caller.client.post(path, data=body, headers=headers)

    return send


def record_of(specimen):
    row = specimen.frame.astype(object).where(specimen.frame.notna(), None).iloc[0]
    return json.loads(json.dumps(row.to_dict(), default=str))


def decoded(answer):
    """The first prediction; labels are numbers or texts, and nothing else."""
    assert isinstance(json.loads(answer.headers["X-DataRobot-Execution-Time"]), float)
    [row] = json.loads(answer.data)["data"]
    assert row["prediction"] is not None
    for each in row["predictionValues"]:
        assert isinstance(each["label"], str | int | float)
        assert not isinstance(each["label"], bool)
        assert isinstance(each["value"], float | int)
    return row


@pytest.mark.parametrize("name", ["churn", "price", "plan", "grade"])
def test_record_is_scored_by_either_address(ask, site, specimens, name):
    record = record_of(specimens[name])
    deployment = site.deployments[name]
    by_deployment = ask(f"deployments/{deployment}/predictions", record)
    by_model = ask(f"{deployment}/{specimens[name].model.id}/predict", record)
    assert decoded(by_deployment) == decoded(by_model)


def test_error_has_a_message_that_is_a_text(ask, site):
    answer = ask(f"deployments/{site.deployments['churn']}/predictions", {"a": 1})
    assert isinstance(json.loads(answer.data)["message"], str)
