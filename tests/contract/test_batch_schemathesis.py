"""Requests about batch jobs and bundles made up from the server's own document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from schemathesis import checks
from werkzeug import Response

from app.blueprints import batch
from app.config import Config
from app.factory import create_app
from app.services import Services
from app.store.errors import UnknownJob
from app.store.job_record import Job, Phase, Status
from schemas.openapi import server_document
from tests.conftest import OTHERS, make_site
from tests.contract.effort import effort
from tests.specimens import compile_specimen, deployment_id

NOBODY = "f" * 24
# Jobs at each point of their way, which every example finds as they were.
JOBS: dict[str, tuple[Status, Phase]] = {
    "1" * 24: ("INITIALIZING", "upload"),
    "2" * 24: ("INITIALIZING", "score"),
    "4" * 24: ("COMPLETED", "done"),
    "5" * 24: ("ABORTED", "done"),
    "6" * 24: ("FAILED", "done"),
}
# One that never ends is downloaded for ever.
RUNNING: dict[str, tuple[Status, Phase]] = {"3" * 24: ("RUNNING", "score")}
DEPLOYMENTS = [deployment_id(name) for name in ("churn", "price", *OTHERS)]
# Of new jobs; there are tests of all of them that make up more in less time.
FIELDS = {
    *("deploymentId", "intakeSettings", "outputSettings", "csvSettings"),
    *("passthroughColumns", "maxExplanations", "predictionThreshold", "chunkSize"),
}
INPUTS = ["tenure,plan\n1,2\n", "größe\n", "a\n1,2\n", 'a\n"1\n', ""]


def description() -> dict[str, Any]:
    """The part of the document that is about files; most requests get somewhere."""
    document = json.loads(json.dumps(server_document("http://localhost")))
    document["paths"] = {
        path: operations
        for path, operations in document["paths"].items()
        if "batchPredictions" in path or "modelPackages" in path
    }
    for path, operations in document["paths"].items():
        waits = path.endswith("download/")
        jobs = [*(JOBS if not waits else list(JOBS)[2:]), NOBODY]
        if not waits:
            jobs.extend(RUNNING)
        places = {
            "jobId": jobs,
            "number": ["0", "1", "000002", "99999", "100000"],
            "modelPackageId": [NOBODY],
        }
        for operation in operations.values():
            narrow(operation, places)
    bundle = document["paths"]["/api/v2/modelPackages/"]["post"]["requestBody"]
    # Nothing is made up of this type, and it is no other than the next.
    del bundle["content"]["application/x-tar"]
    spec = document["paths"]["/api/v2/batchPredictions/"]["post"]["requestBody"]
    fields = spec["content"]["application/json"]["schema"]["properties"]
    for name in set(fields) - FIELDS:
        del fields[name]
    fields["deploymentId"] = {"type": "string", "enum": [*DEPLOYMENTS, NOBODY]}
    kinds = {"enum": ["localFile", "s3", "http", "filesystem", "azure"]}
    for name in ("intakeSettings", "outputSettings"):
        fields[name]["properties"]["type"] = kinds
    return document


def narrow(operation: dict[str, Any], places: dict[str, list[str]]) -> None:
    for each in operation["parameters"]:
        if each.get("in") == "path":
            known = {"type": "string", "enum": places[each["name"]]}
            other = {"type": "string", "minLength": 1, "maxLength": 30}
            each["schema"] = {"anyOf": [known, other]}
    body = operation.get("requestBody", {"content": {}})["content"]
    if "text/csv" in body:
        text = {"type": "string", "maxLength": 30}
        schema = {"anyOf": [{"type": "string", "enum": INPUTS}, text]}
        body["text/csv"] = {"schema": schema}


class Answering:
    """The description when it is loaded, an application when the tests run."""

    def __init__(self) -> None:
        self.application: Any = Response(
            json.dumps(description()), content_type="application/json"
        )
        self.token = ""
        self.restore: Callable[[], None] = lambda: None

    def __call__(self, environ: Any, start: Any) -> Any:
        return self.application(environ, start)


answering = Answering()
schema = schemathesis.openapi.from_wsgi("/openapi.json", answering)


class Kept:
    """Puts the jobs back as they were."""

    def __init__(self, services: Services) -> None:
        self._services = services
        first, states = self._made(), {**JOBS, **RUNNING}
        self._jobs = [_at(first, each, *states[each]) for each in states]

    def __call__(self) -> None:
        for job in self._jobs:
            with suppress(UnknownJob):
                if self._services.jobs.get(job.id) == job:
                    continue
            self._services.jobs.remove(job.id)
            self._services.jobs.add(job)
            if job.parts_done:
                self._services.files.write(job.part_path(0), b"x\n1\n")

    def _made(self) -> Job:
        client = answering.application.test_client()
        answer = client.post(
            "/api/v2/batchPredictions/",
            json={"deploymentId": deployment_id("churn")},
            headers={"Authorization": f"Bearer {answering.token}"},
        )
        return self._services.jobs.get(answer.json["id"])


def _at(first: Job, job_id: str, status: Status, phase: Phase) -> Job:
    now = datetime.now(UTC)
    ended = {"finished_at": now, "expires_at": now + timedelta(hours=1)}
    return replace(
        first,
        id=job_id,
        status=status,
        phase=phase,
        queued_at=None if phase == "upload" else now,
        intake_bytes=None if phase == "upload" else 4,
        parts_done=int(status in ("RUNNING", "COMPLETED")),
        **(ended if phase == "done" else {}),
    )


@pytest.fixture(scope="module", autouse=True)
def own_site(specimens, tmp_path_factory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("batches")
    chosen = {name: specimens[name] for name in ("churn", "price")}
    site = make_site(home, chosen, compile_specimen, OTHERS)
    app = create_app(Config(home=home))
    services: Services = app.extensions["foretell"]
    services.refresh()
    answering.application = app
    answering.token = site.tokens["ann@example.com"]
    answering.restore = Kept(services)
    with pytest.MonkeyPatch.context() as patch:
        # Nothing runs them.
        patch.setattr(batch, "ensure_runner", lambda config: False)
        yield
    services.close()


# What a deployment's model allows, and what makes an input one, the document cannot
# tell.
UNTOLD = [
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
    # Of the errors of a server one is left.
    checks.not_a_server_error,
]


@schema.parametrize()
@effort(15)
def test_files_are_answered_as_documented(case):
    answering.restore()
    headers = {
        "Authorization": f"Bearer {answering.token}",
        "Accept-Encoding": "identity",
    }
    answer = case.call_and_validate(headers=headers, excluded_checks=UNTOLD)
    # While bundles sent before are checked there may be no place for another.
    is_full = answer.status_code == 503 and case.path == "/api/v2/modelPackages/"
    assert answer.status_code < 500 or is_full
