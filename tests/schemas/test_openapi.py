"""The document of the whole server, held against the server."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from openapi_spec_validator import validate

from app.error_handlers import _ROWS, _ROWS_CODES, _STATUS
from app.errors import AlreadyInStatus, DeploymentNotEnabled, InsufficientScope
from app.front import _CORS
from schemas import predictions, rows
from schemas.arguments import KNOWN
from schemas.openapi import server_document

DOCUMENT = server_document("http://localhost:8080")
# Told by the rows API alone, and by the management API.
OF_OTHERS = {
    _STATUS[kind] for kind in (DeploymentNotEnabled, InsufficientScope, AlreadyInStatus)
}


def camel(found):
    first, *others = found[1].split("_")
    return "{" + first + "".join(map(str.title, others)) + "}"


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def statuses(path, method="post"):
    return {int(each) for each in DOCUMENT["paths"][path][method]["responses"]}


def test_document_is_valid():
    validate(json.loads(json.dumps(DOCUMENT)))
    assert list(DOCUMENT)[0] == "openapi"
    assert DOCUMENT["servers"] == [{"url": "http://localhost:8080"}]


def test_document_names_the_server_that_was_asked():
    assert server_document("https://a.example")["servers"] == [
        {"url": "https://a.example"}
    ]
    assert server_document("")["servers"] == [{"url": "/"}]


def test_every_route_is_in_the_document(app):
    served = {
        (re.sub("<(?:[a-z]+:)?([a-z_]+)>", camel, rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in operations()} == served


def test_parameters_of_paths_are_described():
    for path, _, operation in operations():
        named = [
            each["name"]
            for each in operation.get("parameters", [])
            if each.get("in") == "path"
        ]
        assert named == re.findall("{(.*?)}", path), path


def test_every_status_of_predictions_is_told():
    wanted = ({*_STATUS.values()} - OF_OTHERS) | {200, 405, 500}
    for path, _, operation in operations():
        if operation["tags"] == ["predictions"]:
            assert statuses(path) == wanted


def test_every_status_and_code_of_rows_is_told():
    path = "/deployment/{deploymentId}/forward"
    wanted = {status for _, status in _ROWS.values()} | set(_ROWS_CODES)
    assert statuses(path) == {200, *wanted} == {200, *rows.CODES}
    for code, status in [*_ROWS.values(), *((c, s) for s, c in _ROWS_CODES.items())]:
        told = DOCUMENT["components"]["responses"][f"rows-refused-{status}"]
        body = told["content"]["application/json"]["schema"]
        assert code in body["properties"]["errorCode"]["enum"]
    told = [code for codes in rows.CODES.values() for code in codes]
    assert set(told) == {code for code, _ in _ROWS.values()} | set(_ROWS_CODES.values())


def test_every_argument_is_told_with_its_meaning():
    parameters = DOCUMENT["components"]["parameters"]
    assert set(parameters) == KNOWN
    for name, parameter in parameters.items():
        assert parameter["in"] == "query" and parameter["description"], name
        assert {"type", "anyOf"} & set(parameter["schema"]), name


def test_arguments_stand_at_every_address_of_predictions():
    for path, _, operation in operations():
        if operation["tags"] == ["predictions"]:
            refs = {
                each["$ref"].rpartition("/")[2]
                for each in operation["parameters"]
                if "$ref" in each
            }
            assert refs == KNOWN
            keys = {each.get("name") for each in operation["parameters"]}
            assert ("datarobot-key" in keys) == path.startswith("/predApi")


def test_headers_of_every_answer_are_told():
    common = {name for name, _ in _CORS} | {
        *("X-DataRobot-Execution-Time", "X-DataRobot-Request-ID")
    }
    told = DOCUMENT["components"]["responses"]
    for path, _, operation in operations():
        for response in operation["responses"].values():
            if "$ref" in response:
                response = told[response["$ref"].rpartition("/")[2]]
            assert common <= set(response["headers"]), path
    for name in ("refused-429", "refused-503", "rows-refused-503", "rows-refused-429"):
        assert "Retry-After" in told[name]["headers"]
    assert "Allow" in told["refused-405"]["headers"]


def test_every_schema_of_an_answer_is_in_the_document():
    told = set(DOCUMENT["components"]["schemas"])
    for module in (predictions, rows):
        own = {
            name
            for name, each in vars(module).items()
            if isinstance(each, type) and each.__module__ == module.__name__
        }
        assert own <= told


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("ShapExplanation", "qualitativeStrength", {"const": None}),
        ("TriggeredRule", "triggered", {"type": "boolean", "enum": [True]}),
        ("PredictionValue", "label", {"type": ["string", "number", "boolean"]}),
        ("Limits", "rowsPerRequest", {"type": ["integer", "null"], "minimum": 1}),
        (
            "TimeSeriesBinaryRow",
            "forecastPoint",
            {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        ),
    ],
)
def test_fields_are_told_as_they_are(name, field, expected):
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["properties"][field] == expected
    assert schema["additionalProperties"] is False


def test_the_library_that_makes_it_is_not_imported_before_it_is_asked_for():
    code = (
        "import sys, wsgi;"
        "wsgi.application.test_client().get('/ping');"
        "assert 'apispec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
