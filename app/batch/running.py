"""One batch job from where it is to its end, phase by phase."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from app.batch.cluster import Cluster, ClusterLost, WorkersDied
from app.batch.cutting import Part, read_head
from app.batch.job import FAULTS, REFUSALS, PartDone, score_part, sentence
from app.batch.places import forget
from app.batch.planning import parts_left
from app.batch.series import Shelf
from app.batch.wishes import task_of
from app.config import Config
from app.errors import AppError
from app.store.errors import JobLost, StoreUnavailable, StoreUnreachable, UnknownJob
from app.store.files import open_files
from app.store.humility_totals import HumilityCount, HumilityTotals
from app.store.job_record import Job, stamped
from app.store.jobs import Jobs
from app.store.store import Store

LEASE: Final = timedelta(seconds=15)
_RENEW_SECONDS: Final = 4.0
# How often what trying again may help is tried again, and how long that waits at first.
_TRIES: Final = 5
_WAIT_SECONDS: Final = 1.0
# After so long no thread of this process writes a part of a job any more that was lost.
_LAST_PART_SECONDS: Final = 60.0
# How often a job is begun at one place, where whoever was at it did not live to tell.
_BEGINNINGS: Final = 6

log = logging.getLogger(__name__)


class Stopping(Exception):
    """The runner is asked to end; the job goes on with another one."""


class JobEnded(Exception):
    """The job cannot go on; status and text are for its owner."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class Runner:
    """Runs jobs of one database, one after the other."""

    def __init__(
        self, config: Config, is_stopping: Callable[[], bool], place: str = ""
    ) -> None:
        """place: what only runners of this state folder have in front of their names,
        of which there is one at a time; empty: nobody knows.
        """
        self.config = config
        self.name = f"{place}-{os.getpid()}-{secrets.token_hex(8)}"
        self._place = place
        self.store = Store(config.database_url, config.home)
        self.jobs = Jobs(self.store.database)
        self.humility_totals = HumilityTotals(self.store.database)
        self.files = open_files(config.store_url or config.home.as_uri())
        self.cluster = Cluster(
            config.dask_scheduler, config.scoring_threads, config.home / "dask"
        )
        # For what is sorted.
        self.scratch = config.home / "scratch"
        self.is_stopping = is_stopping
        # Jobs that ended without an output, and those that others have or ended while
        # this runner was at them; and when it saw that.
        self._lost: dict[str, tuple[Job, float]] = {}

    def close(self) -> None:
        """Leave the cluster and the database."""
        self.cluster.close()
        with suppress(StoreUnavailable):
            self.tidy(0.0)
        self.store.dispose()

    def lose(self, job: Job) -> None:
        """Note a job that has ended without an output, or that somebody else has."""
        self._lost[job.id] = job, time.monotonic()

    def tidy(self, seconds: float) -> None:
        """Remove what is left of jobs without an output: nobody can have it any more.

        seconds: how long ago they were lost at least. Raises StoreUnavailable.
        """
        now = time.monotonic()
        for job, since in list(self._lost.values()):
            if now - since < seconds:
                continue
            if self._is_over(job):
                forget(job.spec["outputSettings"], job.id, self.config)
                with suppress(OSError):
                    self.files.remove(job.folder)
            del self._lost[job.id]

    def _is_over(self, job: Job) -> bool:
        try:
            return self.jobs.get(job.id).status in ("ABORTED", "FAILED")
        except UnknownJob:
            return True

    def run_next(self) -> bool:
        """Run the job that has waited longest, to its end; whether there was one.

        Raises StoreUnavailable.
        """
        if self._place:
            # Nobody has to wait until the leases of a dead one end.
            self.jobs.release(f"{self._place}-")
            shutil.rmtree(self.scratch, ignore_errors=True)
            self._place = ""
        self.tidy(_LAST_PART_SECONDS)
        job = self.jobs.claim(self.name, LEASE)
        if job is None:
            return False
        log.info("batch job %s: %s", job.id, job.status_details)
        with _Held(self, job) as held:
            held.run()
        return True


class _Held:
    """A job while this runner is at it."""

    def __init__(self, runner: Runner, job: Job) -> None:
        self._runner = runner
        self._job = job
        self._is_lost = threading.Event()
        self._is_left = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> _Held:
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left.set()
        self._renewing.join()

    def _renew(self) -> None:
        while not self._is_left.wait(_RENEW_SECONDS):
            try:
                self._runner.jobs.advance(self._job.id, self._runner.name, LEASE, {})
            except (JobLost, UnknownJob):
                self._is_lost.set()
                return
            except StoreUnavailable:
                # Another runner may have it when the database is back: then the next
                # step is refused.
                continue

    def check(self) -> None:
        """Raise Stopping, and JobLost if somebody else has the job or ended it."""
        if self._is_lost.is_set():
            raise JobLost(f"Batch prediction job {self._job.id} is another runner's")
        if self._runner.is_stopping():
            raise Stopping

    def advance(self, changes: Mapping[str, Any], log: str = "") -> None:
        """Change the job. Raises JobLost, UnknownJob and StoreUnavailable."""
        job, runner = self._job, self._runner
        self._job = runner.jobs.advance(job.id, runner.name, LEASE, changes, log)

    def run(self) -> None:
        """Go through the phases that are left, and say how it ended."""
        try:
            self._count_beginning()
            for phase, work in (
                ("intake", self._take_in),
                ("score", self._score),
                ("deliver", self._deliver),
            ):
                if self._job.phase == phase:
                    self._try(work)
            self._end("COMPLETED", "Job done processing")
        except (JobLost, UnknownJob) as error:
            log.info("%s", error)
            self._runner.lose(self._job)
        except Stopping:
            self._let_go()
        except StoreUnavailable as error:
            log.warning("batch job %s waits for the database: %s", self._job.id, error)
        except JobEnded as error:
            self._end_safely(error.status, str(error))
        except Exception:
            log.exception("batch job %s failed", self._job.id)
            self._end_safely("FAILED", "The server met an internal error; see its log")

    def _count_beginning(self) -> None:
        """Raise JobEnded where runner after runner died at the same place."""
        job = self._job
        place = [job.phase, job.parts_done]
        before, times = job.pinned.get("begun", [None, 0])
        times = times + 1 if before == place else 1
        if times > _BEGINNINGS:
            raise JobEnded(
                "FAILED",
                f"The job was begun {_BEGINNINGS} times at the same place and cut off"
                " each time; the server's log may say why",
            )
        self.advance({"pinned": {**job.pinned, "begun": [place, times]}})

    def _let_go(self) -> None:
        """Let another runner have the job at once: this one is asked to end."""
        pinned = {**self._job.pinned, "begun": [None, 0]}
        with suppress(AppError):
            self.advance({"lease_until": datetime.now(UTC), "pinned": pinned})

    def _try(self, work: Callable[[], None]) -> None:
        """Do a phase's work, again if need be. Raises JobEnded."""
        tried, reached = 0, self._job.parts_done
        while True:
            try:
                return work()
            except (OSError, ClusterLost, StoreUnreachable) as error:
                if self._job.parts_done > reached:
                    tried, reached = 0, self._job.parts_done
                tried += 1
                log.warning("batch job %s: %s", self._job.id, error)
                if tried == _TRIES:
                    raise JobEnded("FAILED", _sentence(error)) from error
                self._pause(_WAIT_SECONDS * 2 ** (tried - 1))
            except (JobLost, UnknownJob, StoreUnavailable):
                raise
            except (*FAULTS, WorkersDied) as error:
                raise JobEnded("FAILED", sentence(error)) from error
            except REFUSALS as error:
                # What is wrong with the input, or with where it is to come from.
                raise JobEnded("ABORTED", sentence(error)) from error

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            time.sleep(0.1)

    def _take_in(self) -> None:
        # What it brings is imported where there are such jobs.
        from app.batch.locations import fetch

        size = fetch(self._job, self._runner.files, self._runner.config, self.check)
        self.advance({"phase": "score", "intake_bytes": size})

    def _score(self) -> None:
        runner, job = self._runner, self._job
        with runner.files.open(job.input_path) as file:
            head = read_head(file, runner.config.max_columns)
            task = task_of(job, head, runner.files.url)
            shelf = Shelf(runner.files, f"{job.folder}/series", runner.scratch)
            waiting: deque[Part] = deque()
            parts = parts_left(
                file,
                task,
                shelf,
                start=job.next_offset,
                number=job.parts_done,
                first_row=job.scored_rows + job.failed_rows,
                check=self.check,
            )
            work = partial(score_part, task)
            noted = _noted(parts, waiting)
            for done in runner.cluster.map(work, noted, self.check):
                self._keep(waiting.popleft(), done)
        runner.files.remove(shelf.folder)
        self.advance({"phase": "deliver"})

    def _keep(self, part: Part, done: PartDone) -> None:
        """Count a part that is there; raise JobEnded for one that is refused."""
        if done.refused is not None:
            status = "FAILED" if done.is_fault else "ABORTED"
            raise JobEnded(status, done.refused)
        job = self._job
        first = ""
        if done.failed and not job.failed_rows:
            first = f"The first row that could not be scored: {done.first_failure}"
        self.advance(
            {
                "parts_done": part.number + 1,
                "next_offset": part.end,
                "scored_rows": job.scored_rows + done.rows - done.failed,
                "failed_rows": job.failed_rows + done.failed,
                "skipped_rows": job.skipped_rows + done.skipped,
                "output_bytes": job.output_bytes + done.size,
            },
            first and stamped(first, datetime.now(UTC)),
        )
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        counts = [
            HumilityCount(job.deployment_id, rule, hour, triggered, looked_at)
            for rule, triggered, looked_at in done.humility
        ]
        if counts:
            # Whoever is killed in between counts some rows less, and none twice.
            self._runner.humility_totals.add(counts)

    def _deliver(self) -> None:
        if self._job.spec["outputSettings"]["type"] != "localFile":
            from app.batch.locations import deliver

            deliver(self._job, self._runner.files, self._runner.config, self.check)

    def _end(self, status: str, text: str) -> None:
        now = datetime.now(UTC)
        changes = {
            "status": status,
            "phase": "done",
            "finished_at": now,
            "expires_at": now + timedelta(hours=self._runner.config.batch_hours),
            "runner": None,
            "lease_until": None,
        }
        self.advance(changes, stamped(text, now))
        log.info("batch job %s: %s", self._job.id, text)

    def _end_safely(self, status: str, text: str) -> None:
        try:
            self._end(status, text)
        except AppError as error:
            log.warning("batch job %s: %s", self._job.id, error)
        self._runner.lose(self._job)


def _noted(parts: Iterator[Part], noted: deque[Part]) -> Iterator[Part]:
    for part in parts:
        noted.append(part)
        yield part


def _sentence(error: Exception) -> str:
    """What is said of files that could not be had; no path of this machine is."""
    if isinstance(error, OSError) and error.strerror:
        return f"The server cannot read or write the job's files: {error.strerror}"
    return sentence(error)
