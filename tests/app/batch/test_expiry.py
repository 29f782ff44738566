"""Jobs are removed with their files when their time is over, and not before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.batch.expiry import StorageFailed, remove_expired
from app.store.errors import UnknownJob
from app.store.files import Folder
from app.store.identifiers import new_id
from app.store.job_record import Job
from app.store.jobs import Jobs
from app.store.store import Store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path):
    """A store's jobs, its files, and what enters a job that has an input."""
    store = Store(f"sqlite:///{tmp_path / 'foretell.db'}", tmp_path)
    store.migrate()
    owner = store.add_user("ann").id
    jobs, files = Jobs(store.database), Folder(tmp_path)

    def add(**changes):
        job = Job(
            id=new_id(),
            deployment_id="d" * 24,
            owner_id=owner,
            created_at=NOW,
            source="tests",
            spec={},
            pinned={},
            status="COMPLETED",
            phase="done",
            status_details="made",
            logs=["made"],
        )
        job = replace(job, **changes)
        jobs.add(job)
        files.write(job.input_path, b"a\n1\n")
        return job

    yield jobs, files, add
    store.dispose()


def is_kept(jobs, files, job):
    try:
        jobs.get(job.id)
    except UnknownJob:
        assert not files.exists(job.input_path)
        return False
    return files.exists(job.input_path)


def test_ended_jobs_go_when_their_time_is_over(kept):
    jobs, files, add = kept
    old, new = (add(expires_at=NOW + timedelta(hours=hours)) for hours in (-1, 1))
    assert remove_expired(jobs, files, NOW) == 1
    assert not is_kept(jobs, files, old) and is_kept(jobs, files, new)


def test_jobs_that_wait_for_an_input_go_after_a_day(kept):
    jobs, files, add = kept
    waiting = {"status": "INITIALIZING", "phase": "upload"}
    old = add(created_at=NOW - timedelta(hours=25), **waiting)
    new = add(created_at=NOW - timedelta(hours=23), **waiting)
    remove_expired(jobs, files, NOW)
    assert not is_kept(jobs, files, old) and is_kept(jobs, files, new)


def test_job_stays_while_its_input_is_sent(kept):
    jobs, files, add = kept
    waiting = {"status": "INITIALIZING", "phase": "upload", "runner": "upload-1"}
    made = NOW - timedelta(hours=25)
    sent, given_up = (
        add(created_at=made, lease_until=NOW + timedelta(seconds=left), **waiting)
        for left in (60, -60)
    )
    remove_expired(jobs, files, NOW)
    assert is_kept(jobs, files, sent) and not is_kept(jobs, files, given_up)


def test_running_jobs_stay_however_old(kept):
    jobs, files, add = kept
    job = add(created_at=NOW - timedelta(days=9), status="RUNNING", phase="score")
    assert remove_expired(jobs, files, NOW) == 0
    assert is_kept(jobs, files, job)


def test_job_whose_files_are_gone_already_is_forgotten(kept):
    jobs, files, add = kept
    job = add(expires_at=NOW - timedelta(hours=1))
    files.remove(job.folder)
    assert remove_expired(jobs, files, NOW) == 1
    assert not is_kept(jobs, files, job)


class Held(Folder):
    """Files of which some cannot be removed."""

    def __init__(self, root, held):
        super().__init__(root)
        self.held = held

    def remove(self, path):
        if path in self.held:
            raise PermissionError(path)
        super().remove(path)


def test_job_whose_files_stay_holds_up_no_other(kept, tmp_path):
    jobs, files, add = kept
    old = [add(expires_at=NOW - timedelta(hours=1)) for _ in range(5)]
    held = Held(tmp_path, {each.folder for each in old[:2]})
    assert remove_expired(jobs, held, NOW) == 3
    assert [is_kept(jobs, files, each) for each in old] == [True] * 2 + [False] * 3
    assert remove_expired(jobs, files, NOW) == 2


def test_files_that_are_not_to_be_had_are_told(kept, tmp_path):
    jobs, files, add = kept
    old = [add(expires_at=NOW - timedelta(hours=1)) for _ in range(5)]
    held = Held(tmp_path, {each.folder for each in old})
    with pytest.raises(StorageFailed):
        remove_expired(jobs, held, NOW)
    assert all(is_kept(jobs, files, each) for each in old)
