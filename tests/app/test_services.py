"""The picture of the store that requests read, and the models behind it."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from app.config import Config
from app.model_cache import ModelCache
from app.services import Services, now
from app.store.errors import StoreUnavailable
from app.store.operations import Operation
from backends.bundle import BundleRejected
from backends.humility import Humbled, NoOperation, Rule, UncertainPrediction


@pytest.fixture
def services(tmp_path):
    services = Services(Config(home=tmp_path, refresh_seconds=0.02))
    services.store.migrate()
    services.store.add_user("ann")
    yield services
    services.close()


def keep(services, specimen):
    services.bundles.put(specimen.folder, specimen.model.id)
    services.store.add_model(specimen.model, "ann", 1)


@pytest.fixture
def deployed(services, specimens):
    for name in ("price", "churn"):
        keep(services, specimens[name])
    deployment = services.store.create_deployment(
        "d", "ann", specimens["price"].model.id
    )
    services.refresh()
    return deployment.id


def test_change_is_seen_after_a_refresh_only(services, deployed):
    services.store.set_enabled(deployed, False)
    assert services.snapshot.deployments[deployed].enabled
    services.refresh()
    assert not services.snapshot.deployments[deployed].enabled


def test_unchanged_store_keeps_the_picture(services, deployed):
    before = services.snapshot
    services.refresh()
    assert services.snapshot is before


def test_nobody_waits_long_behind_a_database_that_hangs(services, monkeypatch):
    monkeypatch.setattr("app.services._TAKE_UP_SECONDS", 0.01)
    # As a thread does that reads from it.
    with services._refreshing, pytest.raises(StoreUnavailable):
        services.refresh()
    services.refresh()


def test_client_that_knows_more_makes_a_worker_look(services, deployed):
    services.store.add_user("bob")
    _, secret = services.store.create_token("bob")
    assert services.snapshot.authenticate(secret, now()) is None
    assert services.catch_up()
    assert services.snapshot.authenticate(secret, now()).user.name == "bob"


def test_guesses_do_not_load_the_database(services, deployed, monkeypatch):
    looks = []
    monkeypatch.setattr(services, "refresh", lambda: looks.append(1))
    for _ in range(100):
        services.catch_up()
    assert 1 <= len(looks) < 20


def test_old_model_answers_until_the_new_one_is_loaded(
    services, deployed, specimens, monkeypatch
):
    old, new = specimens["price"].model.id, specimens["churn"].model.id
    services.models.get(old)
    load, may_load, seen = services.models.get, threading.Event(), []

    def slow_get(model_id):
        if model_id == new:
            seen.append(services.snapshot.deployments[deployed])
            assert may_load.wait(120)
        return load(model_id)

    monkeypatch.setattr(services.models, "get", slow_get)
    services.store.replace_model(deployed, new)
    services.store.add_user("bob")
    refreshing = threading.Thread(target=services.refresh)
    refreshing.start()
    while not seen:
        pass
    assert seen[0].model_id == old
    assert "bob" in {user.name for user in services.snapshot.users.values()}
    may_load.set()
    refreshing.join()
    assert services.snapshot.deployments[deployed].model_id == new
    assert new in services.models
    assert old not in services.models


def test_worker_is_ready_once_its_models_are_loaded(services, deployed, specimens):
    assert not services.is_ready
    stopping = threading.Event()
    services.start(stopping.is_set)
    wait_until(lambda: services.is_ready)
    assert specimens["price"].model.id in services.models
    stopping.set()
    assert not services.is_ready


def test_worker_waits_for_a_store_that_is_away(services, deployed, monkeypatch):
    read = services.store.generation
    failures = [OSError("away")] * 2

    def generation():
        if failures:
            raise failures.pop()
        return read()

    monkeypatch.setattr(services.store, "generation", generation)
    stopping = threading.Event()
    services.start(stopping.is_set)
    wait_until(lambda: services.is_ready)
    stopping.set()


HUMBLED = Humbled(np.array([[True, True, False]]), np.full(3, -1))
RULE = Rule("1" * 24, "x", UncertainPrediction(0, 1), NoOperation())


def triggered(services):
    return sum(each.triggered for each in services.humility_totals.read())


def test_worker_forgets_operations_of_days_ago(services, deployed):
    old = now() - timedelta(days=2)
    user = services.store.users()[0].id
    made = Operation("f" * 24, user, old, "upload", "ERROR", "", None, old)
    services.operations.save(made)
    stopping = threading.Event()
    services.start(stopping.is_set)
    wait_until(lambda: services.operations.find(made.id) is None)
    stopping.set()


def test_worker_keeps_its_counts_now_and_then_and_at_its_end(services, deployed):
    generation = services.store.generation()
    stopping = threading.Event()
    services.start(stopping.is_set)
    services.humility_counts.count(deployed, [RULE], HUMBLED)
    wait_until(lambda: triggered(services) == 2)
    stopping.set()
    services.humility_counts.count(deployed, [RULE], HUMBLED)
    services.finish()
    assert triggered(services) == 4
    assert services.store.generation() == generation


def test_counts_wait_for_a_store_that_is_away(services, deployed, monkeypatch, caplog):
    keep = services.humility_totals.add
    failures = [OSError("away")] * 2

    def add(counts):
        if failures:
            raise failures.pop()
        keep(counts)

    monkeypatch.setattr(services.humility_totals, "add", add)
    monkeypatch.setattr("app.chores._COUNTS_SECONDS", 0.01)
    services.humility_counts.count(deployed, [RULE], HUMBLED)
    stopping = threading.Event()
    services.start(stopping.is_set)
    wait_until(lambda: triggered(services) == 2)
    stopping.set()
    told = [each for each in caplog.records if "counts of humility" in each.message]
    assert len(told) == 1


def wait_until(holds):
    pause = threading.Event()
    for _ in range(500):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it did not come to hold")


def folders(specimens):
    return {each.model.id: each.folder for each in specimens.values()}.__getitem__


def uncompiled(model_id):
    return Path("/nowhere")


def test_model_is_loaded_once_for_many_requests(specimens):
    cache = ModelCache(folders(specimens), uncompiled, budget=2**30)
    model_id = specimens["price"].model.id
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.get(model_id)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_least_recently_used_model_goes_first(specimens):
    first, second, third = (
        specimens[name].model.id for name in ("price", "churn", "plan")
    )
    sizes = ModelCache(folders(specimens), uncompiled, budget=2**30)
    budget = sizes.get(first).nbytes + sizes.get(third).nbytes
    cache = ModelCache(folders(specimens), uncompiled, budget)
    for model_id in (first, second, first, third):
        cache.get(model_id)
    assert second not in cache
    assert third in cache


def test_ids_of_known_series_count_as_memory(specimens):
    cache = ModelCache(folders(specimens), uncompiled, budget=2**30)
    served = cache.get(specimens["price"].model.id)
    assert served.nbytes == served.backend.nbytes
    series = frozenset(f"store {each:04}" for each in range(1000))
    # Each text takes its letters and a head.
    assert replace(served, series=series).nbytes - served.nbytes > 1000 * (10 + 40)


def test_damaged_bundle_fails_and_can_be_tried_again(specimens, tmp_path):
    cache = ModelCache(lambda _: tmp_path, uncompiled, budget=2**30)
    for _ in range(2):
        with pytest.raises(BundleRejected):
            cache.get("0" * 24)
