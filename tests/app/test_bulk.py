"""Large requests: order, look-ahead, deadline; and admission."""

import os
import signal
import threading
import time

import pytest

from app.admission import Admission
from app.bulk import BulkPool, in_turn
from app.errors import DeadlineExceeded, Overloaded


def later(seconds=60.0):
    return time.monotonic() + seconds


def test_results_come_in_the_order_of_the_chunks():
    def slow_if_even(number):
        time.sleep(0.01 if number % 2 == 0 else 0)
        return number

    assert list(BulkPool(3).map(slow_if_even, range(20), later())) == list(range(20))


def test_few_chunks_are_read_ahead():
    read = []

    def chunks():
        for number in range(10):
            read.append(number)
            yield number

    results = BulkPool(2).map(str, chunks(), later())
    next(results)
    assert len(read) <= 3


def test_failing_chunk_ends_the_request():
    def fail(number):
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        list(BulkPool(2).map(fail, range(10), later()))


def test_deadline_ends_the_wait_for_a_chunk():
    release = threading.Event()
    pool = BulkPool(1)
    try:
        with pytest.raises(DeadlineExceeded):
            list(pool.map(lambda _: release.wait(120), range(3), later(0.05)))
    finally:
        release.set()


def test_deadline_is_checked_between_chunks_in_turn():
    with pytest.raises(DeadlineExceeded):
        list(in_turn(str, range(3), later(-1)))


def test_surplus_requests_are_refused():
    admission = Admission(1, 1)
    with admission, pytest.raises(Overloaded), admission:
        pass
    with admission:
        pass


def test_large_requests_wait_for_their_slot():
    admission = Admission(2, 1)
    with admission.bulk(later()):
        with pytest.raises(DeadlineExceeded), admission.bulk(later(0.02)):
            pass
    with admission.bulk(later(0.02)):
        pass


def test_workers_count_together_and_a_killed_one_counts_no_more():
    admission = Admission(2, 1, workers=2)
    cell = admission.take_cell()
    child = os.fork()
    if child == 0:
        admission.use_cell(cell)
        admission.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    admission.use_cell(admission.take_cell())
    with admission:
        with pytest.raises(Overloaded), admission:
            pass
        admission.free_cell(cell)
        with admission:
            pass
