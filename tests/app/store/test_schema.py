"""Making the tables, and bringing older ones up to date."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, create_engine, insert, inspect, select, text

from app.store import schema
from app.store.database import Database
from app.store.errors import SchemaTooNew
from app.store.humility_totals import HumilityCount, HumilityTotals
from app.store.records import Token
from app.store.settings import DeploymentSettings
from app.store.store import Store
from app.store.tables import SCHEMA, deployments, metadata

ROOT = Path(__file__).parents[3]
MIGRATE = """
import sys
from pathlib import Path
from app.store.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
store.migrate()
store.dispose()
"""


def child(code, *arguments, folder=ROOT):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_threads(calls):
    """Call all of them at once; raises what one of them raised."""
    start = threading.Barrier(len(calls))

    def call_at_once(call):
        start.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for _ in pool.map(call_at_once, calls):
            pass


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def reflected(inspector):
    """All that the database knows of its tables but alembic's."""
    names = [name for name in inspector.get_table_names() if name != "alembic_version"]
    return {
        name: (
            [
                {**each, "type": repr(each["type"])}
                for each in inspector.get_columns(name)
            ],
            inspector.get_pk_constraint(name),
            sorted(map(repr, inspector.get_foreign_keys(name))),
            sorted(map(repr, inspector.get_unique_constraints(name))),
            sorted(map(repr, inspector.get_check_constraints(name))),
            sorted(map(repr, inspector.get_indexes(name))),
        )
        for name in names
    }


def test_migrations_make_the_tables_of_the_code(database_url, home):
    database = Database(database_url)
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    database.dispose()


def test_constraints_are_those_of_the_code(database_url, request, tmp_path):
    # A second way: alembic's comparison looks at no check constraints and names.
    if database_url.startswith("sqlite"):
        other_url = f"sqlite:///{tmp_path / 'other.db'}"
    else:
        server = request.getfixturevalue("postgres")
        other_url = server.new_database().replace("postgresql", "postgresql+psycopg")
    other = create_engine(other_url)
    metadata.create_all(other)
    database = Database(database_url)
    with database.read() as connection:
        assert reflected(inspect(connection)) == reflected(inspect(other))
    database.dispose()
    other.dispose()


def test_code_knows_the_newest_of_its_numbered_migrations():
    scripts = ScriptDirectory(str(ROOT / "app/store/migrations"))
    assert scripts.get_current_head() == SCHEMA
    revisions = [script.revision for script in scripts.walk_revisions()]
    # Newer ones sort behind older ones: so older code knows a newer schema.
    assert revisions == sorted(revisions, reverse=True)
    assert {len(revision) for revision in revisions} == {4}


def test_schema_is_current_once_migrated(empty_store):
    assert not empty_store.schema_is_current()
    empty_store.migrate()
    assert empty_store.schema_is_current()


def test_looking_at_a_missing_database_makes_none(home):
    assert not Store(f"sqlite:///{home / 'foretell.db'}", home).schema_is_current()
    assert not home.exists()


def test_migrating_again_keeps_everything(store):
    user = store.add_user("ann")
    store.migrate()
    assert store.users() == [user]
    assert store.generation() == 1


def test_failed_migration_leaves_nothing(empty_store, monkeypatch):
    run = schema._run_migrations

    def run_and_fail(connection):
        run(connection)
        assert inspect(connection).has_table("deployments")
        raise RuntimeError("power cut")

    monkeypatch.setattr(schema, "_run_migrations", run_and_fail)
    with pytest.raises(RuntimeError):
        empty_store.migrate()
    monkeypatch.undo()
    assert not empty_store.schema_is_current()
    empty_store.migrate()
    assert empty_store.generation() == 0


@pytest.fixture
def migrated_to(empty_store, empty_url, monkeypatch):
    """Bring the empty database to an older schema, and enter rows as it has them."""
    database = Database(empty_url)

    def migrate_and_enter(version, **rows):
        monkeypatch.setattr(schema, "SCHEMA", version)
        empty_store.migrate()
        monkeypatch.undo()
        with database.write() as connection:
            for name, values in rows.items():
                table = Table(name, MetaData(), autoload_with=connection)
                connection.execute(insert(table), values)

    yield migrate_and_enter
    database.dispose()


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def old_row(empty_url, **values):
    """A row whose moments are as SQLAlchemy's plain type takes them."""
    if empty_url.startswith("sqlite"):
        values = {
            name: each.replace(tzinfo=None) if isinstance(each, datetime) else each
            for name, each in values.items()
        }
    return values


def old_user(empty_url, number=1, admin=False):
    user_id = f"{number:024x}"
    return old_row(
        empty_url, id=user_id, name=f"ann {number}", admin=admin, created_at=MOMENT
    )


def old_deployment(empty_url, settings=None, **values):
    given = {"settings": settings or {}, "owner_id": f"{1:024x}", **values}
    # Reflected JSON is JSON on both databases.
    return old_row(
        empty_url,
        id=f"{9:024x}",
        label="old",
        enabled=True,
        threshold=0.25,
        created_at=MOMENT,
        updated_at=MOMENT + timedelta(days=1),
        **given,
    )


def test_first_schema_is_brought_up_to_date(empty_store, empty_url, migrated_to):
    # As the first release wrote them.
    settings = {"labels": "names", "association_id": "id"}
    deployment = old_deployment(empty_url, settings)
    migrated_to("0001", users=[old_user(empty_url)], deployments=[deployment])
    assert not empty_store.schema_is_current()
    generation = empty_store.generation()
    empty_store.migrate()
    assert empty_store.schema_is_current()
    assert empty_store.generation() == generation
    (found,) = empty_store.deployments()
    assert found.settings == DeploymentSettings(labels="names", association_id="id")
    hour = datetime(2026, 1, 1, tzinfo=UTC)
    totals = HumilityTotals(empty_store.database)
    totals.add([HumilityCount(found.id, "0" * 24, hour, 1, 2)])
    assert len(totals.read(found.id)) == 1


def test_tokens_of_the_second_schema_open_all_as_before(
    empty_store, empty_url, migrated_to
):
    user = old_user(empty_url)
    made = old_deployment(empty_url)
    moments = MOMENT, MOMENT + timedelta(days=9000)
    old = [
        Token(f"{n:024x}", user["id"], f"{n:064x}", *moments, None, None)
        for n in (1, 2)
    ]
    names = ("id", "user_id", "digest", "created_at", "expires_at", "revoked_at")
    rows = [
        old_row(empty_url, **{name: getattr(each, name) for name in names})
        for each in old
    ]
    migrated_to("0002", users=[user], deployments=[made], tokens=rows)
    empty_store.migrate()
    assert empty_store.tokens() == old
    assert set(empty_store.snapshot().tokens.values()) == set(old)
    bound, _ = empty_store.create_deployment_token(made["id"])
    assert empty_store.tokens() == [*old, bound]
    empty_store.delete_deployment(made["id"])
    assert empty_store.tokens() == old


def test_third_schema_loses_nothing(empty_store, empty_url, migrated_to):
    users = [old_user(empty_url, 1), old_user(empty_url, 2, admin=True)]
    model = {
        **{"id": f"{5:024x}", "name": "m", "format": "lightgbm", "task": "binary"},
        **{"target": "y", "owner_id": f"{1:024x}", "nbytes": 7},
    }
    made = old_deployment(empty_url, model_id=model["id"])
    token = {"id": f"{3:024x}", "user_id": f"{1:024x}", "digest": "d" * 64}
    bound = {**token, "id": f"{4:024x}", "digest": "e" * 64}
    counts = {"rule_id": "0" * 24, "triggered": 1, "looked_at": 2}
    migrated_to(
        "0003",
        users=users,
        models=[old_row(empty_url, created_at=MOMENT, **model)],
        deployments=[made],
        tokens=[
            old_row(empty_url, created_at=MOMENT, deployment_id=None, **token),
            old_row(empty_url, created_at=MOMENT, deployment_id=made["id"], **bound),
        ],
        humility_counts=[
            old_row(empty_url, deployment_id=made["id"], hour=MOMENT, **counts)
        ],
    )
    empty_store.migrate()
    assert [(each.name, each.role) for each in empty_store.users()] == [
        ("ann 1", "user"),
        ("ann 2", "admin"),
    ]
    assert [each.deployment_id for each in empty_store.tokens()] == [None, made["id"]]
    (found,) = empty_store.deployments()
    assert (found.threshold, found.model_id) == (0.25, model["id"])
    assert (found.created_at, found.deployed_at) == (MOMENT, MOMENT)
    assert (found.description, found.importance, found.shared_with) == (None, "LOW", ())
    assert len(HumilityTotals(empty_store.database).read(found.id)) == 1
    assert list(empty_store.snapshot().models) == [model["id"]]
    assert empty_store.audit() == []


def test_newer_schema_is_a_clear_error(store, database_url):
    database = Database(database_url)
    rename = text("UPDATE alembic_version SET version_num = :number")
    with database.write() as connection:
        connection.execute(rename, {"number": "9999"})
    try:
        for verb in (store.migrate, store.schema_is_current):
            with pytest.raises(SchemaTooNew, match=r"schema 9999.*newer release"):
                verb()
    finally:
        with database.write() as connection:
            connection.execute(rename, {"number": SCHEMA})
        database.dispose()


def test_processes_may_migrate_at_once(empty_url, home):
    children = [child(MIGRATE, empty_url, home) for _ in range(3)]
    errors = [each.communicate()[1] for each in children]
    assert [each.returncode for each in children] == [0, 0, 0], errors
    store = Store(empty_url, home)
    assert store.schema_is_current()
    assert store.generation() == 0
    store.dispose()


def test_second_migration_waits_for_the_first(empty_url, home, monkeypatch):
    run, runs = schema._run_migrations, []

    def run_slowly(connection):
        runs.append(connection)
        run(connection)
        time.sleep(0.2)

    monkeypatch.setattr(schema, "_run_migrations", run_slowly)
    stores = [Store(empty_url, home) for _ in range(2)]
    in_threads([store.migrate for store in stores])
    assert len(runs) == 1
    for store in stores:
        assert store.schema_is_current()
        store.dispose()


def test_new_file_is_prepared_by_one_at_a_time(tmp_path, monkeypatch):
    # SQLite refuses the change to WAL without waiting, now and then: hence the many.
    monkeypatch.setattr(schema, "_upgrade", lambda database: None)
    for number in range(60):
        url = f"sqlite:///{tmp_path / str(number)}.db"
        in_threads([partial(schema.migrate, Database(url)) for _ in range(4)])


def test_current_database_needs_no_alembic(database_url, home):
    code = """
import sys
from pathlib import Path
from app.store.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
assert store.schema_is_current()
store.migrate()
store.snapshot()
store.dispose()
slow = {"alembic", "sqlalchemy.orm", "numpy"} & set(sys.modules)
assert not slow, slow
"""
    looking = child(code, database_url, home)
    assert looking.communicate()[1] == ""
    assert looking.returncode == 0


@pytest.mark.parametrize("name", ["a b", "50%", "#1", "ü"])
def test_state_folder_may_have_any_name(tmp_path, name):
    home = tmp_path / name
    store = Store(f"sqlite:///{home / 'foretell.db'}", home)
    store.migrate()
    store.add_user("ann")
    assert (home / "foretell.db").exists()
    store.dispose()


def test_nobody_else_reads_the_state(tmp_path):
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        store = Store(f"sqlite:///{home / 'foretell.db'}", home)
        store.migrate()
        store.add_user("ann")
        assert mode(home) == 0o700
        modes = {file.name: mode(file) for file in home.iterdir()}
    finally:
        os.umask(before)
        store.dispose()
    names = ("foretell.db", "foretell.db-wal", "foretell.db-shm")
    assert modes == dict.fromkeys(names, 0o600)


def test_restored_database_is_closed_to_the_world(tmp_path):
    file = tmp_path / "foretell.db"
    file.touch()
    file.chmod(0o644)
    Store(f"sqlite:///{file}", tmp_path).migrate()
    assert mode(file) == 0o640


def test_installed_package_migrates(tmp_path, home):
    source, installed = tmp_path / "source", tmp_path / "installed"
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("app", "backends", "schemas"):
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    shutil.copy(ROOT / "setup.cfg", source)
    (source / "README.md").touch()
    build = "from setuptools import setup; setup()"
    done = subprocess.run(
        [sys.executable, "-c", build, "-q", "build_py", "--build-lib", installed],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Python looks first in the folder where it starts.
    url = f"sqlite:///{home / 'foretell.db'}"
    migrating = child(
        MIGRATE + "import app.store; assert 'installed' in app.store.__file__\n",
        *(url, home),
        folder=installed,
    )
    assert migrating.communicate()[1] == ""
    assert migrating.returncode == 0
    store = Store(url, home)
    assert store.schema_is_current()
    store.dispose()


def test_older_releases_read_what_has_no_new_settings(empty_store, empty_url):
    empty_store.migrate()
    empty_store.add_user("ann")
    created = empty_store.create_deployment("new", "ann", None)
    empty_store.update_deployment(created.id, settings={"labels": "names"})
    database = Database(empty_url)
    with database.write() as connection:
        stored = connection.execute(select(deployments.c.settings)).scalar_one()
    assert stored == {"labels": "names"}
    database.dispose()
