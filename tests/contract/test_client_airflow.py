"""What the operators of the Airflow provider ask, on top of the Python client."""

from __future__ import annotations

import json

import pytest

from tests.api_client import api_of, message_of


@pytest.fixture(scope="module")
def api(predict):
    agent = "DataRobotPythonClient/3.21.0 airflow-provider-datarobot-1.0.2-airflow-2.10"
    return api_of(predict, headers={"User-Agent": agent})


def test_connection_is_tested_by_the_version(api):
    assert api.get("version/")["versionString"]
    refused = api.ask("GET", "version/", Authorization="Token bad")
    assert message_of(refused)


def test_model_and_status_go_into_the_flow(api, site):
    told = api.get(f"deployments/{site.deployments['churn']}/")
    assert told["model"]["id"]
    json.dumps(told["model"])
    assert told["status"] == "active"


def test_deployment_is_made_from_a_registered_model(api, site):
    churn = api.get(f"deployments/{site.deployments['churn']}/")
    asked = {"modelPackageId": churn["modelPackage"]["id"], "label": "by a flow"}
    answer = api.ask("POST", "deployments/fromModelPackage/", asked)
    made = api.resolved(answer)
    assert answer.json["id"] == made
    api.ask("DELETE", f"deployments/{made}/")


def test_replacement_is_checked_first(api, predict, site):
    deployment = predict.deploy("churn")
    other = api.get(f"deployments/{site.deployments['plan']}/")["modelPackage"]
    said = api.ask(
        "POST",
        f"deployments/{deployment}/model/validation/",
        {"modelPackageId": other["id"]},
    ).json
    # The message fails the task, the checks are logged.
    assert said["status"] == "failing"
    assert said["message"]
    json.dumps(said["checks"], indent=2)


def test_deployment_is_turned_off_and_its_status_returned(api, predict):
    deployment = predict.deploy("churn")
    path = f"deployments/{deployment}/status/"
    assert api.resolved(api.ask("PATCH", path, {"status": "inactive"})) == deployment
    assert api.get(f"deployments/{deployment}/")["status"] == "inactive"
