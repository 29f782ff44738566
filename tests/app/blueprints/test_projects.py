"""Projects, models, thresholds, and deployments as the oldest clients know them."""

from __future__ import annotations

import pytest

from tests.api_client import api_of, message_of

PROJECT, MODEL = "7" * 24, "8" * 24


@pytest.fixture
def api(predict):
    return api_of(predict)


@pytest.fixture
def deployment(predict):
    deployment = predict.deploy("churn", project_id=PROJECT, project_model_id=MODEL)
    yield deployment
    predict.services.store.delete_deployment(deployment)
    predict.services.refresh()


PATH = f"projects/{PROJECT}/models/{MODEL}/"


def test_projects_are_a_list_without_an_envelope(api, deployment):
    listed = api.get("projects/")
    assert isinstance(listed, list)
    (own,) = [each for each in listed if each["id"] == PROJECT]
    assert own == api.get(f"projects/{PROJECT}/")
    assert (own["targetType"], own["stage"]) == ("Binary", "modeling")
    assert api.get("projects/", limit=1) == listed[:1]
    assert api.get("projects/", projectName="no such") == []


def test_a_model_tells_and_takes_the_threshold(api, deployment, predict, specimens):
    model = specimens["churn"].model
    told = api.get(PATH)
    assert (told["id"], told["projectId"]) == (MODEL, PROJECT)
    assert told["predictionThreshold"] == model.threshold
    assert api.ask("PATCH", PATH, {"predictionThreshold": 0.25}).status == 204
    assert api.get(PATH)["predictionThreshold"] == 0.25
    body = specimens["churn"].frame[:1].to_csv(index=False)
    assert predict(deployment, body).json["data"][0]["predictionThreshold"] == 0.25


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        (
            {"predictionThreshold": 1.5},
            {"predictionThreshold": "value is greater than 1"},
        ),
        ({"predictionThreshold": -1}, {"predictionThreshold": "value is less than 0"}),
        (
            {"predictionThreshold": True},
            {"predictionThreshold": "value can't be converted to float"},
        ),
        (
            {"isStarred": True},
            {"isStarred": "This server keeps no stars: only false is accepted"},
        ),
    ],
)
def test_wrong_changes_of_a_model_are_refused(api, deployment, change, errors):
    answer = api.ask("PATCH", PATH, change)
    assert answer.status == 422
    assert message_of(answer)["errors"] == errors


def test_only_binary_models_have_a_threshold(api, predict, site):
    deployment = site.deployments["price"]
    model = predict.services.snapshot.deployments[deployment].model_id
    path = f"projects/{deployment}/models/{model}/"
    assert api.get(path)["predictionThreshold"] is None
    answer = api.ask("PATCH", path, {"predictionThreshold": 0.5})
    text = "A threshold is for binary models; the model's task is regression"
    assert (answer.status, message_of(answer)["message"]) == (422, text)


def test_what_is_not_there_answers_404(api, deployment, predict):
    for path in (f"projects/{MODEL}/", f"projects/{PROJECT}/models/{PROJECT}/"):
        assert api.ask("GET", path).status == 404
    assert api_of(predict, "bob").ask("GET", PATH).status == 404
    assert api_of(predict, "bob").ask("PATCH", PATH, {}).status == 404


def test_the_oldest_clients_get_their_key(serve, deployment, specimens):
    api = api_of(serve(datarobot_key="secret"))
    told = api.get(f"modelDeployments/{deployment}/")
    server = {"url": "http://localhost", "datarobot-key": "secret"}
    assert told["predictionServer"] == server
    assert told["model"]["id"] == MODEL
    assert told["project"] == {"id": PROJECT}
    assert told["modelHistory"] == [
        {"model": {"id": MODEL}, "project": {"id": PROJECT}}
    ]
    listed = api.get("modelDeployments/", skipStats="true", updateInterval="5")
    assert told in listed["data"]


def test_history_tells_the_models_a_deployment_had(api, predict, site, specimens):
    deployment = predict.deploy("churn")
    old = specimens["churn"].model.id
    new = specimens["onnx-iris"].model.id
    predict.services.store.replace_model(deployment, new)
    predict.services.refresh()
    told = api.get(f"modelDeployments/{deployment}/")
    assert [each["model"]["id"] for each in told["modelHistory"]] == [new, old]


def test_features_tell_kind_and_impact(api, site, specimens):
    listed = list(api.items(f"deployments/{site.deployments['churn']}/features/"))
    model = specimens["churn"].model
    assert [each["name"] for each in listed] == [each.name for each in model.features]
    kinds = {each["featureType"] for each in listed}
    assert kinds == {"Numeric", "Categorical"}
    external = f"deployments/{site.deployments['external']}/features/"
    assert list(api.items(external)) == []


def test_features_of_time_series_are_their_columns(forecast, forecasters):
    name, forecaster = next(iter(forecasters.items()))
    spec = forecaster.model.time_series
    deployment = forecast.site.deployments[name]
    listed = list(api_of(forecast).items(f"deployments/{deployment}/features/"))
    assert listed[0] == {
        "name": spec["datetimeColumn"],
        "featureType": "Date",
        "importance": None,
        "dateFormat": spec["datetimeFormat"],
        "knownInAdvance": False,
    }
    settings = api_of(forecast).get(f"deployments/{deployment}/settings/")
    by_date = settings["predictionsByForecastDate"]
    assert by_date["columnName"] == spec["datetimeColumn"]


def test_features_of_tensors_are_their_inputs(forward):
    for name, deployment in forward.site.deployments.items():
        path = f"deployments/{deployment}/features/"
        assert list(api_of(forward).items(path)), name
        told = api_of(forward).get(f"deployments/{deployment}/capabilities/")["data"]
        rules = {each["name"]: each["supported"] for each in told}
        assert not rules["supportsHumilityRules"]
        assert rules["supportsModelReplacement"]
