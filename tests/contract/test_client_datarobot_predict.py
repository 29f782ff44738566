"""How DataRobot's prediction client finds out where to ask, and what it sends there."""

from __future__ import annotations

import gzip
import io

import pandas as pd
import pytest

from tests.api_client import api_of, message_of

KEY = "DR-key-1"


def place_of(api, deployment, platform=None):
    """URL and headers, from the deployment object; platform: instead of its own."""
    told = api.get(f"deployments/{deployment}/")
    if (platform or told["predictionEnvironment"]["platform"]) == "datarobotServerless":
        url = f"{api.base}/api/v2/deployments/{deployment}"
        return url, {"Authorization": f"Bearer {api.token}"}
    server = told["defaultPredictionServer"]
    key = server.get("datarobot-key")
    url = f"{server['url']}/predApi/v1.0/deployments/{deployment}"
    return url, {"datarobot-key": key} if key else {}


def predict_with(api, deployment, frame, platform=None, **query):
    url, headers = place_of(api, deployment, platform)
    return api.ask(
        "POST",
        f"{url}/predictions",
        body=frame.to_csv(index=False).encode(),
        query={"maxExplanations": 0, **query},
        **{"Content-Type": "text/csv", "Accept": "text/csv"},
        **{"Accept-Encoding": "gzip, deflate"},
        **headers,
    )


def read(answer):
    assert answer.status == 200, answer.body
    packed = answer.headers.get("content-encoding") == "gzip"
    body = gzip.decompress(answer.body) if packed else answer.body
    return pd.read_csv(io.BytesIO(body))


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize("platform", [None, "datarobotServerless"])
def test_place_is_read_from_the_deployment(serve, site, specimens, key, platform):
    api = api_of(serve(datarobot_key=key))
    frame = specimens["churn"].frame[:7]
    answer = predict_with(api, site.deployments["churn"], frame, platform)
    assert len(read(answer)) == 7


def test_dedicated_server_without_the_key_refuses(serve, site, specimens):
    api = api_of(serve(datarobot_key=KEY))
    answer = api.ask(
        "POST",
        f"{api.base}/predApi/v1.0/deployments/{site.deployments['churn']}/predictions",
        body=specimens["churn"].frame[:1].to_csv(index=False).encode(),
        Content_Type="text/csv",
    )
    assert answer.status == 401
    assert message_of(answer)["message"] == "The datarobot-key header is missing"


def test_explanations_none_some_and_all(predict, site, specimens):
    api, churn = api_of(predict), site.deployments["churn"]
    frame = specimens["churn"].frame[:4]

    def explained(**query):
        found = read(predict_with(api, churn, frame, **query))
        return sum("FEATURE_NAME" in name for name in found)

    assert explained() == 0
    assert explained(maxExplanations=3, thresholdHigh=0.9, thresholdLow=0.1) == 3
    assert explained(maxExplanations=2, explanationAlgorithm="shap") == 2
    # None asked for means all of them.
    everything = len(frame.columns)
    assert explained(explanationAlgorithm="shap") == everything
    assert explained(maxExplanations="all", explanationAlgorithm="shap") == everything


def test_error_that_is_not_ascii_is_read(predict, site):
    api = api_of(predict)
    frame = pd.DataFrame({"größe": [1]})
    query = {"passthroughColumns": ["größe", "länge"]}
    answer = predict_with(api, site.deployments["churn"], frame, **query)
    assert "columns expected but not found" in message_of(answer)["message"]


@pytest.mark.parametrize("platform", [None, "datarobotServerless"])
def test_unstructured_is_refused_where_there_are_columns(predict, site, platform):
    api = api_of(predict)
    url, headers = place_of(api, site.deployments["churn"], platform)
    answer = api.ask(
        "POST",
        f"{url}/predictionsUnstructured",
        body=b"any bytes",
        **{"Accept": "", "Content-Type": "application/octet-stream", **headers},
    )
    assert answer.status == 422
    wanted = "Only unstructured custom models can be used with this endpoint."
    assert message_of(answer)["message"] == f"{wanted} Use /predictions instead."


@pytest.mark.parametrize("platform", [None, "datarobotServerless"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", None])
def test_unstructured_takes_bytes_of_any_type(send, platform, content_type):
    api = api_of(send)
    url, headers = place_of(api, send.site.deployments["statistics"], platform)
    if content_type:
        headers["Content-Type"] = content_type
    answer = api.ask(
        "POST",
        f"{url}/predictionsUnstructured",
        body="zwölf Boxkämpfer".encode(),
        Accept="",
        **headers,
    )
    assert answer.status == 200, answer.body
    # It is looked up, and has to be there.
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {"characters": 16, "words": 2}
