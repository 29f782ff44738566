"""Batch jobs as DataRobot's Python client runs them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from typing import Any

import pandas as pd

from tests.api_client import Api, id_of, message_of, without_nulls
from tests.server.processes import Answer

STATUSES = ("INITIALIZING", "RUNNING", "COMPLETED", "ABORTED", "FAILED")
# A runner has to start, and to load libraries; a busy machine takes its time.
JOB_SECONDS = 300.0
CSV = {"Content-Type": "text/csv"}


class Aborted(Exception):
    """What the client raises for a job that ended early: its status details."""


class Batches:
    """The client: what it asks, and what of the answers it cannot do without."""

    def __init__(self, api: Api, deployment: str) -> None:
        self.api = api
        self.deployment = deployment

    def create(self, **asked: Any) -> dict[str, Any]:
        """A new job, as its 202 tells it."""
        answer = self.post(**asked)
        assert answer.status == 202, answer.body
        job: dict[str, Any] = answer.json
        assert id_of(answer.headers["location"]) == job["id"]
        return job

    def post(self, **asked: Any) -> Answer:
        data = {
            "deploymentId": self.deployment,
            "intakeSettings": {"type": "localFile"},
            "outputSettings": {"type": "localFile"},
            **asked,
        }
        return self.api.ask("POST", "batchPredictions/", data)

    def upload(self, job: dict[str, Any], body: Any) -> Answer:
        """Send the input; in chunks when it is an iterator."""
        return self.api.ask("PUT", job["links"]["csvUpload"], body=body, **CSV)

    def upload_parts(self, job: dict[str, Any], parts: Iterable[bytes]) -> None:
        """Send the input part by part, each with the header row."""
        place = job["links"]["csvUpload"]
        for number, part in enumerate(parts):
            url = f"{place}part/{number}/"
            assert self.api.ask("PUT", url, body=part, **CSV).status == 202
        done = self.api.ask("POST", f"{place}finalizeMultipart/")
        assert done.status < 400, done.body

    def status(self, job_id: str) -> dict[str, Any]:
        """What the client reads of a job; it stops where this is not so."""
        told: dict[str, Any] = without_nulls(
            self.api.get(f"batchPredictions/{job_id}/")
        )
        assert told["status"] in STATUSES
        assert isinstance(told["percentageCompleted"], int | float)
        assert isinstance(told["elapsedTimeSec"], int)
        assert isinstance(told["jobSpec"]["numConcurrent"], int)
        assert told["statusDetails"]
        # It finds the id in the link when it ends a job.
        assert id_of(told["links"]["self"]) == job_id
        return told

    def readable(self, job_id: str) -> dict[str, Any]:
        """The job once there is something to download, or a raised Aborted."""
        end = time.monotonic() + JOB_SECONDS
        while True:
            told = self.status(job_id)
            if told["status"] in ("ABORTED", "FAILED"):
                raise Aborted(told["statusDetails"])
            if "download" in told["links"]:
                return told
            assert time.monotonic() < end, told
            time.sleep(0.05)

    def download(self, job_id: str) -> bytes:
        """The output; raises Aborted when the job ends early."""
        place = self.readable(job_id)["links"]["download"]
        accepted = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
        answer = self.api.ask("GET", place, **accepted)
        if answer.status == 404:
            # It was ended between the two: the text has the reason.
            raise Aborted(message_of(answer)["message"])
        assert answer.status == 200, answer.body
        # What comes is read as it is.
        assert answer.headers.get("content-encoding", "identity") == "identity"
        told = self.status(job_id)
        if told["status"] in ("ABORTED", "FAILED"):
            raise Aborted(told["statusDetails"])
        return answer.body

    def scored(self, body: Any, **asked: Any) -> pd.DataFrame:
        """The output of a whole job."""
        job = self.create(**asked)
        answer = self.upload(job, body)
        assert answer.status == 202, answer.body
        return read(self.download(job["id"]))

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job once nothing happens to it any more."""
        end = time.monotonic() + JOB_SECONDS
        while (told := self.status(job_id))["status"] in ("INITIALIZING", "RUNNING"):
            assert time.monotonic() < end, told
            time.sleep(0.05)
        return told

    def refusal(self, **asked: Any) -> Any:
        """The error that a request for a job answers."""
        return message_of(self.post(**asked))


def read(body: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(body), keep_default_na=False)
