"""The verbs: users, tokens, models and deployments in one database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection

from app.store import queries, schema
from app.store.changes import Change, changing
from app.store.database import Database
from app.store.errors import (
    CannotOwn,
    DeploymentIdTaken,
    InvalidName,
    InvalidSetting,
    NameTaken,
    StoreUnavailable,
)
from app.store.identifiers import check_id, new_id
from app.store.records import (
    Actor,
    AuditEntry,
    Deployment,
    Importance,
    Role,
    Snapshot,
    StoredModel,
    Token,
    User,
    check_importance,
    new_secret,
    secret_digest,
)
from app.store.setting_checks import check_threshold
from app.store.settings import DeploymentSettings
from app.store.texts import (
    check_description,
    check_name,
    check_user_name,
    is_storable,
)

if TYPE_CHECKING:
    # The package brings numpy, which `foretell list` does not need.
    from backends.humility import Rule
    from backends.model import Model


class Unchanged(Enum):
    """Says of an argument for which None has a meaning that it was not given."""

    UNCHANGED = "unchanged"


_UNCHANGED: Literal[Unchanged.UNCHANGED] = Unchanged.UNCHANGED


class Store:
    """What outlives the processes; they all see the same.

    Nothing is opened before the first verb, so a store may be made before a fork.
    Every verb is one transaction, and every change raises the generation in it.
    Verbs raise StoreUnavailable when the database does not answer.
    """

    def __init__(self, database_url: str, home: Path) -> None:
        """home: the state folder; raises InvalidDatabaseUrl."""
        self._database = Database(database_url)
        self._home = home
        self._actor = Actor("foretell", "server")

    def acting(self, actor: Actor) -> Store:
        """The same store, whose changes the audit tells of as somebody's."""
        store = copy(self)
        store._actor = actor
        return store

    @property
    def database(self) -> Database:
        """What other verbs on the same database go through."""
        return self._database

    def migrate(self) -> None:
        """Make the state folder and the tables, or bring older ones up to date.

        Processes may do so at once. Raises SchemaTooNew, and StoreUnavailable also
        when the folder cannot be made.
        """
        try:
            # A folder that is there keeps the permissions that its owner gave it.
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"The state folder cannot be made: {error}"
            ) from error
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
            return queries.read_generation(connection)

    def snapshot(self) -> Snapshot:
        """All that a worker needs, of one moment."""
        with self._database.read() as connection:
            number = queries.read_generation(connection)
            found_users = queries.all_users(connection)
            found_tokens = queries.live_tokens(connection, _now())
            found_models = queries.all_models(connection)
            found_deployments = queries.all_deployments(connection)
        return Snapshot(
            generation=number,
            users=MappingProxyType({each.id: each for each in found_users}),
            tokens=MappingProxyType({each.digest: each for each in found_tokens}),
            deployments=MappingProxyType({each.id: each for each in found_deployments}),
            models=MappingProxyType({each.id: each for each in found_models}),
        )

    def add_user(self, name: str, *, role: Role = "user", admin: bool = False) -> User:
        """admin: the same as that role. Raises InvalidName and NameTaken."""
        check_user_name(name)
        with self._change() as change:
            if queries.find_user(change.connection, name) is not None:
                raise NameTaken(name)
            user = User(new_id(), name, _now(), "admin" if admin else role)
            change.add(user)
        return user

    def update_user(
        self, name: str, *, role: Role | None = None, password: str | None = None
    ) -> User:
        """Change what is given; password: hashed, as `User` has it.

        Raises UnknownUser, and CannotOwn for the role of a predictor if the user owns
        deployments.
        """
        changes: dict[str, Any] = {}
        if role is not None:
            changes["role"] = role
        if password is not None:
            changes["password"] = password
        with self._change() as change:
            old = queries.get_user(change.connection, name)
            new = replace(old, **changes)
            if new.role == "predictor" and queries.owns_deployments(
                change.connection, old.id
            ):
                raise CannotOwn(name, "deployments, which are to be deleted first")
            change.save(old, new)
        return new

    def users(self) -> list[User]:
        """Everyone, oldest first."""
        with self._database.read() as connection:
            return queries.all_users(connection)

    def user_by_name(self, name: str) -> User:
        """Raises UnknownUser."""
        with self._database.read() as connection:
            return queries.get_user(connection, name)

    def create_token(
        self, user_name: str, expires: timedelta | None = None
    ) -> tuple[Token, str]:
        """A new token and its plain text, which cannot be had again.

        expires: from now; None: never.
        Raises UnknownUser and InvalidSetting.
        """
        token, secret = _new_token(expires)
        with self._change() as change:
            user = queries.get_user(change.connection, user_name)
            token = replace(token, user_id=user.id)
            change.add(token)
        return token, secret

    def create_deployment_token(
        self, deployment_id: str, expires: timedelta | None = None
    ) -> tuple[Token, str]:
        """A new token, of the deployment's owner, that opens the deployment alone.

        Like `create_token` otherwise. It goes when the deployment is deleted.
        Raises UnknownDeployment and InvalidSetting.
        """
        token, secret = _new_token(expires)
        with self._change() as change:
            deployment = queries.get_deployment(change.connection, deployment_id)
            token = replace(
                token, user_id=deployment.owner_id, deployment_id=deployment.id
            )
            change.add(token)
        return token, secret

    def tokens(self) -> list[Token]:
        """All of them, revoked and expired too, oldest first."""
        with self._database.read() as connection:
            return queries.all_tokens(connection)

    def revoke_token(self, token_id: str) -> Token:
        """The token is good no longer; one revoked before stays as it was.

        token_id: the id, its beginning from 6 digits on, or the plain text.
        Raises UnknownToken and AmbiguousToken.
        """
        with self._change() as change:
            token = queries.get_token(change.connection, token_id[:24])
            if token.revoked_at is None:
                old, token = token, replace(token, revoked_at=_now())
                change.save(old, token)
        return token

    def add_model(self, model: Model, owner: str, nbytes: int) -> StoredModel:
        """Enter a model whose bundle is kept; one that is there stays as it was.

        owner: a user's name. nbytes: size of the bundle.
        Raises InvalidId, InvalidName, UnknownUser and CannotOwn.
        """
        check_id(model.id)
        if not is_storable(model.name + model.target):
            raise InvalidName("The model's name or target has broken characters")
        with self._change() as change:
            user = _owner(change.connection, owner)
            found = queries.find_model(change.connection, model.id)
            if found is not None:
                return found
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
            change.add(stored)
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
        description: str | None = None,
        importance: Importance = "LOW",
    ) -> Deployment:
        """A new deployment, enabled.

        owner: a user's name. model_id: None for one that is scored elsewhere.
        threshold: None for the model's own. deployment_id: None for a random one.
        Raises InvalidName, InvalidId, InvalidSetting, UnknownUser, CannotOwn,
        UnknownModel and DeploymentIdTaken.
        """
        check_name(label, "A label")
        threshold = check_threshold(threshold)
        chosen = new_id() if deployment_id is None else check_id(deployment_id)
        with self._change() as change:
            user = _owner(change.connection, owner)
            queries.check_model(change.connection, model_id)
            if queries.find_deployment(change.connection, chosen) is not None:
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
                deployed_at=now,
                description=check_description(description),
                importance=check_importance(importance),
            )
            change.add(deployment)
        return deployment

    def deployments(self) -> list[Deployment]:
        """Everybody's, oldest first."""
        with self._database.read() as connection:
            return queries.all_deployments(connection)

    def deployment(self, deployment_id: str) -> Deployment:
        """Raises UnknownDeployment."""
        with self._database.read() as connection:
            return queries.get_deployment(connection, deployment_id)

    def update_deployment(
        self,
        deployment_id: str,
        *,
        label: str | None = None,
        threshold: float | Literal[Unchanged.UNCHANGED] | None = _UNCHANGED,
        enabled: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        description: str | Literal[Unchanged.UNCHANGED] | None = _UNCHANGED,
        importance: str | None = None,
    ) -> Deployment:
        """Change what is given and keep the rest.

        threshold: None for the model's own. description: None for none.
        settings: the ones to change, by their names in DeploymentSettings.
        Raises UnknownDeployment, InvalidName and InvalidSetting.
        """
        changes: dict[str, Any] = {}
        if label is not None:
            check_name(label, "A label")
            changes["label"] = label
        if not isinstance(threshold, Unchanged):
            changes["threshold"] = check_threshold(threshold)
        if enabled is not None:
            changes["enabled"] = enabled
        if not isinstance(description, Unchanged):
            changes["description"] = check_description(description)
        if importance is not None:
            changes["importance"] = check_importance(importance)
        with self._change() as change:
            old = queries.get_deployment(change.connection, deployment_id)
            if settings is not None:
                changes["settings"] = old.settings.changed(settings)
            new = replace(old, **changes, updated_at=_now())
            change.save(old, new)
        return new

    def replace_model(
        self,
        deployment_id: str,
        model_id: str,
        *,
        check: Callable[[Deployment], None] | None = None,
        reason: str | None = None,
    ) -> Deployment:
        """Give a deployment another model.

        check: raises what it will if the deployment, as it is at that moment, must not
            have the model; nothing is changed then.
        reason: told in the audit, and nowhere else.
        Raises UnknownDeployment and UnknownModel.
        """
        with self._change() as change:
            old = queries.get_deployment(change.connection, deployment_id)
            queries.check_model(change.connection, model_id)
            if check is not None:
                check(old)
            now = _now()
            new = replace(old, model_id=model_id, updated_at=now, deployed_at=now)
            change.save(old, new, reason)
        return new

    def share_deployment(
        self, deployment_id: str, user_name: str, *, shared: bool = True
    ) -> Deployment:
        """Let a user ask the deployment for predictions, or no longer.

        Raises UnknownDeployment and UnknownUser.
        """
        return self.change_sharing(deployment_id, {user_name: shared})

    def change_sharing(
        self, deployment_id: str, wanted: Mapping[str, bool]
    ) -> Deployment:
        """Let users ask the deployment for predictions, or no longer: all, or none.

        wanted: by a user's name, whether it is shared. The owner's stays as it is.
        Raises UnknownDeployment and UnknownUser.
        """
        with self._change() as change:
            old = queries.get_deployment(change.connection, deployment_id)
            # In the order in which they came.
            found = dict.fromkeys(old.shared_with, True)
            for name, shared in wanted.items():
                found[queries.get_user(change.connection, name).id] = shared
            found.pop(old.owner_id, None)
            shared_with = tuple(each for each, shared in found.items() if shared)
            if shared_with == old.shared_with:
                # Nothing changes, and the audit has nothing to tell.
                return old
            new = replace(old, shared_with=shared_with, updated_at=_now())
            change.save(old, new)
        return new

    def set_enabled(self, deployment_id: str, enabled: bool) -> Deployment:
        """Raises UnknownDeployment."""
        return self.update_deployment(deployment_id, enabled=enabled)

    def change_humility(
        self, deployment_id: str, rules: Callable[[Deployment], Sequence[Rule]]
    ) -> Deployment:
        """Put the rules that `rules` makes of a deployment in the place of its own.

        rules: gets the deployment as it is, with no other change until the end; what
            it raises leaves everything as it was.
        Raises UnknownDeployment and InvalidSetting.
        """
        with self._change() as change:
            old = queries.get_deployment(change.connection, deployment_id)
            settings = replace(old.settings, humility=tuple(rules(old)))
            new = replace(old, settings=settings, updated_at=_now())
            change.save(old, new)
        return new

    def delete_deployment(self, deployment_id: str) -> None:
        """Its tokens and counts go with it, the model and its bundle stay.

        Raises UnknownDeployment.
        """
        with self._change() as change:
            deployment = queries.get_deployment(change.connection, deployment_id)
            change.delete(deployment)

    def audit(
        self,
        object_id: str | None = None,
        *,
        most: int = 100,
        before: int | None = None,
    ) -> list[AuditEntry]:
        """The changes, newest first.

        object_id: None for all. before: the number that the first one lies below.
        """
        with self._database.read() as connection:
            return queries.audit_entries(connection, object_id, most, before)

    def _change(self) -> AbstractContextManager[Change]:
        return changing(self._database, self._actor)


def _now() -> datetime:
    return datetime.now(UTC)


def _owner(connection: Connection, name: str) -> User:
    """A user who may own what is made; raises UnknownUser and CannotOwn."""
    user = queries.get_user(connection, name)
    if user.role == "predictor":
        raise CannotOwn(name, "nothing: a predictor asks for predictions alone")
    return user


def _new_token(expires: timedelta | None) -> tuple[Token, str]:
    """A token that is nobody's yet, and its plain text."""
    created_at = _now()
    token_id = new_id()
    secret = new_secret(token_id)
    token = Token(
        id=token_id,
        user_id="",
        digest=secret_digest(secret),
        created_at=created_at,
        expires_at=_expiry(created_at, expires),
        revoked_at=None,
        deployment_id=None,
    )
    return token, secret


def _expiry(start: datetime, after: timedelta | None) -> datetime | None:
    if after is None:
        return None
    if after <= timedelta(0):
        raise InvalidSetting("expires", "the time must be longer than none")
    try:
        return start + after
    except OverflowError:
        raise InvalidSetting("expires", "the time is too long") from None
