"""The bundles of deployed models: one folder each, named by the model's id."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.store.errors import InvalidBundle, NotShared, UnknownModel
from app.store.folders import (
    incoming_folder,
    locked,
    make_private,
    remove_unfinished,
    sync_folder,
    workplace,
)
from app.store.identifiers import check_id
from app.store.shared import SharedFolders


class Bundles:
    """The folder `bundles` in the state folder.

    A bundle appears under its name complete and on the disk, or not at all.
    """

    def __init__(self, home: Path, shared: SharedFolders | None = None) -> None:
        """shared: what servers share them through; None if there is one server."""
        self._folder = home / "bundles"
        self._shared = shared

    @contextmanager
    def keeping(self, model_id: str) -> Iterator[None]:
        """Be the only one on this machine that keeps this bundle.

        Raises InvalidId and OSError.
        """
        make_private(self._folder)
        with workplace(self._folder / f".keeping-{check_id(model_id)}"):
            yield

    def put(self, folder: Path, model_id: str) -> Path:
        """Copy a bundle in, unless it is there; returns where it is kept.

        Other servers can have it as soon as this returns.

        Raises InvalidId, InvalidBundle for links and other things that are neither
        files nor folders, OSError, for instance when the disk is full, and
        StoreUnreachable when it is here but not there.
        """
        target = self._folder / check_id(model_id)
        make_private(self._folder)
        with locked(self._folder) as descriptor:
            remove_unfinished(self._folder)
            if not target.exists():
                with incoming_folder(self._folder) as incoming:
                    _copy_folder(folder, incoming)
                    incoming.rename(target)
            # Also when it was there: whoever renamed it may have died before this.
            os.fsync(descriptor)
        self.share(model_id)
        return target

    def share(self, model_id: str) -> None:
        """Let the other servers have what is here, unless they do.

        Raises InvalidId and StoreUnreachable.
        """
        target = self._folder / check_id(model_id)
        if self._shared is not None and target.is_dir():
            self._shared.send(target)

    def remove(self, model_id: str) -> None:
        """Remove what is on this machine; what is shared stays.

        To be called while `keeping` it. Raises InvalidId and OSError.
        """
        target = self._folder / check_id(model_id)
        with locked(self._folder), incoming_folder(self._folder) as outgoing:
            if target.exists():
                target.rename(outgoing / target.name)

    def has(self, model_id: str) -> bool:
        """Whether a bundle is on this machine. Raises InvalidId."""
        return (self._folder / check_id(model_id)).is_dir()

    def path(self, model_id: str) -> Path:
        """Where a bundle is kept; one that another server has is fetched first.

        Raises InvalidId, UnknownModel, StoreUnreachable, and BundleRejected for what
        the store has under its name and is not it.
        """
        target = self._folder / check_id(model_id)
        if self._shared is not None and not target.is_dir():
            try:
                self._shared.fetch(target)
            except NotShared:
                raise UnknownModel(model_id) from None
        if not target.is_dir():
            raise UnknownModel(model_id)
        return target


def _copy_folder(source: Path, target: Path) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                (target / entry.name).mkdir(mode=0o700)
                _copy_folder(Path(entry), target / entry.name)
            elif entry.is_file(follow_symlinks=False):
                _copy_file(Path(entry), target / entry.name)
            else:
                raise InvalidBundle(f"{entry.name!r} is not a file or a folder")
    sync_folder(target)


def _copy_file(source: Path, target: Path) -> None:
    with (
        open(source, "rb", opener=_no_link) as reader,
        open(target, "xb", opener=_private) as writer,
    ):
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _no_link(path: str, flags: int) -> int:
    # A link could bring in any file that the server may read.
    return os.open(path, flags | os.O_NOFOLLOW)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
