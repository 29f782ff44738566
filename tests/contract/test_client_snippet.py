"""The code that the user interface offers for copying, with what it asks first."""

from __future__ import annotations

import json

import pytest

from tests.api_client import api_of

KEY = "DR-key-1"


@pytest.mark.parametrize("key", ["", KEY])
def test_place_and_key_are_read_from_the_deployment(serve, site, specimens, key):
    caller = serve(datarobot_key=key)
    # It says what type its body has, and sends none.
    said = {"Content-Type": "application/json; charset=UTF-8"}
    api = api_of(caller, scheme="Bearer", headers=said)
    deployment = site.deployments["churn"]
    server = api.get(f"deployments/{deployment}/")["defaultPredictionServer"]
    frame = specimens["churn"].frame
    answer = caller.client.post(
        f"{server['url']}/predApi/v1.0/deployments/{deployment}/predictions",
        data=frame.to_csv(index=False),
        headers={
            "Content-Type": "text/plain; charset=UTF-8",
            "Authorization": f"Bearer {api.token}",
            # Both are read from the object: it has to have the key.
            "DataRobot-Key": server["datarobot-key"],
        },
    )
    assert answer.status_code == 200
    found = [row["prediction"] for row in json.loads(answer.data)["data"]]
    assert len(found) == len(frame)


def test_parameters_that_it_offers(predict, site):
    query = {
        "maxExplanations": 3,
        "thresholdHigh": 0.5,
        "thresholdLow": 0.15,
        "predictionWarningEnabled": "true",
    }
    body = (
        "tenure,monthly charge,contract,region,plan,senior\n12,70.5,One year,01,2,True"
    )
    answer = predict("churn", body, "text/plain; charset=UTF-8", query=query)
    assert answer.status_code == 200, answer.data
    [row] = json.loads(answer.data)["data"]
    assert len(row["predictionExplanations"]) in (0, 3)


def test_error_is_raised_with_the_text(predict):
    answer = predict("churn", "a,b\n1,2", "text/plain; charset=UTF-8")
    assert answer.status_code == 422
    assert "tenure" in answer.text
