"""What is documented of unstructured predictions, and what clients send."""

from __future__ import annotations

import json

import pytest

LAYOUTS = ["unstructured", "serverless unstructured"]
MODEL_HEADERS = ("X-DataRobot-Model-Id", "X-DataRobot-Model-Cache-Hit")


def refused(answer):
    assert answer.content_type == "application/json"
    assert list(answer.json) == ["message"]
    return answer.status_code, answer.json["message"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_query_is_refused(send, layout):
    answer = send("ways", b"x", None, query="maxExplanations=1", layout=layout)
    assert refused(answer) == (400, "Query parameters not accepted on this endpoint")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_models_of_rows_are_refused(predict, layout):
    assert refused(predict("churn", b"a\n1", layout=layout)) == (
        422,
        "Only unstructured custom models can be used with this endpoint. Use"
        " /predictions instead.",
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_named_tensors_are_refused(forward, layout):
    assert refused(forward("matrix", b"[]", layout=layout))[0] == 422


@pytest.mark.parametrize("layout", ["legacy", "serverless", "time series"])
def test_other_addresses_refuse_unstructured_models(send, layout):
    for name in ("ways", "matrix"):
        assert refused(send(name, b"a\n1", layout=layout)) == (
            422,
            "The deployment's model is unstructured: send its requests to"
            " /predictionsUnstructured",
        )


def test_rows_api_refuses_unstructured_models(send):
    for name in ("ways", "matrix"):
        answer = send(name, b'{"rows": []}', "application/json", layout="rows")
        told = answer.json
        assert (answer.status_code, told["errorCode"]) == (400, "BadData")
        assert "/predictionsUnstructured" in told["errorMessage"]
        token = send.site.tokens["ann@example.com"]
        path = f"/deployment/{send.site.deployments[name]}"
        for each in (path, f"{path}/openapi.json"):
            headers = {"Authorization": f"Bearer {token}"}
            assert send.client.get(each, headers=headers).status_code == 400


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unknown_deployment_and_token(send, layout):
    assert send("f" * 24, b"x", None, layout=layout).status_code == 404
    headers = {"Authorization": "Bearer nobody"}
    answer = send("ways", b"x", None, layout=layout, headers=headers)
    assert refused(answer) == (401, "Invalid API token")


def test_other_methods_are_refused(send):
    path = send.LAYOUTS["unstructured"].format(send.site.deployments["ways"])
    answer = send.client.get(path)
    assert (answer.status_code, "POST" in answer.headers["Allow"]) == (405, True)


def test_legacy_address_asks_for_the_key(serve_unstructured):
    ask = serve_unstructured(datarobot_key="k")
    answer = ask("ways", b"x", None, layout="unstructured")
    assert refused(answer) == (401, "The datarobot-key header is missing")
    headers = {"datarobot-key": "k"}
    answer = ask("ways", b"x", None, layout="unstructured", headers=headers)
    assert answer.data == b"x"
    answer = ask("ways", b"x", None, layout="serverless unstructured")
    assert answer.data == b"x"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datarobot_predict(send, layout):
    """An empty Accept, any type; the answer's type is looked up without a default."""
    headers = {
        "Accept": "",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "DataRobotPythonClient/3.20.0",
    }
    send.client.environ_base["HTTP_ACCEPT"] = ""
    try:
        for kind in ("application/octet-stream", "text/csv", "text/plain"):
            answer = send("ways", b"a,b\n1,2\n", kind, headers=headers, layout=layout)
            assert (answer.status_code, answer.data) == (200, b"a,b\n1,2\n")
            assert answer.headers["Content-Type"]
            assert all(answer.headers[name] for name in MODEL_HEADERS)
    finally:
        del send.client.environ_base["HTTP_ACCEPT"]


@pytest.mark.parametrize("kind", [None, "text/plain; charset=utf-8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_datarobotx(send, kind, layout):
    """JSON that does not say so; the answer's text is parsed as JSON."""
    body = json.dumps({"text": "the end of it"})
    answer = send("statistics", body, kind, layout=layout)
    assert json.loads(answer.text) == {"characters": 13, "words": 2}
    body = json.dumps([[1, 2, 3, 4, 5, 6]])
    answer = send("matrix", body, kind, layout=layout)
    assert list(json.loads(answer.text)) == ["y"]


def test_slash_at_the_end_and_twice(send):
    token = send.site.tokens["ann@example.com"]
    path = send.LAYOUTS["unstructured"].format(send.site.deployments["ways"])
    for each in (f"{path}/", path.replace("/v1.0", "//v1.0")):
        headers = {"Authorization": f"Bearer {token}"}
        assert send.client.post(each, data=b"x", headers=headers).data == b"x"


@pytest.mark.parametrize("key", ["pythonHook", "python_hook"])
def test_no_request_allows_a_hook(send, key):
    deployment = send.services.store.deployment(send.site.deployments["off"])
    headers = {"Authorization": f"Bearer {send.site.tokens['ann@example.com']}"}
    for path in ("settings/", ""):
        answer = send.client.patch(
            f"/api/v2/deployments/{deployment.id}/{path}",
            json={key: deployment.model_id},
            headers=headers,
        )
        assert (answer.status_code, list(answer.json["errors"])) == (422, [key])
    kept = send.services.store.deployment(deployment.id)
    assert kept.settings.python_hook is None


def test_batch_jobs_refuse_unstructured_models(send):
    headers = {"Authorization": f"Bearer {send.site.tokens['ann@example.com']}"}
    body = {"deploymentId": send.site.deployments["ways"]}
    body["intakeSettings"] = {"type": "localFile"}
    answer = send.client.post("/api/v2/batchPredictions/", json=body, headers=headers)
    assert answer.status_code == 422
    assert "is unstructured" in answer.json["message"]


@pytest.mark.parametrize("name", ["ways", "matrix"])
@pytest.mark.parametrize(
    "path", ["", "settings/", "features/", "capabilities/", "humility/"]
)
def test_management_tells_of_unstructured_models(send, name, path):
    headers = {"Authorization": f"Bearer {send.site.tokens['ann@example.com']}"}
    deployment = send.site.deployments[name]
    answer = send.client.get(
        f"/api/v2/deployments/{deployment}/{path}", headers=headers
    )
    assert answer.status_code in (200, 404), answer.data
    if path == "":
        assert answer.json["model"]["unstructuredModelKind"] is True
