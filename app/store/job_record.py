"""A batch job as it is kept: what is to be scored, and how far that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from app.store.errors import UploadRefused

Status = Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED", "FAILED"]
# What a runner does next: fetch the input, score it, put the output where it is wanted.
Phase = Literal["upload", "intake", "score", "deliver", "done"]

ENDED: Final = frozenset({"COMPLETED", "ABORTED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Job:
    """A file to score, and how far that is.

    source: what made it, as clients name themselves.
    spec: as the client asked, with every default spelled out.
    pinned: what the deployment was when the job was made: `model_id`, `threshold` and
        `settings`; a job that goes on after a restart answers as it began to.
    phase: `upload` until a client has sent the input.
    queued_at: since when it waits for a runner, or had to.
    expires_at: when its output is removed; None until it has ended.
    runner, lease_until: who is at it, and how long that is believed.
    intake_bytes: size of the input as it is kept; None until it is there.
    parts_done: parts of the output that are there, all those before them as well.
    next_offset: byte of the input at which the next part begins.
    scored_rows, failed_rows: rows of those parts. skipped_rows: rows that are in no
        part, such as the history of time series.
    """

    id: str
    deployment_id: str
    owner_id: str
    created_at: datetime
    source: str
    spec: dict[str, Any]
    pinned: dict[str, Any]
    status: Status
    phase: Phase
    status_details: str
    logs: list[str]
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    abort_requested: bool = False
    runner: str | None = None
    lease_until: datetime | None = None
    intake_bytes: int | None = None
    parts_done: int = 0
    next_offset: int = 0
    scored_rows: int = 0
    failed_rows: int = 0
    skipped_rows: int = 0
    output_bytes: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing happens to it any more."""
        return self.status in ENDED

    @property
    def input_path(self) -> str:
        """Where the input is kept: UTF-8 CSV with commas and a header."""
        return f"jobs/{self.id}/input.csv"

    def part_path(self, number: int) -> str:
        """Where a part of the output is kept; they are numbered from 0."""
        return f"jobs/{self.id}/output/{number:09d}.csv"

    @property
    def folder(self) -> str:
        """All that is kept of it."""
        return f"jobs/{self.id}"


def check_receives(job: Job, sender: str, now: datetime) -> None:
    """Raise UploadRefused unless the sender may bring the job's input now."""
    if job.has_ended:
        raise UploadRefused("The job has ended, and takes no input")
    if job.phase != "upload":
        raise UploadRefused("The job has its input, and takes no other")
    if job.runner not in (None, sender) and job.lease_until and now < job.lease_until:
        raise UploadRefused("The job's input is being sent by another request")


def stamped(text: str, moment: datetime) -> str:
    """A line for a job's log, as clients know them."""
    return f"{text} at {moment:%Y-%m-%d %H:%M:%S.%f}"
