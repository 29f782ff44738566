"""The model of a batch job, on this machine or fetched to it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.config import Config
from app.model_cache import ServedModel, load_served
from app.sharing import shared_bundles, shared_compiled
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.files import open_files
from backends.compiled import read
from backends.trees import fingerprint
from backends.trees.kernel_cache import prepare

# Of a job, and of the next one.
_MOST = 2


@lru_cache(maxsize=_MOST)
def open_model(files_url: str, model_id: str, cache_folder: Path) -> ServedModel:
    """The loaded model; a process keeps the last few.

    files_url: of the state folder, whose bundles are there, or of what servers share.
    cache_folder: where what is fetched is kept, for all processes of this machine; it
        is made if need be. The compiled kernels are where the settings of the process
        say, and made there if need be.

    Raises UnknownModel, StoreUnreachable, TakesTensors, ModelFileRejected,
    BundleRejected and OSError.
    """
    bundles, compiled = _kept(files_url, model_id, cache_folder)
    folder, made = bundles.path(model_id), compiled.fetched(model_id)
    if read(made, "").has_trees:
        prepare(Config.from_environment().kernels)
    return load_served(folder, made)


def _kept(
    files_url: str, model_id: str, cache_folder: Path
) -> tuple[Bundles, CompiledModels]:
    parts = urlsplit(files_url)
    if parts.scheme == "file":
        home = Path(unquote(parts.path))
        # Else it is a folder that servers share, with tars in it.
        if Bundles(home).has(model_id):
            return Bundles(home), CompiledModels(home, fingerprint())
    files = open_files(files_url)
    return shared_bundles(cache_folder, files), shared_compiled(cache_folder, files)
