"""Operations: what clients asked for that goes on after the answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import exists, or_, select, tuple_

from app.store.database import Database
from app.store.queries import find_row, upserting
from app.store.tables import operations
from app.store.texts import storable


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a client asked for and that goes on after the answer.

    status: INITIALIZED, RUNNING, COMPLETED or ERROR.
    location: path of what it made, from /api/v2 on; None until it is there.
    """

    id: str
    owner_id: str
    created_at: datetime
    kind: str
    status: str
    message: str
    location: str | None
    updated_at: datetime


class Operations:
    """The operations of one database. Every verb is one transaction.

    Nothing here raises the generation: operations are looked at when they are asked
    for. Verbs raise StoreUnavailable when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, operation: Operation) -> None:
        """Enter an operation, or write it over the one with its id."""
        values = asdict(operation) | {"message": storable(operation.message)}
        with self._database.write() as connection:
            made = upserting(connection, operations).values(values)
            connection.execute(
                made.on_conflict_do_update(index_elements=["id"], set_=values)
            )

    def find(self, operation_id: str) -> Operation | None:
        """By id; None if there is none."""
        with self._database.read() as connection:
            row = find_row(connection, operations.c.id, operation_id)
        return None if row is None else Operation(*row)

    def forget(self, before: datetime) -> int:
        """Remove operations that nobody asks for any more; returns how many.

        before: with time zone; those that went on since then stay. So does, of each
        model package, what says that a user has sent it.
        """
        later = operations.alias()
        # Whoever has sent a model package may use it: the last one tells that.
        is_told_again = exists().where(
            later.c.owner_id == operations.c.owner_id,
            later.c.location == operations.c.location,
            tuple_(later.c.updated_at, later.c.id)
            > tuple_(operations.c.updated_at, operations.c.id),
        )
        says_nothing = or_(
            operations.c.location.is_(None),
            operations.c.location.not_like("/api/v2/modelPackages/%"),
            is_told_again,
        )
        gone = operations.delete().where(operations.c.updated_at < before, says_nothing)
        with self._database.write() as connection:
            return connection.execute(gone).rowcount

    def made_by(self, user_id: str) -> set[str]:
        """Locations of what the user's operations made."""
        query = select(operations.c.location).where(
            operations.c.owner_id == user_id, operations.c.location.is_not(None)
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())
