"""Bundles that are kept: what is left where one cannot be entered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.commands.state import State
from app.config import Config
from app.keeping import keep
from app.store.errors import CannotOwn, StoreUnavailable, UnknownUser
from app.store.files import Folder
from app.store.store import Store
from tests.specimens import Specimen


@pytest.fixture
def state(tmp_path: Path) -> State:
    config = Config(home=tmp_path / "home")
    state = State(config, Store(config.database_url, config.home), Folder(config.home))
    state.store.migrate()
    state.store.add_user("ada")
    return state


def left(state: State) -> set[str]:
    """Whatever lies in the state folder of bundles."""
    places = [state.config.home / each for each in ("bundles", "compiled")]
    return {each.name for place in places if place.exists() for each in place.iterdir()}


def test_bundle_that_nobody_may_own_is_not_left(
    state: State, specimens: Mapping[str, Specimen]
) -> None:
    bundle = specimens["churn"]
    state.store.add_user("bob", role="predictor")
    for owner, error in (("nobody", UnknownUser), ("bob", CannotOwn)):
        with pytest.raises(error):
            keep(state, bundle.folder, bundle.model, owner)
        assert left(state) == set()


def test_bundle_that_was_there_stays(
    state: State, specimens: Mapping[str, Specimen]
) -> None:
    bundle = specimens["churn"]
    keep(state, bundle.folder, bundle.model, "ada")
    before = left(state)
    assert len(before) == 2
    with pytest.raises(UnknownUser):
        keep(state, bundle.folder, bundle.model, "nobody")
    assert left(state) == before


def test_bundle_stays_where_the_database_fails(
    state: State, specimens: Mapping[str, Specimen]
) -> None:
    bundle = specimens["churn"]
    broken = State(
        state.config, Store("sqlite:////nowhere/x.db", state.config.home), state.files
    )
    with pytest.raises(StoreUnavailable):
        keep(broken, bundle.folder, bundle.model, "ada")
    assert state.bundles.has(bundle.model.id)


def test_failure_takes_nothing_from_others_who_keep_the_same(
    state: State, specimens: Mapping[str, Specimen]
) -> None:
    bundle = specimens["plan"]

    def fail() -> None:
        for _ in range(5):
            with pytest.raises(UnknownUser):
                keep(state, bundle.folder, bundle.model, "nobody")

    failing = [threading.Thread(target=fail) for _ in range(2)]
    for each in failing:
        each.start()
    keep(state, bundle.folder, bundle.model, "ada")
    for each in failing:
        each.join()
    assert state.bundles.has(bundle.model.id)
    assert bundle.model.id in state.store.snapshot().models
