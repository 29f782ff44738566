"""The way past Flask, held against the way through it."""

import json
import logging

import pytest

from app.config import Config
from app.factory import create_app
from app.front import DirectView

ROW = b'[{"tenure": 12, "monthly charge": 70.5, "contract": "One year",'
ROW += b' "region": "01", "plan": 2, "senior": true}]'
MANY = b"[" + b",".join([ROW[1:-1]] * 200) + b"]"
KEY = "the server's key"


@pytest.fixture(scope="module")
def ways(site):
    """Clients of two applications: one that goes past Flask, one that never does."""
    apps = [create_app(Config(home=site.home, datarobot_key=KEY)) for _ in range(2)]
    for app in apps:
        app.extensions["foretell"].refresh()
    apps[1].wsgi_app._find = lambda path: None
    yield [app.test_client() for app in apps]
    for app in apps:
        app.extensions["foretell"].close()


def said(client, capfd, method, path, **sent):
    """Status, headers, body and log line, without what is another each time."""
    answer = client.open(path, method=method, **sent)
    headers = [
        (name, value)
        for name, value in answer.headers.items()
        if name not in ("X-DataRobot-Execution-Time", "X-DataRobot-Request-ID")
    ]
    line = json.loads(capfd.readouterr().out.splitlines()[-1])
    stages = list(line.pop("stages"))
    for name in ("time", "request_id", "ms"):
        del line[name]
    return answer.status, headers, answer.data, line, stages


@pytest.fixture
def both(ways, capfd, site):
    """What both ways say, when they say the same."""

    def ask(method, path, body=ROW, *, query="", **headers):
        given = {
            "Authorization": f"Bearer {site.tokens['ann@example.com']}",
            "datarobot-key": KEY,
            "Content-Type": "application/json",
        }
        for name, value in headers.items():
            given[name.replace("_", "-")] = value
        headers = {name: value for name, value in given.items() if value is not None}
        path = path.format(site.deployments["churn"])
        sent = {"data": body, "query_string": query, "headers": headers}
        direct, flask = (said(way, capfd, method, path, **sent) for way in ways)
        assert direct == flask
        return direct

    return ask


LEGACY = "/predApi/v1.0/deployments/{}/predictions"
SERVERLESS = "/api/v2/deployments/{}/predictions"


@pytest.mark.parametrize("layout", [LEGACY, SERVERLESS])
@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, ROW, {}),
        (200, MANY, {}),
        (200, MANY, {"Accept-Encoding": "gzip"}),
        (200, ROW, {"Accept": "text/csv"}),
        (200, ROW, {"Host": "a b"}),
        (400, b"{", {}),
        (422, b"", {}),
        (401, ROW, {"Authorization": None}),
        (401, ROW, {"Authorization": "Bearer"}),
        (406, ROW, {"Accept": "image/png"}),
        (415, ROW, {"Content-Type": "image/png"}),
        (400, ROW, {"Connection": "Upgrade", "Upgrade": "websocket"}),
    ],
)
def test_both_ways_say_the_same(both, layout, status, body, headers):
    assert both("POST", layout, body, **headers)[0].startswith(str(status))


@pytest.mark.parametrize("key", [None, "", "another"])
def test_both_ways_ask_the_legacy_layout_for_its_key(both, key):
    assert both("POST", LEGACY, datarobot_key=key)[0].startswith("401")
    assert both("POST", SERVERLESS, datarobot_key=key)[0].startswith("200")


@pytest.mark.parametrize("layout", [LEGACY, SERVERLESS])
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"]
)
def test_both_ways_know_the_same_methods(both, layout, method):
    status = both(method, layout)[0]
    assert status.startswith("200" if method == "OPTIONS" else "405"), status


@pytest.mark.parametrize(
    ("status", "path"),
    [
        (200, f"{SERVERLESS}/"),
        (200, f"//{SERVERLESS}"),
        (200, SERVERLESS.replace("/deploy", "///deploy")),
        (200, SERVERLESS.replace("predictions", "%70redictions")),
        (200, SERVERLESS.replace("/deployments", "%2Fdeployments")),
        (404, f"{SERVERLESS}/x"),
        (404, f"{SERVERLESS};x"),
        (404, f"{SERVERLESS}%0A"),
        (404, f"/x{SERVERLESS}"),
        (405, SERVERLESS.replace("{}", "")),
        (404, SERVERLESS.replace("{}", ".")),
        (404, SERVERLESS.replace("{}", "%FF")),
        (200, SERVERLESS.replace("{}", "{}%2F")),
        (404, SERVERLESS.replace("{}", "{}%00")),
        (404, SERVERLESS.replace("{}", "é ü%20")),
        (404, SERVERLESS.replace("api", "API")),
        (404, LEGACY.replace("v1.0", "v1x0")),
        (405, LEGACY.replace("predApi/v1.0", "api/v2").replace("/{}", "")),
        (404, "/"),
        (404, ""),
        (405, "/ping"),
    ],
)
def test_both_ways_read_paths_alike(both, status, path):
    assert both("POST", path)[0].startswith(str(status))


def test_both_ways_read_queries_alike(both):
    assert both("POST", SERVERLESS, query="passthroughColumns=plan")[0][:3] == "200"
    assert both("POST", SERVERLESS, query="passthroughColumns=x")[0][:3] == "400"
    assert both("POST", SERVERLESS, query="maxExplanations=1")[0][:3] == "200"
    assert both("POST", SERVERLESS, query="maxExplanations=x")[0][:3] == "422"


def test_both_ways_tell_of_failures_alike(both, ways, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    for way in ways:
        for model in way.application.extensions["foretell"].models._served.values():
            monkeypatch.setattr(type(model.backend), "predict", fail)
    with caplog.at_level(logging.ERROR):
        assert both("POST", SERVERLESS)[0].startswith("500")
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 2
    assert all(text.startswith("request ") for text in logged)


def test_both_ways_tell_of_an_overload_alike(both, ways):
    for way in ways:
        admission = way.application.extensions["foretell"].admission
        while sum(admission._counts) < admission._in_flight:
            admission.__enter__()
    try:
        status, headers, *_ = both("POST", SERVERLESS)
    finally:
        for way in ways:
            admission = way.application.extensions["foretell"].admission
            while sum(admission._counts):
                admission.__exit__(None, None, None)
    assert status.startswith("503")
    assert ("Retry-After", "1") in headers


def test_predictions_are_direct_views(app):
    direct = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if isinstance(app.view_functions[rule.endpoint], DirectView)
    }
    wanted = {layout.format("<deployment_id>") for layout in (LEGACY, SERVERLESS)}
    wanted |= {f"{layout}Unstructured" for layout in wanted}
    wanted.add("/deployment/<deployment_id>/forward")
    for name in ("predictionExplanations", "timeSeriesPredictions"):
        older = LEGACY.replace("predictions", name)
        wanted.add(older.format("<deployment_id>"))
    for name in (
        *("predict", "timeSeriesPredict"),
        *("predictionExplanations", "reasonCodesPredictions"),
    ):
        wanted.add(f"/predApi/v1.0/<project_id>/<model_id>/{name}")
    assert direct == wanted


def test_prediction_never_enters_flask(predict, app, monkeypatch):
    monkeypatch.setattr(app.wsgi_app, "_through_flask", None)
    assert predict("churn", ROW, "application/json").status_code == 200


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/predApi/v1.0/deployments/1/predictions", "OPTIONS, POST"),
        ("/api/v2/deployments/1/predictions/", "OPTIONS, POST"),
        ("/api/v2/deployments/1/", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/v2/deployments/1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/api/v2/deployments/1/status", "OPTIONS, PATCH"),
        ("/api/v2/deployments/fromModelPackage/", "OPTIONS, POST"),
        ("/api/v2/deployments/fromLearningModel", "OPTIONS, POST"),
        (
            "/api/v2/deployments/1/humilityRules/",
            "GET, HEAD, OPTIONS, POST, PUT",
        ),
        ("/api/v2/batchPredictions/1/csvUpload/", "OPTIONS, PUT"),
        ("/ping", "GET, HEAD, OPTIONS"),
        ("/no/such/page", "OPTIONS, POST"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_browsers_are_told_the_methods_of_an_address(ways, method, path, methods):
    headers = ways[0].open(path, method=method).headers
    assert headers.getlist("Access-Control-Allow-Methods") == [methods]


def test_a_slash_at_the_end_makes_no_difference(ways):
    rules = ways[0].application.url_map.iter_rules()
    assert [str(rule) for rule in rules if rule.strict_slashes is not False] == []
