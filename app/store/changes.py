"""Changes of records: one transaction each, and the audit tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from app.store import queries
from app.store.auditing import changed
from app.store.database import Database
from app.store.errors import InvalidSetting
from app.store.records import Actor, Deployment, Token, User


@contextmanager
def changing(database: Database, actor: Actor) -> Iterator[Change]:
    """Begin a change, which is somebody's; what is raised within undoes it.

    Raises StoreUnavailable.
    """
    with database.write() as connection:
        queries.raise_generation(connection)
        yield Change(connection, actor)


class Change:
    """A transaction that the generation was raised in.

    What is added, saved and deleted here the audit tells of. Raises InvalidSetting
    where a client of the API would allow code to be run.
    """

    def __init__(self, connection: Connection, actor: Actor) -> None:
        self.connection = connection
        self._actor = actor

    def add(self, record: queries.Record) -> None:
        """Enter a new record."""
        queries.add(self.connection, record)
        self._tell(None, record)

    def save(
        self,
        old: User | Token | Deployment,
        new: User | Token | Deployment,
        reason: str | None = None,
    ) -> None:
        """Write a record over the one with its id; reason: told in the audit alone."""
        queries.save(self.connection, new)
        self._tell(old, new, reason)

    def delete(self, deployment: Deployment) -> None:
        """Remove a deployment, and the tokens that open it alone."""
        tokens = queries.tokens_of(self.connection, deployment.id)
        queries.delete(self.connection, deployment)
        gone: tuple[queries.Record, ...] = (*tokens, deployment)
        for each in gone:
            self._tell(each, None)

    def _tell(
        self,
        old: queries.Record | None,
        new: queries.Record | None,
        reason: str | None = None,
    ) -> None:
        if self._actor.via == "api":
            _check_hook_stays(old, new)
        entry = changed(self._actor, old, new, datetime.now(UTC))
        if entry is not None:
            if reason is not None:
                entry = replace(entry, after={**(entry.after or {}), "reason": reason})
            queries.tell(self.connection, entry)


def _check_hook_stays(old: queries.Record | None, new: queries.Record | None) -> None:
    """Raise InvalidSetting where code would be allowed to be run."""
    if isinstance(new, Deployment):
        before = old.settings.python_hook if isinstance(old, Deployment) else None
        if new.settings.python_hook not in (None, before):
            raise InvalidSetting(
                "python_hook", "is set on the server only, by its command line"
            )
