"""Making the tables, and bringing older ones up to date."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from app.store.database import Database, unavailable
from app.store.errors import SchemaTooNew
from app.store.tables import SCHEMA

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column("version_num"))

# Any number, as long as nothing else in the database locks by it.
_ADVISORY_LOCK = 0x666F726574656C6C


def is_current(database: Database) -> bool:
    """Whether the database has the newest schema; raises SchemaTooNew."""
    if database.file is not None and not database.file.exists():
        return False
    with database.read() as connection:
        return _version(connection) == SCHEMA


def migrate(database: Database) -> None:
    """Bring an empty or older database to the newest schema.

    All of it happens in one transaction, and in one process at a time.
    Raises SchemaTooNew and StoreUnavailable.
    """
    if database.file is None:
        _upgrade(database)
        return
    with _locked(database.file.parent):
        _prepare_file(database.file)
        _upgrade(database)


def _upgrade(database: Database) -> None:
    with database.write() as connection:
        if database.kind == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _ADVISORY_LOCK})
        if _version(connection) != SCHEMA:
            _run_migrations(connection)


def _run_migrations(connection: Connection) -> None:
    # Slow to import, and not needed for a database that is current.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # The configuration's own syntax interpolates percent signs.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, SCHEMA)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    version: str | None = connection.scalar(select(_VERSION.c.version_num))
    if version is not None and version > SCHEMA:
        raise SchemaTooNew(version, SCHEMA)
    return version


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Switching to WAL is refused at once, without waiting, while another process
    # is at the file; so they come here one after the other.
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unavailable(error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepare_file(file: Path) -> None:
    try:
        _close_to_the_world(file)
        with closing(sqlite3.connect(file)) as connection:
            # Readers do not wait for the writer, nor the writer for them. The file
            # remembers it.
            connection.execute("PRAGMA journal_mode = WAL")
    except (OSError, sqlite3.Error) as error:
        raise unavailable(error) from error


def _close_to_the_world(file: Path) -> None:
    # SQLite gives the files beside it the same permissions. An existing file is not
    # opened for that: closing it would drop the locks that this process holds on it.
    if not file.exists():
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IRWXO:
        file.chmod(mode & ~stat.S_IRWXO)
