"""The connection, and what a transaction is in each database."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, StatementError

from app.store import tables
from app.store.database import Database, _connect_lazily
from app.store.errors import InvalidDatabaseUrl, StoreUnavailable
from app.store.store import Store


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "foretell.db",
        "mysql://ann:sesame@host/foretell",
        "postgresql+psycopg2://ann:sesame@host/foretell",
        "postgresql://ann:sesame@host:port/foretell",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?uri=true",
        "sqlite:///foretell.db?mode=ro",
    ],
)
def test_other_url_is_refused_without_its_password(url):
    with pytest.raises(InvalidDatabaseUrl) as caught:
        Database(url)
    assert "sesame" not in str(caught.value)


def test_relative_file_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///foretell.db")
    monkeypatch.chdir("/")
    assert database.file == tmp_path / "foretell.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_urls_of_every_spelling_connect(postgres, scheme):
    url = postgres.url("postgres").replace("postgresql", scheme)
    database = Database(url)
    with database.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    database.dispose()


def test_making_one_connects_to_nothing():
    Database("postgresql://ann:sesame@nowhere.invalid/foretell").dispose()
    Database("sqlite:////nowhere/foretell.db").dispose()


def test_missing_file_is_not_made(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'foretell.db'}")
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        with database.read():
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["migrate", "generation", "schema_is_current"])
def test_file_that_is_no_database_is_said(tmp_path, verb):
    file = tmp_path / "foretell.db"
    file.write_bytes(b"no database" * 1000)
    store = Store(f"sqlite:///{file}", tmp_path)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        getattr(store, verb)()
    store.dispose()


def test_place_without_a_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    database = f"sqlite:///{tmp_path / 'absent' / 'foretell.db'}"
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        Store(database, tmp_path).migrate()
    with pytest.raises(StoreUnavailable, match="state folder cannot be made"):
        Store(database, tmp_path / "file" / "home").migrate()


def test_unreachable_server_is_said_without_the_password(tmp_path):
    database = Database(f"postgresql://ann:sesame@/foretell?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match="connection to server") as caught:
        with database.read():
            pass
    assert "sesame" not in str(caught.value)


def test_sqlite_is_set_up(tmp_path, migrated_sqlite):
    database = Database(f"sqlite:///{migrated_sqlite}")
    with database.read() as connection:

        def pragma(name):
            return connection.scalar(text(f"PRAGMA {name}"))

        assert pragma("journal_mode") == "wal"
        assert pragma("foreign_keys") == 1
        assert pragma("synchronous") == 2  # FULL
        assert pragma("busy_timeout") == 30_000
    database.dispose()


def test_connections_whose_other_end_vanishes_end_soon(postgres):
    database = Database(f"{postgres.url('postgres')}&keepalives_count=4")
    with database.read() as connection:
        known = connection.connection.driver_connection.info.get_parameters()
    assert (known["keepalives_idle"], known["tcp_user_timeout"]) == ("10", "20000")
    # What the URL says counts.
    assert known["keepalives_count"] == "4"
    database.dispose()


def test_broken_connections_are_replaced(postgres):
    url = postgres.new_database()
    database = Database(url)
    with database.read() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with database.read() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != pid
    database.dispose()


def test_reader_sees_one_moment(database):
    numbers = text("SELECT number FROM generation")
    with database.read() as reader:
        assert reader.scalar(numbers) == 0
        with database.write() as writer:
            writer.execute(text("UPDATE generation SET number = 1"))
        assert reader.scalar(numbers) == 0
    with database.read() as reader:
        assert reader.scalar(numbers) == 1


def test_failed_change_is_undone(database):
    with pytest.raises(RuntimeError):
        with database.write() as writer:
            writer.execute(text("UPDATE generation SET number = 1"))
            raise RuntimeError
    with database.read() as reader:
        assert reader.scalar(text("SELECT number FROM generation")) == 0


def test_changes_wait_for_one_another(database):
    change = text("UPDATE generation SET number = number + 1")
    entered = threading.Event()

    def first():
        with database.write() as writer:
            writer.execute(change)
            entered.set()
            time.sleep(0.2)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(120)
    with database.write() as writer:
        writer.execute(change)
        assert writer.scalar(text("SELECT number FROM generation")) == 2
    thread.join()


def test_change_may_look_before_it_writes(database):
    change = text("UPDATE generation SET number = number + 1")

    def other():
        with database.write() as writer:
            writer.execute(change)

    thread = threading.Thread(target=other)
    with database.write() as writer:
        assert writer.scalar(text("SELECT number FROM generation")) == 0
        thread.start()
        # Time for the other one to write in between, where it may.
        thread.join(0.2)
        writer.execute(change)
    thread.join()
    with database.read() as reader:
        assert reader.scalar(text("SELECT number FROM generation")) == 2


def test_connection_does_not_cross_a_fork(database, in_child):
    def driver_connection():
        with database.read() as connection:
            return connection.connection.dbapi_connection

    parents = driver_connection()
    assert driver_connection() is parents
    assert in_child(lambda: driver_connection() is not parents)
    assert driver_connection() is parents


def test_threads_that_come_first_at_once_share_their_connections(database, monkeypatch):
    connect, both = _connect_lazily, threading.Barrier(2)

    def slowly(url):
        both.wait()
        return connect(url)

    monkeypatch.setattr("app.store.database._connect_lazily", slowly)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: database._connections(), range(2))
    # What another one had open would be left to the garbage collector.
    assert first is second


def test_endless_wait_is_cut_short(database_url, monkeypatch):
    monkeypatch.setattr("app.store.database._BUSY_SECONDS", 0.1)
    monkeypatch.setattr(
        "app.store.database._BEGIN_WRITE",
        {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SET LOCAL lock_timeout = '0.1s'"},
    )
    database = Database(database_url)
    change = text("UPDATE generation SET number = number + 1")
    with database.write() as holder:
        holder.execute(change)
        with pytest.raises(StoreUnavailable, match="lock"):
            with database.write() as waiter:
                waiter.execute(change)
    database.dispose()


def test_references_are_enforced(database):
    orphan = {"id": "a" * 24, "user_id": "b" * 24, "digest": "c" * 64}
    moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    with pytest.raises(IntegrityError) as caught:
        with database.write() as writer:
            writer.execute(insert(tables.tokens).values(**orphan, created_at=moment))
    # What fails is logged, and a digest has no business there.
    assert "c" * 64 not in str(caught.value).partition("DETAIL")[0]


def test_time_without_zone_is_refused(database):
    user = {"id": "a" * 24, "name": "ann", "role": "user"}
    with pytest.raises(StatementError, match="has no time zone"):
        with database.write() as writer:
            writer.execute(
                insert(tables.users).values(**user, created_at=datetime(2026, 1, 1))
            )


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T00:00:00.000001+00:00",
        "2026-07-01T23:59:59.999999-11:00",
        "1999-12-31T20:00:00+05:30",
    ],
)
def test_moments_are_kept_to_the_microsecond(database, moment):
    written = datetime.fromisoformat(moment)
    user = {"id": "a" * 24, "name": "ann", "role": "user", "created_at": written}
    with database.write() as writer:
        writer.execute(insert(tables.users).values(user))
    with database.read() as reader:
        read = reader.execute(tables.users.select()).one().created_at
    assert read == written
    assert read.utcoffset().total_seconds() == 0
