"""How often humility rules triggered, by the hour: added by whoever scores rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.store.database import Database
from app.store.queries import upserting
from app.store.tables import deployments, humility_counts


@dataclass(frozen=True, slots=True)
class HumilityCount:
    """What a humility rule found in rows of an hour.

    hour: its first moment.
    triggered: rows that the rule triggered for, of those it was held against.
    """

    deployment_id: str
    rule_id: str
    hour: datetime
    triggered: int
    looked_at: int


@dataclass(frozen=True, slots=True)
class HumilityTotal:
    """The same over a time; also of a rule that was removed since."""

    deployment_id: str
    rule_id: str
    triggered: int
    looked_at: int


class HumilityTotals:
    """The counts of one database. Every verb is one transaction.

    Nothing here raises the generation: no server has to look at anything again.
    Verbs raise StoreUnavailable when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, counts: Sequence[HumilityCount]) -> None:
        """Add to the counts of the same deployments, rules and hours.

        Counts of deployments that were deleted are dropped.
        """
        with self._database.write() as connection:
            ids = {each.deployment_id for each in counts}
            present = _hold_deployments(connection, ids)
            _add(connection, [each for each in counts if each.deployment_id in present])

    def read(
        self,
        deployment_id: str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[HumilityTotal]:
        """How often rules triggered, by deployment and rule; none for never.

        deployment_id: None for all. start, end: with time zone; hours that begin from
            `start` on and before `end` count, and None is no limit.
        """
        table = humility_counts
        conditions = []
        if deployment_id is not None:
            conditions.append(table.c.deployment_id == deployment_id)
        if start is not None:
            conditions.append(table.c.hour >= start)
        if end is not None:
            conditions.append(table.c.hour < end)
        names = (table.c.deployment_id, table.c.rule_id)
        sums = (func.sum(table.c.triggered), func.sum(table.c.looked_at))
        query = select(*names, *sums).where(*conditions)
        with self._database.read() as connection:
            found = connection.execute(query.group_by(*names).order_by(*names)).all()
        # PostgreSQL's sum is a decimal.
        return [
            HumilityTotal(deployment, rule, int(triggered), int(looked_at))
            for deployment, rule, triggered, looked_at in found
        ]


def _hold_deployments(connection: Connection, ids: set[str]) -> set[str]:
    """Which of them are there, and stay until the transaction's end."""
    found = connection.execute(
        select(deployments.c.id)
        .where(deployments.c.id.in_(ids))
        .order_by(deployments.c.id)
        # SQLite has one writer anyway.
        .with_for_update(read=True, key_share=True)
    )
    return set(found.scalars())


def _add(connection: Connection, counts: Sequence[HumilityCount]) -> None:
    if not counts:
        return
    rows = [asdict(each) for each in counts]
    # In one order everywhere: two workers that add at once wait for each other's rows
    # and never both.
    rows.sort(key=lambda row: (row["deployment_id"], row["rule_id"], row["hour"]))
    table = humility_counts
    made = upserting(connection, table)
    added = {
        name: table.c[name] + made.excluded[name] for name in ("triggered", "looked_at")
    }
    statement = made.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key], set_=added
    )
    connection.execute(statement, rows)
