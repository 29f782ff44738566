"""The settings and the store that a verb works on."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config
    from app.store.bundles import Bundles
    from app.store.compiled import CompiledModels
    from app.store.files import Files
    from app.store.humility_totals import HumilityTotals
    from app.store.records import User
    from app.store.store import Store


class NoOwner(AppError):
    """Nobody is there who could own a deployment."""


@dataclass(frozen=True, slots=True)
class State:
    """What the settings lead to."""

    config: Config
    store: Store
    files: Files

    @property
    def bundles(self) -> Bundles:
        """The bundles of deployed models."""
        from app.sharing import bundles_of

        return bundles_of(self.config, self.files)

    @property
    def compiled(self) -> CompiledModels:
        """The compiled folders that this release can read."""
        from app.sharing import compiled_of

        return compiled_of(self.config, self.files)

    @property
    def humility_totals(self) -> HumilityTotals:
        """How often humility rules triggered."""
        from app.store.humility_totals import HumilityTotals

        return HumilityTotals(self.store.database)


@contextmanager
def opened_state() -> Iterator[State]:
    """The state of the present settings, its database brought up to date.

    Raises InvalidConfig, SchemaTooNew and StoreUnavailable.
    """
    from app.config import Config
    from app.store.files import open_files
    from app.store.records import Actor
    from app.store.store import Store

    config = Config.from_environment()
    store = Store(config.database_url, config.home)
    store.migrate()
    store = store.acting(Actor(_system_user(), "command line"))
    try:
        url = config.store_url or config.home.as_uri()
        yield State(config, store, open_files(url))
    finally:
        store.dispose()


def _system_user() -> str:
    """Who runs this, as the machine knows them."""
    user_id = os.getuid()
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        # Containers run as users that they have no name for.
        return str(user_id)


def find_owner(store: Store, name: str | None) -> User:
    """The user of this name; without one, the admin who was added first.

    Raises UnknownUser and NoOwner.
    """
    if name is not None:
        return store.user_by_name(name)
    users = store.users()
    if not users:
        raise NoOwner("There is no user yet: add one, `foretell user add NAME --admin`")
    admin = next((user for user in users if user.admin), None)
    if admin is None:
        raise NoOwner("There is no admin: name an owner, `--owner NAME`")
    return admin
