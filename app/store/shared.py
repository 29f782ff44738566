"""Folders that servers share: each a tar in the store that all of them reach."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.errors import AppError
from app.store.errors import InvalidTar, NotShared, StoreUnreachable
from app.store.files import Files
from app.store.folders import locked, make_private, settle, workplace

# After a failure the store is left alone for so long: each request for a model that
# is not here would wait for it again.
_REST_SECONDS = 2.0

# Above what a folder may hold, with the headers.
_MAX_TAR = 17 * 2**30

_STEP = 2**20

log = logging.getLogger(__name__)


class SharedFolders:
    """Sends folders to the store, and brings those that others have sent.

    The state folder is the cache: a folder is fetched once on each machine.
    """

    def __init__(
        self,
        files: Files,
        prefix: str,
        pack: Callable[[Path, Path], object],
        unpack: Callable[[Path, Path, str], object],
    ) -> None:
        """prefix: where the tars lie in the store, such as `bundles`.

        pack: from a folder to a new tar.
        unpack: from a tar, to an empty folder, of a name; raises ValueError or AppError
            for a tar that is not what the name says, and OSError.
        """
        self._files = files
        self._prefix = prefix
        self._pack = pack
        self._unpack = unpack
        self._failed: dict[str, tuple[float, Exception]] = {}
        self._lock = threading.Lock()

    def send(self, folder: Path, *, again: bool = False) -> None:
        """Put a folder's tar into the store, under the folder's name.

        again: also if there is one. Raises StoreUnreachable, and what `pack` raises.
        """
        path = self._path(folder.name)
        try:
            if not again and self._files.exists(path):
                return
            with workplace(folder.with_name(f".sending-{folder.name}")) as place:
                tar = place / "tar"
                self._pack(folder, tar)
                with tar.open("rb") as reader, self._files.writer(path) as writer:
                    shutil.copyfileobj(reader, writer, _STEP)
        except OSError as error:
            raise StoreUnreachable(path) from error

    def fetch(self, target: Path) -> None:
        """Have a folder here; of several processes that want it one fetches it.

        It appears under its name complete and on the disk, or not at all.

        Raises NotShared if the store has none, StoreUnreachable, and what `unpack`
        raises of a tar that is not what it should be.
        """
        self._raise_if_failed_just_now(target.name)
        try:
            make_private(target.parent)
            with workplace(target.with_name(f".fetching-{target.name}")) as place:
                if not target.exists():
                    self._bring(place, target)
        except NotShared:
            raise
        except OSError as error:
            failure = StoreUnreachable(self._path(target.name))
            self._remember(target.name, failure)
            raise failure from error
        except (AppError, ValueError) as error:
            self._remember(target.name, error)
            raise

    def _bring(self, place: Path, target: Path) -> None:
        tar, folder = place / "tar", place / "folder"
        self._download(self._path(target.name), tar)
        folder.mkdir(mode=0o700)
        self._unpack(tar, folder, target.name)
        settle(folder)
        with locked(target.parent) as descriptor:
            if not target.exists():
                folder.rename(target)
            os.fsync(descriptor)
        log.info("%s was fetched from the store", self._path(target.name))

    def _download(self, path: str, tar: Path) -> None:
        try:
            size = self._files.size(path)
            if size > _MAX_TAR:
                raise InvalidTar(f"{path} in the store has {size} bytes")
            with self._files.open(path) as reader, tar.open("xb") as writer:
                shutil.copyfileobj(reader, writer, _STEP)
        except FileNotFoundError:
            raise NotShared(path) from None

    def _raise_if_failed_just_now(self, name: str) -> None:
        with self._lock:
            moment, error = self._failed.get(name, (-_REST_SECONDS, None))
        if error is not None and time.monotonic() < moment + _REST_SECONDS:
            # Of another request it says nothing here.
            raise error.with_traceback(None)

    def _remember(self, name: str, error: Exception) -> None:
        now = time.monotonic()
        with self._lock:
            kept = {
                each: (moment, before)
                for each, (moment, before) in self._failed.items()
                if moment > now - _REST_SECONDS
            }
            self._failed = {**kept, name: (now, error)}

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}.tar"
