"""Batch jobs over a state folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.batch.running import Runner
from app.batch.spec import BatchSpec
from app.config import Config
from app.store.identifiers import new_id
from app.store.job_record import Job

# From tests/conftest.py.
Site = Any


@dataclass
class Batch:
    """Makes jobs and runs them; deployments: of the site, by name."""

    runner: Runner
    site: Site

    def add(
        self,
        name: str,
        text: str,
        *,
        settings: dict[str, Any] | None = None,
        threshold: float | None = None,
        **spec: Any,
    ) -> Job:
        """A queued job whose input is there."""
        deployment = self.runner.store.deployment(self.site.deployments[name])
        now = datetime.now(UTC)
        job = Job(
            id=new_id(),
            deployment_id=deployment.id,
            owner_id=deployment.owner_id,
            created_at=now,
            source="api",
            spec=BatchSpec(deployment.id, **spec).to_json(),
            pinned={
                "model_id": deployment.model_id,
                "threshold": threshold,
                "settings": settings or {},
            },
            status="INITIALIZING",
            phase="score",
            status_details="created",
            logs=["created"],
            queued_at=now,
            intake_bytes=len(text.encode()),
        )
        self.runner.files.write(job.input_path, text.encode())
        self.runner.jobs.add(job)
        return job

    def get(self, job: Job) -> Job:
        return self.runner.jobs.get(job.id)

    def run(self, job: Job) -> Job:
        """The job when the runner is through with all that waits."""
        while self.runner.run_next():
            pass
        return self.get(job)

    def output(self, job: Job) -> str:
        """The parts that count, joined."""
        done = self.get(job)
        parts = [
            self.runner.files.read(job.part_path(n)) for n in range(done.parts_done)
        ]
        return b"".join(parts).decode()


@pytest.fixture
def batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Batch]]:
    """Makes such folders out of a site's."""
    made: list[Runner] = []

    def make(site: Site, **settings: Any) -> Batch:
        home = tmp_path / "batch-home"
        shutil.copytree(site.home, home, ignore=shutil.ignore_patterns("*.lock"))
        monkeypatch.setenv("FORETELL_HOME", str(home))
        runner = Runner(Config(home=home, **settings), lambda: False)
        made.append(runner)
        return Batch(runner, site)

    yield make
    for runner in made:
        runner.close()


@pytest.fixture
def batch(batches: Callable[..., Batch], site: Site) -> Batch:
    return batches(site)
