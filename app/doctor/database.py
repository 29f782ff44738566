"""The database: whether it answers, is whole and has the schema of this release."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from app.config import Config
from app.doctor.findings import Finding, Problem
from app.doctor.settings import masked_url
from app.store.database import Database
from app.store.errors import InvalidDatabaseUrl, SchemaTooNew, StoreUnavailable
from app.store.records import Snapshot
from app.store.store import Store


def database(config: Config) -> tuple[Finding, Snapshot | None]:
    """What is found, and what the store keeps; None where that cannot be read."""
    facts: dict[str, Any] = {"url": masked_url(config.database_url)}
    finding = Finding("database", facts)
    try:
        file = Database(config.database_url).file
        facts["exists"] = file is None or file.exists()
        if not facts["exists"]:
            return finding, None
        if file is not None:
            finding.problems.extend(_sqlite(file, facts))
        snapshot = _read(config, facts)
        if snapshot is not None:
            return finding, snapshot
        problem = Problem("the database has an older schema", "foretell migrate")
    except SchemaTooNew as error:
        problem = Problem(str(error), "install the release that made the database")
    except InvalidDatabaseUrl as error:
        problem = Problem(str(error), "correct FORETELL_DATABASE_URL")
    except StoreUnavailable as error:
        problem = Problem(str(error), "start the database, and look at its rights")
    except sqlite3.DatabaseError as error:
        problem = Problem(f"the database is damaged: {error}", "restore a backup")
    finding.problems.append(problem)
    return finding, None


def _read(config: Config, facts: dict[str, Any]) -> Snapshot | None:
    """What the store keeps; None if its schema is not current."""
    store = Store(config.database_url, config.home)
    try:
        facts["schema_is_current"] = store.schema_is_current()
        if not facts["schema_is_current"]:
            return None
        snapshot = store.snapshot()
    finally:
        store.dispose()
    facts["users"] = len(snapshot.users)
    facts["live_tokens"] = len(snapshot.tokens)
    facts["deployments"] = len(snapshot.deployments)
    facts["generation"] = snapshot.generation
    return snapshot


def _sqlite(file: Path, facts: dict[str, Any]) -> Iterator[Problem]:
    """Raises sqlite3.DatabaseError if the file is no database."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        (facts["journal_mode"],) = connection.execute("PRAGMA journal_mode").fetchone()
        (check,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if facts["journal_mode"] != "wal":
        yield Problem(
            "the database is not in WAL mode: readers wait for writers",
            "foretell migrate",
        )
    if check != "ok":
        yield Problem(f"the database is damaged: {check}", "restore a backup")
