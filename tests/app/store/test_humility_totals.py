"""How often rules triggered, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest

from app.store.humility_totals import HumilityCount, HumilityTotal, HumilityTotals

HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def totals(store):
    return HumilityTotals(store.database)


@pytest.fixture
def deployment(store):
    store.add_user("ann")
    return store.create_deployment("sex", "ann", None)


def count(deployment, rule, hours=0, triggered=1, looked_at=10):
    moment = HOUR + timedelta(hours=hours)
    return HumilityCount(deployment.id, rule * 24, moment, triggered, looked_at)


def test_counts_of_an_hour_are_added_up(totals, store, deployment):
    before = store.generation()
    totals.add([count(deployment, "1"), count(deployment, "2", 0, 5)])
    totals.add([count(deployment, "1", 1, 2, 3), count(deployment, "1")])
    assert totals.read() == [
        HumilityTotal(deployment.id, "1" * 24, 4, 23),
        HumilityTotal(deployment.id, "2" * 24, 5, 10),
    ]
    assert store.generation() == before
    totals.add([])


def test_totals_are_those_of_a_time(totals, deployment):
    counts = [count(deployment, "1", hours, 10**hours) for hours in range(4)]
    totals.add(counts)

    def triggered(**period):
        return sum(each.triggered for each in totals.read(**period))

    assert triggered(start=HOUR, end=HOUR) == 0
    assert triggered(start=HOUR + timedelta(hours=2)) == 1100
    assert triggered(end=HOUR + timedelta(hours=2)) == 11
    hour = timedelta(hours=1)
    assert triggered(start=HOUR + hour, end=HOUR + 3 * hour) == 110
    assert triggered(deployment_id=deployment.id) == 1111
    assert triggered(deployment_id="0" * 24) == 0


def test_large_counts_are_kept(totals, deployment):
    totals.add([count(deployment, "1", 0, 2**60, 2**60)] * 2)
    [total] = totals.read()
    assert total.triggered == total.looked_at == 2**61


def test_counts_go_with_their_deployment(totals, store, deployment):
    other = store.create_deployment("other", "ann", None)
    totals.add([count(deployment, "1"), count(other, "1")])
    store.delete_deployment(deployment.id)
    assert [each.deployment_id for each in totals.read()] == [other.id]
    # A worker that has not heard of it adds what it counted before.
    totals.add([count(deployment, "1"), count(other, "1")])
    [total] = totals.read()
    assert (total.deployment_id, total.triggered) == (other.id, 2)
