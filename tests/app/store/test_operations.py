"""What clients asked for that goes on after the answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.store.identifiers import new_id
from app.store.operations import Operation, Operations


@pytest.fixture
def operations(store):
    return Operations(store.database)


@pytest.fixture
def people(store):
    return {role: store.add_user(role, role=role) for role in ("user", "predictor")}


def operation(user, **changes):
    now = datetime.now(UTC)
    made = Operation(new_id(), user.id, now, "upload", "INITIALIZED", "", None, now)
    return replace(made, **changes)


def test_operation_is_written_over(operations, people):
    made = operation(people["user"])
    operations.save(made)
    assert operations.find(made.id) == made
    later = replace(
        made,
        status="COMPLETED",
        location="/api/v2/modelPackages/1/",
        updated_at=made.updated_at + timedelta(seconds=1),
    )
    operations.save(later)
    assert operations.find(made.id) == later
    assert operations.find("f" * 24) is operations.find("\0") is None


def test_old_operations_are_forgotten(operations, people):
    ann, bob = people["user"], people["predictor"]
    package, other = "/api/v2/modelPackages/m/", "/api/v2/deployments/d/"
    now, day = datetime.now(UTC), timedelta(days=1)
    old = {
        name: operation(user, location=place, updated_at=now - days * day)
        for name, user, place, days in (
            ("sent", ann, package, 9),
            ("sent again", ann, package, 8),
            ("sent by bob", bob, package, 9),
            ("changed", ann, other, 2),
            ("failed", ann, None, 2),
            ("at it", ann, None, 0),
        )
    }
    for each in old.values():
        operations.save(each)
    assert operations.forget(now - day) == 3
    kept = {name for name, each in old.items() if operations.find(each.id)}
    # What says that somebody has sent a package stays, once.
    assert kept == {"sent again", "sent by bob", "at it"}
    assert operations.made_by(ann.id) == {package}


def test_operation_leaves_the_generation(store, operations, people):
    before = store.generation()
    operations.save(operation(people["user"], message="a\0b"))
    assert store.generation() == before
