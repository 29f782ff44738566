"""The verbs of batch jobs: their queue, and which runner is at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from app.store.auditing import entry
from app.store.database import Database
from app.store.errors import JobLost, UnknownJob, UploadRefused
from app.store.job_record import Job, check_receives, stamped
from app.store.queries import tell
from app.store.records import Actor
from app.store.tables import jobs
from app.store.texts import is_storable, storable

Order = Literal["created", "-created", "status", "-status"]


class Jobs:
    """The batch jobs of one database. Every verb is one transaction.

    Nothing here raises the generation: jobs are looked up when they are asked for.
    Verbs raise StoreUnavailable when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._actor: Actor | None = None

    def acting(self, actor: Actor) -> Jobs:
        """The same jobs, of which the audit tells what somebody does.

        What a runner does, and jobs that go when their time is over, it does not tell.
        """
        acting = copy(self)
        acting._actor = actor
        return acting

    def add(self, job: Job, told: Mapping[str, Any] | None = None) -> None:
        """Enter a new job.

        told: what the audit tells of it besides the deployment and the status.
        """
        with self._database.write() as connection:
            values = {name: _kept(each) for name, each in asdict(job).items()}
            connection.execute(insert(jobs).values(values))
            self._tell(connection, job.id, None, {**_facts(job), **(told or {})})

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        with self._database.read() as connection:
            return _get(connection, job_id)

    def page(
        self,
        *,
        owner_id: str | None,
        statuses: Sequence[str] = (),
        deployment_id: str | None = None,
        source: str | None = None,
        order: Order = "-created",
        offset: int = 0,
        limit: int = 20,
    ) -> tuple[list[Job], int]:
        """Some of the jobs, and how many there are in all.

        owner_id: None for everybody's. statuses: empty for all. order: `-created` has
        the newest first, and within a status they are so as well.
        """
        wanted: list[ColumnElement[bool]] = []
        if owner_id is not None:
            wanted.append(jobs.c.owner_id == owner_id)
        if statuses:
            wanted.append(jobs.c.status.in_(statuses))
        if deployment_id is not None:
            wanted.append(jobs.c.deployment_id == storable(deployment_id))
        if source is not None:
            wanted.append(jobs.c.source == storable(source))
        with self._database.read() as connection:
            rows = connection.execute(
                select(jobs)
                .where(*wanted)
                .order_by(*_ORDERS[order], jobs.c.id)
                .offset(offset)
                .limit(limit)
            ).all()
            count = select(func.count()).select_from(jobs).where(*wanted)
            return [Job(*row) for row in rows], int(connection.scalar(count) or 0)

    def ahead_of(self, job: Job) -> int:
        """How many queued jobs come before this one."""
        if job.queued_at is None:
            return 0
        with self._database.read() as connection:
            count = (
                select(func.count())
                .select_from(jobs)
                .where(_is_queued(), jobs.c.queued_at < job.queued_at)
            )
            return int(connection.scalar(count) or 0)

    def change(self, job_id: str, changes: Mapping[str, Any], log: str = "") -> Job:
        """Change a job that has not ended, whoever is at it.

        log: a line for the job's log, which also becomes its `status_details`.
        Raises UnknownJob, and JobLost if it has ended.
        """
        with self._database.write() as connection:
            old = _get(connection, job_id, lock=True)
            if old.has_ended:
                raise JobLost(f"Batch prediction job {job_id} has ended")
            new = _save(connection, old, changes, log)
            self._tell(connection, job_id, _facts(old), _facts(new))
            return new

    def receive(self, job_id: str, sender: str, lease: timedelta) -> Job:
        """Have a request send the job's input, and no other for the time of the lease.

        Raises UnknownJob, and UploadRefused where the job waits for none.
        """
        with self._database.write() as connection:
            old = _get(connection, job_id, lock=True)
            now = datetime.now(UTC)
            check_receives(old, sender, now)
            return _save(
                connection, old, {"runner": sender, "lease_until": now + lease}, ""
            )

    def received(
        self, job_id: str, sender: str, changes: Mapping[str, Any], log: str = ""
    ) -> Job:
        """Change a job whose input a request sends, and let go of it.

        Raises UnknownJob, and UploadRefused if it is another's by now.
        """
        with self._database.write() as connection:
            old = _get(connection, job_id, lock=True)
            if old.runner != sender:
                raise UploadRefused("Another request has sent the job's input")
            check_receives(old, sender, datetime.now(UTC))
            let_go = {"runner": None, "lease_until": None}
            return _save(connection, old, {**let_go, **changes}, log)

    def claim(self, runner: str, lease: timedelta) -> Job | None:
        """Take the job that has waited longest; None if none waits.

        A job whose runner was not heard of until its lease ended waits as well.
        """
        now = datetime.now(UTC)
        is_left = and_(jobs.c.status == "RUNNING", jobs.c.lease_until < now)
        with self._database.write() as connection:
            row = connection.execute(
                select(jobs)
                .where(or_(_is_queued(), is_left))
                .order_by(jobs.c.queued_at, jobs.c.id)
                .limit(1)
                # SQLite has one writer anyway.
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            old = Job(*row)
            began = (
                "Job started processing" if old.started_at is None else "Job goes on"
            )
            changes = {
                "status": "RUNNING",
                "runner": runner,
                "lease_until": now + lease,
                "started_at": old.started_at or now,
            }
            return _save(connection, old, changes, stamped(began, now))

    def release(self, runners: str) -> int:
        """Have jobs wait whose runners are dead; returns how many.

        runners: what their names begin with, as none of a living one does: of one
            state folder, say, by whoever alone may run jobs there now.
        """
        with self._database.write() as connection:
            done = connection.execute(
                update(jobs)
                .where(
                    jobs.c.status == "RUNNING",
                    jobs.c.runner.startswith(runners, autoescape=True),
                )
                .values(lease_until=datetime.now(UTC))
            )
            return done.rowcount

    def advance(
        self,
        job_id: str,
        runner: str,
        lease: timedelta,
        changes: Mapping[str, Any],
        log: str = "",
    ) -> Job:
        """Change a job that a runner is at, and keep it for the runner.

        Raises JobLost if it is the runner's no longer, and UnknownJob.
        """
        with self._database.write() as connection:
            old = _get(connection, job_id, lock=True)
            if old.runner != runner or old.status != "RUNNING":
                raise JobLost(f"Batch prediction job {job_id} is another runner's")
            until = datetime.now(UTC) + lease
            return _save(connection, old, {"lease_until": until, **changes}, log)

    def is_any_waiting(self) -> bool:
        """Whether a runner would find work, now or when a lease ends."""
        with self._database.read() as connection:
            waits = or_(_is_queued(), jobs.c.status == "RUNNING")
            return (
                connection.execute(
                    select(jobs.c.id).where(waits).limit(1)
                ).one_or_none()
                is not None
            )

    def expired(self, now: datetime, uploads_before: datetime) -> list[Job]:
        """Jobs whose files are to be removed.

        uploads_before: those made earlier that still wait for their input are as well,
            unless it is on its way.
        """
        never_sent = and_(
            jobs.c.phase == "upload",
            jobs.c.status == "INITIALIZING",
            jobs.c.created_at < uploads_before,
            or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now),
        )
        with self._database.read() as connection:
            rows = connection.execute(
                select(jobs).where(or_(jobs.c.expires_at < now, never_sent))
            )
            return [Job(*row) for row in rows.all()]

    def remove(self, job_id: str) -> None:
        """Forget a job; one that is not there is forgotten."""
        with self._database.write() as connection:
            try:
                old = _get(connection, job_id, lock=True)
            except UnknownJob:
                return
            connection.execute(jobs.delete().where(jobs.c.id == job_id))
            self._tell(connection, job_id, _facts(old), None)

    def _tell(
        self,
        connection: Connection,
        job_id: str,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
    ) -> None:
        if self._actor is None:
            return
        now = datetime.now(UTC)
        told = entry(self._actor, "job", job_id, before, after, now)
        if told is not None:
            tell(connection, told)


_ORDERS: Final[Mapping[str, tuple[ColumnElement[Any], ...]]] = {
    "created": (jobs.c.created_at.asc(),),
    "-created": (jobs.c.created_at.desc(),),
    "status": (jobs.c.status.asc(), jobs.c.created_at.desc()),
    "-status": (jobs.c.status.desc(), jobs.c.created_at.desc()),
}


def _facts(job: Job) -> dict[str, Any]:
    """What the audit tells of a job."""
    return {"deployment_id": job.deployment_id, "status": job.status}


def _is_queued() -> ColumnElement[bool]:
    return and_(jobs.c.status == "INITIALIZING", jobs.c.queued_at.is_not(None))


def _get(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    if not is_storable(job_id):
        raise UnknownJob(job_id)
    query = select(jobs).where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise UnknownJob(job_id)
    return Job(*row)


def _save(
    connection: Connection, old: Job, changes: Mapping[str, Any], log: str
) -> Job:
    new = replace(old, **changes)
    if log:
        new = replace(new, status_details=log, logs=[*old.logs, log])
    # What did not change is not written: another may be changing it.
    values = {
        field.name: _kept(getattr(new, field.name))
        for field in fields(Job)
        if getattr(new, field.name) != getattr(old, field.name)
    }
    if values:
        connection.execute(update(jobs).where(jobs.c.id == old.id).values(values))
    return replace(new, **values)


def _kept(value: Any) -> Any:
    # A reason may repeat a row's text, which a database may be unable to keep.
    return storable(value) if isinstance(value, str) else value
