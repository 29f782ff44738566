"""Making and checking bundles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.state import State
from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config
    from backends.model import Model


class KeptBundleDamaged(AppError):
    """A deployed model's bundle on this server is not as it was packaged."""


@contextmanager
def opened_bundle(path: Path) -> Iterator[tuple[Path, Model]]:
    """The bundle's folder and its card; a tar is unpacked for the while.

    Raises BundleRejected.
    """
    from backends import bundle

    if path.is_dir() or not path.exists():
        yield path, bundle.read(path)
        return
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        model = bundle.unpack(path, Path(folder))
        yield Path(folder), model


@contextmanager
def checked_bundle(path: Path, config: Config) -> Iterator[tuple[Path, Model]]:
    """The same for a bundle that has passed its validation.

    Raises BundleRejected and ModelFileRejected.
    """
    from app.validation import validate

    with opened_bundle(path) as (folder, model):
        validate(folder, config)
        yield folder, model


def keep_bundle(state: State, folder: Path, model: Model, owner: str) -> None:
    """Copy a bundle into the state folder and enter its model.

    owner: a user's name.
    """
    nbytes = sum(file.stat().st_size for file in folder.iterdir())
    state.bundles.put(folder, model.id)
    # What is there under this name may be older, and what was copied just now may
    # have been changed meanwhile.
    kept_bundle(state, model.id)
    state.store.add_model(model, owner, nbytes)


def kept_bundle(state: State, model_id: str) -> tuple[Path, Model]:
    """Where a deployed model's bundle is kept, and its card.

    Raises UnknownModel and KeptBundleDamaged.
    """
    from backends import bundle

    folder = state.bundles.path(model_id)
    try:
        return folder, bundle.read(folder)
    except bundle.BundleRejected as error:
        raise KeptBundleDamaged(
            f"The copy in {folder} is damaged: {error}; remove that folder and "
            "replace the model with the same bundle"
        ) from error
