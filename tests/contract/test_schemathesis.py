"""Requests made up from the server's own document: documented answers only."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis import checks
from werkzeug import Response

from schemas.openapi import server_document
from tests.contract.effort import effort
from tests.specimens import deployment_id

PROJECT = "5" * 24
# What needs no more than its own tests: files, and whether a server is running.
ELSEWHERE = {"/docs", "/docs/{name}", "/readyz"}


def described(
    places: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    rows: dict[str, Any],
    tables: Sequence[str],
    without: Collection[str],
    paths: Collection[str] | None = None,
) -> dict[str, Any]:
    """The server's document, in which many requests get somewhere.

    places: what stands in paths, by name. columns: names that are asked for. rows: JSON
    schema of a body. tables: bodies in CSV. without: arguments that are left out, as
    the models refuse them, or another one beside them. paths: None: all of them.
    """
    document = copy.deepcopy(server_document("http://localhost"))
    parameters = document["components"]["parameters"]
    items = {"type": "string", "enum": list(columns)}
    parameters["passthroughColumns"]["schema"].update(items=items, maxItems=3)
    parameters["decimalsNumber"]["schema"]["maximum"] = 40
    wanted = paths or [
        path
        for path, operations in sorted(document["paths"].items())
        if path not in ELSEWHERE and not is_managed(operations)
    ]
    document["paths"] = {path: document["paths"][path] for path in wanted}
    for operations in document["paths"].values():
        for operation in operations.values():
            narrow(operation, places, rows, tables, without)
    return document


def is_managed(operations: Mapping[str, Any]) -> bool:
    """Whether an address is one of those that change things, which are others' part."""
    return any(each["tags"] == ["management"] for each in operations.values())


def narrow(
    operation: dict[str, Any],
    places: Mapping[str, Sequence[str]],
    rows: dict[str, Any],
    tables: Sequence[str],
    without: Collection[str],
) -> None:
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "path":
            parameter["schema"] = place(places[parameter["name"]])
    if operation["tags"] != ["predictions"]:
        return
    # No body that is made up is compressed.
    unwanted = {"Content-Encoding", *without}
    operation["parameters"] = [
        each for each in operation["parameters"] if name_of(each) not in unwanted
    ]
    operation["parameters"].append(ACCEPT)
    for media_type, body in operation["requestBody"]["content"].items():
        if media_type == "application/json":
            body["schema"]["anyOf"].insert(0, rows)
        elif media_type != "multipart/form-data":
            known = {"type": "string", "enum": list(tables)}
            body["schema"] = {"anyOf": [known, body["schema"]]}


def name_of(parameter: dict[str, Any]) -> str:
    """Of a parameter, or of one that is referred to."""
    return str(parameter.get("name") or parameter["$ref"].rpartition("/")[2])


# By itself a document says nothing of this header.
ACCEPT = {
    "name": "Accept",
    "in": "header",
    "schema": {
        "type": "string",
        "enum": ["application/json", "text/csv", "*/*", "image/png"],
    },
}


def place(known: Sequence[str]) -> dict[str, Any]:
    """A part of the path: one that leads somewhere, or any other."""
    anything = {"type": "string", "minLength": 1, "maxLength": 30}
    return {"anyOf": [{"type": "string", "enum": list(known)}, anything]}


OF_CLASSES = ["explanationNumTopClasses", "explanationClassNames"]
OF_TIME_SERIES = [
    *("forecastPoint", "predictionsStartDate", "predictionsEndDate"),
    "relaxKnownInAdvanceFeaturesCheck",
]
NUMBER = {"type": ["number", "null"]}
LEVEL = {"type": ["string", "number", "null", "boolean"]}
CELLS = {
    "tenure": NUMBER,
    "monthly charge": NUMBER,
    "contract": LEVEL,
    "region": LEVEL,
    "plan": LEVEL,
    "senior": LEVEL,
}
ROW = {"type": "object", "required": list(CELLS), "properties": CELLS}
TABLES = [
    "tenure,monthly charge,contract,region,plan,senior\n1,2,One year,01,2,True\n",
    "senior,plan,region,contract,monthly charge,tenure,größe\n,,,,,,x\n0,3,NA,?,-1,,\n",
]
DEPLOYMENTS = [
    deployment_id(name) for name in ("churn", "price", "external", "disabled")
]
DESCRIPTION = described(
    {
        "deploymentId": DEPLOYMENTS,
        "projectId": [PROJECT, DEPLOYMENTS[0]],
        "modelId": [PROJECT],
    },
    ["tenure", "plan", "größe", "THRESHOLD"],
    {"type": "array", "items": ROW},
    TABLES,
    ["passthroughColumnsSet", *OF_CLASSES, *OF_TIME_SERIES],
)


class Answering:
    """The description when it is loaded, the application when the tests run."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.application: Any = Response(
            json.dumps(description), content_type="application/json"
        )

    def __call__(self, environ: Any, start: Any) -> Any:
        return self.application(environ, start)


answering = Answering(DESCRIPTION)
schema = schemathesis.openapi.from_wsgi("/openapi.json", answering)


@pytest.fixture(autouse=True)
def asked_in_this_process(app: Flask, of_a_project: str) -> None:
    answering.application = app


@pytest.fixture(scope="session")
def of_a_project(predict) -> str:
    """A deployment with older ids."""
    ids = {"project_id": PROJECT, "project_model_id": PROJECT}
    deployment: str = predict.deploy("churn", **ids)
    return deployment


# A body that fits the description may still hold no row that a model can score, and
# one that does not may hold some.
UNTOLD = [checks.negative_data_rejection, checks.positive_data_acceptance]


@schema.parametrize()
@effort(60)
def test_only_documented_answers(case, site):
    token = site.tokens["ann@example.com"]
    # The server's own document is long enough to be compressed.
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    case.call_and_validate(headers=headers, excluded_checks=UNTOLD)
