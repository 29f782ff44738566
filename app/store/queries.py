"""Records from rows and back, inside a transaction that the caller holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.store.errors import (
    AmbiguousToken,
    UnknownDeployment,
    UnknownModel,
    UnknownToken,
    UnknownUser,
)
from app.store.records import (
    AuditEntry,
    Deployment,
    StoredModel,
    Token,
    User,
)
from app.store.settings import DeploymentSettings
from app.store.tables import (
    audit,
    deployments,
    generation,
    models,
    tokens,
    users,
)
from app.store.texts import is_storable, storable

_DEPLOYMENT_COLUMNS = tuple(column.name for column in deployments.columns)

Record = User | Token | StoredModel | Deployment

_TABLES: dict[type[Record], Table] = {
    User: users,
    Token: tokens,
    StoredModel: models,
    Deployment: deployments,
}

# Both write `ON CONFLICT` alike, and no other database is used.
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

# A token is named by the beginning of its id, as a commit is.
_TOKEN_BEGINNING = re.compile(r"[0-9a-f]{6,24}")


def raise_generation(connection: Connection) -> None:
    """Begin a change.

    The first statement of every change: PostgreSQL locks the row until the commit, so
    changes follow one another there too, and what is looked up next stays true.
    """
    connection.execute(update(generation).values(number=generation.c.number + 1))


def read_generation(connection: Connection) -> int:
    """The number of changes so far."""
    return int(connection.execute(select(generation.c.number)).scalar_one())


def add(connection: Connection, record: Record) -> None:
    """Insert a record."""
    table = _TABLES[type(record)]
    connection.execute(insert(table).values(_values(table, record)))


def save(connection: Connection, record: User | Token | Deployment) -> None:
    """Write a record over the one with its id."""
    table = _TABLES[type(record)]
    connection.execute(
        update(table).where(table.c.id == record.id).values(_values(table, record))
    )


def delete(connection: Connection, record: Deployment) -> None:
    """Remove a record."""
    table = _TABLES[type(record)]
    connection.execute(table.delete().where(table.c.id == record.id))


def all_users(connection: Connection) -> list[User]:
    """Oldest first."""
    return [User(*row) for row in _rows(connection, users)]


def find_user(connection: Connection, name: str) -> User | None:
    """By name."""
    row = find_row(connection, users.c.name, name)
    return None if row is None else User(*row)


def get_user(connection: Connection, name: str) -> User:
    """By name; raises UnknownUser."""
    user = find_user(connection, name)
    if user is None:
        raise UnknownUser(name)
    return user


def owns_deployments(connection: Connection, user_id: str) -> bool:
    """Whether the user owns any."""
    query = select(deployments.c.id).where(deployments.c.owner_id == user_id).limit(1)
    return connection.execute(query).one_or_none() is not None


def all_tokens(connection: Connection) -> list[Token]:
    """Revoked and expired ones too, oldest first."""
    return [Token(*row) for row in _rows(connection, tokens)]


def live_tokens(connection: Connection, now: datetime) -> list[Token]:
    """Neither revoked nor expired, oldest first."""
    live = tokens.c.revoked_at.is_(None) & or_(
        tokens.c.expires_at.is_(None), tokens.c.expires_at > now
    )
    return [Token(*row) for row in _rows(connection, tokens, live)]


def tokens_of(connection: Connection, deployment_id: str) -> list[Token]:
    """Those that open this deployment alone; revoked and expired ones too."""
    found = _rows(connection, tokens, tokens.c.deployment_id == deployment_id)
    return [Token(*row) for row in found]


def get_token(connection: Connection, beginning: str) -> Token:
    """By the beginning of its id; raises UnknownToken and AmbiguousToken."""
    if not _TOKEN_BEGINNING.fullmatch(beginning):
        raise UnknownToken(beginning)
    rows = _rows(connection, tokens, tokens.c.id.startswith(beginning))
    if not rows:
        raise UnknownToken(beginning)
    if len(rows) > 1:
        raise AmbiguousToken(beginning)
    return Token(*rows[0])


def all_models(connection: Connection) -> list[StoredModel]:
    """Oldest first."""
    return [StoredModel(*row) for row in _rows(connection, models)]


def find_model(connection: Connection, model_id: str) -> StoredModel | None:
    """By id."""
    row = find_row(connection, models.c.id, model_id)
    return None if row is None else StoredModel(*row)


def check_model(connection: Connection, model_id: str | None) -> None:
    """Raises UnknownModel; None stands for no model and is right."""
    if model_id is not None and find_model(connection, model_id) is None:
        raise UnknownModel(model_id)


def all_deployments(connection: Connection) -> list[Deployment]:
    """Oldest first."""
    return [_deployment(row) for row in _rows(connection, deployments)]


def find_deployment(connection: Connection, deployment_id: str) -> Deployment | None:
    """By id."""
    row = find_row(connection, deployments.c.id, deployment_id)
    return None if row is None else _deployment(row)


def get_deployment(connection: Connection, deployment_id: str) -> Deployment:
    """By id; raises UnknownDeployment."""
    deployment = find_deployment(connection, deployment_id)
    if deployment is None:
        raise UnknownDeployment(deployment_id)
    return deployment


def tell(connection: Connection, entry: AuditEntry) -> None:
    """Enter a change in the audit, which gives it its number."""
    values = asdict(entry)
    del values["number"]
    connection.execute(insert(audit).values(values))


def audit_entries(
    connection: Connection, object_id: str | None, most: int, before: int | None
) -> list[AuditEntry]:
    """Newest first; see `Store.audit`."""
    conditions = []
    if object_id is not None:
        conditions.append(audit.c.object_id == storable(object_id))
    if before is not None:
        conditions.append(audit.c.number < before)
    found = connection.execute(
        select(audit).where(*conditions).order_by(audit.c.number.desc()).limit(most)
    )
    return [AuditEntry(*row) for row in found.all()]


def upserting(connection: Connection, table: Table) -> Any:
    """An insert that can be told what to do where the row is there already."""
    return _INSERTS[connection.dialect.name](table)


def _rows(
    connection: Connection, table: Table, *conditions: ColumnElement[bool]
) -> Sequence[Sequence[Any]]:
    return connection.execute(
        select(table).where(*conditions).order_by(table.c.created_at, table.c.id)
    ).all()


def find_row(
    connection: Connection, column: Column[Any], value: str
) -> Sequence[Any] | None:
    """The one row that has the value in the column, which is unique."""
    # Databases refuse even to look for what they cannot keep.
    if not is_storable(value):
        return None
    return connection.execute(select(column.table).where(column == value)).one_or_none()


def _values(table: Table, record: Record) -> dict[str, Any]:
    values = {column.name: getattr(record, column.name) for column in table.columns}
    if isinstance(record, Deployment):
        values["settings"] = record.settings.to_stored()
        values["shared_with"] = list(record.shared_with) or None
    return values


def _deployment(row: Sequence[Any]) -> Deployment:
    values = dict(zip(_DEPLOYMENT_COLUMNS, row, strict=True))
    values["settings"] = DeploymentSettings.from_json(values["settings"])
    values["shared_with"] = tuple(values["shared_with"] or ())
    return Deployment(**values)
