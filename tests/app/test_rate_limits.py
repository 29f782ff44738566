"""Requests a minute: against a slow exact model, over processes, through kills."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import TooManyRequests
from app.rate_limits import RateLimits

# Differing in one digit, in the order of the same digits, and all of them zero.
IDS = ["ab" * 12, "ab" * 11 + "ac", "ba" * 12, "0" * 24]


def wait_of(limits, deployment_id, most, now):
    """How long a request is told to wait; 0: it was let through."""
    try:
        limits.check(deployment_id, most, now)
    except TooManyRequests as refusal:
        return refusal.retry_after
    return 0


class SlowLimits:
    """The second of every request that was let through."""

    def __init__(self):
        self.asked = {}

    def wait_of(self, deployment_id, most, now):
        seconds = self.asked.setdefault(deployment_id, [])
        for wait in range(61):
            first = int(now) + wait - 59
            if sum(each >= first for each in seconds) < most:
                break
        if wait == 0:
            seconds.append(int(now))
        return wait


steps = st.lists(
    st.tuples(
        st.floats(0, 3) | st.floats(0, 80) | st.sampled_from([0.0, 1.0, 59.0, 60.0]),
        st.sampled_from(IDS),
        st.integers(1, 4),
    ),
    max_size=60,
)


@given(st.floats(0, 1e9), steps)
def test_limits_are_those_of_the_slow_model(start, steps):
    limits, slow, now = RateLimits(len(IDS)), SlowLimits(), start
    for passed, deployment_id, most in steps:
        now += passed
        found = wait_of(limits, deployment_id, most, now)
        assert found == slow.wait_of(deployment_id, most, now)


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=80))
def test_never_more_in_59_seconds_and_never_refused_below(most, waits):
    limits, now, let_through = RateLimits(1), 0.0, []
    for each in waits:
        now += each
        if wait_of(limits, IDS[0], most, now) == 0:
            let_through.append(now)
            assert sum(now - 59 < moment for moment in let_through) <= most
        else:
            assert sum(now - 60 < moment for moment in let_through) >= most


@given(st.integers(1, 7), st.lists(st.floats(0, 70), min_size=1, max_size=40))
def test_next_is_let_through_after_the_wait_and_not_before(most, waits):
    now = 1000.0
    limits = RateLimits(1)
    for each in waits:
        now += each
        wait = wait_of(limits, IDS[0], most, now)
        if wait:
            assert 1 <= wait <= 60
            assert wait == 1 or wait_of(limits, IDS[0], most, now + wait - 1) == 1
            now += wait
            assert wait_of(limits, IDS[0], most, now) == 0


@pytest.mark.parametrize("most", [1, 2, 10, 60, 90])
def test_even_requests_at_the_limit_all_pass(most):
    limits = RateLimits()
    for each in range(5 * most):
        limits.check(IDS[0], most, 7.3 + each * 60 / most)


def test_refused_requests_do_not_count():
    limits = RateLimits()
    limits.check(IDS[0], 1, 5.0)
    for second in range(6, 64):
        assert wait_of(limits, IDS[0], 1, second) == 65 - second
    limits.check(IDS[0], 1, 65.0)


def test_text_tells_limit_and_wait():
    limits = RateLimits()
    limits.check(IDS[0], 1, 0.5)
    with pytest.raises(TooManyRequests, match=r"asked 1 times a minute; .* 60 s$"):
        limits.check(IDS[0], 1, 0.9)


def test_lower_limit_counts_what_was_asked_before():
    limits = RateLimits()
    for second in range(10):
        limits.check(IDS[0], 10, second)
    # Until eight of the ten have left the minute.
    assert wait_of(limits, IDS[0], 3, 10) == 67 - 10
    limits.check(IDS[0], 11, 10)


def test_deployments_share_no_count():
    limits = RateLimits()
    ids = [f"{number:024x}" for number in range(500)]
    for deployment_id in ids:
        limits.check(deployment_id, 1, 3)
    for deployment_id in ids:
        assert wait_of(limits, deployment_id, 1, 3) == 60


def test_id_is_not_found_across_two_others():
    limits = RateLimits(3)
    limits.check("00" * 6 + "11" * 6, 1, 3)
    limits.check("22" * 6 + "33" * 6, 1, 3)
    limits.check("11" * 6 + "22" * 6, 1, 3)


def test_full_table_refuses_nobody_for_others():
    limits = RateLimits(2)
    for round in range(5):
        for deployment_id in IDS:
            limits.check(deployment_id, 5, 3.0 + round)


def test_place_of_the_least_recent_is_taken():
    limits = RateLimits(2)
    for now, deployment_id in enumerate([IDS[0], IDS[1], IDS[0], IDS[2]]):
        limits.check(deployment_id, 2, now)
    assert wait_of(limits, IDS[0], 2, 4) == 56
    limits.check(IDS[2], 2, 4)
    assert wait_of(limits, IDS[2], 2, 4) == 59


def test_machines_clock_is_the_usual_one():
    limits = RateLimits()
    for _ in range(3):
        limits.check(IDS[0], 3)
    assert wait_of(limits, IDS[0], 3, None) in (59, 60)
    assert wait_of(limits, IDS[0], 3, time.monotonic() + 61) == 0


def test_threads_count_together():
    limits, place = RateLimits(), RateLimits._place

    def slowly(deployment_id):
        found = place(limits, deployment_id)
        before = list(limits._counts[:60])
        time.sleep(0.005)
        # Nobody else has counted in the meantime.
        assert list(limits._counts[:60]) == before
        return found

    limits._place = slowly
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(wait_of, limits, IDS[0], 15, 3) for _ in range(20)]
    assert [each.result() for each in asked].count(0) == 15


def forked(work):
    """The pid of a process that does the work and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_processes_count_together():
    limits = RateLimits()
    reader, writer = os.pipe()

    def ask():
        passed = [wait_of(limits, each, 250, 3) for each in IDS * 100].count(0)
        os.write(writer, passed.to_bytes(4, "little"))

    children = [forked(ask) for _ in range(4)]
    for child in children:
        os.waitpid(child, 0)
    numbers = os.read(reader, 4 * len(children))
    os.close(reader)
    os.close(writer)
    passed = [numbers[at : at + 4] for at in range(0, len(numbers), 4)]
    # Each process asked 100 times for each; 400 of all, 250 of them pass.
    assert sum(int.from_bytes(each, "little") for each in passed) == 250 * len(IDS)


def test_place_that_another_process_gave_away_is_looked_up():
    limits = RateLimits(1)
    limits.check(IDS[0], 1, 3)
    os.waitpid(forked(lambda: limits.check(IDS[1], 1, 3)), 0)
    limits.check(IDS[0], 1, 3)


def test_killed_processes_stop_nobody():
    limits = RateLimits(2)

    def ask_on():
        for second in count():
            for each in IDS:
                limits.check(each, 10**6, second)

    with ThreadPoolExecutor(1) as pool:
        for delay in (0.01, 0.02, 0.03) * 5:
            children = [forked(ask_on) for _ in range(2)]
            time.sleep(delay)
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            pool.submit(limits.check, IDS[0], 10**6, 0).result(120)
    # What they left behind counts as usual.
    moments = (1e6, 1e6, 1e6 + 60)
    assert [wait_of(limits, IDS[0], 1, now) for now in moments] == [0, 60, 0]


def test_lock_of_a_killed_process_is_free():
    limits = RateLimits()
    reader, writer = os.pipe()

    def hold():
        # Stands for a check that is killed in its midst.
        limits._place = lambda deployment_id: (os.write(writer, b"x"), time.sleep(600))
        limits.check(IDS[0], 1)

    child = forked(hold)
    assert os.read(reader, 1) == b"x"
    waiting = ThreadPoolExecutor(1)
    checked = waiting.submit(limits.check, IDS[0], 1)
    time.sleep(0.05)
    assert not checked.done()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert checked.result(120) is None
    waiting.shutdown()
    os.close(reader)
    os.close(writer)


def test_descriptor_goes_with_the_limits():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        RateLimits()
    assert len(os.listdir("/proc/self/fd")) <= before + 1
