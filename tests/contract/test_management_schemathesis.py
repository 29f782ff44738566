"""Management requests made up from the server's own document: documented answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis import checks
from werkzeug import Response

from app.config import Config
from app.factory import create_app
from schemas.openapi import server_document
from tests.conftest import OTHERS, make_site
from tests.contract.effort import effort
from tests.specimens import compile_specimen, deployment_id

IDS = [deployment_id(name) for name in ("churn", "price", "external", "disabled")]
NOBODY = "f" * 24
PLACES = {
    "deploymentId": [*IDS, NOBODY],
    "projectId": [*IDS, NOBODY],
    "modelId": [NOBODY],
    "ruleId": [NOBODY],
    "operationId": [NOBODY],
}
# Their models have files to be sent, and tests of their own.
ELSEWHERE = ("modelPackages", "batchPredictions")


def description() -> dict[str, Any]:
    """The management part of the document; most requests get somewhere."""
    document = server_document("http://localhost")
    document = json.loads(json.dumps(document))
    document["paths"] = {
        path: operations
        for path, operations in document["paths"].items()
        if not any(each in path for each in ELSEWHERE)
        and {each["tags"][0] for each in operations.values()} == {"management"}
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            for each in operation["parameters"]:
                if each["in"] == "path":
                    known = {"type": "string", "enum": PLACES[each["name"]]}
                    other = {"type": "string", "minLength": 1, "maxLength": 30}
                    each["schema"] = {"anyOf": [known, other]}
    # The next example needs the deployments.
    delete = document["paths"]["/api/v2/deployments/{deploymentId}/"]["delete"]
    delete["parameters"][0]["schema"] = {"type": "string", "enum": [NOBODY]}
    return document


class Answering:
    """The description when it is loaded, an application when the tests run."""

    def __init__(self) -> None:
        self.application: Any = Response(
            json.dumps(description()), content_type="application/json"
        )
        self.token = ""

    def __call__(self, environ: Any, start: Any) -> Any:
        return self.application(environ, start)


answering = Answering()
schema = schemathesis.openapi.from_wsgi("/openapi.json", answering)


@pytest.fixture(scope="module", autouse=True)
def own_site(specimens, tmp_path_factory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("managed")
    chosen = {name: specimens[name] for name in ("churn", "price")}
    site = make_site(home, chosen, compile_specimen, OTHERS)
    app = create_app(Config(home=home))
    app.extensions["foretell"].refresh()
    answering.application = app
    answering.token = site.tokens["ann@example.com"]
    yield
    app.extensions["foretell"].close()


# Names are taken up to some point, settings as the model allows, times at full hours.
UNTOLD = [checks.negative_data_rejection, checks.positive_data_acceptance]


@schema.parametrize()
@effort(60)
def test_management_answers_as_documented(case):
    headers = {
        "Authorization": f"Bearer {answering.token}",
        "Accept-Encoding": "identity",
    }
    untold = list(UNTOLD)
    if "/deployments/from" in case.path:
        # Where ids of deployments stand as well, whose methods are allowed too.
        untold.append(checks.allow_header_conformance)
    case.call_and_validate(headers=headers, excluded_checks=untold)
