"""Several processes write and read the same store at once."""

import json
import subprocess
import sys
import time
from pathlib import Path

from app.store.humility_totals import HumilityTotals
from app.store.store import Store

ROOT = Path(__file__).parents[3]
WRITERS = 3
ROUNDS = 8

WRITE = """
import sys
from datetime import timedelta
from pathlib import Path
from app.store.store import Store

url, home, name, rounds, shared = sys.argv[1:]
store = Store(url, Path(home))
changes = 0

def change(verb, *arguments, **options):
    global changes
    before = store.generation()
    done = verb(*arguments, **options)
    assert store.generation() > before
    changes += 1
    return done

change(store.add_user, name)
for number in range(int(rounds)):
    deployment = change(store.create_deployment, "0", name, None, threshold=0.0)
    token, _ = change(store.create_token, name, timedelta(days=1))
    # Label and threshold go together: whoever sees one without the other has seen
    # half of a change.
    change(store.update_deployment, deployment.id, label="1", threshold=1.0)
    change(store.update_deployment, shared, settings={"association_id": name})
    change(store.revoke_token, token.id)
    if number % 2:
        change(store.delete_deployment, deployment.id)
store.dispose()
print(changes)
"""

READ = """
import json, sys, time
from pathlib import Path
from app.store.store import Store

store = Store(sys.argv[1], Path(sys.argv[2]))
seen, last = 0, -1
while not Path(sys.argv[3]).exists():
    snapshot = store.snapshot()
    assert snapshot.generation >= last
    assert store.generation() >= snapshot.generation
    for deployment in snapshot.deployments.values():
        assert deployment.owner_id in snapshot.users
        if deployment.label != "shared":
            assert deployment.threshold == float(deployment.label)
    assert {token.user_id for token in snapshot.tokens.values()} <= set(snapshot.users)
    seen += snapshot.generation != last
    last = snapshot.generation
    time.sleep(0.002)
store.dispose()
print(json.dumps([seen, last]))
"""


def child(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out)


def test_processes_write_while_others_read(store, database_url, home, tmp_path):
    store.add_user("ann")
    shared = store.create_deployment("shared", "ann", None).id
    before, stop = store.generation(), tmp_path / "stop"
    readers = [child(READ, database_url, home, stop) for _ in range(2)]
    writers = [
        child(WRITE, database_url, home, f"writer-{number}", ROUNDS, shared)
        for number in range(WRITERS)
    ]
    try:
        changes = [finished(writer) for writer in writers]
    finally:
        stop.touch()
    looks = [finished(reader) for reader in readers]
    # Each change has raised the generation by one: none was lost, none counted twice.
    assert store.generation() == before + sum(changes)
    assert all(seen > 3 and last <= store.generation() for seen, last in looks)
    assert len(store.deployments()) == 1 + WRITERS * ROUNDS / 2
    assert len(store.tokens()) == WRITERS * ROUNDS
    assert not store.snapshot().tokens


def test_one_name_is_given_to_one_of_many(store, database_url, home):
    code = """
import sys
from pathlib import Path
from app.store.errors import NameTaken
from app.store.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
won = 0
for number in range(20):
    try:
        store.add_user(f"user-{number}")
        won += 1
    except NameTaken:
        pass
store.dispose()
print(won)
"""
    racers = [child(code, database_url, home) for _ in range(3)]
    assert sum(map(finished, racers)) == 20
    assert len(store.users()) == store.generation() == 20


def test_settings_changed_at_once_are_both_kept(store, database_url, home):
    store.add_user("ann")
    deployment = store.create_deployment("x", "ann", None).id
    code = """
import json, sys
from pathlib import Path
from app.store.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
name, values = sys.argv[4], json.loads(sys.argv[5])
for value in values * 10:
    changed = store.update_deployment(sys.argv[3], settings={name: value})
    assert getattr(changed.settings, name) == value
store.dispose()
print(0)
"""
    changes = {"labels": ["numeric", "names"], "association_id": ["a", "b"]}
    racers = [
        child(code, database_url, home, deployment, name, json.dumps(values))
        for name, values in changes.items()
    ]
    assert [finished(racer) for racer in racers] == [0, 0]
    settings = store.deployment(deployment).settings
    assert (settings.labels, settings.association_id) == ("names", "b")


def test_rules_added_at_once_are_all_kept(store, database_url, home):
    store.add_user("ann")
    deployment = store.create_deployment("x", "ann", None).id
    code = """
import sys
from pathlib import Path
from app.store.identifiers import new_id
from app.store.store import Store
from backends.humility import NoOperation, Rule, UncertainPrediction
store = Store(sys.argv[1], Path(sys.argv[2]))
for number in range(3):
    rule = Rule(new_id(), sys.argv[4], UncertainPrediction(0, number), NoOperation())
    store.change_humility(
        sys.argv[3], lambda found: (*found.settings.humility, rule)
    )
store.dispose()
print(0)
"""
    racers = [
        child(code, database_url, home, deployment, f"rule {number}")
        for number in range(3)
    ]
    assert [finished(racer) for racer in racers] == [0, 0, 0]
    names = [rule.name for rule in store.deployment(deployment).settings.humility]
    assert sorted(names) == sorted(["rule 0", "rule 1", "rule 2"] * 3)


def test_counts_added_at_once_are_all_kept(store, database_url, home):
    store.add_user("ann")
    ids = [store.create_deployment("x", "ann", None).id for _ in range(4)]
    code = """
import random, sys
from datetime import UTC, datetime
from pathlib import Path
from app.store.humility_totals import HumilityCount, HumilityTotals
from app.store.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
hour = datetime(2026, 1, 1, tzinfo=UTC)
for number in range(40):
    ids = random.sample(sys.argv[3:], len(sys.argv[3:]))
    HumilityTotals(store.database).add(
        [HumilityCount(each, rule * 24, hour, 1, 3) for each in ids for rule in "ba"]
    )
store.dispose()
print(0)
"""
    before = store.generation()
    racers = [child(code, database_url, home, *ids) for _ in range(3)]
    # Meanwhile one of the deployments goes.
    time.sleep(0.5)
    store.delete_deployment(ids[0])
    assert [finished(racer) for racer in racers] == [0, 0, 0]
    totals = HumilityTotals(store.database).read()
    assert {(each.triggered, each.looked_at) for each in totals} == {(120, 360)}
    assert {each.deployment_id for each in totals} == set(ids[1:])
    assert store.generation() == before + 1


def test_change_of_another_process_is_seen_at_once(store, database_url, home):
    # What a worker asks four times a second.
    worker = Store(database_url, home)
    before = worker.snapshot()
    store.add_user("ann")
    assert worker.generation() != before.generation
    assert len(worker.snapshot().users) == 1
    worker.dispose()
