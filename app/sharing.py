"""Bundles and compiled models of a state folder, shared with other servers or not."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from app.config import Config
from app.errors import AppError
from app.store import tars
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.errors import InvalidStoreUrl, InvalidTar, StoreUnreachable
from app.store.files import Files
from app.store.shared import SharedFolders
from backends import bundle
from backends import compiled as compilation
from backends.trees import fingerprint

log = logging.getLogger(__name__)


def bundles_of(config: Config, files: Files) -> Bundles:
    """The state folder's bundles; files: what servers share, if they do."""
    return (
        shared_bundles(config.home, files) if config.store_url else Bundles(config.home)
    )


def compiled_of(config: Config, files: Files) -> CompiledModels:
    """The state folder's compiled models; files: what servers share, if they do."""
    if config.store_url:
        return shared_compiled(config.home, files)
    return CompiledModels(config.home, fingerprint())


def shared_bundles(home: Path, files: Files) -> Bundles:
    """Bundles that are fetched into a folder when they are asked for."""
    return Bundles(home, SharedFolders(files, "bundles", bundle.pack, _unpack_bundle))


def shared_compiled(home: Path, files: Files) -> CompiledModels:
    """Compiled models that are fetched into a folder when they are asked for."""
    shared = SharedFolders(files, "compiled", tars.pack, _unpack_compiled)
    return CompiledModels(home, fingerprint(), shared)


def _unpack_bundle(tar: Path, folder: Path, name: str) -> None:
    """Raises BundleRejected unless it is the bundle of this model id."""
    model = bundle.unpack(tar, folder)
    if model.id != name:
        raise bundle.BundleRejected(f"the store has model {model.id} as {name}")


def _unpack_compiled(tar: Path, folder: Path, name: str) -> None:
    """Raises InvalidTar and CompiledDamaged unless it is what was compiled."""
    tars.unpack(tar, folder)
    verdict = compilation.examine(folder, "")
    if verdict.reason in ("missing", "damaged"):
        raise InvalidTar(f"compiled/{name}.tar in the store: {verdict.detail}")
    compilation.check_model(folder, name.partition("-")[0])


def check_store_url(url: str) -> None:
    """Load what speaks to such a store. Raises InvalidStoreUrl if nothing does.

    Workers that are forked later share what is loaded.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise InvalidStoreUrl(f"FORETELL_STORE_URL: {error}") from error


def share_all(
    model_ids: Iterable[str], bundles: Bundles, compiled: CompiledModels
) -> None:
    """Bring a state folder and the store up to date with each other.

    What cannot be is left to the log: a store that is away keeps no server from
    starting.
    """
    # The store's client runs threads, which workers that are forked later would lack.
    child = get_context("fork").Process(
        target=_share_all, args=(list(model_ids), bundles, compiled)
    )
    child.start()
    child.join()


def _share_all(
    model_ids: list[str], bundles: Bundles, compiled: CompiledModels
) -> None:
    for model_id in model_ids:
        try:
            bundles.path(model_id)
            bundles.share(model_id)
            compiled.fetched(model_id)
            compiled.share(model_id)
        except StoreUnreachable as error:
            log.warning("models are not shared: %s: %s", error, error.__cause__)
            return
        except (AppError, OSError, ValueError) as error:
            log.warning("model %s is not shared: %s", model_id, error)
