"""Deployments over the management API: told, listed, changed, ended."""

from __future__ import annotations

import pytest

from tests.api_client import api_of, id_of, message_of, without_nulls


@pytest.fixture
def api(predict):
    return api_of(predict)


@pytest.fixture
def deployment(predict):
    return predict.deploy("churn")


def test_version_is_one_that_clients_take(api):
    told = api.get("version/")
    assert (told["major"], told["versionString"]) == (2, f"2.{told['minor']}.0")
    # Below this one current clients warn.
    assert told["minor"] >= 49


def test_version_needs_a_token(client):
    answer = client.get("/api/v2/version/")
    assert (answer.status_code, answer.json) == (401, {"message": "Invalid API token"})


def test_the_deployment_object_is_whole(api, deployment, services, site):
    told = api.get(f"deployments/{deployment}/")
    snapshot = services.snapshot
    found = snapshot.deployments[deployment]
    model = snapshot.models[found.model_id]
    moment = found.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert told["id"] == deployment
    assert told["label"] == "churn again"
    assert told["description"] is None
    assert (told["status"], told["importance"]) == ("active", "LOW")
    assert told["approvalStatus"] == "APPROVED"
    assert told["createdAt"] == moment
    assert told["defaultPredictionServer"]["url"] == "http://localhost"
    assert told["defaultPredictionServer"]["datarobot-key"] == ""
    assert len(told["defaultPredictionServer"]["id"]) == 24
    assert told["model"] == {
        "id": model.id,
        "type": "LightGBM",
        "targetName": model.target,
        "targetType": "Binary",
        "projectId": deployment,
        "projectName": model.name,
        "buildEnvironmentType": "Python",
        "deployedAt": moment,
        "unsupervisedMode": False,
        "unstructuredModelKind": False,
    }
    assert told["modelPackage"] == {"id": model.id, "name": model.name}
    assert told["settings"] == {
        "humbleAiEnabled": True,
        "predictionIntervalsEnabled": False,
        "predictionWarningEnabled": True,
    }
    assert told["owners"]["preview"][0]["email"] == "ann@example.com"
    assert told["predictionEnvironment"]["platform"] == "datarobot"
    assert "CAN_DELETE_DEPLOYMENT" in told["permissions"]
    assert told["predictionUsage"] == {"dailyRates": [], "lastTimestamp": None}
    for health in ("serviceHealth", "modelHealth", "accuracyHealth", "fairnessHealth"):
        assert told[health]["status"] in ("unknown", "unavailable")
        assert told[health]["startDate"] is told[health]["endDate"] is None


# What a recorded object has, which clients look for.
KEYS = {
    *("id", "label", "description", "status", "importance", "approvalStatus"),
    *("createdAt", "defaultPredictionServer", "model", "modelPackage"),
    *("modelPackageInitialDownload", "scoringCodeInitialDownload", "capabilities"),
    *("settings", "predictionUsage", "permissions", "serviceHealth", "modelHealth"),
    *("accuracyHealth", "fairnessHealth", "governance", "owners"),
    "predictionEnvironment",
}


@pytest.mark.parametrize("name", ["churn", "price", "plan", "onnx-iris", "external"])
def test_every_deployment_has_every_key(api, site, name):
    told = api.get(f"deployments/{site.deployments[name]}/")
    assert KEYS <= told.keys()
    assert without_nulls(told)["model"]["projectId"]
    assert len(told["capabilities"]) == 17


@pytest.mark.parametrize(
    ("name", "target_type"),
    [("churn", "Binary"), ("price", "Regression"), ("plan", "Multiclass")],
)
def test_target_types_are_in_words_of_clients(api, site, name, target_type):
    told = api.get(f"deployments/{site.deployments[name]}/")
    assert told["model"]["targetType"] == target_type
    assert told["capabilities"]["supportsPredictionWarning"] == (name == "price")
    shap = told["capabilities"]["supportsShapBasedPredictionExplanations"]
    assert shap == (name != "plan")


@pytest.mark.parametrize("kind", ["forward", "send"])
def test_no_target_is_told_as_null(request, kind):
    caller = request.getfixturevalue(kind)
    api = api_of(caller)
    deployment = caller.site.deployments["digits"]
    model = api.get(f"deployments/{deployment}/")["model"]
    assert (model["targetType"], model["targetName"]) == ("Unstructured", None)
    project = api.get(f"projects/{model['projectId']}/")
    assert (project["targetType"], project["target"]) == ("Unstructured", None)


def test_external_deployments_have_no_prediction_server(api, site):
    told = api.get(f"deployments/{site.deployments['external']}/")
    assert told["defaultPredictionServer"] is told["modelPackage"] is None
    assert told["predictionEnvironment"]["platform"] == "other"


def test_the_datarobot_key_is_told_to_those_who_may_ask(serve, site):
    api = api_of(serve(datarobot_key="secret"))
    told = api.get(f"deployments/{site.deployments['churn']}/")
    assert told["defaultPredictionServer"]["datarobot-key"] == "secret"
    (server,) = api.items("predictionServers/")
    assert server == told["defaultPredictionServer"]


def test_unknown_and_invisible_deployments_answer_404(api, predict, deployment, site):
    for each, user in (("f" * 24, "ann@example.com"), (deployment, "bob")):
        answer = api_of(predict, user).ask("GET", f"deployments/{each}/")
        assert answer.status == 404
        text = f"Deployment {each} cannot be found for user {site.users[user]}"
        assert message_of(answer)["message"] == text


def test_pages_lead_to_each_other(api, predict):
    for _ in range(3):
        predict.deploy("churn")
    listed = list(api.items("deployments/", limit=2, search="churn again"))
    ids = [each["id"] for each in listed]
    assert len(set(ids)) == len(ids) >= 3
    first = api.get("deployments/", limit=2, search="churn again")
    assert (first["count"], first["totalCount"]) == (2, len(ids))
    assert first["previous"] is None
    second = api.get(first["next"])
    assert [each["id"] for each in second["data"]] == ids[2:4]
    assert api.get(second["previous"])["data"] == first["data"]


def test_search_looks_at_label_and_description_in_any_case(api, deployment):
    change = {"label": "Größe αβγ", "description": "Quartal IV"}
    assert api.ask("PATCH", f"deployments/{deployment}/", change).status == 204
    for text in ("GRÖSSE", "größe α", "quartal iv"):
        found = [each["id"] for each in api.items("deployments/", search=text)]
        assert found == [deployment], text
    assert list(api.items("deployments/", search="\0")) == []


def test_lists_are_in_the_order_that_is_asked_for(api, predict):
    predict.deploy("churn")
    labels = [each["label"] for each in api.items("deployments/", orderBy="-label")]
    assert labels == sorted(labels, key=lambda each: (each.casefold(), each))[::-1]
    times = [
        each["createdAt"] for each in api.items("deployments/", orderBy="createdAt")
    ]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("orderBy", "foo", "value doesn't match any variant"),
        ("limit", "0", "value is less than 1"),
        ("limit", "101", "value is greater than 100"),
        ("offset", "-1", "value is less than 0"),
        ("offset", "one", "value can't be converted to int"),
        ("wd", "1", "wd is not allowed key"),
        ("status", "active,gone", "value doesn't match any variant"),
    ],
)
def test_wrong_queries_are_refused_by_name(api, name, value, text):
    answer = api.ask("GET", "deployments/", query={name: value})
    assert answer.status == 422
    told = {"message": "Invalid field data", "errors": {name: text}}
    assert message_of(answer) == told


def test_filters_choose(api, site, deployment):
    def ids(**query):
        return {each["id"] for each in api.items("deployments/", **query)}

    assert site.deployments["disabled"] in ids(status="inactive")
    assert deployment not in ids(status="inactive")
    assert deployment in ids(importance="LOW,HIGH", role="OWNER")
    assert ids(role="CONSUMER") == ids(serviceHealth="passing") == set()
    assert site.deployments["external"] in ids(executionEnvironmentType="external")
    assert deployment in ids(ownerUsername="ann@example.com")
    assert ids(ownerUsername="bob") == set()


def test_changes_are_kept_and_told(api, deployment, services):
    change = {"label": "new", "description": "why", "importance": "HIGH"}
    answer = api.ask("PATCH", f"deployments/{deployment}/", change)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    told = api.get(f"deployments/{deployment}/")
    assert {name: told[name] for name in change} == change
    entry = services.store.audit(deployment)[0]
    assert (entry.actor, entry.via) == ("ann@example.com", "api")
    api.ask("PATCH", f"deployments/{deployment}/", {"description": None})
    told = api.get(f"deployments/{deployment}/")
    assert (told["label"], told["description"]) == ("new", None)


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"label": ""}, {"label": "blank value is not allowed"}),
        ({"label": None}, {"label": "value is not a string"}),
        (
            {"label": 5, "x": 1},
            {"label": "value is not a string", "x": "x is not allowed key"},
        ),
        ({"label": "a" * 257}, {"label": "String is longer than 256 characters"}),
        (
            {"label": " a"},
            {"label": "A label is not empty and has no space at its ends"},
        ),
        (
            {"description": "\0"},
            {
                "description": "A description has at most 10000 characters, none of"
                " them broken"
            },
        ),
        ({"importance": "low"}, {"importance": "value doesn't match any variant"}),
        ({"importance": ["LOW"]}, {"importance": "value doesn't match any variant"}),
    ],
)
def test_wrong_changes_are_refused_by_field(api, deployment, change, errors):
    answer = api.ask("PATCH", f"deployments/{deployment}/", change)
    assert answer.status == 422
    assert message_of(answer) == {"message": "Invalid field data", "errors": errors}
    assert api.get(f"deployments/{deployment}/")["label"] == "churn again"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "said"),
    [
        (b"label=x", "application/x-www-form-urlencoded", 422, "The body is a form"),
        (b"[]", "application/json", 400, "The JSON body is not an object"),
        (b"", "application/json", 400, "The body is empty"),
        (b"{", "application/json", 400, "The body is not valid JSON"),
        (b'{"label":"a","label":"b"}', "application/json", 400, "a key twice"),
        (b"\xff", "application/json", 400, "not valid UTF-8"),
        (b'{"label":"\\ud800"}', "application/json", 400, "no Unicode"),
        (b" " * 1_048_577, "application/json", 413, "larger than 1048576 bytes"),
        (b"[" * 100_000, "application/json", 400, "The"),
    ],
)
def test_bodies_that_are_no_object(api, deployment, body, content_type, status, said):
    headers = {"Content_Type": content_type}
    answer = api.ask("PATCH", f"deployments/{deployment}/", body=body, **headers)
    assert answer.status == status
    assert said in message_of(answer)["message"]


def test_a_deleted_deployment_is_gone(api, deployment):
    assert api.ask("DELETE", f"deployments/{deployment}/").status == 204
    assert api.ask("GET", f"deployments/{deployment}/").status == 404
    assert api.ask("DELETE", f"deployments/{deployment}/").status == 404


def test_status_changes_and_says_where_it_went(api, deployment, predict):
    answer = api.ask(
        "PATCH", f"deployments/{deployment}/status/", {"status": "inactive"}
    )
    assert api.resolved(answer) == deployment
    assert api.get(f"deployments/{deployment}/")["status"] == "inactive"
    assert predict(deployment, b"a\n1\n").status_code == 422
    again = api.ask(
        "PATCH", f"deployments/{deployment}/status/", {"status": "inactive"}
    )
    assert again.status == 409
    text = "Deployment already in inactive status."
    assert message_of(again)["message"] == text
    answer = api.ask("PATCH", f"deployments/{deployment}/status/", {"status": "active"})
    assert api.resolved(answer) == deployment


def test_status_of_a_deployment_is_not_asked_for(api, deployment):
    for path in ("status/", "status"):
        answer = api.ask("GET", f"deployments/{deployment}/{path}")
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "PATCH"}
        assert message_of(answer)["message"]


def test_operations_are_their_owners_and_admins(api, deployment, predict):
    answer = api.ask(
        "PATCH", f"deployments/{deployment}/status/", {"status": "inactive"}
    )
    operation = id_of(answer.headers["location"])
    assert api_of(predict, "bob").ask("GET", f"status/{operation}/").status == 404
    assert api_of(predict, "root").ask("GET", f"status/{operation}/").status == 303
    assert api.ask("GET", f"status/{'f' * 24}/").status == 404


def test_those_it_is_shared_with_may_ask_and_not_change(api, deployment, predict, site):
    bob = api_of(predict, "bob")
    role = {"data": [{"username": "bob", "role": "CONSUMER"}]}
    path = f"deployments/{deployment}/accessControl/"
    assert api.ask("PATCH", path, role).status == 204
    told = bob.get(f"deployments/{deployment}/")
    assert told["permissions"] == ["CAN_MAKE_PREDICTIONS", "CAN_VIEW"]
    roles = {each["username"]: each["role"] for each in api.items(path)}
    assert roles == {"ann@example.com": "OWNER", "bob": "CONSUMER"}
    for method, tail, body in (
        ("PATCH", "", {"label": "x"}),
        ("DELETE", "", None),
        ("PATCH", "status/", {"status": "inactive"}),
        ("PATCH", "settings/", {"humility": {"enabled": False}}),
        ("PATCH", "accessControl/", role),
        ("GET", "accessControl/", None),
        ("PUT", "humilityRules/", {"data": []}),
    ):
        refused = bob.ask(method, f"deployments/{deployment}/{tail}", body)
        assert refused.status == 403, (method, tail)
        assert "may ask deployment" in message_of(refused)["message"]
    gone = {"data": [{"username": "bob", "role": None}]}
    assert api.ask("PATCH", path, gone).status == 204
    assert bob.ask("GET", f"deployments/{deployment}/").status == 404


def test_sharing_with_several_is_one_change(api, deployment, services):
    count = len(services.store.audit(deployment))
    roles = [{"username": each, "role": "CONSUMER"} for each in ("bob", "root")]
    path = f"deployments/{deployment}/accessControl/"
    assert api.ask("PATCH", path, {"data": roles}).status == 204
    assert len(services.store.audit(deployment)) == count + 1
    unknown = [{"username": "nobody", "role": "CONSUMER"}]
    roles = [{**each, "role": "NO_ROLE"} for each in roles] + unknown
    assert api.ask("PATCH", path, {"data": roles}).status == 422
    assert {each["username"] for each in api.items(path)} >= {"bob", "root"}


def test_newer_clients_share_in_their_own_words(api, deployment, predict, site):
    path = f"deployments/{deployment}/sharedRoles/"
    role = {"shareRecipientType": "user", "role": "CONSUMER", "id": site.users["bob"]}
    change = {"operation": "updateRoles", "roles": [role]}
    assert api.ask("PATCH", path, change).status == 204
    bob = {
        "id": site.users["bob"],
        "name": "bob",
        "role": "CONSUMER",
        "shareRecipientType": "user",
    }
    assert list(api.items(path, name="bob")) == [bob]


@pytest.mark.parametrize(
    ("role", "errors"),
    [
        (
            {"username": "nobody", "role": "CONSUMER"},
            {"username": "There is no user 'nobody'"},
        ),
        (
            {"username": "ann@example.com", "role": None},
            {"role": "The owner's role stays OWNER"},
        ),
        (
            {"username": "bob", "role": "USER"},
            {"role": "value doesn't match any variant"},
        ),
        ({"role": "CONSUMER"}, {"username": "is required"}),
    ],
)
def test_wrong_roles_are_refused(api, deployment, role, errors):
    path = f"deployments/{deployment}/accessControl/"
    shared = {"username": "bob", "role": "CONSUMER"}
    answer = api.ask("PATCH", path, {"data": [shared, role]})
    assert answer.status == 422
    assert message_of(answer)["errors"] == {"data": {"1": errors}}
    assert len(list(api.items(path))) == 1


def test_tokens_of_one_deployment_see_it_and_the_version(predict, deployment, site):
    token = predict.services.store.create_deployment_token(deployment)[1]
    api = api_of(predict)
    api.token = token
    assert api.get("version/")["major"] == 2
    told = api.get(f"deployments/{deployment}/")
    assert told["permissions"] == ["CAN_MAKE_PREDICTIONS", "CAN_VIEW"]
    for method, path in (
        ("GET", "deployments/"),
        ("GET", f"deployments/{site.deployments['churn']}/"),
        ("GET", f"deployments/{deployment}/settings/"),
        ("PATCH", f"deployments/{deployment}/"),
        ("DELETE", f"deployments/{deployment}/"),
        ("GET", "projects/"),
        ("GET", f"modelDeployments/{deployment}/"),
        ("GET", "predictionServers/"),
    ):
        assert api.ask(method, path).status == 403, path
