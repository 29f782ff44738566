"""The management API as the R package asks it.

It reads every body as JSON, those of errors and redirects as well, looks at the
version's numbers, and goes on to the next page where twenty items came.
"""

from __future__ import annotations

import json

import pytest

from tests.api_client import api_of, id_of


@pytest.fixture(scope="module")
def api(predict):
    return api_of(predict, headers={"User-Agent": "DataRobotRClient/2.18.7 (Linux)"})


def read(answer):
    """What the package makes of an answer; it stops at anything but JSON."""
    found = json.loads(answer.body) if answer.body else ""
    if answer.status >= 400:
        assert isinstance(found["message"], str)
        for text in found.get("errors", {}).values():
            assert isinstance(text, str)
    return found


def test_connecting_asks_for_the_projects(api):
    answer = api.ask("GET", "projects/")
    # A redirect would be an endpoint that is not right.
    assert answer.status < 300
    read(answer)


def test_connecting_compares_versions(api):
    told = read(api.ask("GET", "version/"))
    assert told["major"] == 2
    assert told["minor"] >= 18


def test_connecting_with_a_bad_token_is_told_why(api):
    answer = api.ask("GET", "projects/", Authorization="Token bad")
    assert answer.status == 401
    assert read(answer)["message"] == "Invalid API token"


def test_deployments_are_read_twenty_a_page(predict, api):
    made = {predict.deploy("churn") for _ in range(21)}
    page = read(api.ask("GET", "deployments/"))
    rows = page["data"]
    assert len(rows) == 20
    while len(page["data"]) >= 20 and page["next"]:
        assert not page["next"].endswith("//")
        assert " " not in page["next"]
        page = read(api.ask("GET", page["next"]))
        rows += page["data"]
    assert made <= {each["id"] for each in rows}


def test_deployment_settings_and_servers(api, site):
    deployment = site.deployments["churn"]
    told = read(api.ask("GET", f"deployments/{deployment}/"))
    assert told["id"] == deployment
    settings = read(api.ask("GET", f"deployments/{deployment}/settings/"))
    for part in ("predictionIntervals", "targetDrift", "associationId", "featureDrift"):
        assert isinstance(settings[part], dict)
    [server] = read(api.ask("GET", "predictionServers/"))["data"]
    assert {"id", "url", "datarobot-key"} <= set(server)


def test_query_of_the_list_may_be_empty_or_ordered(api):
    query = {"orderBy": "label", "search": "churn"}
    labels = [each["label"] for each in api.items("deployments/", **query)]
    assert labels == sorted(labels)
    assert all("churn" in label for label in labels)


def test_errors_are_read(api, site):
    unknown = api.ask("GET", f"deployments/{'0' * 24}/")
    assert read(unknown)["message"].startswith("Deployment ")
    wrong = api.ask("GET", "deployments/", query={"orderBy": "size"})
    assert set(read(wrong)["errors"]) == {"orderBy"}
    read(api.ask("GET", "nowhere/"))
    read(api.ask("GET", f"deployments/{site.deployments['churn']}/status/"))


def test_association_id_is_changed_and_waited_for(predict, api):
    deployment = predict.deploy("churn")
    changed = api.ask(
        "PATCH",
        f"deployments/{deployment}/settings/",
        {"associationId": {"columnNames": ["region"]}},
    )
    assert changed.status == 202
    polled = api.ask("GET", changed.headers["location"])
    # Redirects are looked at, not followed; an HTML page in one would not be JSON.
    assert polled.status == 303
    read(polled)
    assert id_of(polled.headers["location"]) == deployment
    assert read(api.ask("GET", polled.headers["location"]))["id"] == deployment


def test_model_that_cannot_replace_is_told_check_by_check(predict, api, specimens):
    deployment = predict.deploy("churn")
    asked = {"modelId": specimens["price"].model.id}
    said = read(api.ask("POST", f"deployments/{deployment}/model/validation/", asked))
    assert said["status"] == "failing"
    for check in said["checks"].values():
        assert {"status", "message"} <= set(check)
    asked |= {"reason": "OTHER"}
    refused = api.ask("PATCH", f"deployments/{deployment}/model/", asked)
    # 409 has the checks; of any other status the message is shown.
    assert refused.status in (409, 422)
    found = read(refused)
    if refused.status == 409:
        failed = [each for each in found["checks"].values() if each["message"]]
        assert failed


def test_deployment_is_deleted(predict, api):
    deployment = predict.deploy("churn")
    deleted = api.ask("DELETE", f"deployments/{deployment}/")
    assert deleted.status == 204
    assert deleted.body == b""
    assert api.ask("GET", f"deployments/{deployment}/").status == 404


def test_deployment_is_made_of_a_form(api, specimens):
    """A list without a word about its encoding is sent as a form."""
    fields = {
        "modelId": specimens["churn"].model.id,
        "label": "née",
        "description": "",
        "defaultPredictionServerId": next(api.items("predictionServers/"))["id"],
    }
    line, pieces = "------------------------d74496d66958873e", []
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        pieces.append(f"--{line}\r\n{head}\r\n\r\n{value}\r\n")
    body = "".join([*pieces, f"--{line}--\r\n"]).encode()
    kind = f"multipart/form-data; boundary={line}"
    path = "deployments/fromLearningModel/"
    made = read(api.ask("POST", path, body=body, Content_Type=kind))["id"]
    told = read(api.ask("GET", f"deployments/{made}/"))
    assert api.ask("DELETE", f"deployments/{made}/").status == 204
    assert told["label"] == "née"
    assert told["model"]["id"] == fields["modelId"]
