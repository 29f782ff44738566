"""The verbs of the store: who may do what with which deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

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

from app.store import schema
from app.store.database import Database
from app.store.errors import (
    AmbiguousToken,
    DeploymentIdTaken,
    InvalidName,
    InvalidSetting,
    NameTaken,
    UnknownDeployment,
    UnknownModel,
    UnknownToken,
    UnknownUser,
)
from app.store.records import (
    Deployment,
    DeploymentSettings,
    Snapshot,
    StoredModel,
    Token,
    User,
    check_id,
    check_threshold,
    new_id,
    new_secret,
    secret_digest,
)
from app.store.tables import deployments, generation, models, tokens, users

if TYPE_CHECKING:
    # The package brings numpy, which `foretell list` does not need.
    from backends.model import Model


class Unchanged(Enum):
    """Says of an argument for which None has a meaning that it was not given."""

    UNCHANGED = "unchanged"


_UNCHANGED: Literal[Unchanged.UNCHANGED] = Unchanged.UNCHANGED

_Record = User | Token | StoredModel | Deployment

# A token is named by the beginning of its id, as a commit is.
_TOKEN_BEGINNING = re.compile(r"[0-9a-f]{6,24}")

# PostgreSQL keeps no NUL, and neither database half a surrogate pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# What breaks the lines of lists and logs; other scripts' spaces and joiners do not.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Store:
    """Users, tokens, models and deployments in one database.

    Nothing is opened before the first verb, so a store may be made before a fork.
    Every verb is one transaction, and every change raises the generation in it.
    Verbs raise StoreUnavailable when the database does not answer.
    """

    def __init__(self, database_url: str, home: Path) -> None:
        """home: the state folder; raises InvalidDatabaseUrl."""
        self._database = Database(database_url)
        self._home = home

    def migrate(self) -> None:
        """Make the state folder and the tables, or bring older ones up to date.

        Processes may do so at once. Raises SchemaTooNew.
        """
        # A folder that is there keeps the permissions that its owner gave it.
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        schema.migrate(self._database)

    def schema_is_current(self) -> bool:
        """Whether nothing is left to migrate; raises SchemaTooNew."""
        return schema.is_current(self._database)

    def dispose(self) -> None:
        """Close the connections; the next verb opens one again."""
        self._database.dispose()

    def generation(self) -> int:
        """The number of changes so far."""
        with self._database.read() as connection:
            return _generation(connection)

    def snapshot(self) -> Snapshot:
        """All that a worker needs, of one moment."""
        with self._database.read() as connection:
            number = _generation(connection)
            found_users = _users(connection)
            found_tokens = _live_tokens(connection, _now())
            found_models = [StoredModel(*row) for row in _rows(connection, models)]
            found_deployments = _deployments(connection)
        return Snapshot(
            generation=number,
            users=MappingProxyType({each.id: each for each in found_users}),
            tokens=MappingProxyType({each.digest: each for each in found_tokens}),
            deployments=MappingProxyType({each.id: each for each in found_deployments}),
            models=MappingProxyType({each.id: each for each in found_models}),
        )

    def add_user(self, name: str, *, admin: bool = False) -> User:
        """Raises InvalidName and NameTaken."""
        _check_user_name(name)
        with self._database.write() as connection:
            _bump(connection)
            if _one(connection, users.c.name, name) is not None:
                raise NameTaken(name)
            user = User(new_id(), name, admin, _now())
            _insert(connection, users, user)
        return user

    def users(self) -> list[User]:
        """Everyone, oldest first."""
        with self._database.read() as connection:
            return _users(connection)

    def user_by_name(self, name: str) -> User:
        """Raises UnknownUser."""
        with self._database.read() as connection:
            return _user(connection, name)

    def create_token(
        self, user_name: str, expires: timedelta | None = None
    ) -> tuple[Token, str]:
        """A new token and its plain text, which cannot be had again.

        expires: from now; None: never.
        Raises UnknownUser and InvalidSetting.
        """
        created_at = _now()
        expires_at = _expiry(created_at, expires)
        token_id = new_id()
        secret = new_secret(token_id)
        with self._database.write() as connection:
            _bump(connection)
            user = _user(connection, user_name)
            token = Token(
                id=token_id,
                user_id=user.id,
                digest=secret_digest(secret),
                created_at=created_at,
                expires_at=expires_at,
                revoked_at=None,
            )
            _insert(connection, tokens, token)
        return token, secret

    def tokens(self) -> list[Token]:
        """All of them, revoked and expired too, oldest first."""
        with self._database.read() as connection:
            return [Token(*row) for row in _rows(connection, tokens)]

    def revoke_token(self, token_id: str) -> Token:
        """The token is good no longer; one revoked before stays as it was.

        token_id: the id, its beginning from 6 digits on, or the plain text.
        Raises UnknownToken and AmbiguousToken.
        """
        with self._database.write() as connection:
            _bump(connection)
            token = _token(connection, token_id[:24])
            if token.revoked_at is None:
                connection.execute(
                    update(tokens)
                    .where(tokens.c.id == token.id)
                    .values(revoked_at=_now())
                )
            return _token(connection, token.id)

    def add_model(self, model: Model, owner: str, nbytes: int) -> StoredModel:
        """Enter a model whose bundle is kept; one that is there stays as it was.

        owner: a user's name. nbytes: size of the bundle.
        Raises InvalidId, InvalidName and UnknownUser.
        """
        check_id(model.id)
        if _UNSTORABLE.search(model.name + model.target):
            raise InvalidName("The model's name or target has broken characters")
        with self._database.write() as connection:
            _bump(connection)
            user = _user(connection, owner)
            found = _one(connection, models.c.id, model.id)
            if found is not None:
                return StoredModel(*found)
            stored = StoredModel(
                id=model.id,
                name=model.name,
                format=model.format,
                task=model.task,
                target=model.target,
                created_at=_now(),
                owner_id=user.id,
                nbytes=nbytes,
            )
            _insert(connection, models, stored)
        return stored

    def create_deployment(
        self,
        label: str,
        owner: str,
        model_id: str | None,
        *,
        threshold: float | None = None,
        deployment_id: str | None = None,
        settings: DeploymentSettings | None = None,
    ) -> Deployment:
        """A new deployment, enabled.

        owner: a user's name. model_id: None for one that is scored elsewhere.
        threshold: None for the model's own. deployment_id: None for a random one.
        Raises InvalidName, InvalidId, InvalidSetting, UnknownUser, UnknownModel and
        DeploymentIdTaken.
        """
        _check_name(label, "A label")
        threshold = check_threshold(threshold)
        chosen = new_id() if deployment_id is None else check_id(deployment_id)
        with self._database.write() as connection:
            _bump(connection)
            user = _user(connection, owner)
            _check_model(connection, model_id)
            if _find_deployment(connection, chosen) is not None:
                raise DeploymentIdTaken(chosen)
            now = _now()
            deployment = Deployment(
                id=chosen,
                label=label,
                owner_id=user.id,
                model_id=model_id,
                threshold=threshold,
                enabled=True,
                settings=settings or DeploymentSettings(),
                created_at=now,
                updated_at=now,
            )
            _insert(connection, deployments, deployment)
        return deployment

    def deployments(self) -> list[Deployment]:
        """Everybody's, oldest first."""
        with self._database.read() as connection:
            return _deployments(connection)

    def deployment(self, deployment_id: str) -> Deployment:
        """Raises UnknownDeployment."""
        with self._database.read() as connection:
            return _deployment(connection, deployment_id)

    def update_deployment(
        self,
        deployment_id: str,
        *,
        label: str | None = None,
        threshold: float | Literal[Unchanged.UNCHANGED] | None = _UNCHANGED,
        enabled: bool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Deployment:
        """Change what is given and keep the rest.

        threshold: None for the model's own.
        settings: the ones to change, by their names in DeploymentSettings.
        Raises UnknownDeployment, InvalidName and InvalidSetting.
        """
        changes: dict[str, Any] = {}
        if label is not None:
            _check_name(label, "A label")
            changes["label"] = label
        if not isinstance(threshold, Unchanged):
            changes["threshold"] = check_threshold(threshold)
        if enabled is not None:
            changes["enabled"] = enabled
        with self._database.write() as connection:
            _bump(connection)
            old = _deployment(connection, deployment_id)
            if settings is not None:
                changes["settings"] = old.settings.changed(settings)
            return _change(connection, old, **changes)

    def replace_model(self, deployment_id: str, model_id: str) -> Deployment:
        """Raises UnknownDeployment and UnknownModel."""
        with self._database.write() as connection:
            _bump(connection)
            old = _deployment(connection, deployment_id)
            _check_model(connection, model_id)
            return _change(connection, old, model_id=model_id)

    def set_enabled(self, deployment_id: str, enabled: bool) -> Deployment:
        """Raises UnknownDeployment."""
        return self.update_deployment(deployment_id, enabled=enabled)

    def delete_deployment(self, deployment_id: str) -> None:
        """The model and its bundle stay; raises UnknownDeployment."""
        with self._database.write() as connection:
            _bump(connection)
            _deployment(connection, deployment_id)
            connection.execute(
                deployments.delete().where(deployments.c.id == deployment_id)
            )


def _now() -> datetime:
    return datetime.now(UTC)


def _bump(connection: Connection) -> None:
    # First in every change: PostgreSQL locks the row until the commit, so changes
    # follow one another there too, and what is looked up next stays true.
    connection.execute(update(generation).values(number=generation.c.number + 1))


def _generation(connection: Connection) -> int:
    return int(connection.execute(select(generation.c.number)).scalar_one())


def _rows(
    connection: Connection, table: Table, *conditions: ColumnElement[bool]
) -> Sequence[Sequence[Any]]:
    return connection.execute(
        select(table).where(*conditions).order_by(table.c.created_at, table.c.id)
    ).all()


def _one(
    connection: Connection, column: Column[Any], value: str
) -> Sequence[Any] | None:
    # Nothing kept has such characters, and databases refuse even to look for them.
    if _UNSTORABLE.search(value):
        return None
    return connection.execute(select(column.table).where(column == value)).one_or_none()


def _insert(connection: Connection, table: Table, record: _Record) -> None:
    connection.execute(insert(table).values(_values(table, record)))


def _values(table: Table, record: _Record) -> dict[str, Any]:
    values = {column.name: getattr(record, column.name) for column in table.columns}
    if isinstance(record, Deployment):
        values["settings"] = record.settings.to_json()
    return values


def _users(connection: Connection) -> list[User]:
    return [User(*row) for row in _rows(connection, users)]


def _user(connection: Connection, name: str) -> User:
    found = _one(connection, users.c.name, name)
    if found is None:
        raise UnknownUser(name)
    return User(*found)


def _live_tokens(connection: Connection, now: datetime) -> list[Token]:
    live = tokens.c.revoked_at.is_(None) & or_(
        tokens.c.expires_at.is_(None), tokens.c.expires_at > now
    )
    return [Token(*row) for row in _rows(connection, tokens, live)]


def _token(connection: Connection, beginning: str) -> Token:
    if not _TOKEN_BEGINNING.fullmatch(beginning):
        raise UnknownToken(beginning)
    found = _rows(connection, tokens, tokens.c.id.startswith(beginning))
    if not found:
        raise UnknownToken(beginning)
    if len(found) > 1:
        raise AmbiguousToken(beginning)
    return Token(*found[0])


def _check_model(connection: Connection, model_id: str | None) -> None:
    if model_id is not None and _one(connection, models.c.id, model_id) is None:
        raise UnknownModel(model_id)


def _deployments(connection: Connection) -> list[Deployment]:
    return [_to_deployment(row) for row in _rows(connection, deployments)]


def _deployment(connection: Connection, deployment_id: str) -> Deployment:
    found = _find_deployment(connection, deployment_id)
    if found is None:
        raise UnknownDeployment(deployment_id)
    return found


def _find_deployment(connection: Connection, deployment_id: str) -> Deployment | None:
    found = _one(connection, deployments.c.id, deployment_id)
    return None if found is None else _to_deployment(found)


def _change(connection: Connection, old: Deployment, **changes: Any) -> Deployment:
    new = replace(old, **changes, updated_at=_now())
    connection.execute(
        update(deployments)
        .where(deployments.c.id == old.id)
        .values(_values(deployments, new))
    )
    return new


def _to_deployment(row: Sequence[Any]) -> Deployment:
    id, label, owner_id, model_id, threshold, enabled, settings, created, updated = row
    return Deployment(
        id=id,
        label=label,
        owner_id=owner_id,
        model_id=model_id,
        threshold=threshold,
        enabled=enabled,
        settings=DeploymentSettings.from_json(settings),
        created_at=created,
        updated_at=updated,
    )


def _check_name(name: str, what: str) -> None:
    if not name or name != name.strip():
        raise InvalidName(f"{what} is not empty and has no space at its ends")
    if _CONTROL.search(name):
        raise InvalidName(f"{what} has no control characters")
    if len(name) > 256:
        raise InvalidName(f"{what} has at most 256 characters")


def _check_user_name(name: str) -> None:
    _check_name(name, "A user name")
    if ":" in name:
        # Basic authorization is `name:token`, split at the first colon.
        raise InvalidName("A user name has no colon")


def _expiry(start: datetime, after: timedelta | None) -> datetime | None:
    if after is None:
        return None
    if after <= timedelta(0):
        raise InvalidSetting("expires", "the time must be longer than none")
    try:
        return start + after
    except OverflowError:
        raise InvalidSetting("expires", "the time is too long") from None
