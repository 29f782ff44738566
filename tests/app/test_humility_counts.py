"""What rules found is counted, held while the store is away, and kept once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app import humility_counts
from app.humility_counts import HumilityCounts
from app.store.errors import StoreUnavailable
from backends.humility import Humbled, NoOperation, Rule, UncertainPrediction

RULES = [
    Rule(f"{each:024x}", "x", UncertainPrediction(0, each), NoOperation())
    for each in range(2)
]
HUMBLED = Humbled(
    np.array([[True, False, True], [False, False, False]]), np.full(3, -1)
)
SINGLE = Humbled(HUMBLED.triggered[:1], HUMBLED.overriding)
DEPLOYMENT = "d" * 24


class Kept:
    """Stands for the store, which is away now and then."""

    def __init__(self):
        self.found = {}
        self.is_away = False
        self.calls = 0

    def add_humility_counts(self, counts):
        self.calls += 1
        if self.is_away:
            raise StoreUnavailable("away")
        for each in counts:
            key = each.deployment_id, each.rule_id, each.hour
            triggered, looked_at = self.found.get(key, (0, 0))
            self.found[key] = triggered + each.triggered, looked_at + each.looked_at


@pytest.fixture
def kept():
    return Kept()


def test_rows_are_counted_by_rule_and_hour(kept):
    counts = HumilityCounts()
    before = datetime.now(UTC)
    counts.count(DEPLOYMENT, RULES, HUMBLED)
    counts.count(DEPLOYMENT, RULES, HUMBLED)
    counts.keep(kept)
    by_rule = {}
    for (deployment, rule, hour), each in kept.found.items():
        assert deployment == DEPLOYMENT
        assert before - timedelta(hours=1) < hour <= datetime.now(UTC)
        assert (hour.minute, hour.second, hour.microsecond) == (0, 0, 0)
        by_rule[rule] = np.add(by_rule.get(rule, (0, 0)), each).tolist()
    assert by_rule == {RULES[0].id: [4, 6], RULES[1].id: [0, 6]}


def test_nothing_new_costs_no_write(kept):
    counts = HumilityCounts()
    counts.keep(kept)
    counts.count(DEPLOYMENT, RULES, HUMBLED)
    counts.keep(kept)
    counts.keep(kept)
    assert kept.calls == 1


def test_counts_are_held_while_the_store_is_away(kept):
    counts = HumilityCounts()
    kept.is_away = True
    for _ in range(3):
        counts.count(DEPLOYMENT, RULES, HUMBLED)
        with pytest.raises(StoreUnavailable):
            counts.keep(kept)
    kept.is_away = False
    counts.keep(kept)
    assert sum(each[0] for each in kept.found.values()) == 6


def test_no_more_is_held_than_memory_is_meant_for(kept):
    counts = HumilityCounts(most=3)
    kept.is_away = True
    for number in range(5):
        counts.count(f"{number:024x}", RULES, HUMBLED)
        with pytest.raises(StoreUnavailable):
            counts.keep(kept)
    # What is held goes on to be counted.
    counts.count(f"{0:024x}", RULES, HUMBLED)
    kept.is_away = False
    counts.keep(kept)
    assert len(kept.found) == 3
    assert sum(each[0] for each in kept.found.values()) == 2 + 2 + 2


def test_rows_counted_while_others_are_kept_are_not_lost(kept):
    counts = HumilityCounts()
    done = threading.Event()

    def keep():
        while not done.is_set():
            counts.keep(kept)

    keeping = threading.Thread(target=keep)
    keeping.start()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(400):
            pool.submit(counts.count, DEPLOYMENT, RULES, HUMBLED)
    done.set()
    keeping.join()
    counts.keep(kept)
    assert sum(each[0] for each in kept.found.values()) == 800
    assert sum(each[1] for each in kept.found.values()) == 2400


def test_next_hour_is_another(kept, monkeypatch):
    moments = iter(
        [
            datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC),
            datetime(2026, 1, 2, 0, 0, 0, tzinfo=UTC),
        ]
    )

    class Clock:
        @staticmethod
        def now(zone):
            return next(moments)

    monkeypatch.setattr(humility_counts, "datetime", Clock)
    counts = HumilityCounts()
    counts.count(DEPLOYMENT, RULES[:1], SINGLE)
    counts.count(DEPLOYMENT, RULES[:1], SINGLE)
    counts.keep(kept)
    hours = [key[2] for key in kept.found]
    assert hours == [
        *(datetime(2026, 1, 1, 23, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    ]
