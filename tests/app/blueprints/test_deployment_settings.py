"""Settings and humility rules over the management API."""

from __future__ import annotations

import json

import pytest

from app.management.settings import OWN, PLACES
from app.store.settings import SETTING_NAMES, DeploymentSettings
from tests.api_client import api_of, id_of, message_of

# Of the operator's alone, or told under another address.
ELSEWHERE = {"humility", "python_hook"}


@pytest.fixture
def api(predict):
    return api_of(predict)


@pytest.fixture
def deployment(predict):
    return predict.deploy("churn")


@pytest.fixture
def change(api, deployment):
    def change(settings):
        return api.ask("PATCH", f"deployments/{deployment}/settings/", settings)

    return change


@pytest.fixture
def kept(services, deployment):
    return lambda: services.store.deployment(deployment).settings


def test_every_setting_has_its_place():
    assert set(PLACES) | ELSEWHERE >= set(SETTING_NAMES)
    assert set(PLACES) <= set(SETTING_NAMES)


def test_settings_have_the_recorded_shape(api, deployment):
    told = api.get(f"deployments/{deployment}/settings/")
    own = told.pop("foretell")
    assert told == {
        "associationId": {
            "columnNames": None,
            "requiredInPredictionRequests": False,
        },
        "automaticActuals": {"enabled": False},
        "challengerModels": {"enabled": False},
        "featureDrift": {"enabled": False},
        "humility": {"enabled": True},
        "predictionIntervals": {"enabled": False, "percentiles": []},
        "predictionWarning": {"customBoundaries": None, "enabled": True},
        "predictionsByForecastDate": {
            "columnName": None,
            "datetimeFormat": None,
            "enabled": False,
        },
        "predictionsDataCollection": {"enabled": False},
        "segmentAnalysis": {"attributes": [], "enabled": False},
        "targetDrift": {"enabled": False},
    }
    usual = DeploymentSettings()
    assert own == {key: getattr(usual, name) for key, name in OWN.items()}


def test_what_is_told_can_be_sent_back(api, change, kept, deployment):
    change({"associationId": {"columnNames": ["id"]}, "foretell": {"labels": "names"}})
    before = kept()
    told = api.get(f"deployments/{deployment}/settings/")
    assert api.resolved(change(told)) == deployment
    assert kept() == before


CHANGES = [
    ({"associationId": {"columnNames": ["id"]}}, {"association_id": "id"}),
    ({"associationId": {"columnNames": []}}, {"association_id": None}),
    ({"associationId": {"columnNames": None}}, {"association_id": None}),
    (
        {"associationId": {"requiredInPredictionRequests": True}},
        {"association_required": True},
    ),
    ({"predictionWarning": {"enabled": False}}, {"prediction_warning": False}),
    (
        {
            "predictionWarning": {
                "enabled": True,
                "customBoundaries": {"upper": 2.5, "lower": -1},
            }
        },
        {"prediction_warning_lower": -1.0, "prediction_warning_upper": 2.5},
    ),
    ({"humility": {"enabled": False}}, {"humility_enabled": False}),
    (
        {"predictionIntervals": {"enabled": False, "percentiles": [95]}},
        {"prediction_interval_size": 95},
    ),
    (
        {"foretell": {"rowsPerRequest": 5, "approvalWorkflow": True}},
        {"rows_per_request": 5, "approval_workflow": True},
    ),
    ({"foretell": {"projectModelId": "a" * 24}}, {"project_model_id": "a" * 24}),
    ({"targetDrift": {"enabled": False}, "segmentAnalysis": {"attributes": []}}, {}),
]


@pytest.mark.parametrize(("sent", "changed"), CHANGES)
def test_changes_are_kept_and_told(api, change, kept, deployment, sent, changed):
    assert api.resolved(change(sent)) == deployment
    assert kept() == DeploymentSettings().changed(changed)
    told = api.get(f"deployments/{deployment}/settings/")
    assert api.resolved(change(told)) == deployment
    assert kept() == DeploymentSettings().changed(changed)


def test_null_bounds_give_the_models_own_back(change, kept):
    bounds = {"lower": 1, "upper": 2}
    change({"predictionWarning": {"enabled": True, "customBoundaries": bounds}})
    assert kept().prediction_warning_lower == 1
    change({"predictionWarning": {"enabled": True, "customBoundaries": None}})
    assert kept() == DeploymentSettings()


WRONG = [
    ({"wd": 1}, {"wd": "wd is not allowed key"}),
    ({"targetDrift": {"enabled": True}}, "This server does not track drift"),
    ({"challengerModels": {"enabled": True}}, "has no challenger models"),
    ({"segmentAnalysis": {"attributes": ["a"]}}, "only [] is accepted"),
    ({"predictionsByForecastDate": {"enabled": True}}, "only False is accepted"),
    ({"humility": {}}, {"humility": {"enabled": "is required"}}),
    ({"humility": True}, {"humility": "value is not a dict"}),
    (
        {"associationId": {"columnNames": ["a", "b"]}},
        {"associationId": {"columnNames": "list length is greater than 1"}},
    ),
    (
        {"associationId": {"columnNames": [5]}},
        {"associationId": {"columnNames": {"0": "value is not a string"}}},
    ),
    (
        {"predictionIntervals": {"percentiles": [101]}},
        {"predictionIntervals": {"percentiles": {"0": "value is greater than 100"}}},
    ),
    (
        {"foretell": {"rowsPerRequest": 0, "labels": "x"}},
        {
            "foretell": {
                "rowsPerRequest": "value is less than 1",
                "labels": "value doesn't match any variant",
            }
        },
    ),
    (
        {"foretell": {"projectId": "x"}},
        {"foretell": {"projectId": "24 hexadecimal digits are expected, not 'x'"}},
    ),
    (
        {"predictionWarning": {"customBoundaries": {"lower": 2, "upper": 1}}},
        {
            "predictionWarning": {
                "customBoundaries": {"upper": "1.0 is below the lower bound 2.0"}
            }
        },
    ),
]


@pytest.mark.parametrize(("sent", "errors"), WRONG)
def test_wrong_changes_are_refused_by_field(change, kept, sent, errors):
    answer = change({"foretell": {"labels": "names"}, **sent})
    assert answer.status == 422
    told = message_of(answer)["errors"]
    if isinstance(errors, str):
        assert errors in json.dumps(told)
    else:
        assert told == errors
    assert kept() == DeploymentSettings()


def test_users_take_no_project_but_their_own(predict, change, kept):
    others = predict.services.store.create_deployment("theirs", "root", None).id
    predict.services.refresh()
    # One that nobody has yet may be that of another user's clients.
    for project in (others, "a" * 24):
        answer = change({"foretell": {"projectId": project}})
        assert answer.status == 422
        told = "This is no project of your deployments: only admins give them others"
        assert message_of(answer)["errors"] == {"foretell": {"projectId": told}}
        assert kept().project_id is None


def test_admins_give_projects_that_owners_hand_on(predict, api, change, kept):
    first = predict.deploy("churn")
    wanted = {"foretell": {"projectId": "a" * 24}}
    path = f"deployments/{first}/settings/"
    assert api_of(predict, "root").ask("PATCH", path, wanted).status == 202
    assert change(wanted).status == 202
    assert kept().project_id == "a" * 24
    assert change({"foretell": {"projectId": None}}).status == 202
    assert kept().project_id is None


def test_intervals_that_the_model_lacks_are_refused(change, kept):
    answer = change({"predictionIntervals": {"enabled": True, "percentiles": [80]}})
    assert answer.status == 422
    text = "The model has no prediction intervals of 80 %; it has none"
    assert message_of(answer)["message"] == text
    assert not kept().prediction_intervals


def test_intervals_that_the_model_has_are_told(forecast, forecasters):
    name = next(
        name
        for name, each in forecasters.items()
        if (each.model.time_series or {}).get("predictionIntervals")
    )
    api = api_of(forecast)
    path = f"deployments/{forecast.deploy(name)}/"
    assert api.get(path)["capabilities"]["supportsPredictionIntervals"]
    table = forecasters[name].model.time_series["predictionIntervals"]
    size = next(int(each) for each in table if each != "space")
    wanted = {"enabled": True, "percentiles": [size]}
    answer = api.ask("PATCH", f"{path}settings/", {"predictionIntervals": wanted})
    assert answer.status == 202
    assert api.get(f"{path}settings/")["predictionIntervals"] == wanted
    assert api.get(path)["settings"]["predictionIntervalsEnabled"]


def test_code_is_never_switched_on_over_the_api(change, kept):
    answer = change({"foretell": {"pythonHook": True}})
    text = "pythonHook is not allowed key"
    assert message_of(answer)["errors"] == {"foretell": {"pythonHook": text}}


def test_rows_without_a_required_association_id_are_refused(
    change, predict, deployment, specimens
):
    frame = specimens["churn"].frame[:2]
    body = frame.to_csv(index=False)
    change({"associationId": {"columnNames": ["customer"]}})
    assert predict(deployment, body).status_code == 200
    change({"associationId": {"requiredInPredictionRequests": True}})
    answer = predict(deployment, body)
    assert answer.status_code == 422
    assert "needs the column 'customer'" in answer.json["message"]
    rows = frame.assign(customer=["a", "b"]).to_json(orient="records")
    answer = predict(deployment, rows, "application/json")
    assert answer.json["data"][1]["passthroughValues"] == {"customer": "b"}


RULE = {
    "name": "unsure",
    "trigger": {"type": "uncertain_prediction", "lower": 0.4, "upper": 0.6},
    "action": {"type": "no_operation"},
}
ERROR = {**RULE, "name": "stop", "action": {"type": "error", "message": "Stop."}}


def test_rules_are_added_changed_moved_and_removed(api, deployment):
    path = f"deployments/{deployment}/humilityRules/"
    answer = api.ask("POST", path, RULE)
    assert answer.status == 201
    first = id_of(answer.headers["location"])
    assert answer.json == {"id": first, **RULE} == api.get(f"{path}{first}/")
    second = api.ask("POST", path, ERROR).json["id"]
    assert [each["id"] for each in api.items(path)] == [first, second]
    changed = api.ask("PATCH", f"{path}{second}/", {"name": "halt", "position": 1})
    assert changed.json["name"] == "halt"
    assert [each["id"] for each in api.items(path)] == [second, first]
    assert api.ask("DELETE", f"{path}{second}/").status == 204
    assert [each["id"] for each in api.items(path)] == [first]
    assert api.ask("DELETE", f"{path}{second}/").status == 404


def test_rules_are_put_in_the_place_of_all(api, deployment):
    path = f"deployments/{deployment}/humilityRules/"
    api.ask("POST", path, RULE)
    told = api.ask("PUT", path, {"data": [ERROR, RULE]}).json["data"]
    assert [each["name"] for each in told] == ["stop", "unsure"]
    # With its ids it stays what it is.
    assert api.ask("PUT", path, {"data": told}).json["data"] == told
    assert api.ask("PUT", path, {"data": []}).json == {"data": []}


def test_every_wrong_rule_of_several_is_told(api, deployment):
    path = f"deployments/{deployment}/humilityRules/"
    wrong = {"data": [{**RULE, "id": "x"}, RULE, {"name": "x"}]}
    answer = api.ask("PUT", path, wrong)
    assert answer.status == 422
    assert message_of(answer)["errors"] == {
        "data": {
            "0": "id: 24 lower-case hexadecimal digits are expected",
            "2": "a rule: trigger is missing",
        }
    }
    assert list(api.items(path)) == []


def test_rules_of_the_api_are_held_against_rows(api, deployment, predict, specimens):
    path = f"deployments/{deployment}/humilityRules/"
    wide = {"type": "uncertain_prediction", "lower": 0, "upper": 1}
    body = specimens["churn"].frame[:3].to_csv(index=False)
    api.ask("POST", path, {**RULE, "trigger": wide})
    told = predict(deployment, body).json["data"]
    assert [each["humility"][0]["ruleName"] for each in told] == ["unsure"] * 3
    # The same trigger with another action is another rule.
    api.ask("POST", path, {**ERROR, "trigger": wide})
    answer = predict(deployment, body)
    assert (answer.status_code, answer.json) == (480, {"message": "Stop."})


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"name": "x"}, "a rule: trigger is missing"),
        ({**RULE, "wd": 1}, "a rule: unknown key 'wd'"),
        ({**RULE, "id": "x"}, "id: 24 lower-case hexadecimal digits are expected"),
        ({**RULE, "trigger": {"type": "x"}}, "trigger: an object with a type"),
        (
            {**RULE, "trigger": {**RULE["trigger"], "upper": 2}},
            "bounds of a probability lie between 0 and 1",
        ),
        (
            {
                **RULE,
                "trigger": {
                    "type": "outlying_input",
                    "feature": "x",
                    "lower": 0,
                    "upper": 1,
                },
            },
            "the model has no feature 'x'",
        ),
        ({**RULE, "trigger": {"type": "new_series"}}, "only a time series model"),
        ({**RULE, "action": {"type": "override", "value": "x"}}, "not a class"),
    ],
)
def test_wrong_rules_are_refused_with_the_command_lines_words(
    api, deployment, rule, said
):
    path = f"deployments/{deployment}/humilityRules/"
    for method, body in (("POST", rule), ("PUT", {"data": [rule]})):
        answer = api.ask(method, path, body)
        assert answer.status == 422
        assert said in json.dumps(message_of(answer))
    assert list(api.items(path)) == []


def test_eleven_rules_are_one_too_many(api, deployment):
    path = f"deployments/{deployment}/humilityRules/"
    rules = [
        {**RULE, "trigger": {**RULE["trigger"], "lower": place / 100}}
        for place in range(11)
    ]
    assert api.ask("PUT", path, {"data": rules[:10]}).status == 200
    answer = api.ask("POST", path, rules[10])
    text = "A deployment has at most 10 humility rules"
    assert message_of(answer)["message"] == text
    twin = api.ask("PUT", path, {"data": [RULE, RULE]})
    assert "has the trigger and the action of" in message_of(twin)["message"]


def test_a_position_beyond_the_last_is_refused(api, deployment):
    path = f"deployments/{deployment}/humilityRules/"
    rule = api.ask("POST", path, RULE).json["id"]
    answer = api.ask("PATCH", f"{path}{rule}/", {"position": 2})
    assert message_of(answer)["errors"] == {"position": "value is greater than 1"}


def test_external_deployments_take_no_rules(api, site):
    path = f"deployments/{site.deployments['external']}/humilityRules/"
    answer = api.ask("POST", path, RULE)
    assert answer.status == 422
    text = "The deployment's model is scored elsewhere"
    assert message_of(answer)["message"] == text


def test_stats_count_rows_of_each_rule(api, deployment, predict, specimens):
    path = f"deployments/{deployment}/"
    wide = {"type": "uncertain_prediction", "lower": 0, "upper": 1}
    rule = api.ask("POST", f"{path}humilityRules/", {**RULE, "trigger": wide}).json
    body = specimens["churn"].frame[:3].to_csv(index=False)
    predict(deployment, body)
    services = predict.services
    services.humility_counts.keep(services.humility_totals)
    told = api.get(f"{path}humilityStats/")
    count = {"ruleId": rule["id"], "ruleName": "unsure", "value": 3, "rows": 3}
    assert told["data"] == [count]
    assert told["period"] == {"start": None, "end": None}
    past = api.get(f"{path}humilityStats/", end="2020-01-01T00:00:00Z")
    assert past["data"][0]["value"] == 0
    assert past["period"]["end"] == "2020-01-01T00:00:00.000000Z"
    api.ask("DELETE", f"{path}humilityRules/{rule['id']}/")
    (gone,) = api.get(f"{path}humilityStats/")["data"]
    assert gone == {**count, "ruleName": None}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("start", "x", "Invalid RFC 3339 datetime string: x"),
        ("end", "2020-01-01T00:30:00Z", "value is not the beginning of an hour"),
        ("wd", "1", "wd is not allowed key"),
    ],
)
def test_times_of_stats_are_hours(api, deployment, name, value, text):
    path = f"deployments/{deployment}/humilityStats/"
    answer = api.ask("GET", path, query={name: value})
    assert message_of(answer)["errors"] == {name: text}
