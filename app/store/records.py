"""What the store keeps, as immutable values."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from app.store.errors import UnknownDeployment
from app.store.setting_checks import check_choice
from app.store.settings import DeploymentSettings

Role = Literal["admin", "user", "predictor"]
Importance = Literal["CRITICAL", "HIGH", "MODERATE", "LOW"]

_LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def new_secret(token_id: str) -> str:
    """A token's plain text: its id, then 32 random letters and digits (190 bits).

    The id in front tells whose token was found somewhere, and makes no part of
    what an attacker would have to guess.
    """
    return token_id + "".join(secrets.choice(_LETTERS_AND_DIGITS) for _ in range(32))


def secret_digest(secret: str) -> str:
    """SHA-256 as 64 hexadecimal digits, for any text that a client may send."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class User:
    """Someone who owns deployments and tokens.

    role: an admin sees and changes everybody's; a user sees and changes what is the
        user's own; a predictor owns nothing, and asks what is shared for predictions.
    password: as `werkzeug.security` hashes it; None: there is none.
    """

    id: str
    name: str
    created_at: datetime
    role: Role = "user"
    password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def admin(self) -> bool:
        """Whether everybody's deployments are this user's to see and to change."""
        return self.role == "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A credential of a user; the plain text is never kept.

    id: the first 24 characters of the plain text.
    digest: SHA-256 of the plain text, hexadecimal.
    expires_at: the first moment at which the token is no longer good; None: never.
    deployment_id: the only deployment that it opens, one of the user's; None: all.
    """

    id: str
    user_id: str
    digest: str = dataclasses.field(repr=False)
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    deployment_id: str | None

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        if self.revoked_at is not None:
            return False
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is, and what the token of the request opens.

    deployment_id: the only deployment that the token opens; None: all that the user
        may see.
    """

    user: User
    deployment_id: str | None

    def may_open(self, deployment_id: str) -> bool:
        """False only if the token is for another deployment."""
        return self.deployment_id is None or self.deployment_id == deployment_id


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model whose bundle is kept.

    id: from the bundle's content.
    nbytes: size of the bundle.
    """

    id: str
    name: str
    format: str
    task: str
    target: str
    created_at: datetime
    owner_id: str
    nbytes: int

    def is_used_by(self, caller: Caller) -> bool:
        """Its owner and admins may deploy it, by a token that opens all of theirs."""
        user = caller.user
        if user.role == "predictor" or caller.deployment_id is not None:
            return False
        return user.admin or user.id == self.owner_id


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model under an address, with an owner.

    model_id: None when the model is scored elsewhere.
    threshold: None for the model's own; binary only.
    shared_with: ids of users who may ask it for predictions, beside its owner.
    deployed_at: since when it has its model.
    """

    id: str
    label: str
    owner_id: str
    model_id: str | None
    threshold: float | None
    enabled: bool
    settings: DeploymentSettings
    created_at: datetime
    updated_at: datetime
    deployed_at: datetime
    description: str | None = None
    importance: Importance = "LOW"
    shared_with: tuple[str, ...] = ()

    @property
    def project_address(self) -> tuple[str, str | None]:
        """Project and model id of its older addresses."""
        settings = self.settings
        return (
            settings.project_id or self.id,
            settings.project_model_id or self.model_id,
        )

    def is_visible_to(self, caller: Caller) -> bool:
        """To its owner, to admins and to those it is shared with, by a token that opens
        it."""
        user = caller.user
        is_theirs = user.id == self.owner_id or user.id in self.shared_with
        return (user.admin or is_theirs) and caller.may_open(self.id)

    def is_changed_by(self, caller: Caller) -> bool:
        """Its owner and admins may, by a token that is not for predictions alone."""
        user = caller.user
        if user.role == "predictor" or caller.deployment_id is not None:
            return False
        return user.admin or user.id == self.owner_id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a worker needs to know, read at one moment.

    generation: equal numbers mean equal content. After a restored backup it may
        be lower than before, so compare with `!=`.
    users, models, deployments: by id.
    tokens: by digest; only those that were live at that moment.
    """

    generation: int
    users: Mapping[str, User]
    tokens: Mapping[str, Token]
    deployments: Mapping[str, Deployment]
    models: Mapping[str, StoredModel]

    def authenticate(self, secret: str, now: datetime) -> Caller | None:
        """Who has this token, or None when it is unknown, expired or revoked.

        now: with time zone.
        """
        digest = secret_digest(secret)
        token = self.tokens.get(digest)
        if token is None or not hmac.compare_digest(token.digest, digest):
            return None
        if not token.is_live(now):
            return None
        return Caller(self.users[token.user_id], token.deployment_id)

    def deployment(self, deployment_id: str, caller: Caller) -> Deployment:
        """Raises UnknownDeployment, also for one that is not the caller's to see."""
        deployment = self.deployments.get(deployment_id)
        if deployment is None or not deployment.is_visible_to(caller):
            raise UnknownDeployment(deployment_id, caller.user.id)
        return deployment

    def project_deployment(
        self, project_id: str, model_id: str, caller: Caller
    ) -> Deployment | None:
        """The oldest deployment with this older address that the caller may see.

        The caller's own go before those of others: an address can be chosen.
        """
        address = (project_id, model_id)
        every = self.deployments_of(caller)
        found = [each for each in every if each.project_address == address]
        found.sort(key=lambda each: each.owner_id != caller.user.id)
        return next(iter(found), None)

    def deployments_of(self, caller: Caller) -> list[Deployment]:
        """Those that the caller may see, oldest first."""
        every = self.deployments.values()
        return [each for each in every if each.is_visible_to(caller)]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes the store, and on which way: `api`, `command line` or `server`."""

    name: str
    via: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change.

    number: they are counted from 1.
    action: create, update or delete. kind: of the object: user, token, model,
        deployment or job.
    before, after: what the change made different, by name; None where the object was
        not there. Secrets are left out.
    """

    number: int
    created_at: datetime
    actor: str
    via: str
    action: str
    kind: str
    object_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def check_importance(text: str) -> Importance:
    """The text, when it is an importance; raises InvalidSetting."""
    check_choice("importance", text, get_args(Importance))
    return cast(Importance, text)
