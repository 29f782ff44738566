"""Batch jobs as DataRobotX asks for them: other addresses, exact statuses."""

from __future__ import annotations

import csv
import json
import time

import pytest

from tests.api_client import Api, api_at
from tests.server.batch_client import JOB_SECONDS, read
from tests.server.processes import Server
from tests.server.served_models import FIRST, frame


@pytest.fixture
def api(server: Server) -> Api:
    return api_at(server, scheme="Bearer")


def finished(api: Api, url: str) -> str:
    """The id of the job once it is complete; the client knows no FAILED."""
    end = time.monotonic() + JOB_SECONDS
    while True:
        polled = api.ask("GET", url)
        assert polled.status == 200, polled.body
        told = polled.json
        assert told["status"] not in ("ERROR", "ABORTED", "EXPIRED"), told
        if told["status"] == "COMPLETED":
            return str(told["id"])
        assert time.monotonic() < end, told
        time.sleep(0.05)


def pieces(body: bytes):
    yield from (body[start : start + 999] for start in range(0, len(body), 999))


def test_data_frame_is_scored(api: Api) -> None:
    rows = frame(200, seed=21)
    asked = {
        "deploymentId": FIRST,
        "intakeSettings": {"type": "localFile"},
        "outputSettings": {"type": "localFile"},
        "maxExplanations": 2,
    }
    created = api.ask("POST", "batchPredictions/", asked)
    # Every other status is an error to it.
    assert created.status == 202
    links = created.json["links"]
    body = rows.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()
    uploaded = api.ask(
        "PUT", links["csvUpload"], body=pieces(body), **{"content-type": "text/csv"}
    )
    assert uploaded.status == 202
    job_id = finished(api, links["self"])
    # Without a slash at the end; a redirect would be followed, the header kept.
    told = api.ask("GET", f"batchPredictions/{job_id}")
    assert told.status == 200
    answer = api.ask("GET", told.json["links"]["download"])
    found = read(answer.body)
    assert len(found) == 200
    assert {"outcome_won_PREDICTION", "EXPLANATION_2_FEATURE_NAME"} <= set(found)


def test_error_tells_message_and_fields(api: Api) -> None:
    asked = {
        "deploymentId": FIRST,
        "intakeSettings": {"type": "localFile"},
        "outputSettings": {"type": "localFile"},
        "maxExplanations": 0,
        "explanationNumTopClasses": "many",
    }
    refused = api.ask("POST", "batchPredictions/", asked)
    assert refused.status == 422
    assert {"message", "errors"} <= set(json.loads(refused.body))
