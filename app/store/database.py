"""The connection to SQLite or PostgreSQL, and what a transaction is in each."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    TimeoutError,
)

from app.store.errors import InvalidDatabaseUrl, StoreUnavailable

# How long a change waits for another one to finish; each takes milliseconds.
_BUSY_SECONDS = 30

# Of a connection whose other end has vanished without a word, with its machine say:
# the kernel's own patience is a quarter of an hour, or two hours.
_POSTGRESQL = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

# A reader sees one moment however many queries it makes.
_BEGIN_READ = {
    "sqlite": "BEGIN",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
# IMMEDIATE takes the right to write at once. A transaction that reads first and
# asks for it later is refused ("database is locked") without waiting when another
# has written in between.
_BEGIN_WRITE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": f"SET LOCAL lock_timeout = '{_BUSY_SECONDS}s'",
}


class Database:
    """One database by its URL; connects when first used."""

    def __init__(self, url: str) -> None:
        """Raises InvalidDatabaseUrl."""
        self._url = _parse(url)
        # By process: connections made before a fork belong to the parent, and stay
        # as they are.
        self._engines: dict[int, Engine] = {}

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._url.get_backend_name()

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for PostgreSQL."""
        name = self._url.database
        return Path(name) if self.kind == "sqlite" and name else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment; raises StoreUnavailable."""
        with self._transaction(_BEGIN_READ[self.kind]) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change things; raises StoreUnavailable."""
        with self._transaction(_BEGIN_WRITE[self.kind]) as connection:
            yield connection

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        if os.getpid() in self._engines:
            self._connections().dispose()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            with self._connections().begin() as connection:
                connection.exec_driver_sql(begin)
                yield connection
        except (DataError, IntegrityError, ProgrammingError):
            # These say that the code is wrong, not that the database is away.
            raise
        except DBAPIError as error:
            raise unavailable(error.orig) from error
        except TimeoutError as error:
            raise StoreUnavailable("The database is busy") from error

    def _connections(self) -> Engine:
        process = os.getpid()
        if process not in self._engines:
            # Of threads that come at once, all take the one that is entered first.
            self._engines.setdefault(process, _connect_lazily(self._url))
        return self._engines[process]


def unavailable(reason: object) -> StoreUnavailable:
    """What to raise for a driver's reason."""
    return StoreUnavailable(f"The database cannot be used: {str(reason).strip()}")


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Without the text: it may hold a password.
        raise InvalidDatabaseUrl("The database URL cannot be read") from None
    if url.drivername not in _DRIVERS:
        raise InvalidDatabaseUrl(
            f"Databases are sqlite:///FILE and postgresql://…, not {url.drivername}"
        )
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.get_backend_name() != "sqlite":
        return url
    name = url.database or ""
    if name in ("", ":memory:") or name.startswith("file:") or url.query:
        raise InvalidDatabaseUrl(
            "A SQLite database is a file, sqlite:///FILE without options: "
            "several processes share it"
        )
    return url.set(database=str(Path(name).absolute()))


def _connect_lazily(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return _postgresql(url)
    engine = create_engine(
        url,
        hide_parameters=True,
        # Python begins no transactions of its own: those here say how they begin.
        connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
    )
    event.listen(engine, "do_connect", _open_existing)
    event.listen(engine, "connect", _prepare)
    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url.set(query={**_POSTGRESQL, **url.query}),
            hide_parameters=True,
            # A server that was restarted costs a query here, not an error there.
            pool_pre_ping=True,
        )
    except ModuleNotFoundError as error:
        raise InvalidDatabaseUrl(
            "PostgreSQL needs a driver: install foretell[postgresql]"
        ) from error


def _open_existing(
    dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]
) -> object:
    # SQLite would make a missing file, readable by all; `migrate` makes it instead.
    file = f"{Path(arguments[0]).as_uri()}?mode=rw"
    return dialect.connect(file, **options, uri=True)


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    # NORMAL could lose the last commits with the power, and a revoked token would
    # be good again. Changes are rare, so the extra sync costs nothing that counts.
    connection.execute("PRAGMA synchronous = FULL")
