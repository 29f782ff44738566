"""Batch jobs of a running server, scored by the test in a runner's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from app.store.files import Folder
from app.store.job_record import Job
from app.store.jobs import Jobs
from tests.server.processes import Answer, Endpoint, Server
from tests.server.served_models import FIRST

PATH = "/api/v2/batchPredictions/"
_RUNNER = "a test"


def make(at: Endpoint) -> str:
    """The id of a new job that waits for its input."""
    answer = post(at)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def post(at: Endpoint) -> Answer:
    headers = at.headers() | {"Content-Type": "application/json"}
    return at.ask("POST", PATH, json.dumps({"deploymentId": FIRST}), headers)


def head(at: Endpoint, method: str, path: str, *more: str) -> bytes:
    """The head of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in at.headers().items()),
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass
class Scored:
    """A job that is being scored, part after part."""

    jobs: Jobs
    files: Folder
    id: str

    def add(self, part: bytes) -> None:
        """One more part of the output."""
        job = self.jobs.get(self.id)
        self.files.write(job.part_path(job.parts_done), part)
        self._advance({"parts_done": job.parts_done + 1})

    def complete(self) -> None:
        self._advance({"status": "COMPLETED", "phase": "done"})

    def _advance(self, changes: dict[str, object]) -> Job:
        return self.jobs.advance(self.id, _RUNNER, timedelta(hours=1), changes)


@contextmanager
def scoring(server: Server, *parts: bytes) -> Iterator[Scored]:
    """A job that has its input and these parts of its output; it runs."""
    store = server.store()
    job_id = make(server)
    job = Jobs(store.database)
    files = Folder(server.home)
    changes = {
        "status": "RUNNING",
        "phase": "score",
        "runner": _RUNNER,
        "intake_bytes": 100,
    }
    job.change(job_id, changes)
    scored = Scored(job, files, job_id)
    for part in parts:
        scored.add(part)
    try:
        yield scored
    finally:
        for _ in range(2):
            server.ask("DELETE", f"{PATH}{job_id}/", None, server.headers())
        store.dispose()
