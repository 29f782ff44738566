import threading
import time

import pytest

from benchmarks import timing
from benchmarks.timing import cpu_seconds, interleave, paired_ratio, percentile


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_the_nearest_rank(share, wanted):
    assert percentile(range(100, 0, -1), share) == wanted


def test_percentile_of_one_value_is_that_value():
    assert percentile([3.0], 0.99) == 3.0


def test_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_sides_take_turns_and_turn_around():
    order = []
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    results = interleave(sides, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(each) for name, each in results.items()} == {"a": 3, "b": 3}


def test_ratio_is_taken_round_by_round():
    # The third round was ten times slower on both sides.
    assert paired_ratio([2.0, 4.0, 30.0], [1.0, 2.0, 10.0]) == 2.0


def _busy_for(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_cpu_seconds_leave_out_what_a_call_waits_for(monkeypatch):
    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    assert cpu_seconds(lambda: time.sleep(0.05)) < 0.04


def test_cpu_seconds_are_those_of_every_thread(monkeypatch):
    monkeypatch.setattr(timing, "_SECONDS", 0.0)

    def on_another_thread():
        thread = threading.Thread(target=_busy_for, args=(0.02,))
        thread.start()
        thread.join()

    assert cpu_seconds(on_another_thread) >= 0.02


def test_cpu_seconds_are_of_one_call_of_many(monkeypatch):
    monkeypatch.setattr(timing, "_SECONDS", 0.05)
    calls = []

    def call():
        calls.append(None)
        _busy_for(0.01)

    assert 0.01 <= cpu_seconds(call) < 0.05
    assert len(calls) > 1
