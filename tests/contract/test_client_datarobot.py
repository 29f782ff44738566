"""The management API as DataRobot's Python client asks it, exchange by exchange."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.api_client import api_of, message_of, without_nulls

HEALTHS = ("serviceHealth", "modelHealth", "accuracyHealth", "fairnessHealth")
TEXT = (str, type(None))


@pytest.fixture(scope="module")
def api(predict):
    return api_of(predict, headers={"User-Agent": "DataRobotPythonClient/3.20.0"})


@pytest.fixture
def mine(predict):
    """A deployment that a test may change."""
    return predict.deploy("churn")


def test_version_lets_the_client_in(api):
    told = api.get("version/")
    major, minor = re.match(r"^(\d+)\.(\d+)", told["versionString"]).groups()
    # A greater major version is refused; below 2.49 there is a warning.
    assert int(major) == 2
    assert int(minor) >= 49


def test_version_without_a_good_token_is_401(api):
    answer = api.ask("GET", "version/", Authorization="Token bad")
    assert answer.status == 401
    assert message_of(answer)["message"] == "Invalid API token"


def test_endpoint_may_end_in_a_slash(api):
    assert api.get("/version/") == api.get("version/")


def test_deployments_come_page_by_page(api):
    asked_once = [each["id"] for each in api.items("deployments/", limit=100)]
    by_pages = [
        each["id"] for each in api.items("deployments/", orderBy="label", limit=3)
    ]
    assert sorted(by_pages) == sorted(asked_once)
    assert len(set(by_pages)) == len(by_pages)


def test_every_deployment_passes_the_clients_checks(api, site):
    listed = {each["id"]: each for each in api.items("deployments/")}
    assert set(site.deployments.values()) <= set(listed)
    for deployment in listed.values():
        told = without_nulls(deployment)
        assert told["id"]
        for name in ("label", "status", "importance"):
            assert isinstance(told[name], str)
        assert all(isinstance(each, str) for each in told["permissions"])
        for name in ("id", "type", "targetName", "projectId"):
            assert isinstance(told["model"].get(name), TEXT)
        assert told["model"].get("id") != ""
        assert told.get("modelPackage", {}).get("id") != ""
        assert_moments(told)
    one = site.deployments["churn"]
    assert api.get(f"deployments/{one}/").keys() == listed[one].keys()


def assert_moments(told):
    """The client reads them before it hands the object out."""
    moments = [told[name].get(key) for name in HEALTHS for key in ("startDate",)]
    moments.append(told["predictionUsage"].get("lastTimestamp"))
    for moment in filter(None, moments):
        datetime.fromisoformat(moment)
    assert all(isinstance(rate, int | float) for rate in daily_rates(told))


def daily_rates(told):
    return told["predictionUsage"].get("dailyRates", [])


def test_deployments_are_searched_and_ordered(api, mine):
    api.ask("PATCH", f"deployments/{mine}/", {"label": "Fraud, würth it"})
    found = [each["id"] for each in api.items("deployments/", search="fraud, WÜRTH")]
    assert found == [mine]
    up = [each["label"] for each in api.items("deployments/", orderBy="label")]
    down = [each["label"] for each in api.items("deployments/", orderBy="-label")]
    assert up == down[::-1]


def test_one_page_is_asked_by_limit_and_offset(api):
    labels = [each["label"] for each in api.items("deployments/", orderBy="label")]
    page = api.get("deployments/", orderBy="label", limit=2, offset=1)
    assert [each["label"] for each in page["data"]] == labels[1:3]


def test_unknown_deployment_is_a_client_error(api):
    answer = api.ask("GET", f"deployments/{'0' * 24}/")
    assert answer.status == 404
    assert "cannot be found for user" in message_of(answer)["message"]


def test_label_description_and_importance_are_changed(api, mine):
    change = {"label": "née", "description": "über", "importance": "HIGH"}
    assert api.ask("PATCH", f"deployments/{mine}/", change).status == 204
    told = api.get(f"deployments/{mine}/")
    assert {name: told[name] for name in change} == change


def test_change_that_is_wrong_names_the_field(api, mine):
    answer = api.ask("PATCH", f"deployments/{mine}/", {"importance": "größer"})
    assert answer.status == 422
    assert "importance" in message_of(answer)["errors"]


def test_deployment_is_turned_off_and_on(api, predict, mine):
    for status in ("inactive", "active"):
        answer = api.ask("PATCH", f"deployments/{mine}/status/", {"status": status})
        assert api.resolved(answer) == mine
        assert api.get(f"deployments/{mine}/")["status"] == status
        again = api.ask("PATCH", f"deployments/{mine}/status/", {"status": status})
        assert again.status == 409
        wanted = f"Deployment already in {status} status."
        assert message_of(again)["message"] == wanted


def test_features_and_capabilities_are_listed(api, site):
    deployment = site.deployments["churn"]
    names = [each["name"] for each in api.items(f"deployments/{deployment}/features/")]
    assert set(names) >= {"tenure", "monthly charge", "region"}
    for each in api.get(f"deployments/{deployment}/capabilities/")["data"]:
        assert isinstance(each["name"], str)
        assert isinstance(each["supported"], bool)
        assert isinstance(each["messages"], list)


def test_features_of_time_series_tell_the_date(forecast):
    api = api_of(forecast)
    deployment = forecast.site.deployments["sales"]
    found = list(api.items(f"deployments/{deployment}/features/"))
    [dated] = [each for each in found if each["dateFormat"]]
    assert dated["name"] == "Time"
    assert isinstance(dated["knownInAdvance"], bool)


def test_prediction_server_is_listed(api):
    [server] = api.items("predictionServers/")
    assert server["id"]
    assert server["url"] == "http://localhost"
    assert server["datarobot-key"] == ""


def test_model_that_cannot_replace_fails_the_validation(api, predict, mine):
    other = api.get(f"deployments/{predict.site.deployments['price']}/")
    asked = {"modelPackageId": other["modelPackage"]["id"]}
    said = api.ask("POST", f"deployments/{mine}/model/validation/", asked).json
    assert said["status"] == "failing"
    assert isinstance(said["message"], str)
    assert "failing" in {each["status"] for each in said["checks"].values()}
    before = api.get(f"deployments/{mine}/")["model"]
    refused = api.ask(
        "PATCH", f"deployments/{mine}/model/", {**asked, "reason": "ACCURACY"}
    )
    assert message_of(refused)
    assert api.get(f"deployments/{mine}/")["model"] == before


def changed(api, deployment, settings):
    """The settings after a change, as the client waits for it."""
    answer = api.ask("PATCH", f"deployments/{deployment}/settings/", settings)
    assert api.resolved(answer) == deployment
    return api.get(f"deployments/{deployment}/settings/")


def test_association_id_is_set(api, mine):
    column = {"columnNames": ["region"], "requiredInPredictionRequests": True}
    assert changed(api, mine, {"associationId": column})["associationId"] == column
    # The client sends what is said, and leaves the rest.
    asked = {"associationId": {"requiredInPredictionRequests": False}}
    found = changed(api, mine, asked)["associationId"]
    assert found == column | {"requiredInPredictionRequests": False}


def test_prediction_warnings_are_set_with_bounds_and_without(api, predict):
    price = predict.deploy("price")
    bounds = {"lower": 1.5, "upper": 9.5}
    for custom in (bounds, None):
        warning = {"enabled": True, "customBoundaries": custom}
        found = changed(api, price, {"predictionWarning": warning})
        assert found["predictionWarning"] == warning


def test_settings_have_the_parts_that_the_client_reads(api, mine):
    settings = api.get(f"deployments/{mine}/settings/")
    for part in (
        *("targetDrift", "featureDrift", "challengerModels", "segmentAnalysis"),
        *("predictionsByForecastDate", "predictionsDataCollection", "humility"),
    ):
        assert isinstance(settings[part]["enabled"], bool)
    assert settings["predictionIntervals"] == {"enabled": False, "percentiles": []}


def test_models_are_deployed_from_packages_and_deleted(api, site):
    package = api.get(f"deployments/{site.deployments['churn']}/")["modelPackage"]
    server = next(api.items("predictionServers/"))
    asked = {
        "modelPackageId": package["id"],
        "label": "from a package",
        "defaultPredictionServerId": server["id"],
        "importance": "LOW",
    }
    answer = api.ask("POST", "deployments/fromModelPackage/", asked)
    made = api.resolved(answer)
    assert answer.json["id"] == made
    assert api.get(f"deployments/{made}/")["label"] == "from a package"
    assert api.ask("DELETE", f"deployments/{made}/").status == 204
    assert api.ask("GET", f"deployments/{made}/").status == 404


def test_errors_are_ascii_whatever_they_name(api, mine):
    column = {"columnNames": ["größe", "zwei"]}
    answer = api.ask(
        "PATCH", f"deployments/{mine}/settings/", {"associationId": column}
    )
    assert message_of(answer)["errors"]
    answer = api.ask("GET", "deployments/", query={"orderBy": "größe"})
    assert message_of(answer)["errors"]["orderBy"]
