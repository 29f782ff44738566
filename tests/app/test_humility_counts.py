"""What rules found is counted, held while the store is away, and kept once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app import humility_counts
from app.humility_counts import HumilityCounts
from app.store.errors import StoreUnavailable
from backends.humility import (
    Humbled,
    LowObservation,
    NoOperation,
    OutlyingInput,
    Override,
    Rule,
    ThrowError,
    UncertainPrediction,
)

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
    """Stands for the totals, whose database is away now and then."""

    def __init__(self):
        self.found = {}
        self.is_away = False
        self.calls = 0

    def add(self, counts):
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


@pytest.fixture
def ruled(predict, services, kept):
    """Deploys a specimen with rules, and gives what its requests have counted."""

    def deploy(name, *rules):
        deployment = predict.deploy(name)
        services.store.change_humility(deployment, lambda found: rules)
        services.refresh()
        return deployment

    def counts(deployment):
        services.humility_counts.keep(kept)
        return {
            rule: each
            for (counted, rule, _), each in kept.found.items()
            if counted == deployment
        }

    return deploy, counts


def bodies(specimen, rows):
    return specimen.frame[:rows].to_csv(index=False).encode()


def price_rule(specimen, rows, action=None, each="1"):
    """A rule that triggers for the smaller half of the rows, and how many these are."""
    values = specimen.score(specimen.frame[:rows])[:, 0]
    trigger = UncertainPrediction(float(np.median(values)), 1e9)
    rule = Rule(each * 24, "low", trigger, action or NoOperation())
    return rule, int((values < trigger.lower).sum())


def test_rows_of_a_request_are_counted(ruled, predict, specimens):
    deploy, counts = ruled
    rule, triggered = price_rule(specimens["price"], 9)
    other = Rule("2" * 24, "x", OutlyingInput("tenure", -1, 1e9), NoOperation())
    deployment = deploy("price", rule, other)
    for _ in range(2):
        answer = predict(deployment, bodies(specimens["price"], 9))
        assert answer.status_code == 200
    assert counts(deployment) == {rule.id: (2 * triggered, 18), other.id: (0, 18)}


def test_rows_of_a_refused_request_are_counted(ruled, predict, specimens):
    deploy, counts = ruled
    rule, triggered = price_rule(specimens["price"], 9)
    stop = Rule("2" * 24, "stop", rule.trigger, ThrowError("stop"))
    deployment = deploy("price", rule, stop)
    answer = predict(deployment, bodies(specimens["price"], 9))
    assert (answer.status_code, answer.get_json()) == (480, {"message": "stop"})
    assert counts(deployment) == {rule.id: (triggered, 9), stop.id: (triggered, 9)}


def test_rows_are_counted_in_every_chunk(ruled, predict, specimens):
    deploy, counts = ruled
    rule, triggered = price_rule(specimens["price"], 400)
    deployment = deploy("price", rule)
    once = bodies(specimens["price"], 400)
    head, rest = once.split(b"\n", 1)
    answer = predict(deployment, head + b"\n" + rest * 50)
    assert answer.status_code == 200
    assert counts(deployment) == {rule.id: (50 * triggered, 20_000)}


def test_rules_that_rest_are_not_held_against_rows(ruled, predict, services, specimens):
    deploy, counts = ruled
    rule, _ = price_rule(specimens["price"], 9, ThrowError())
    deployment = deploy("price", rule)
    off = {"humility_enabled": False}
    services.store.update_deployment(deployment, settings=off)
    services.refresh()
    assert predict(deployment, bodies(specimens["price"], 9)).status_code == 200
    assert counts(deployment) == {}


def test_rule_of_another_model_is_held_against_nothing(ruled, predict, specimens):
    deploy, counts = ruled
    rules = [
        Rule("1" * 24, "gone", OutlyingInput("gone", 0, 0), ThrowError()),
        Rule("2" * 24, "kind", LowObservation("tenure", ("x",)), ThrowError()),
        Rule("3" * 24, "class", UncertainPrediction(0, 0), Override("No")),
    ]
    deployment = deploy("price", *rules)
    answer = predict(deployment, bodies(specimens["price"], 9))
    assert answer.status_code == 200
    assert "humility" not in answer.get_json()["data"][0]
    assert counts(deployment) == {}


def test_first_request_meets_the_old_model_with_the_new_ones_rules(
    ruled, predict, services, specimens
):
    # While a worker loads a deployment's new model, it answers with the old one.
    deploy, counts = ruled
    rule = Rule("1" * 24, "x", OutlyingInput("sepal width", 0, 0), ThrowError())
    deployment = deploy("price")
    store = services.store
    store.replace_model(deployment, specimens["onnx-price"].model.id)
    store.change_humility(deployment, lambda found: [rule])
    old = replace(store.deployment(deployment), model_id=specimens["price"].model.id)
    services.refresh()
    deployments = {**services.snapshot.deployments, deployment: old}
    new, services.snapshot = (
        services.snapshot,
        replace(services.snapshot, deployments=deployments),
    )
    assert predict(deployment, bodies(specimens["price"], 9)).status_code == 200
    services.snapshot = new
    assert predict(deployment, bodies(specimens["onnx-price"], 9)).status_code == 480
