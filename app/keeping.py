"""Bundles from wherever they come: unpacked, checked, compiled and entered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.errors import AppError
from app.store.errors import StoreUnavailable

if TYPE_CHECKING:
    from app.config import Config
    from app.store.bundles import Bundles
    from app.store.compiled import CompiledModels
    from app.store.store import Store
    from backends.compiled import Verdict
    from backends.model import Model


class KeptBundleDamaged(AppError):
    """A deployed model's bundle on this server is not as it was packaged."""


class Place(Protocol):
    """Where bundles are kept: what a verb works on, or a server's services."""

    @property
    def config(self) -> Config: ...
    @property
    def store(self) -> Store: ...
    @property
    def bundles(self) -> Bundles: ...
    @property
    def compiled(self) -> CompiledModels: ...


@contextmanager
def unpacked(path: Path, where: Path | None = None) -> Iterator[Path]:
    """The bundle's folder; a tar is unpacked into one for the while.

    where: folder to do that in; None for the system's own.
    Raises BundleRejected for a tar that is not one bundle, nothing else and safe.
    """
    from backends import bundle

    if path.is_dir() or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="foretell-", dir=where) as folder:
        bundle.unpack(path, Path(folder))
        yield Path(folder)


@contextmanager
def checked(
    path: Path, config: Config, where: Path | None = None
) -> Iterator[tuple[Path, Model]]:
    """The folder and the card of a bundle that passed its validation.

    where: as `unpacked` has it. Raises BundleRejected.
    """
    from app.validation import validate

    with unpacked(path, where) as folder:
        yield folder, validate(folder, config).model


def keep(place: Place, folder: Path, model: Model, owner: str) -> Verdict:
    """Copy a bundle into the state folder, compile its model and enter it.

    owner: a user's name. Returns which engine serves the model.
    Raises what `kept` does, InvalidBundle, UnknownUser, CannotOwn, InvalidName, and
    OSError, for instance when the disk is full. Nothing is left behind then, but where
    it is not known whether the model was entered.
    """
    with place.bundles.keeping(model.id):
        is_new = not place.bundles.has(model.id)
        try:
            return _keep(place, folder, model, owner)
        except StoreUnavailable:
            # It may have been entered all the same.
            raise
        except Exception:
            if is_new:
                _remove_unknown(place, model.id)
            raise


def _keep(place: Place, folder: Path, model: Model, owner: str) -> Verdict:
    from app.compilation import compile_deployed

    nbytes = sum(file.stat().st_size for file in folder.iterdir())
    place.bundles.put(folder, model.id)
    # What is there under this name may be older and damaged, and what was copied just
    # now may have been changed since it was checked.
    copy, _ = kept(place, model.id)
    # Before any server hears of the model: its first request must not wait.
    verdict = compile_deployed(copy, model, place.compiled, place.config)
    place.store.add_model(model, owner, nbytes)
    return verdict


def _remove_unknown(place: Place, model_id: str) -> None:
    """Remove a bundle that this process has made, unless the store has its model."""
    with suppress(AppError, OSError):
        if model_id not in place.store.snapshot().models:
            place.bundles.remove(model_id)
            place.compiled.remove(model_id)


def kept(place: Place, model_id: str) -> tuple[Path, Model]:
    """Where a deployed model's bundle is kept, and its card.

    Raises UnknownModel and KeptBundleDamaged.
    """
    from backends import bundle

    folder = place.bundles.path(model_id)
    try:
        model = bundle.read(folder)
    except bundle.BundleRejected as error:
        raise KeptBundleDamaged(_damage(folder, str(error))) from error
    if model.id != model_id:
        raise KeptBundleDamaged(_damage(folder, f"it holds model {model.id}"))
    return folder, model


def _damage(folder: Path, reason: str) -> str:
    return (
        f"The copy in {folder} is damaged, {reason}: remove that folder, then give "
        "the same bundle again"
    )
