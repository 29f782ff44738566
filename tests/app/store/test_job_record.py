"""What is told of a batch job."""

from datetime import UTC, datetime

from app.store.job_record import stamped


def test_stamp_is_as_clients_know_it():
    moment = datetime(2022, 4, 9, 7, 50, 2, 395_000, UTC)
    expected = "Job created by ann at 2022-04-09 07:50:02.395000"
    assert stamped("Job created by ann", moment) == expected
