"""Batch jobs: their queue, their leases and who may change them."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.errors import JobLost, UnknownJob
from app.store.identifiers import new_id
from app.store.job_record import Job
from app.store.jobs import Jobs
from app.store.records import Actor

ROOT = Path(__file__).parents[3]
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
LEASE = timedelta(minutes=5)
LOST_LEASE = timedelta(seconds=-1)


@pytest.fixture
def jobs(store):
    return Jobs(store.database)


@pytest.fixture
def ann(store):
    return store.add_user("ann")


@pytest.fixture
def add(jobs, ann):
    """Enter a job; minutes: when it was made and queued, None for not yet."""

    def add(minutes=0, queued=True, **changes):
        moment = START + timedelta(minutes=minutes)
        job = Job(
            id=new_id(),
            deployment_id="d" * 24,
            owner_id=ann.id,
            created_at=moment,
            source="tests",
            spec={"chunkSize": "auto", "maxExplanations": 0, "classes": None},
            pinned={"model_id": "m", "threshold": 0.1, "settings": {}},
            status="INITIALIZING",
            phase="score" if queued else "upload",
            status_details="made",
            logs=["made"],
            queued_at=moment if queued else None,
        )
        job = replace(job, **changes)
        jobs.add(job)
        return job

    return add


def test_job_is_found_as_added(jobs, add):
    job = add(expires_at=START, intake_bytes=2**40, next_offset=2**40)
    assert jobs.get(job.id) == job


@pytest.mark.parametrize("job_id", ["", "f" * 24, "\0", "\ud800", "x" * 9999])
def test_unknown_job_is_refused(jobs, job_id):
    with pytest.raises(UnknownJob):
        jobs.get(job_id)
    with pytest.raises(UnknownJob):
        jobs.change(job_id, {})


def test_job_that_waited_longest_is_claimed_first(jobs, add):
    second, first = add(2), add(1)
    add(0, queued=False)
    claimed = [jobs.claim("runner", LEASE) for _ in range(3)]
    assert [each and each.id for each in claimed] == [first.id, second.id, None]
    assert claimed[0].status == "RUNNING" and claimed[0].runner == "runner"
    assert claimed[0].logs[-1].startswith("Job started processing at ")
    assert claimed[0].started_at is not None
    assert jobs.get(first.id) == claimed[0]


def test_job_of_a_lost_runner_goes_on_elsewhere(jobs, add):
    job = add()
    first = jobs.claim("one", LOST_LEASE)
    second = jobs.claim("two", LEASE)
    assert (first.id, second.id, second.runner) == (job.id, job.id, "two")
    assert second.started_at == first.started_at
    assert second.logs[-1].startswith("Job goes on at ")
    assert jobs.claim("three", LEASE) is None
    with pytest.raises(JobLost):
        jobs.advance(job.id, "one", LEASE, {"parts_done": 1})
    assert jobs.get(job.id) == second


def test_renewed_lease_keeps_the_job(jobs, add):
    job = add()
    jobs.claim("one", LOST_LEASE)
    jobs.advance(job.id, "one", LEASE, {})
    assert jobs.claim("two", LEASE) is None


def test_runner_advances_its_job(jobs, add):
    job = add()
    claimed = jobs.claim("one", LEASE)
    done = {"parts_done": 1, "next_offset": 2**33, "scored_rows": 7}
    advanced = jobs.advance(job.id, "one", LEASE, done, "Part done")
    assert advanced.lease_until > claimed.lease_until
    assert (advanced.parts_done, advanced.scored_rows) == (1, 7)
    assert advanced.status_details == advanced.logs[-1] == "Part done"
    assert jobs.get(job.id) == advanced


@pytest.mark.parametrize("status", ["COMPLETED", "ABORTED", "FAILED"])
def test_ended_job_changes_no_more(jobs, add, status):
    job = add()
    jobs.claim("one", LEASE)
    ended = jobs.change(job.id, {"status": status})
    assert ended.has_ended
    with pytest.raises(JobLost):
        jobs.advance(job.id, "one", LEASE, {"parts_done": 1})
    with pytest.raises(JobLost):
        jobs.change(job.id, {"abort_requested": True})
    assert jobs.claim("two", LEASE) is None
    assert jobs.get(job.id) == ended


def test_queued_job_that_is_ended_is_never_claimed(jobs, add):
    jobs.change(add().id, {"status": "ABORTED"})
    assert jobs.claim("one", LEASE) is None
    assert not jobs.is_any_waiting()


def test_change_keeps_what_the_runner_wrote(jobs, add):
    job = add()
    jobs.claim("one", LEASE)
    jobs.advance(job.id, "one", LEASE, {"parts_done": 3})
    changed = jobs.change(job.id, {"abort_requested": True}, "Abort asked for")
    assert (changed.abort_requested, changed.parts_done) == (True, 3)
    assert changed.runner == "one"
    assert jobs.get(job.id) == changed


def test_text_that_cannot_be_kept_is_marked(jobs, add):
    job = add(source="a\0b")
    changed = jobs.change(job.id, {}, "row '\ud800'")
    assert changed.status_details == "row '\ufffd'"
    assert jobs.get(job.id).status_details == changed.status_details
    assert jobs.get(job.id).source == "a\ufffdb"


def test_jobs_are_paged_newest_first(jobs, add):
    made = [add(minutes) for minutes in range(5)]
    newest = [each.id for each in reversed(made)]

    def page(**arguments):
        found, count = jobs.page(**{"owner_id": None, **arguments})
        return [each.id for each in found], count

    assert page() == (newest, 5)
    assert page(offset=1, limit=2) == (newest[1:3], 5)
    assert page(offset=5) == ([], 5)
    jobs.claim("one", LEASE)
    assert page(statuses=["RUNNING", "FAILED"]) == ([made[0].id], 1)
    assert page(owner_id="e" * 24) == page(deployment_id="\0") == ([], 0)
    assert page(deployment_id="d" * 24, owner_id=made[0].owner_id) == (newest, 5)


def test_jobs_ahead_are_those_queued_before(jobs, add):
    made = [add(minutes) for minutes in range(3)]
    waits = add(queued=False)
    assert [jobs.ahead_of(each) for each in [*made, waits]] == [0, 1, 2, 0]
    jobs.claim("one", LEASE)
    assert jobs.ahead_of(made[2]) == 1


def test_running_job_may_become_work_again(jobs, add):
    assert not jobs.is_any_waiting()
    add(queued=False)
    assert not jobs.is_any_waiting()
    job = add()
    assert jobs.is_any_waiting()
    jobs.claim("one", LEASE)
    assert jobs.is_any_waiting()
    jobs.change(job.id, {"status": "COMPLETED"})
    assert not jobs.is_any_waiting()


def test_expired_jobs_are_told_and_forgotten(jobs, add):
    add()
    old = add(status="COMPLETED", phase="done", expires_at=START)
    fresh = add(status="COMPLETED", expires_at=START + timedelta(days=1))
    never_sent = add(queued=False)
    add(9, queued=False)
    now = START + timedelta(hours=1)
    found = jobs.expired(now, START + timedelta(minutes=5))
    assert {each.id for each in found} == {old.id, never_sent.id}
    jobs.remove(old.id)
    with pytest.raises(UnknownJob):
        jobs.get(old.id)
    assert jobs.get(fresh.id) == fresh


def test_released_jobs_wait_for_another_runner(jobs, add):
    theirs, others = add(1), add(2)
    jobs.claim("a_b-1", LEASE), jobs.claim("axb-1", LEASE)
    # A place is a text, no pattern.
    assert (jobs.release("%"), jobs.release("a_b-")) == (0, 1)
    assert jobs.claim("two", LEASE).id == theirs.id
    assert jobs.claim("three", LEASE) is None
    assert jobs.get(others.id).runner == "axb-1"


@pytest.mark.parametrize("status", ["INITIALIZING", "COMPLETED", "ABORTED", "FAILED"])
def test_job_that_nobody_runs_is_not_released(jobs, add, status):
    job = add(queued=False, status=status, runner="a-1", lease_until=START)
    assert jobs.release("a-") == 0
    assert jobs.get(job.id) == job


def test_job_that_has_received_its_input_is_let_go_of(jobs, add):
    job = add(queued=False)
    jobs.receive(job.id, "one", LEASE)
    assert jobs.get(job.id).runner == "one"
    jobs.received(job.id, "one", {})
    let_go = jobs.get(job.id)
    assert (let_go.runner, let_go.lease_until) == (None, None)
    jobs.receive(job.id, "two", LEASE)


def test_job_outlives_its_deployment(jobs, add, store):
    deployment = store.create_deployment("gone", "ann", None)
    job = add(deployment_id=deployment.id)
    store.delete_deployment(deployment.id)
    assert jobs.get(job.id) == job


def test_jobs_leave_the_generation(jobs, add, store):
    before = store.generation()
    add()
    jobs.claim("one", LEASE)
    assert store.generation() == before


CLAIM = """
import json, sys
from datetime import timedelta
from app.store.database import Database
from app.store.jobs import Jobs

database = Database(sys.argv[1])
jobs, name, lease = Jobs(database), sys.argv[2], timedelta(minutes=5)
claimed = []
while (job := jobs.claim(name, lease)) is not None:
    claimed.append(job.id)
    for part in range(1, 4):
        jobs.advance(job.id, name, lease, {"parts_done": part}, f"{name} {part}")
    jobs.advance(job.id, name, lease, {"status": "COMPLETED"})
database.dispose()
print(json.dumps(claimed))
"""


def test_runners_at_once_share_the_jobs_out(jobs, add, database_url):
    made = [add(minutes).id for minutes in range(24)]
    runners = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CLAIM, database_url, f"runner-{n}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    told = [each.communicate() for each in runners]
    assert [error for _, error in told] == [""] * 3
    claimed = [job for output, _ in told for job in json.loads(output)]
    assert sorted(claimed) == sorted(made)
    for job_id in made:
        job = jobs.get(job_id)
        expected = [f"{job.runner} {part}" for part in (1, 2, 3)]
        assert job.logs[2:] == expected and job.status == "COMPLETED"


# Told


def test_audit_tells_what_somebody_does_to_jobs(store, jobs, add):
    job = add()
    acting = jobs.acting(Actor("ann", "api"))
    other = replace(job, id=new_id())
    acting.add(other, {"spec": {"chunkSize": "auto"}})
    acting.change(other.id, {"status": "ABORTED"}, "ended")
    acting.remove(other.id)
    # Nobody removes what is not there.
    acting.remove(other.id)
    removed, aborted, made = store.audit(other.id)
    assert {(each.actor, each.via, each.kind) for each in (removed, aborted, made)} == {
        ("ann", "api", "job")
    }
    facts = {"deployment_id": job.deployment_id, "status": "INITIALIZING"}
    assert made.after == facts | {"spec": {"chunkSize": "auto"}}
    assert aborted.before == {"status": "INITIALIZING"}
    assert aborted.after == {"status": "ABORTED"}
    assert (removed.action, removed.after) == ("delete", None)
    assert removed.before == facts | {"status": "ABORTED"}


def test_audit_tells_nothing_of_runners(store, jobs, add):
    job = add()
    jobs.claim("runner", LEASE)
    jobs.advance(job.id, "runner", LEASE, {"status": "COMPLETED"})
    jobs.remove(job.id)
    assert store.audit(job.id) == []


def test_change_that_is_refused_is_not_told(store, jobs, add):
    job = add(status="COMPLETED")
    with pytest.raises(JobLost):
        jobs.acting(Actor("ann", "api")).change(job.id, {"status": "ABORTED"})
    assert store.audit(job.id) == []
